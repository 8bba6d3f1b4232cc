"""What the LIS sends: HL7 v2.5.1 ORU^R01, one message per specimen, panel and release, in order of release.

Times are hospital time without offset. A message carries the MRN (PID-3), the EHR's encounter (PV1-19), the accession
(OBR-3), when the specimen was collected (OBR-7, OBX-14) and when results were released (OBR-22), and per result LOINC,
value, unit (UCUM) and F, C or D: final, corrected, deleted.
"""

from collections.abc import Iterator

import numpy as np

from integrations.synthetic_hospital.calendar import fhir_dates, hl7_times
from integrations.synthetic_hospital.catalogue import ITEMS, LABORATORY, PANEL_OF_ITEM
from integrations.synthetic_hospital.fhir import MRN_SYSTEM, accession, encounter_id, mrn, name
from integrations.synthetic_hospital.fhir_results import loinc_of, unit_and_decimals
from integrations.synthetic_hospital.frames import FINAL, Integers, Patients, Results

RESULT_STATUS = ("F", "C", "D")
AUTHORITY = f"DEMO&{MRN_SYSTEM.removeprefix('urn:oid:')}&ISO"


def oru_messages(patients: Patients, results: Results, since: float, until: float) -> Iterator[str]:
    """The messages released in (since, until]."""
    sent = results.take((results.item < len(LABORATORY)) & (results.issued > since) & (results.issued <= until))
    panel, release = PANEL_OF_ITEM[sent.item], np.rint(sent.issued * 1440).astype(np.int64)
    order = np.lexsort((sent.item, panel, sent.draw, release))
    sent, panel, release = sent.take(order), panel[order], release[order]
    keys = np.column_stack([release, sent.draw, panel])
    changes = 1 + np.flatnonzero((keys[1:] != keys[:-1]).any(axis=1))
    collected, released = hl7_times(sent.collected), hl7_times(sent.issued)
    for rows in np.split(np.arange(len(sent)), changes):
        if len(rows):
            yield _message(patients, sent, rows, collected[rows[0]], released[rows[0]])


def _message(patients: Patients, sent: Results, rows: Integers, collected: str, released: str) -> str:
    first = rows[0]
    panel = ITEMS[sent.item[first]].panel
    order_number = accession(int(sent.draw[first]), panel)
    person = int(sent.patient[first])
    visit = encounter_id(int(sent.contact[first]))
    order_status = "F" if sent.status[first] == FINAL else "C"
    control = f"{order_number}-{released}"
    segments = [
        f"MSH|^~\\&|LIS|DEMO|ROUNDS|DEMO|{released}||ORU^R01^ORU_R01|{control}|P|2.5.1|||||USA|UNICODE UTF-8",
        _patient(patients, person, is_second=bool(sent.is_under_second_record[first])),
        f"PV1|1|I|||||||||||||||||{visit}^^^DEMO^VN",
        f"OBR|1||{order_number}|{panel}^{panel}^L|||{collected}|||||||||||||||{released}|||{order_status}",
    ]
    segments += [_result(sent, row, place, collected) for place, row in enumerate(rows, 1)]
    return "".join(segment + "\r" for segment in segments)


def _patient(patients: Patients, person: int, *, is_second: bool) -> str:
    number = int(patients.number[person])
    family, given = name(number)
    born = fhir_dates(patients.age[person : person + 1])[0].replace("-", "")
    sex = "M" if patients.is_male[person] else "F"
    return f"PID|1||{mrn(number, is_second)}^^^{AUTHORITY}^MR||{family}^{given}||{born}|{sex}"


def _result(sent: Results, row: int, place: int, collected: str) -> str:
    item = int(sent.item[row])
    unit, decimals = unit_and_decimals(item, int(sent.unit[row]))
    code, display = loinc_of(item, int(sent.code[row])), ITEMS[item].display.replace("&", "\\T\\")
    value = f"{sent.value[row]:.{decimals}f}"
    status = RESULT_STATUS[sent.status[row]]
    return f"OBX|{place}|NM|{code}^{display}^LN||{value}|{unit}^{unit}^UCUM|||||{status}|||{collected}"
