"""Every unit is UCUM and every factor is chemistry: checked against a UCUM library (ucumvert, on pint)."""

import re
from functools import cache
from typing import Any

import pytest

from integrations.codes import load_analytes, load_unit_factors

pytestmark = pytest.mark.part

# What senders write that is not UCUM, or, as K (kelvin), means something else in it.
SPELLINGS = {
    "µmol/L": "umol/L",
    "mEq/L": "meq/L",
    "mmHg": "mm[Hg]",
    "bpm": "/min",
    "insp/min": "/min",
    "K/uL": "10*3/uL",
    "degF": "[degF]",
    "°C": "Cel",
    "IU/L": "[IU]/L",
    "U/L": "[IU]/L",  # of an enzyme: laboratories write U for the international unit
}
# UCUM that the library cannot read: an annotation alone, and the unit of pH. Both stand for a plain number.
BEYOND_THE_LIBRARY = {"{score}": "1", "[pH]": "1"}
ATOMIC_WEIGHT = {"H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "Ca": 40.078}  # g/mol, IUPAC 2021, abridged
CREATININE, UREA_NITROGEN, GLUCOSE, CALCIUM = "C4H7N3O", "N2", "C6H12O6", "Ca"
FORMULA = {
    "2160-0": CREATININE,
    "38483-4": CREATININE,
    "3094-0": UREA_NITROGEN,
    "6299-2": UREA_NITROGEN,
    "2345-7": GLUCOSE,
    "2339-0": GLUCOSE,
    "17861-6": CALCIUM,
    "49765-1": CALCIUM,
    "1975-2": "C33H36N4O6",
    "2524-7": "C3H6O3",
}
HEMOGLOBIN_MONOMER = 16114.0  # g/mol, as IFCC counts it
VALENCE = {"17861-6": 2, "49765-1": 2}  # of all other ions 1

AGREEMENT = 3e-4  # the usual 88.42 umol/L for 1 mg/dL of creatinine is 2 parts in 10,000 beside its formula (88.40)
FACTORS = load_unit_factors()
ANALYTES = load_analytes()
EVERY_FACTOR = pytest.mark.parametrize(("loinc", "sent"), FACTORS, ids=[f"{loinc} {sent}" for loinc, sent in FACTORS])


@pytest.fixture(scope="module")
def ucum() -> Any:
    """The registry of UCUM units."""
    return _registry()


@cache
def _registry() -> Any:
    library = pytest.importorskip("ucumvert", reason="ucumvert (extra dev) is not installed")
    return library.PintUcumRegistry()


def unit_of(ucum: Any, text: str) -> Any:
    """The unit that a text means."""
    found = ucum.from_ucum(BEYOND_THE_LIBRARY.get(text, SPELLINGS.get(text, text)))
    assert found.magnitude == 1
    return found.units


def molar_mass(loinc: str) -> float:
    """Grams of a mole, by the formula."""
    if loinc == "718-7":
        return HEMOGLOBIN_MONOMER
    parts = re.findall(r"([A-Z][a-z]?)(\d*)", FORMULA[loinc])
    return sum(ATOMIC_WEIGHT[atom] * int(count or 1) for atom, count in parts)


def by_the_library(ucum: Any, loinc: str, sent: str, value: float) -> float:
    """What the library makes of a value as sent, in the analyte's unit; amounts become masses by molar mass."""
    home = unit_of(ucum, ANALYTES[loinc].unit)
    quantity = ucum.Quantity(value, unit_of(ucum, sent))
    if "eq/L" in SPELLINGS.get(sent, sent):
        quantity = quantity / VALENCE.get(loinc, 1)
    if quantity.dimensionality != home.dimensionality:
        grams_of_a_mole = ucum.Quantity(molar_mass(loinc), "g/mol")
        is_amount = "[substance]" in quantity.dimensionality
        quantity = quantity * grams_of_a_mole if is_amount else quantity / grams_of_a_mole
    return float(quantity.to(home).magnitude)


@pytest.mark.parametrize("loinc", ANALYTES)
def test_the_unit_of_an_analyte_is_spelt_as_in_ucum(ucum: Any, loinc: str) -> None:
    unit = ANALYTES[loinc].unit
    assert unit not in SPELLINGS
    assert unit_of(ucum, unit) is not None


@EVERY_FACTOR
def test_a_unit_as_sent_is_ucum_or_a_known_spelling_of_it(ucum: Any, loinc: str, sent: str) -> None:
    assert unit_of(ucum, sent) is not None


@EVERY_FACTOR
def test_a_factor_and_its_offset_are_what_the_library_computes(ucum: Any, loinc: str, sent: str) -> None:
    factor, offset = FACTORS[loinc, sent]
    for value in (0.0, 1.0, 100.0):
        expected = by_the_library(ucum, loinc, sent, value)
        assert value * factor + offset == pytest.approx(expected, rel=AGREEMENT, abs=1e-6)


def test_a_unit_of_another_dimension_does_not_pass(ucum: Any) -> None:
    with pytest.raises(TypeError, match="Cannot convert"):
        by_the_library(ucum, "2345-7", "kg", 1.0)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_is_listed_only_where_ucum_does_not_mean_it(ucum: Any, spelling: str) -> None:
    parser = pytest.importorskip("ucumvert.parser")
    try:
        meant = ucum.from_ucum(spelling).dimensionality
    except parser.InvalidUcumError:
        meant = None
    assert meant != ucum.from_ucum(SPELLINGS[spelling]).dimensionality
