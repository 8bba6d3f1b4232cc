"""What became of each record of a table, and what has to be kept of those that were set aside."""

from collections import Counter

import duckdb

from integrations.duck import quoted
from integrations.ingest.judgement import Judgement
from integrations.ingest.places import SetAside
from integrations.ingest.releases import HOLDS
from integrations.tables import TABLES

# A record with several rows counts by the strongest: quarantined > waiting > mapped > unchanged > out_of_scope.
RANKS = {5: "quarantined", 4: "waiting", 3: "mapped", 2: "unchanged", 1: "out_of_scope"}
RANK = """
    case
        when fault is not null then 5
        when waits_for is not null then 4
        when scope_code is not null then 1
        when fact_key in (select fact_key from contested) then 0
        else 3
    end
"""


def make_aside(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `aside`, for the records of all tables that were quarantined or wait; `left_out`, out of scope; `hold`."""
    connection.execute(
        """
        create or replace table aside (
            table_name varchar, source varchar, extract_id varchar, record_file varchar, record_line bigint,
            is_bad boolean, fault varchar, waits_for_table varchar, waits_for varchar,
            patient_id varchar, code varchar, fact_key varchar, issued_at timestamptz, effective_at timestamptz,
            is_history boolean, released_at timestamptz
        );
        create or replace table left_out (
            table_name varchar, record_file varchar, record_line bigint, code varchar, reason varchar
        )
        """
    )
    connection.execute(HOLDS)


def find_outcomes(connection: duckdb.DuckDBPyConnection) -> Counter[str]:
    """Make `outcome`, one row per record of `judged`, and count them; 0 is a record that got lost."""
    connection.execute(
        f"""
        create or replace table outcome as
        select record_file, record_line, max(rank) as rank
        from (
            select record_file, record_line, {RANK} as rank from judged
            union all
            select record_file, record_line, case when is_new then 3 else 2 end from chain where record_line is not null
        )
        group by record_file, record_line
        """
    )
    counted = connection.execute("select rank, count(*) from outcome group by rank").fetchall()
    return Counter({RANKS.get(rank, "lost"): count for rank, count in counted})


def keep_aside(connection: duckdb.DuckDBPyConnection, judgement: Judgement, extract_id: str) -> None:
    """Add to `aside` every row of a record that was set aside: a bad row, and those that are withheld with it.

    A withdrawal has no code there: it hides no result, so it holds nothing.
    """
    columns = {column.name for column in TABLES[judgement.table].columns}
    code = (
        "coalesce(code::varchar, local_code::varchar, unknown_code)"
        if judgement.table == "observation"
        else "code"
        if "code" in columns
        else "null"
    )
    connection.execute(
        f"""
        insert into aside
        select
            {quoted(judgement.table)}, {quoted(judgement.contract.source)}, {quoted(extract_id)},
            record_file, record_line, is_bad, fault, waits_for_table, waits_for,
            patient_id, case when is_retracted then null else {code} end, fact_key,
            case when fault is distinct from 'impossible_time issued_at' and {_fits("issued_at")} then issued_at end,
            case when {_fits("effective_at")} then effective_at end,
            {judgement.is_history}, null
        from judged join set_aside using (record_file, record_line)
        """
    )


def _fits(instant: str) -> str:
    """Whether records can hold an instant: DuckDB knows years before Christ and after 9999."""
    return f"{instant} between timestamptz '0002-01-01 00:00:00+00' and timestamptz '9998-12-31 00:00:00+00'"


def keep_left_out(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Add to `left_out` every record that is out of scope, under one of its codes."""
    connection.execute(
        f"""
        insert into left_out
        select {quoted(table)}, record_file, record_line, min(scope_code), arg_min(scope_reason, scope_code)
        from judged semi join (from outcome where rank = 1) using (record_file, record_line)
        group by record_file, record_line
        """
    )


def left_out_counts(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str, int]]:
    """How many records were out of scope: (table, code, reason, count)."""
    return connection.execute(
        "select table_name, code, any_value(reason), count(*) from left_out group by table_name, code order by all"
    ).fetchall()


def quarantined_by_reason(connection: duckdb.DuckDBPyConnection, extract_id: str) -> dict[str, int]:
    """How many records of an extract were quarantined, by the first reason of each."""
    rows = connection.execute(
        """
        select reason, count(*)
        from (
            select split_part(min(fault), ' ', 1) as reason
            from aside
            where is_bad and extract_id = $extract_id
            group by table_name, record_file, record_line
        )
        group by reason
        order by reason
        """,
        {"extract_id": extract_id},
    ).fetchall()
    return {str(reason): int(count) for reason, count in rows}


def set_aside_by_table(connection: duckdb.DuckDBPyConnection, extract_id: str) -> list[SetAside]:
    """How many records of an extract were not taken in, by table, outcome and the first reason of each."""
    rows = connection.execute(
        """
        with by_record as (
            select
                table_name,
                case when is_bad then 'quarantined' else 'waiting' end as outcome,
                case
                    when is_bad then split_part(min(fault), ' ', 1)
                    when bool_and(waits_for_table = 'encounter') then 'for its encounter'
                    else 'for its patient'
                end as reason
            from aside
            where extract_id = $extract_id
            group by table_name, record_file, record_line, is_bad
            union all
            select table_name, 'out_of_scope', reason from left_out
        )
        select table_name, outcome, reason, count(*)
        from by_record
        group by table_name, outcome, reason
        order by list_position(['quarantined', 'waiting', 'out_of_scope'], outcome), count(*) desc, table_name, reason
        """,
        {"extract_id": extract_id},
    ).fetchall()
    return [
        SetAside(table=table, outcome=outcome, reason=reason, records=count) for table, outcome, reason, count in rows
    ]
