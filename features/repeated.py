"""What is written once in a view's SQL and stands for every analyte, so that an analyte is added by one line.

The header names each code with its word and unit: `-- codes: 2160-0 creatinine mg_dl`. The lines of the SQL between
`-- for each {word}` and `-- end` are repeated for every word of the header, in its order, and {word}, {unit} and
{codes} in them give way to the word, its unit and its quoted codes. Outside of them {all_codes} is every code.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from integrations.errors import WrongUsage

BEGIN, END = "-- for each {word}", "-- end"
_CODE = re.compile(r"(\S+) ([a-z][a-z0-9_]*)(?: ([a-z0-9_]+))?")
_BLANK = re.compile(r"\{(.*?)\}")
_PART = re.compile(rf"^ *{re.escape(BEGIN)}\n(.*?)^ *{re.escape(END)}\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Word:
    """The word and the unit by which the features of one code, or of several that mean the same, are named."""

    word: str
    unit: str | None
    codes: tuple[str, ...]


def words_of(text: str, path: Path) -> tuple[Word, ...]:
    """Read the codes of a header: `code word unit`, with commas. Raises WrongUsage for one that cannot be read."""
    found: dict[str, Word] = {}
    for each in text.split(",") if text != "none" else ():
        read = _CODE.fullmatch(each.strip())
        if read is None:
            raise WrongUsage(
                f"'{each.strip()}': a code of the header stands without its word",
                where=str(path),
                to_do="write `code word unit`: the names of its features begin and end so, as 2160-0 creatinine mg_dl",
            )
        code, word, unit = read.groups()
        before = found.get(word, Word(word=word, unit=unit, codes=()))
        if before.unit != unit or any(code in one.codes for one in found.values()):
            raise WrongUsage(
                f"the header names {code} twice, or {word} in two units",
                where=str(path),
                to_do="name each code once, and give all codes of one word the same unit",
            )
        found[word] = Word(word=word, unit=unit, codes=(*before.codes, code))
    return tuple(found.values())


def expanded(sql: str, words: Sequence[Word], path: Path) -> str:
    """Return the SQL with its repeated parts written out. Raises WrongUsage with the line that cannot be."""
    _check(sql, words, path)
    written = _PART.sub(lambda part: "".join(_filled(part[1], word) for word in words), sql)
    return written.replace("{all_codes}", _quoted([code for word in words for code in word.codes]))


def repeated_parts(sql: str) -> tuple[str, ...]:
    """Return the repeated parts as they stand in the file, with their blanks."""
    return tuple(part[1] for part in _PART.finditer(sql))


def _filled(part: str, word: Word) -> str:
    values = {"word": word.word, "unit": word.unit or "", "codes": _quoted(word.codes)}
    return _BLANK.sub(lambda blank: values[blank[1]], part)


def _check(sql: str, words: Sequence[Word], path: Path) -> None:
    lines = list(enumerate(sql.splitlines(), 1))
    marks = [(number, line.strip()) for number, line in lines if line.strip() in (BEGIN, END)]
    for at, (number, mark) in enumerate(marks):
        is_last = at == len(marks) - 1
        if mark != (BEGIN, END)[at % 2] or (is_last and mark == BEGIN):
            raise WrongUsage(
                f"'{mark}' without its other line",
                where=f"{path}:{number}",
                to_do=f"put the lines to repeat between '{BEGIN}' and '{END}', not one part within another",
            )
    for number, line in lines:
        is_inside = sum(mark_number < number for mark_number, _ in marks) % 2 == 1
        for problem, to_do in () if (number, line.strip()) in marks else _problems(line, words, is_inside):
            raise WrongUsage(problem, where=f"{path}:{number}", to_do=to_do)


def _problems(line: str, words: Sequence[Word], is_inside: bool) -> Iterator[tuple[str, str]]:
    known = ("word", "unit", "codes") if is_inside else ("all_codes",)
    for blank in _BLANK.findall(line):
        if blank not in known:
            yield f"{{{blank}}} is not put in here", f"here can stand {', '.join(f'{{{name}}}' for name in known)}"
        if not words:
            yield f"{{{blank}}}, and the header names no code", "name the codes in the header"
        bare = [each.word for each in words if each.unit is None]
        if blank == "unit" and bare:
            yield f"{', '.join(bare)} without a unit", "write it behind the word in the header: 2160-0 creatinine mg_dl"


def _quoted(codes: Sequence[str]) -> str:
    return ", ".join(f"'{code}'" for code in codes)
