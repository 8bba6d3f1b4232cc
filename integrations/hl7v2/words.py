"""What the words of a visit (PV1) mean: those that HL7 v2.5.1 suggests, chapter 2 and 3; a hospital may have its own.

A word that is neither suggested nor named in the contract is a bad_value: a discharge that nobody can read may be a
death.
"""

from collections.abc import Mapping

Words = Mapping[str, Mapping[str, str]]

SUGGESTED: dict[str, dict[str, str]] = {
    # table 0004, patient class
    "PV1-2": {
        "I": "inpatient",
        "B": "inpatient",  # obstetrics
        "E": "emergency",
        "O": "ambulatory",
        "R": "ambulatory",  # recurring
        "P": "other",  # before admission
        "C": "other",  # commercial account
        "N": "other",  # not applicable
        "U": "other",
    },
    # table 0007, admission type
    "PV1-4": {
        "A": "emergency",  # accident
        "E": "emergency",
        "U": "urgent",
        "L": "urgent",  # labor and delivery
        "R": "elective",  # routine
        "C": "elective",
        "N": "newborn",
    },
    # table 0023, admit source: the codes of the UB-92 form
    "PV1-14": {
        "1": "home",  # referred by a physician
        "2": "clinic",
        "3": "home",  # referred by a health plan
        "4": "acute_hospital",
        "5": "skilled_nursing",
        "6": "other",  # another health care facility
        "7": "emergency_department",
        "8": "other",  # court or police
        "9": "other",  # not known
    },
    # table 0112, discharge disposition: the codes of the UB form, with and without the leading zero
    "PV1-36": {
        "1": "home",
        "2": "acute_hospital",
        "3": "skilled_nursing",
        "4": "long_term_care",
        "5": "other",
        "6": "home_health",
        "7": "against_advice",
        "8": "home_health",
        "9": "other",
        "20": "died",
        "21": "other",  # to court or police
        "40": "died",
        "41": "died",
        "42": "died",
        "43": "acute_hospital",  # federal
        "50": "hospice",
        "51": "hospice",
        "61": "skilled_nursing",  # swing bed
        "62": "rehab",
        "63": "long_term_care",
        "64": "skilled_nursing",
        "65": "psychiatric",
        "66": "acute_hospital",
        "70": "other",
    },
}
ALSO = {"PV1-2": {"observation"}, "PV1-4": {"observation", "other"}}


def meanings(field: str) -> set[str]:
    """What the words of a field may mean: those that integrations/tables.py lists."""
    return {*SUGGESTED[field].values(), *ALSO.get(field, set())}


def meaning(field: str, word: str, own: Words) -> str | None:
    """Return what a word means to this sender; null when nobody knows."""
    if (found := own.get(field, {}).get(word)) is not None:
        return found
    return SUGGESTED[field].get(word.lstrip("0") if field == "PV1-36" else word.upper())
