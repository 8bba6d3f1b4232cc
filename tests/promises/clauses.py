"""Take one condition after another out of an SQL text, to see whether a story notices."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_CLAUSE = re.compile(r"^(\s*)(and|or|when|where|having) (.*?)( as \w+,?)?$")


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """The SQL without the condition of one line."""

    line: int
    clause: str
    sql: str


def mutants(sql: str) -> Iterator[Mutant]:
    """Give the SQL without each of its conditions: a line that begins with and, or, when, where or having.

    A condition that opens a bracket over several lines is left alone, the lines in it are not; so is a list of codes,
    which only spares the database work: another promise holds it to the header.
    """
    lines = sql.splitlines()
    for index, line in enumerate(lines):
        found = _CLAUSE.match(line)
        if found is None or line.count("(") != line.count(")") or " code in (" in line.replace("o.code", " code"):
            continue
        indent, word, condition, alias = found.groups()
        if word in ("where", "having"):
            replacement = f"{indent}{word} {'$as_of is not null' if '$as_of' in condition else 'true'}"
        elif alias:
            replacement = f"{indent}{word} {'true' if word == 'and' else 'false'}{alias}"
        else:
            replacement = ""
        yield Mutant(
            line=index + 1, clause=line.strip(), sql="\n".join([*lines[:index], replacement, *lines[index + 1 :]])
        )
