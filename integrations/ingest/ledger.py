"""What the records keep of an ingest: extract, account, what was set aside, and the snapshot that makes it visible."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select, true, update

from integrations.contract import Contract
from integrations.errors import NotInOrder, Refused
from integrations.ingest.places import TableAccount
from integrations.landing import Landed
from integrations.records import insert_new
from integrations.records.schema import account, extract, message, out_of_scope, snapshot, waiting, watermark


def committed_extract(connection: Connection, source: str, digest: str) -> str | None:
    """The extract of this source that brought the same bytes and is committed, if any."""
    query = select(extract.c.extract_id).where(
        extract.c.source == source, extract.c.digest == digest, extract.c.status == "committed"
    )
    return connection.execute(query).scalar()


def open_extract(connection: Connection, source: str) -> str | None:
    """The newest extract of this source that landed and was not committed, if any."""
    query = (
        select(extract.c.extract_id)
        .where(extract.c.source == source, extract.c.status == "landed")
        .order_by(extract.c.received_at.desc())
    )
    return connection.execute(query).scalar()


def newest_extract(connection: Connection, source: str) -> str | None:
    """The newest extract of this source that is committed, if any."""
    query = (
        select(extract.c.extract_id)
        .where(extract.c.source == source, extract.c.status == "committed")
        .order_by(extract.c.received_at.desc())
    )
    return connection.execute(query).scalar()


def refuse_earlier(connection: Connection, source: str, received_at: datetime) -> None:
    """Raise Refused when the source has a newer extract: time in the lake goes one way."""
    query = select(func.max(extract.c.received_at)).where(extract.c.source == source, extract.c.status == "committed")
    newest = connection.execute(query).scalar()
    if newest is not None and received_at < newest:
        raise Refused(
            f"{source} has an extract of {newest.isoformat()}, later than {received_at.isoformat()}",
            to_do="ingest extracts in the order in which they came, or give a later --as-of",
        )


def newest_snapshot(connection: Connection) -> tuple[int | None, dict[str, int]]:
    """The snapshot that readers see, and its table versions; (None, {}) before the first."""
    row = connection.execute(
        select(snapshot.c.snapshot_id, snapshot.c.versions).order_by(snapshot.c.snapshot_id.desc()).limit(1)
    ).first()
    return (row.snapshot_id, dict(row.versions)) if row else (None, {})


def note_landed(connection: Connection, landed: Landed, contract: Contract, *, is_history: bool) -> None:
    """Write down that an extract lies in landing; one that is written down already stays."""
    insert_new(
        connection,
        extract,
        [
            {
                "extract_id": landed.extract_id,
                "source": landed.source,
                "site_id": contract.site_id,
                "received_at": landed.received_at,
                "digest": landed.digest,
                "is_history": int(is_history),
                "status": "landed",
            }
        ],
    )


def note_snapshot(connection: Connection, versions: Mapping[str, int], before: int | None, at: datetime) -> int:
    """Record what readers see from now on. Raises NotInOrder when somebody else committed meanwhile."""
    newest, _ = newest_snapshot(connection)
    if newest != before:
        raise NotInOrder(
            "another ingest was committed while this one ran", where=f"snapshot {newest}", to_do="run this again"
        )
    snapshot_id = (newest or 0) + 1
    insert_new(connection, snapshot, [{"snapshot_id": snapshot_id, "created_at": at, "versions": dict(versions)}])
    return snapshot_id


def note_committed(connection: Connection, landed: Landed, snapshot_id: int, *, is_history: bool) -> None:
    """Mark an extract committed with a snapshot."""
    connection.execute(
        update(extract)
        .where(extract.c.extract_id == landed.extract_id)
        .values(status="committed", snapshot_id=snapshot_id, is_history=int(is_history))
    )


def note_watermark(connection: Connection, landed: Landed) -> None:
    """Move on, and never back, from when the next export of the source asks, if this was a complete one.

    A server whose clock is ahead must not make the next export leave out what happens until then.
    """
    before = watermark_of(connection, landed.source, landed.asked)
    if landed.fetched_until is None or (before and before >= landed.fetched_until):
        return
    until = min(landed.fetched_until, landed.received_at)
    now = {"fetched_until": until, "asked": landed.asked, "extract_id": landed.extract_id}
    insert_new(connection, watermark, [{"source": landed.source, **now}])
    connection.execute(update(watermark).where(watermark.c.source == landed.source).values(**now))


def watermark_of(connection: Connection, source: str, asked: str) -> datetime | None:
    """Up to when a source has been fetched, by its server's clock; null before its first complete export.

    Null too where something else was asked for then: a type that is new to the contract has a past. Files that were
    brought count for whatever is asked for.
    """
    is_same = watermark.c.asked.in_((asked, "")) if asked else true()
    return connection.execute(select(watermark.c.fetched_until).where(watermark.c.source == source, is_same)).scalar()


def known_messages(
    connection: Connection, source: str, extract_id: str, keys: Sequence[str]
) -> list[tuple[str, str, str | None, bool]]:
    """The messages of earlier extracts that have one of these control keys, as integrations/hl7v2/control.py asks."""
    query = select(message.c.control_key, message.c.digest, message.c.sent_day, message.c.is_conflict).where(
        message.c.source == source, message.c.control_key.in_(keys), message.c.extract_id < extract_id
    )
    return [(row.control_key, row.digest, row.sent_day, bool(row.is_conflict)) for row in connection.execute(query)]


def note_messages(connection: Connection, landed: Landed, rows: list[dict[str, Any]], since: datetime) -> None:
    """Keep the messages of an extract by their control ids, and forget those received before `since`.

    A control id in conflict is kept: a retry must not let the other body in because the first one is forgotten.
    """
    own = {"source": landed.source, "extract_id": landed.extract_id, "received_at": landed.received_at}
    insert_new(connection, message, [{**own, **row, "is_conflict": int(row["is_conflict"])} for row in rows])
    in_conflict = select(message.c.control_key).where(message.c.source == landed.source, message.c.is_conflict == 1)
    connection.execute(
        delete(message).where(
            message.c.source == landed.source,
            message.c.received_at < since,
            message.c.control_key.not_in(in_conflict),
        )
    )


def note_accounts(connection: Connection, extract_id: str, accounts: Mapping[str, TableAccount]) -> None:
    """Write one row per table."""
    rows = [{"extract_id": extract_id, "table_name": name, **asdict(counts)} for name, counts in accounts.items()]
    insert_new(connection, account, rows)


def add_taken_up(connection: Connection, extract_id: str, table: str, mapped: int, rows_written: int) -> None:
    """Add to the account of an extract what was released of it later."""
    connection.execute(
        update(account)
        .where(account.c.extract_id == extract_id, account.c.table_name == table)
        .values(taken_up=account.c.taken_up + mapped, rows_written=account.c.rows_written + rows_written)
    )


def received_at(connection: Connection, source: str) -> dict[str, datetime]:
    """When each committed extract of a source was received."""
    query = select(extract.c.extract_id, extract.c.received_at).where(extract.c.source == source)
    return {row.extract_id: row.received_at for row in connection.execute(query)}


def note_out_of_scope(connection: Connection, extract_id: str, counts: Iterable[tuple[str, str, str, int]]) -> None:
    """Write (table, code, reason, record count)."""
    names = ("table_name", "code", "reason", "record_count")
    insert_new(
        connection, out_of_scope, [{"extract_id": extract_id, **dict(zip(names, row, strict=True))} for row in counts]
    )


def note_waiting(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Write records that wait for a patient or a stay."""
    insert_new(connection, waiting, rows)


