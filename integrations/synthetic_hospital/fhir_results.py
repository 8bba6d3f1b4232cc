"""Observations as the EHR exports them (FHIR R4): of each result the last version known at the time of the extract.

These are nearly all the bytes of an extract, so each line fills a template instead of being built key by key.
"""

from collections.abc import Iterator

import numpy as np

from integrations.synthetic_hospital.calendar import fhir_times
from integrations.synthetic_hospital.catalogue import ITEMS, LABORATORY, PANEL_OF_ITEM, PANELS, UPGRADED_CODES
from integrations.synthetic_hospital.fhir import HL7, accession, patient_id
from integrations.synthetic_hospital.frames import Integers, Patients, Results

STATUSES = ("final", "amended", "entered-in-error")
# Of the laboratory's results the EHR passes these on each night too, by the number that the laboratory gave them.
PASSED_ON = "CBC"
NUMBER = (
    '"identifier":[{{"type":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"FILL"}}]}},'
    '"value":"%s"}}],'
)
LINE = (
    '{{"resourceType":"Observation","id":"o%d",{number_of_laboratory}"meta":{{"lastUpdated":"%s"}},"status":"{status}",'
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
    """NDJSON lines of what was issued in (since, until], one list per kind.

    Each night only PASSED_ON of the laboratory's results; all of them in history.
    """
    is_sent = (results.issued > since) & (results.issued <= until)
    if np.isfinite(since):
        is_passed_on = PANEL_OF_ITEM[results.item] == PANELS.index(PASSED_ON)
        is_sent &= (results.item >= len(LABORATORY)) | is_passed_on
    sent = _last_versions(results.take(is_sent))
    kinds = (sent.item * len(STATUSES) + sent.status) * 2 + sent.code
    for kind in np.unique(kinds):
        yield _lines(patients, sent.take(kinds == kind), is_night=bool(np.isfinite(since)))


def _last_versions(results: Results) -> Results:
    order = np.lexsort((results.status, results.issued, results.number))
    number = results.number[order]
    return results.take(np.sort(order[np.r_[number[1:] != number[:-1], True][: len(order)]]))


def _lines(patients: Patients, results: Results, *, is_night: bool) -> list[str]:
    item = int(results.item[0])
    is_passed_on = is_night and item < len(LABORATORY)
    unit, decimals = unit_and_decimals(item, int(results.unit[0]))
    template = LINE.format(
        number_of_laboratory=NUMBER.format() if is_passed_on else "",
        status=STATUSES[results.status[0]],
        hl7=HL7,
        category="laboratory" if item < len(LABORATORY) else "vital-signs",
        loinc=loinc_of(item, int(results.code[0])),
        display=ITEMS[item].display,
        number=f"%.{decimals}f",
        unit=unit.replace("%", "%%"),
    )
    issued = fhir_times(results.issued)
    numbers = [results.number.tolist()]
    if is_passed_on:
        numbers.append([accession(draw, ITEMS[item].panel) for draw in results.draw.tolist()])
    columns = zip(
        *numbers,
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
