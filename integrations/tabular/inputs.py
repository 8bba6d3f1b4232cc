"""The inputs of a tabular extract as relations of texts, each row with its place: record_file and record_line."""

import filecmp
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from integrations.contract_parts import TabularInput
from integrations.duck import quoted
from integrations.errors import Refused
from integrations.tabular.lines import chunks, header, lack_of

if TYPE_CHECKING:
    import pyarrow as pa


def open_input(
    connection: duckdb.DuckDBPyConnection, name: str, declared: TabularInput, files: Sequence[Path], root: Path
) -> None:
    """Make the relation `name`, and `unreadable_<name>` (record_file, record_line, problem_detail).

    Raises Refused when a file cannot be opened, lacks a column that is read, or the files of one input have different
    columns where none are declared.
    """
    if not files:
        _open_absent(connection, name, declared)
    elif declared.record == "file":
        _open_whole(connection, name, declared, files, root)
    elif all(path.suffix == ".parquet" for path in files):
        _open_parquet(connection, name, declared, files, root)
    else:
        _open_csv(connection, name, declared, files, root)


def _open_absent(connection: duckdb.DuckDBPyConnection, name: str, declared: TabularInput) -> None:
    named = ("record_id", "sent_before") if declared.record == "file" else declared.columns
    columns = ", ".join(f'null::varchar as "{column}"' for column in named)
    connection.execute(
        f"create or replace temp view {name} as "
        f"select null::varchar as record_file, null::bigint as record_line, {columns} where false"
    )
    _make_none_unreadable(connection, name)


def _open_whole(
    connection: duckdb.DuckDBPyConnection, name: str, declared: TabularInput, files: Sequence[Path], root: Path
) -> None:
    """One row per file. sent_before: null, or what an earlier file of this record_id holds, `the_same` or `other`."""
    import pyarrow as pa

    lacks = [lack_of(path, declared) for path in files]
    rows = {
        "record_file": [path.relative_to(root).as_posix() for path in files],
        "record_line": [1] * len(files),
        "record_id": [path.name.split(".")[0] for path in files],
        "sent_before": pa.array(_sent_before(files, lacks), pa.string()),
        "problem_detail": pa.array(lacks, pa.string()),
    }
    connection.register("whole_files", pa.table(rows))
    connection.execute(f"create or replace temp table files_of_{name} as from whole_files")
    connection.unregister("whole_files")
    connection.execute(
        f"create or replace temp view {name} as "
        f"select * exclude (problem_detail) from files_of_{name} where problem_detail is null"
    )
    connection.execute(
        f"create or replace temp view unreadable_{name} as "
        f"select record_file, record_line, problem_detail from files_of_{name} where problem_detail is not null"
    )


def _sent_before(files: Sequence[Path], lacks: Sequence[str | None]) -> list[str | None]:
    first: dict[str, Path] = {}
    found: list[str | None] = []
    for path, lack in zip(files, lacks, strict=True):
        before = None if lack else first.setdefault(path.name.split(".")[0], path)
        is_first = before is None or before == path
        found.append(None if is_first else "the_same" if filecmp.cmp(before or path, path, shallow=False) else "other")
    return found


def _make_none_unreadable(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    connection.execute(
        f"create or replace temp view unreadable_{name} as "
        "select '' as record_file, 0 as record_line, '' as problem_detail where false"
    )


def _open_csv(
    connection: duckdb.DuckDBPyConnection, name: str, declared: TabularInput, files: Sequence[Path], root: Path
) -> None:
    import pyarrow as pa

    if declared.record == "line_of_file":  # one that cannot be read is set aside as the record that it is
        files = [path for path in files if lack_of(path, declared) is None]
    elif declared.columns:
        _refuse_lacking(name, declared, files)
    columns = list(declared.columns) or _columns_of_all(name, declared, files)
    schema = pa.schema(
        [("record_file", pa.string()), ("record_line", pa.int64()), ("problem_detail", pa.string())]
        + [(column, pa.string()) for column in columns]
    )
    places = [f"input {name}, file {number} of {len(files)} by name" for number in range(1, len(files) + 1)]
    batches = (
        batch
        for path, place in zip(files, places, strict=True)
        for batch in _batches(path, declared, root, schema, place)
    )
    connection.register("arriving_lines", pa.RecordBatchReader.from_batches(schema, batches))
    connection.execute(f"create or replace temp table lines_of_{name} as from arriving_lines")
    connection.unregister("arriving_lines")
    texts = ", ".join(_text(column, declared) for column in columns)
    connection.execute(
        f"create or replace temp view {name} as "
        f"select record_file, record_line, {texts} from lines_of_{name} where problem_detail is null"
    )
    connection.execute(
        f"create or replace temp view unreadable_{name} as "
        f"select record_file, record_line, problem_detail from lines_of_{name} where problem_detail is not null"
    )


def _columns_of_all(name: str, declared: TabularInput, files: Sequence[Path]) -> list[str]:
    columns = header(files[0], declared, files[0].name)
    for path in files[1:]:
        if header(path, declared, path.name) != columns:
            raise Refused(
                f"{path.name} has other columns than {files[0].name}", where=f"input {name}", to_do="ask the sender why"
            )
    return columns


def _batches(
    path: Path, declared: TabularInput, root: Path, schema: "pa.Schema", place: str
) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    sent, wanted = header(path, declared, place), schema.names[3:]
    positions = [sent.index(column) for column in wanted]
    empty = [None] * len(sent)
    file = path.relative_to(root).as_posix()
    for chunk in chunks(path, declared, len(sent)):
        rows: list[Sequence[str | None]] = [cells or empty for cells in chunk.rows]
        columns = list(zip(*rows, strict=True)) or [()] * len(sent)
        read = [columns[position] for position in positions]
        yield pa.record_batch([[file] * len(rows), chunk.numbers, chunk.problems, *read], schema=schema)


def _refuse_lacking(name: str, declared: TabularInput, files: Sequence[Path]) -> None:
    for number, path in enumerate(files, 1):
        if lack := lack_of(path, declared):
            raise Refused(
                f"a file of the extract cannot be read: {lack}",
                where=f"input {name}, file {number} of {len(files)} by name",
                to_do=f"send it with the columns {', '.join(declared.columns)}, in any order; others are not read",
            )


def _open_parquet(
    connection: duckdb.DuckDBPyConnection, name: str, declared: TabularInput, files: Sequence[Path], root: Path
) -> None:
    listed = ", ".join(quoted(path) for path in files)
    place = len(root.as_posix()) + 2
    try:
        columns = [column for column, *_ in connection.execute(f"describe from read_parquet([{listed}])").fetchall()]
    except duckdb.Error as error:
        raise Refused(
            "a Parquet file cannot be read", where=f"input {name}", to_do="ask the sender for the file again"
        ) from error
    texts = ", ".join(_text(column, declared) for column in columns)
    connection.execute(
        f"create or replace temp view {name} as select substr(filename, {place}) as record_file, "
        f"file_row_number + 1 as record_line, {texts} "
        f"from read_parquet([{listed}], filename = true, file_row_number = true)"
    )
    _make_none_unreadable(connection, name)


def _text(column: str, declared: TabularInput) -> str:
    """The expression of one column as text, null where it holds a null word."""
    name = '"' + column.replace('"', '""') + '"'
    words = ", ".join(quoted(word) for word in declared.null_words)
    return (
        f"case when {name}::varchar not in ({words}) then {name}::varchar end as {name}"
        if words
        else f"{name}::varchar as {name}"
    )