def waiting_records(connection: Connection, table: str) -> list[Any]:
    """The records of one table that wait, of every source, with their place and what they wait for."""
    query = (
        select(
            waiting.c.waiting_id,
            waiting.c.source,
            waiting.c.extract_id,
            waiting.c.source_file,
            waiting.c.source_line,
            waiting.c.waits_for_table,
            waiting.c.waits_for,
        )
        .where(waiting.c.table_name == table, waiting.c.taken_up_at.is_(None))
        .order_by(waiting.c.waiting_id)
    )
    return list(connection.execute(query))


def waiting_count(connection: Connection) -> int:
    """How many records wait, of every source and table."""
    return int(connection.execute(select(func.count()).where(waiting.c.taken_up_at.is_(None))).scalar_one())


def note_taken_up(connection: Connection, waiting_ids: list[int], extract_id: str, at: datetime) -> None:
    """Close waiting records: they came in, or were set aside for another reason, with this extract."""
    for start in range(0, len(waiting_ids), 500):
        connection.execute(
            update(waiting)
            .where(waiting.c.waiting_id.in_(waiting_ids[start : start + 500]))
            .values(taken_up_at=at, taken_up_by=extract_id)
        )


def note_waits_on(connection: Connection, waiting_id: int, table: str, waits_for: str) -> None:
    """What a record waited for has come, and now it waits for something else."""
    connection.execute(
        update(waiting).where(waiting.c.waiting_id == waiting_id).values(waits_for_table=table, waits_for=waits_for)
    )


def forget(connection: Connection, landed: Landed) -> None:
    """Take back that an extract has landed: it was refused after all."""
    is_it = (extract.c.extract_id == landed.extract_id) & (extract.c.status == "landed")
    connection.execute(delete(extract).where(is_it))


def drop_superseded(connection: Connection, landed: Landed) -> list[str]:
    """Forget the extracts with the same bytes that landed before and were never committed, and return their ids."""
    is_superseded = (
        (extract.c.source == landed.source)
        & (extract.c.digest == landed.digest)
        & (extract.c.status == "landed")
        & (extract.c.extract_id != landed.extract_id)
    )
    found = list(connection.execute(select(extract.c.extract_id).where(is_superseded)).scalars())
    connection.execute(delete(extract).where(is_superseded))
    return found


def committed_ids(connection: Connection) -> list[tuple[str, str]]:
    """Every committed extract as (source, extract_id), oldest first."""
    query = (
        select(extract.c.source, extract.c.extract_id)
        .where(extract.c.status == "committed")
        .order_by(extract.c.received_at, extract.c.extract_id)
    )
    return [(row.source, row.extract_id) for row in connection.execute(query)]


def sources(connection: Connection) -> list[str]:
    """Every source that has a committed extract, by name."""
    return sorted({source for source, _ in committed_ids(connection)})
