"""What a feed's codes and units mean: codes.csv of the source, analytes.csv and unit_factors.csv of the house.

A code of a feed is one LOINC code, or declared out of scope with a reason and an owner. A unit as sent that codes.csv
names for the code becomes the analyte's one unit by a factor with a source; no other unit passes.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from integrations.errors import WrongUsage

ANALYTES = Path(__file__).resolve().parent / "analytes.csv"
UNIT_FACTORS = Path(__file__).resolve().parent / "unit_factors.csv"
OUT_OF_SCOPE = "out_of_scope"
TO_DECIDE = "TO DECIDE"  # how a reason begins that no person has given yet
CODE_COLUMNS = ("local_system", "local_code", "loinc", "unit", "reason", "owner")


@dataclass(frozen=True, kw_only=True)
class Analyte:
    """The one unit of a LOINC code, the limits of what can be (impossible) and of what is often true (extreme)."""

    loinc: str
    name: str
    unit: str
    impossible_low: float | None
    impossible_high: float | None
    extreme_low: float | None
    extreme_high: float | None


@dataclass(frozen=True, kw_only=True)
class UnitMeaning:
    """A unit as sent: value * factor + offset is the value in `unit`."""

    sent: str
    unit: str
    factor: float
    offset: float


@dataclass(frozen=True, kw_only=True)
class CodeMeaning:
    """A code as sent: its LOINC code (null: out of scope, with `reason`), and every unit that it may come in.

    `takes_text`: a value that is no number is in order.
    """

    local_system: str
    local_code: str
    loinc: str | None
    reason: str
    takes_text: bool
    units: tuple[UnitMeaning, ...]
    analyte: Analyte | None


def load_analytes(path: Path = ANALYTES) -> dict[str, Analyte]:
    """Read the limits, one row per LOINC code."""
    analytes: dict[str, Analyte] = {}
    for line, row in _rows(path):
        if row["loinc"] in analytes:
            raise WrongUsage(f"{row['loinc']} stands twice", where=f"{path}, line {line}", to_do="keep one row")
        limits = {name: float(text) if text else None for name, text in row.items() if name.endswith(("_low", "_high"))}
        analytes[row["loinc"]] = Analyte(loinc=row["loinc"], name=row["name"], unit=row["unit"], **limits)
    return analytes


def load_unit_factors(path: Path = UNIT_FACTORS) -> dict[tuple[str, str], tuple[float, float]]:
    """Read (LOINC code, unit as sent) -> (factor, offset) to the analyte's unit."""
    return {(row["loinc"], row["unit"]): (float(row["factor"]), float(row["offset"])) for _, row in _rows(path)}


def load_codes(folder: Path) -> tuple[CodeMeaning, ...]:
    """Read codes.csv of a source; a source without one knows no code.

    Raises WrongUsage, with its line, when a row stands twice, contradicts another, has a unit without a factor, or is
    still to be decided. The head may stand again where one file was appended to another.
    """
    path = folder / "codes.csv"
    if not path.exists():
        return ()
    rows: dict[tuple[str, str], list[tuple[int, dict[str, str]]]] = {}
    for line, row in _rows(path, CODE_COLUMNS):
        rows.setdefault((row["local_system"], row["local_code"]), []).append((line, row))
    analytes, factors = load_analytes(), load_unit_factors()
    return tuple(_meaning(code, found, path, analytes, factors) for code, found in rows.items())


def _meaning(
    code: tuple[str, str],
    rows: list[tuple[int, dict[str, str]]],
    path: Path,
    analytes: dict[str, Analyte],
    factors: dict[tuple[str, str], tuple[float, float]],
) -> CodeMeaning:
    line, first = rows[0]
    where = f"{path}, line {line}"
    if len({row["loinc"] for _, row in rows}) > 1:
        raise WrongUsage(f"{code[1]} means two things", where=where, to_do="give one loinc per code")
    loinc = None if first["loinc"] == OUT_OF_SCOPE else first["loinc"]
    if open_lines := [number for number, row in rows if row["reason"].startswith(TO_DECIDE)]:
        raise WrongUsage(
            f"{code[1]} is still {TO_DECIDE}",
            where=f"{path}, line {open_lines[0]}",
            to_do="give its loinc and unit, or say why it is out of scope and who says so, in the place of that reason",
        )
    if loinc is None and not (first["reason"].strip() and first["owner"].strip()):
        raise WrongUsage(
            f"{code[1]} is out of scope without reason or owner", where=where, to_do="say why and who says so"
        )
    analyte = analytes.get(loinc or "")
    units = [(number, row["unit"]) for number, row in rows if row["unit"]]
    home = analyte.unit if analyte else (units[0][1] if units else "")
    known: dict[str, UnitMeaning] = {}
    for number, sent in units if loinc else []:
        factor, offset = (1.0, 0.0) if sent == home else factors.get((str(loinc), sent), (None, None))
        if factor is None or offset is None or sent in known:
            problem = "stands twice" if sent in known else f"has no factor to {home}"
            raise WrongUsage(
                f"unit {sent} of {code[1]} {problem}", where=f"{path}, line {number}", to_do=f"see {UNIT_FACTORS.name}"
            )
        known[sent] = UnitMeaning(sent=sent, unit=home, factor=factor, offset=offset)
    return CodeMeaning(
        local_system=code[0],
        local_code=code[1],
        loinc=loinc,
        reason=first["reason"],
        takes_text=any(not row["unit"] for _, row in rows),
        units=tuple(known.values()),
        analyte=analyte,
    )


def _rows(path: Path, columns: tuple[str, ...] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if columns and tuple(reader.fieldnames or ()) != columns:
            raise WrongUsage(
                "the columns are not as agreed", where=f"{path}, line 1", to_do=f"have {', '.join(columns)}"
            )
        for row in reader:
            if columns and tuple(row.values()) == columns:
                continue
            if None in row or None in row.values():
                raise WrongUsage(
                    "a row has more or fewer cells than the head",
                    where=f"{path}, line {reader.line_num}",
                    to_do="mend the row",
                )
            yield reader.line_num, row
