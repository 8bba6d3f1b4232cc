"""Figures of one extract, taken from its judged rows while they are at hand: one pass per question, columns only."""

from collections.abc import Mapping
from pathlib import Path

import duckdb

from integrations.watch.bounds import REMEMBERED
from integrations.watch.extent import Extent

HERE = Path(__file__).parent
SAMPLED = 20_000  # rows from which patients and percentiles are taken
# What a sender writes where there is nothing; an empty word is no value either.
NOTHING = ("NA", "N/A", "NULL", "NONE", "NAN", "NIL", "UNKNOWN", "-", "--", "---", "----", ".", "?", "")
COLUMNS = """
    kind varchar, subject varchar, code varchar, day date, value_count integer, patient_count integer,
    part_count integer, low double, middle double, high double,
    hours struct("hour" bigint, result_count integer, patient_hours double)[]
"""
LONGEST_SUBJECT = 120  # letters: what a sender writes for a code has no end
# What a sender writes is printed for people: line ends and escapes in it would forge lines, or steer a terminal.
PLAIN = rf"regexp_replace(left({{0}}, {LONGEST_SUBJECT}), '\p{{{{C}}}}', '�', 'g')"


def begin(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `watch_figure`, which the steps below fill, and `moved`, where patients lie by this extract."""
    connection.execute(f"create or replace temp table watch_figure ({COLUMNS})")
    connection.execute(
        """
        create or replace temp table moved (
            location_id varchar, encounter_id varchar, ward varchar, started_at timestamptz, ended_at timestamptz,
            is_retracted boolean, available_at timestamptz
        )
        """
    )


def measure_table(connection: duckdb.DuckDBPyConnection, extent: Extent, table: str, repeated_count: int) -> None:
    """Take the figures of one table from `judged`; repeated_count: its records that said nothing new."""
    if not extent.is_watched:
        return
    if table == "encounter_location":
        _measure_wards(connection, extent)
    elif table == "observation":
        _measure_results(connection, extent, repeated_count)


def measure_volume(connection: duckdb.DuckDBPyConnection, extent: Extent) -> None:
    """Count the results of each ward by hour, from `judged`, `moved` and what the lake knows of where patients lie."""
    given = {"since": extent.since_at, "until": extent.received_at, "encounters_of": extent.contract.encounters_of}
    _take(connection, "seen_volume", extent, **given)


def measure_senders(connection: duckdb.DuckDBPyConnection, extent: Extent) -> None:
    """Count the messages of each sender (HL7 v2, MSH-3 and MSH-4)."""
    if not extent.is_watched or extent.contract.kind != "hl7v2":
        return
    connection.execute(
        f"""
        insert into watch_figure by name
        select 'sender' as kind, {PLAIN.format("sender")} as subject, $day::date as day, count(*) as value_count,
            count(*) as patient_count, 0 as part_count
        from sent_message
        where extract_id = $extract_id
        group by subject
        """,
        {"day": extent.day, "extract_id": extent.extract_id},
    )


def _measure_wards(connection: duckdb.DuckDBPyConnection, extent: Extent) -> None:
    _take(connection, "seen_wards", extent, since=extent.since_at)
    if not extent.is_history:
        connection.execute(
            """
            insert into moved by name
            select location_id, encounter_id, ward, started_at, ended_at, is_retracted, available_at
            from judged
            where fault is null and scope_code is null and location_id is not null
            """
        )


def _measure_results(connection: duckdb.DuckDBPyConnection, extent: Extent, repeated_count: int) -> None:
    [(row_count,)] = connection.execute("select count(*) from judged").fetchall()
    step = max(1, row_count // SAMPLED)
    lateness = extent.contract.lateness.total_seconds() / 60
    since = _since(extent)
    _make(connection, "counted_result", "count_results", extent, since=since, nothing=list(NOTHING))
    _make(connection, "sampled_result", "sample_results", extent, since=since, step=step)
    _take(connection, "seen_codes", extent)
    _take(connection, "seen_marks", extent, lateness_minutes=lateness)
    if extent.is_history:
        _remember_old_codes(connection, extent)
        return
    connection.execute(
        """
        insert into watch_figure by name
        select 'duplicates' as kind, 'observation' as subject, $day::date as day, count(*) as value_count,
            0 as patient_count,
            $repeated + count(*) filter (scope_code is not null and scope_code::varchar = 'repeated_message')
                as part_count
        from judged
        union all
        select 'age', 'observation', $day::date, ceil((epoch($received_at::timestamptz) - epoch(max(issued_at))) / 60),
            0, 0
        from judged
        having max(issued_at) is not null
        """,
        {"day": extent.day, "repeated": repeated_count, "received_at": extent.received_at},
    )
    measure_volume(connection, extent)


def _remember_old_codes(connection: duckdb.DuckDBPyConnection, extent: Extent) -> None:
    """Of a code that history knows, though not in its last weeks, one row: it is not new when it comes again."""
    connection.execute(
        """
        insert into watch_figure by name
        select 'code' as kind, subject, any_value(code) as code, max(day) as day, 0 as value_count,
            0 as patient_count, 0 as part_count
        from (
            select
                local_code::varchar as subject, code::varchar as code, (issued_at at time zone $zone)::date as day
            from judged
            where code is not null and issued_at < $since
        )
        where subject not in (select subject from watch_figure where kind = 'code')
        group by subject
        """,
        {"zone": extent.contract.time_zone, "since": _since(extent)},
    )


def _since(extent: Extent) -> object:
    return extent.received_at - REMEMBERED if extent.is_history else extent.since_at


def _make(connection: duckdb.DuckDBPyConnection, name: str, question: str, extent: Extent, **given: object) -> None:
    sql, wanted = _asked(question, extent, given)
    connection.execute(f"create or replace temp table {name} as {sql}", wanted)


def _take(connection: duckdb.DuckDBPyConnection, question: str, extent: Extent, **given: object) -> None:
    sql, wanted = _asked(question, extent, given)
    connection.execute(
        f"""
        insert into watch_figure by name
        select * replace ({PLAIN.format("subject")} as subject, {PLAIN.format("code")} as code)
        from ({sql})
        where day is not null and subject is not null
        """,
        wanted,
    )


def _asked(question: str, extent: Extent, given: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """The SQL of a question, and those of its values that it names."""
    sql = (HERE / f"{question}.sql").read_text(encoding="utf-8")
    known = {"is_history": extent.is_history, "zone": extent.contract.time_zone, "day": extent.day, **given}
    return sql, {name: value for name, value in known.items() if f"${name}" in sql}
