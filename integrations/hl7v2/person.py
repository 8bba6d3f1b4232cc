"""What an admission says of the person (PID): birth, sex and death, and whose numbers were merged (MRG)."""

from integrations.contract_parts import PatientsOf
from integrations.hl7v2.feed import Feed
from integrations.hl7v2.header import Header
from integrations.hl7v2.patients import read_patient
from integrations.hl7v2.persons import TAKEN_BACK
from integrations.hl7v2.rows import LinkRow
from integrations.hl7v2.times import is_time

SEX: dict[str | None, str | None] = {
    "F": "female",
    "M": "male",
    "O": "other",
    "A": "other",
    "U": "unknown",
    "N": "unknown",
    TAKEN_BACK: TAKEN_BACK,
    None: None,
}  # table 0001
YES_OR_NO = {"Y": True, "N": False, TAKEN_BACK: False, None: None}


def read_person(fields: list[str], header: Header, feed: Feed) -> dict[str, object]:
    """Read PID-7, 8, 29 and 30; `problem` and `problem_detail` name a word or a time that nobody can read.

    What is not sent is null, what is taken back TAKEN_BACK.
    """
    fields = fields + [""] * (31 - len(fields))
    born, sex, died_at, dead = (_said(fields[place], header) for place in (7, 8, 29, 30))
    born = born and born[:8]
    may_be_a_day = ("patient", "deceased_at") in feed.days_are_times
    problem, bad = "bad_value", "PID-8" if sex not in SEX else "PID-30" if dead not in YES_OR_NO else None
    if bad is None:
        is_born = born in (None, TAKEN_BACK) or is_time(born, may_be_a_day=True)
        has_died = died_at in (None, TAKEN_BACK) or is_time(died_at, may_be_a_day=may_be_a_day)
        problem, bad = "bad_time", "birth_date" if not is_born else "deceased_at" if not has_died else None
    return {
        "birth_date": born,
        "sex": SEX.get(sex),
        "is_deceased": YES_OR_NO.get(dead),
        "deceased_at": died_at,
        **({"problem": problem, "problem_detail": bad} if bad else {}),
    }


def _said(field: str, header: Header) -> str | None:
    return TAKEN_BACK if field.strip() == TAKEN_BACK else header.first(field)


def merged(
    file: str, line: int, fields: list[str], header: Header, patients_of: PatientsOf, patient_id: str | None
) -> LinkRow:
    """The link that a merge (A40) makes: the number of before (MRG-1) is one more of the patient who stays (PID-3)."""
    head = LinkRow(file, line, issued_at=header.sent_at)
    prior = read_patient(fields[1] if len(fields) > 1 else "", header, patients_of)
    if prior.problem or prior.patient_id is None or patient_id is None:
        detail = "MRG-1" if prior.problem or prior.patient_id is None else "PID-3"
        return head._replace(problem=prior.problem or "missing_field", problem_detail=detail)
    if prior.patient_id == patient_id:
        return head._replace(patient_id=patient_id, problem="bad_value", problem_detail="MRG-1")
    return link(head, prior.patient_id, patients_of.system, patient_id)


def unlinked(
    file: str, line: int, header: Header, patients_of: PatientsOf, patient_id: str, other: str
) -> list[LinkRow]:
    """The links that an unlinking (A37) takes back, whichever of the two was merged into the other."""
    head = LinkRow(file, line, issued_at=header.sent_at, is_retracted=True)
    return [link(head, one, patients_of.system, two) for one, two in ((patient_id, other), (other, patient_id))]


def link(head: LinkRow, patient_id: str, system: str, value: str) -> LinkRow:
    """The row of one identifier of a patient."""
    link_id = f"{patient_id}|{system}|{value}"
    return head._replace(patient_id=patient_id, link_id=link_id, system=system, value=value)
