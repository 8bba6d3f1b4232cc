"""Control ids (MSH-10): a message that came before is counted and not read again; another under its id is a conflict.

A sender that got no answer sends once more, and a message of before, applied after its correction, would undo it. So
does one whose message was a conflict: it stays one, and lies in quarantine once. Whose id it is, the sender says
(MSH-3, MSH-4); a message without one is always new.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from integrations.contract import Contract
from integrations.hl7v2.header import Header, read_header
from integrations.hl7v2.segments import messages

REPEATED, CONFLICT, REPEATED_CONFLICT = "repeated_message", "conflicting_message", "repeated_conflict"
Verdicts = Mapping[tuple[str, int], str]  # by file and first segment
BATCH = 50_000
SCHEMA = pa.schema(
    [
        ("record_file", pa.string()),
        ("record_line", pa.int64()),
        ("control_key", pa.string()),
        ("digest", pa.string()),
        ("sent_day", pa.string()),
        ("extract_id", pa.string()),
        ("sender", pa.string()),
        ("is_conflict", pa.bool_()),
    ]
)
KEYS_AT_ONCE = 500


class SentMessage(NamedTuple):
    """A message that has a control id. sent_day: of MSH-7, as sent; control_key and digest are hashes."""

    record_file: str
    record_line: int
    control_key: str
    digest: str
    sent_day: str | None
    extract_id: str
    sender: str
    is_conflict: bool = False


class Seen:
    """What came under one control id: the body and the day of each message, those in conflict apart."""

    def __init__(self) -> None:
        self._messages: list[tuple[str, str | None]] = []
        self._conflicts: set[str] = set()

    def add(self, digest: str, sent_at: str | None, *, is_conflict: bool = False) -> None:
        if is_conflict:
            self._conflicts.add(digest)
        else:
            self._messages.append((digest, (sent_at or "")[:8] or None))

    def extend(self, other: "Seen") -> None:
        self._messages += other._messages
        self._conflicts |= other._conflicts

    def verdict(self, digest: str, sent_at: str | None, unique_for: timedelta) -> str | None:
        """What a message of this body and time is; null when it is new.

        In conflict with one of them is what was sent so near to its day that the id had to be another.
        """
        day = (sent_at or "")[:8] or None
        if any(digest == other for other, _ in self._messages):
            return REPEATED
        if digest in self._conflicts:
            return REPEATED_CONFLICT
        return CONFLICT if any(_is_near(day, other, unique_for) for _, other in self._messages) else None


# By control keys, of the extracts before: control_key, digest, sent_day and whether it was in conflict.
Known = Callable[[Sequence[str]], Iterable[tuple[str, str, str | None, bool]]]


def control_key(header: Header) -> str | None:
    """What a control id is known by, together with its sender; null when it has none."""
    if header.problem_detail or not header.control_id:
        return None
    return _hash(f"{header.sender}\0{header.control_id}".encode())


def digest_of(segments: Sequence[bytes]) -> str:
    """What the body of a message is known by, however its segments end."""
    return _hash(b"\r".join(segments))


def judge_messages(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    root: Path,
    contract: Contract,
    extract_id: str,
    known: Known,
) -> Verdicts:
    """Fill `sent_message` with the messages of these files of an extract, and return which of them are odd."""
    _create(connection)
    connection.execute("delete from sent_message where extract_id = $extract_id", {"extract_id": extract_id})
    batch: list[SentMessage] = []
    for each in _sent(files, root, contract.messages.encoding, extract_id):
        batch.append(each)
        if len(batch) == BATCH:
            _keep(connection, batch)
    _keep(connection, batch)
    verdicts = dict(_odd(connection, extract_id, contract.messages.control_ids_unique_for, known))
    for (file, line), verdict in verdicts.items():
        if verdict == CONFLICT:
            connection.execute(
                """
                update sent_message set is_conflict = true
                where extract_id = $extract_id and record_file = $file and record_line = $line
                """,
                {"extract_id": extract_id, "file": file, "line": line},
            )
    return verdicts


def new_messages(connection: duckdb.DuckDBPyConnection, extract_id: str, since: date | None) -> list[dict[str, Any]]:
    """The messages of an extract, each control id and body once; if a day is given, those alone that were sent since.

    Of a load of history the others are left out: nobody sends them again.
    """
    _create(connection)
    rows = connection.execute(
        """
        select control_key, digest, min(sent_day), bool_or(is_conflict)
        from sent_message
        where extract_id = $extract_id and coalesce(sent_day >= $since, true)  -- null: every day
        group by control_key, digest
        order by control_key, digest
        """,
        {"extract_id": extract_id, "since": since and f"{since:%Y%m%d}"},
    ).fetchall()
    return [dict(zip(("control_key", "digest", "sent_day", "is_conflict"), row, strict=True)) for row in rows]


def _create(connection: duckdb.DuckDBPyConnection) -> None:
    connection.register("sent_rows", SCHEMA.empty_table())
    connection.execute("create temp table if not exists sent_message as from sent_rows")
    connection.unregister("sent_rows")


def _sent(files: Sequence[Path], root: Path, encoding: str, extract_id: str) -> Iterator[SentMessage]:
    for path in files:
        name = path.relative_to(root).as_posix()
        for first, message in messages(path):
            header = read_header(message[0], encoding)
            if key := control_key(header):
                sent_day = (header.sent_at or "")[:8] or None
                yield SentMessage(name, first, key, digest_of(message), sent_day, extract_id, header.sender)


def _odd(
    connection: duckdb.DuckDBPyConnection, extract_id: str, unique_for: timedelta, known: Known
) -> Iterator[tuple[tuple[str, int], str]]:
    """Of the messages that share a control id, each after the first: sent once more, or in conflict with one before."""
    before = [each for keys in _keys(connection, extract_id) for each in known(keys)]
    again = connection.execute(
        """
        select control_key, digest, sent_day, record_file, record_line
        from sent_message
        where extract_id = $extract_id
          and (
              control_key in (
                  select control_key from sent_message
                  where extract_id = $extract_id group by control_key having count(*) > 1
              )
              or list_contains($known, control_key)
          )
        order by record_file, record_line
        """,
        {"extract_id": extract_id, "known": [key for key, *_ in before]},
    ).fetchall()
    seen: dict[str, Seen] = {}
    for key, digest, sent_day, is_conflict in before:
        seen.setdefault(key, Seen()).add(digest, sent_day, is_conflict=is_conflict)
    for key, digest, sent_day, file, line in again:
        earlier = seen.setdefault(key, Seen())
        verdict = earlier.verdict(digest, sent_day, unique_for)
        if verdict in (None, CONFLICT):
            earlier.add(digest, sent_day, is_conflict=verdict == CONFLICT)
        if verdict:
            yield (file, line), verdict


def _is_near(one: str | None, other: str | None, unique_for: timedelta) -> bool:
    """Whether two days lie within the time in which a control id is unique; days that cannot be read do."""
    try:
        days = [datetime.strptime(day or "", "%Y%m%d") for day in (one, other)]
    except ValueError:
        return True
    return abs(days[0] - days[1]) <= unique_for


def _keys(connection: duckdb.DuckDBPyConnection, extract_id: str) -> Iterator[list[str]]:
    keys = connection.execute(
        "select distinct control_key from sent_message where extract_id = $extract_id order by control_key",
        {"extract_id": extract_id},
    )
    found = [key for (key,) in keys.fetchall()]
    for start in range(0, len(found), KEYS_AT_ONCE):
        yield found[start : start + KEYS_AT_ONCE]


def _keep(connection: duckdb.DuckDBPyConnection, batch: list[SentMessage]) -> None:
    if batch:
        columns = zip(*batch, strict=True)
        arrays = [pa.array(column, each.type) for column, each in zip(columns, SCHEMA, strict=True)]
        connection.register("sent_rows", pa.table(arrays, schema=SCHEMA))
        connection.execute("insert into sent_message from sent_rows")
        connection.unregister("sent_rows")
        batch.clear()


def _hash(text: bytes) -> str:
    return blake2b(text, digest_size=16).hexdigest()
