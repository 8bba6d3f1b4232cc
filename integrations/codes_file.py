"""A codes file: rows for codes.csv about what a sample sent and codes.csv does not name.

A LOINC code that analytes.csv knows is answered, in the units that become the analyte's own. Whatever only a person can
say is left TO DECIDE, and codes.csv is refused as long as it holds such a row.
"""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from integrations.codes import CODE_COLUMNS, OUT_OF_SCOPE, TO_DECIDE, load_analytes, load_unit_factors
from integrations.durable import write_whole
from integrations.errors import Refused
from integrations.ingest import UndecidedCode

LOINC_SYSTEMS = ("http://loinc.org", "LN")  # as FHIR and as HL7 v2 (table 0396) name it
LONGEST = 100  # characters of a code or its system
FEW, SHORT = 5, 24  # units that are named, and their characters
Row = tuple[str, ...]  # in the order of CODE_COLUMNS


@dataclass(frozen=True, kw_only=True)
class CodeAnswer:
    """What a codes file says of one code. strange_units: as sent, without a factor; an empty one is none sent."""

    code: UndecidedCode
    rows: tuple[Row, ...]
    strange_units: tuple[str, ...]

    @property
    def is_to_decide(self) -> bool:
        """Whether a person must fill its row."""
        return any(row[2] == OUT_OF_SCOPE for row in self.rows)


def answer_codes(undecided: Iterable[UndecidedCode], owner: str) -> list[CodeAnswer]:
    """Answer each code, in their order; `owner` answers for those that need no person."""
    analytes, factors = load_analytes(), load_unit_factors()
    return [
        _answer(code, owner, {analyte.loinc: analyte.unit for analyte in analytes.values()}, factors.keys())
        for code in undecided
    ]


def _answer(
    code: UndecidedCode, owner: str, own_units: dict[str, str], factors: Iterable[tuple[str, str]]
) -> CodeAnswer:
    is_analyte = code.local_system in LOINC_SYSTEMS and code.local_code in own_units
    loinc = code.loinc or (code.local_code if is_analyte else None)
    known = {unit for of, unit in (*factors, *own_units.items()) if of == loinc}
    strange = tuple(unit for unit in code.units if unit not in known)
    answered = [unit for unit in code.units if unit in known]
    rows = tuple((code.local_system, code.local_code, str(loinc), unit, "", owner) for unit in answered)
    if not rows and code.loinc is None and _can_be_written(code):
        noun = "record" if code.records == 1 else "records"
        reason = f"{TO_DECIDE}: {code.records:,} {noun}, {units_in_words(code)}"
        rows = ((code.local_system, code.local_code, OUT_OF_SCOPE, "", reason, ""),)
    return CodeAnswer(code=code, rows=rows, strange_units=strange if loinc else ())


def _can_be_written(code: UndecidedCode) -> bool:
    """Whether a person can read the code: no row is made of what is longer, or would move the cursor of a screen."""
    return all(len(text) <= LONGEST and text.isprintable() for text in (code.local_system, code.local_code))


def units_in_words(code: UndecidedCode) -> str:
    """The units of a code as sent, with the records that hold each: mg/dL (12), no unit (1)."""
    return a_few([f"{short(unit) or 'no unit'} ({count:,})" for unit, count in code.units.items()])


def a_few(words: Sequence[str]) -> str:
    """The first words of a list that may be long."""
    more = f" and {len(words) - FEW:,} more" if len(words) > FEW else ""
    return ", ".join(words[:FEW]) + more


def short(text: str, length: int = SHORT) -> str:
    """What a sender wrote, as a person can read it."""
    plain = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    return plain if len(plain) <= length else f"{plain[: length - 1]}…"


def codes_file(answers: Iterable[CodeAnswer]) -> str:
    """The file as text, with the head of codes.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CODE_COLUMNS)
    writer.writerows(row for answer in answers for row in answer.rows)
    return text.getvalue()


def write_codes_file(path: Path, answers: Iterable[CodeAnswer]) -> None:
    """Write the file. Raises Refused where there is one: a person may have filled it."""
    refuse_existing(path)
    write_whole(path, codes_file(answers).encode())


def refuse_existing(path: Path) -> None:
    """Raise Refused where there is a file already."""
    if os.path.lexists(path):
        raise Refused(
            "there is a file of this name, and it may hold decisions", where=str(path), to_do="give another name"
        )
