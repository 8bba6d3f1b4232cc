"""Observations as the EHR exports them (FHIR R4): of each result the last version known at the time of the extract.

These are nearly all the bytes of an extract, so each line fills a template instead of being built key by key.
"""

from collections.abc import Iterator

import numpy as np

from integrations.synthetic_hospital.calendar import fhir_times
from integrations.synthetic_hospital.catalogue import ITEMS, LABORATORY, UPGRADED_CODES
from integrations.synthetic_hospital.fhir import HL7, patient_id
from integrations.synthetic_hospital.frames import Integers, Patients, Results

STATUSES = ("final", "amended", "entered-in-error")
LINE = (
    '{{"resourceType":"Observation","id":"o%d","meta":{{"lastUpdated":"%s"}},"status":"{status}",'
    '"category":[{{"coding":[{{"system":"{hl7}observation-category","code":"{category}"}}]}}],'
    '"code":{{"coding":[{{"system":"http://loinc.org","code":"{loinc}","display":"{display}"}}]}},'
    '"subject":{{"reference":"Patient/%s"}},"encounter":{{"reference":"Encounter/e%d"}},'
    '"effectiveDateTime":"%s","issued":"%s",'
    '"valueQuantity":{{"value":{number},"unit":"{unit}","system":"http://unitsofmeasure.org","code":"{unit}"}}}}'
)


def loinc_of(item: int, code: int) -> str:
    """The code under which a test is sent: before or after the upgrade."""
    return UPGRADED_CODES.get(ITEMS[item].key, ITEMS[item].loinc) if code else ITEMS[item].loinc


def unit_and_decimals(item: int, unit: int) -> tuple[str, int]:
    """The unit in which a test is sent, and with how many decimals."""
    return ("umol/L", 0) if unit else (ITEMS[item].unit, ITEMS[item].decimals)


def observation_lines(patients: Patients, results: Results, since: float, until: float) -> Iterator[list[str]]:
    """NDJSON lines of what was issued in (since, until], one list per kind; laboratory results in history only."""
    is_sent = (results.issued > since) & (results.issued <= until)
    if np.isfinite(since):
        is_sent &= results.item >= len(LABORATORY)
    sent = _last_versions(results.take(is_sent))
    kinds = (sent.item * len(STATUSES) + sent.status) * 2 + sent.code
    for kind in np.unique(kinds):
        yield _lines(patients, sent.take(kinds == kind))


def _last_versions(results: Results) -> Results:
    order = np.lexsort((results.status, results.issued, results.number))
    number = results.number[order]
    return results.take(np.sort(order[np.r_[number[1:] != number[:-1], True][: len(order)]]))


def _lines(patients: Patients, results: Results) -> list[str]:
    item = int(results.item[0])
    unit, decimals = unit_and_decimals(item, int(results.unit[0]))
    template = LINE.format(
        status=STATUSES[results.status[0]],
        hl7=HL7,
        category="laboratory" if item < len(LABORATORY) else "vital-signs",
        loinc=loinc_of(item, int(results.code[0])),
        display=ITEMS[item].display,
        number=f"%.{decimals}f",
        unit=unit.replace("%", "%%"),
    )
    issued = fhir_times(results.issued)
    columns = zip(
        results.number.tolist(),
        issued,
        subjects(patients.number[results.patient], results),
        results.contact.tolist(),
        fhir_times(results.collected),
        issued,
        results.value.tolist(),
        strict=True,
    )
    return [template % column for column in columns]


def subjects(numbers: Integers, results: Results) -> list[str]:
    """The EHR's patient id of each result."""
    pairs = zip(numbers.tolist(), results.is_under_second_record.tolist(), strict=True)
    return [patient_id(number, is_second) for number, is_second in pairs]
