"""Files in which every line looks sound: DuckDB reads those itself, for a third less than line by line.

It stops at the first line that is no JSON or holds a value of the wrong type, and so does a view's `sound_sql` at
whatever it would doubt. Then the files are read line by line, as all others are: what comes out is the same.
"""

import re
from collections.abc import Sequence
from io import FileIO
from itertools import accumulate
from pathlib import Path

import duckdb
import numpy as np

from integrations.duck import quoted
from integrations.fhir.heavy import HEAVY_BYTES, parts
from integrations.fhir.lines import TOO_LONG, blocks
from integrations.fhir.sql_on_fhir.shape import Structure
from integrations.limits import Limits

MOST_FILES = 100  # their names stand in the statement
PLAIN_PATH = re.compile(r"[\w./:+@=,-]+")  # DuckDB looks for a pattern in any other


def open_sound_lines(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    files: Sequence[tuple[str, Path]],
    structure: Structure,
    limits: Limits,
) -> bool:
    """Make the relation `name` over files, (name in record_file, where it lies); False where one needs more care."""
    if not files or len(files) > MOST_FILES or not all(PLAIN_PATH.fullmatch(str(path)) for _, path in files):
        return False
    counts = []
    for _, path in files:
        if (count := _sound_lines(path, limits)) is None:
            return False
        counts.append(count)
    connection.execute(f"create or replace temp view {name} as {_select(files, counts, structure)}")
    return True


def _sound_lines(path: Path, limits: Limits) -> int | None:
    """Count the lines of a file; None when one does not begin and end as an object, or is heavy (heavy.py)."""
    count = 0
    with FileIO(path) as file:
        for block in blocks(file, limits.longest_line):
            if block is TOO_LONG:
                return None
            starts, ends = block.starts[:-1], block.starts[1:] - 1
            if block.content[ends[-1]] != ord("\n"):  # the last line of a file may have no end
                ends[-1] += 1
            is_object = (block.content[starts] == ord("{")) & (block.content[np.maximum(ends - 1, starts)] == ord("}"))
            if not is_object.all() or any(part.is_heavy for part in parts(block.content, block.starts, limits)):
                return None
            count += len(starts)
    return count


def _select(files: Sequence[tuple[str, Path]], counts: Sequence[int], structure: Structure) -> str:
    """The lines with their place: DuckDB gives them in order, file after file."""
    if not isinstance(structure, dict):
        raise TypeError("a resource is read as an object")
    names, paths = ([quoted(str(each)) for each in column] for column in zip(*files, strict=True))
    before = list(accumulate(counts, initial=0))[:-1]
    columns = ", ".join(f"{quoted(element)}: {quoted(_type(kind))}" for element, kind in structure.items())
    resource = ", ".join(f'"{element}" := "{element}"' for element in structure)
    return f"""
        select
            [{", ".join(names)}][file_index::bigint + 1] as record_file,
            row_number() over () - {before}[file_index::bigint + 1] as record_line,
            null::varchar as raw,
            false as is_beyond_limits,
            struct_pack({resource}) as resource
        from read_json(
            [{", ".join(paths)}],
            format = 'newline_delimited',
            records = true,
            compression = 'none',
            maximum_object_size = {HEAVY_BYTES},
            columns = {{{columns}}}
        )
    """


def _type(structure: Structure) -> str:
    if isinstance(structure, list):
        return f"{_type(structure[0])}[]"
    if isinstance(structure, dict):
        return "STRUCT(" + ", ".join(f'"{name}" {_type(kind)}' for name, kind in structure.items()) + ")"
    return structure
