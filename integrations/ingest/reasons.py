"""Why a record is set aside: a closed list, one word each, with what it means for the person who reads it."""

REASONS: dict[str, str] = {
    "not_json": "the line is no JSON",
    "beyond_limits": "the line is longer, holds more values or lies deeper within itself than the limits allow",
    "wrong_type": "the file holds another kind of resource than the contract says",
    "bad_segment": "the HL7 v2 segment cannot be read",
    "conflicting_message": "another message had the same control id (MSH-10) from the same sender, and another body",
    "foreign_patient": "the patient is named by no identifier of the authority that the contract's patients_of names",
    "two_patients": "the patient is named by two identifiers of that authority: nobody can tell whose the record is",
    "missing_id": "the record has no id",
    "missing_field": "a field that the table needs is not sent",
    "bad_time": "a time cannot be read, or has no time of day where one is needed",
    "impossible_time": "a time lies before 1900, in the future, or an end lies before its start",
    "bad_value": "a value cannot be read, or is not of the kind that its code calls for",
    "impossible_value": "a value lies outside what can be, by analytes.csv",
    "unknown_code": "codes.csv neither maps the code nor declares it out of scope",
    "unknown_unit": "codes.csv does not name this unit for this code",
    "sent_twice": "the extract says it before, and otherwise: nobody can tell which of the two is right",
    "unknown_stay": "it tells of a stay that is not known: take the stays in, then rounds quarantine retry SOURCE",
    "suspect_batch": "too many values of this code in this extract are impossible or extreme: none of it is trusted",
}
