"""A snapshot of the lake as relations: every version of every fact, and until when it was the last one known.

A result that came twice for one person is seen once; see copies.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from integrations.copies import VERSION, find_copies
from integrations.duck import quoted
from integrations.identity import make_same_person
from integrations.reading import Reading, column_names, find_linked, open_rows, replace_relation, take_linked
from integrations.tables import TABLES, VERSION_ORDER, Table

IDENTITY_TABLES = ("patient", "patient_link")


@dataclass(frozen=True, kw_only=True)
class Feed:
    """What SQL may ask about a feed: its site, its clock, how late it may be, and when it went live."""

    source: str
    site_id: str
    time_zone: str
    lateness: timedelta
    go_live_at: datetime | None = None
    is_date_shifted: bool = False  # every patient's dates are moved: "now" is after all of them
    is_authoritative_for: tuple[str, ...] = ()
    tables: tuple[str, ...] = tuple(TABLES)  # what it may bring: of another table nothing is known, which is not zero
    not_told: tuple[str, ...] = ()  # what it does not tell of them, as encounter:emergency


def open_relations(connection: duckdb.DuckDBPyConnection, reading: Reading, feeds: Iterable[Feed]) -> None:
    """Make the relations of a snapshot: the canonical tables with superseded_at, same_person and feed."""
    feeds = list(feeds)
    count = reading.buckets.count if reading.buckets else 1
    linked = reading.linked or find_linked(connection, reading.files.get("patient_link", ()), count)
    take_linked(connection, reading, linked)
    for name in with_identity(reading.tables):
        open_rows(connection, reading, linked, TABLES[name])
        if name == "observation":
            find_copies(connection, [feed.source for feed in feeds if name in feed.is_authoritative_for])
        replace_relation(connection, name, _as_of_sql(TABLES[name], reading), materialize=reading.materialize)
        if name == IDENTITY_TABLES[-1]:
            make_same_person(connection)
    _make_feed(connection, feeds)


def with_identity(tables: Sequence[str]) -> list[str]:
    """Return the tables in the order in which they are made: those of identity come first, asked for or not."""
    return [*IDENTITY_TABLES, *(name for name in tables if name not in IDENTITY_TABLES)]


def _as_of_sql(table: Table, reading: Reading) -> str:
    """Return the SQL of a table with superseded_at.

    Few keys have a second version, so only those are sorted; keys are compared by hash, and two keys of one hash are
    merely sorted in vain. A fact that moves to another patient is withdrawn of the former one by the same record.
    """
    columns = {name: f'"{name}"' for name in column_names(table, reading.columns)} | {"superseded_at": "superseded_at"}
    where, with_copies = "true", ""
    if table.name == "observation":
        if reading.codes is not None:
            where = f"code in ({', '.join(map(quoted, reading.codes))})" if reading.codes else "false"
        columns["available_at"] = "greatest(available_at, seen_from) as available_at"  # null is no limit
        columns["superseded_at"] = "least(superseded_at, seen_until) as superseded_at"
        with_copies = f"left join copy using ({VERSION})"
    return f"""
    with repeated as (
        select hash({table.key}) as key_hash
        from every_{table.name}
        group by key_hash
        having count(*) > 1
    ),
    known as (
        select *, timestamptz 'infinity' as superseded_at
        from every_{table.name}
        where hash({table.key}) not in (from repeated)
        union all
        select
            *,
            lead(available_at, 1, timestamptz 'infinity') over (
                partition by {table.key}
                order by {VERSION_ORDER}
            ) as superseded_at
        from every_{table.name}
        where hash({table.key}) in (from repeated)
    )
    select {", ".join(columns.values())}
    from known
    {with_copies}
    where {where}
    """


def _make_feed(connection: duckdb.DuckDBPyConnection, feeds: Iterable[Feed]) -> None:
    connection.execute(
        "create or replace temp table feed (source varchar, site_id varchar, time_zone varchar, lateness interval, "
        "go_live_at timestamptz, is_date_shifted boolean, tables varchar[], not_told varchar[])"
    )
    for feed in feeds:
        connection.execute(
            "insert into feed values (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                feed.source,
                feed.site_id,
                feed.time_zone,
                feed.lateness,
                feed.go_live_at,
                feed.is_date_shifted,
                list(feed.tables),
                list(feed.not_told),
            ],
        )
