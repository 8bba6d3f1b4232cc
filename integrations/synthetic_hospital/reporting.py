"""How the laboratory and the monitors report: rounded, and never beyond what the device can show."""

import numpy as np

from integrations.synthetic_hospital.calendar import Floats
from integrations.synthetic_hospital.catalogue import ITEM, ITEMS


def reported(key: str, value: Floats) -> Floats:
    """A measured value as it is reported."""
    item = ITEMS[ITEM[key]]
    return np.round(value.clip(item.low, item.high), item.decimals)


def usual_bun(creatinine: Floats) -> Floats:
    """Urea nitrogen (mg/dL) that goes with a creatinine (mg/dL) when well."""
    return np.asarray(16.5 * creatinine**0.75)
