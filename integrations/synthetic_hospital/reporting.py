"""How the laboratory and the monitors report: rounded, never beyond what the device can show, final at first."""

import numpy as np

from integrations.synthetic_hospital.calendar import Floats
from integrations.synthetic_hospital.catalogue import ITEM, ITEMS
from integrations.synthetic_hospital.frames import FINAL, Contacts, Integers, Results


def reported(key: str, value: Floats) -> Floats:
    """A measured value as it is reported."""
    item = ITEMS[ITEM[key]]
    return np.round(value.clip(item.low, item.high), item.decimals)


def usual_bun(creatinine: Floats) -> Floats:
    """Urea nitrogen (mg/dL) that goes with a creatinine (mg/dL) when well."""
    return np.asarray(16.5 * creatinine**0.75)


def first_versions(
    contacts: Contacts, row: Integers, draw: Integers, at: Floats, key: str, value: Floats, delay: float = 0.0
) -> Results:
    """Results of one test, each with the row of its encounter; numbers are given once all tests are together."""
    nothing = np.zeros(len(row), dtype=np.int64)
    return Results(
        number=nothing,
        draw=draw,
        contact=contacts.number[row],
        patient=contacts.patient[row],
        is_under_second_record=contacts.is_under_second_record[row],
        item=np.full(len(row), ITEM[key]),
        value=reported(key, value),
        collected=at,
        issued=at + delay,
        status=np.full(len(row), FINAL),
        unit=nothing,
        code=nothing,
    )
