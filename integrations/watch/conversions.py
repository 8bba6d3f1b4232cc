"""Which conversion a factor between two scales looks like: 88.4 of creatinine is umol/L in place of mg/dL."""

import math
from dataclasses import dataclass

from integrations.codes import load_analytes, load_unit_factors
from integrations.watch.bounds import CONVERSION_WITHIN


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A known factor between the values of a code in two units."""

    factor: float
    sentence: str


def named_conversion(code: str, usual_value: float, ratio: float) -> Conversion | None:
    """The conversion of this code nearest to a ratio of medians, else a power of ten; None where none is near."""
    for known in (_of_code(code, usual_value), _powers_of_ten()):
        near = [each for each in known if abs(math.log(ratio / each.factor)) < math.log1p(CONVERSION_WITHIN)]
        if near:
            return min(near, key=lambda each: abs(math.log(ratio / each.factor)))
    return None


def _of_code(code: str, usual_value: float) -> list[Conversion]:
    analyte = load_analytes().get(code)
    if analyte is None or usual_value <= 0:
        return []
    found = []
    for (loinc, unit), (factor, offset) in load_unit_factors().items():
        if loinc != code or factor == 1:
            continue
        there = (usual_value - offset) / factor / usual_value
        back = (usual_value * factor + offset) / usual_value
        for ratio, words in ((there, f"{analyte.unit} -> {unit}"), (back, f"{unit} -> {analyte.unit}")):
            if ratio > 0:
                found.append(Conversion(factor=ratio, sentence=f"a factor near {ratio:.4g} says {words}"))
    return found


def _powers_of_ten() -> list[Conversion]:
    return [
        Conversion(factor=10.0**power, sentence=f"a factor near {10.0**power:g} says a decimal point or a prefix")
        for power in (-6, -3, -2, -1, 1, 2, 3, 6)
    ]
