"""Which judged rows become new versions, and when each of them was known.

A fact that nobody has sent before is one version. One that is known, or comes more than once in the extract, is a
chain: the newest known version, then the rows by (issued_at, file, line); a row that says the same as the one before it
is unchanged. Of versions that were known at the same moment the earlier ones get a microsecond less each, so that the
last of the chain is the one that is seen. A stay that comes with its end and was not known before gives two versions.
So does a fact that turns out to be another patient's: what the former one had is withdrawn under that one's id, for the
two may lie in different buckets, and each is read alone.
"""

from collections.abc import Mapping

import duckdb

from integrations.duck import quoted
from integrations.ingest.judge import OPEN_VERSION
from integrations.ingest.judgement import Judgement
from integrations.ingest.words import kinds_of, word_sql
from integrations.tables import NEWEST_FIRST

# Where these stand, a record's rows are not looked at any further.
CANDIDATE = "fault is null and waits_for is null and scope_code is null"


def find_set_aside(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `set_aside`, the records of which a row is bad or waits, and `candidate`, the rows of the others."""
    connection.execute(
        """
        create or replace temp table set_aside as
        select record_file, record_line, bool_or(fault is not null) as is_bad
        from judged
        where fault is not null or waits_for is not null
        group by record_file, record_line
        """
    )
    connection.execute(
        f"""
        create or replace temp view candidate as
        select * from judged anti join set_aside using (record_file, record_line) where {CANDIDATE}
        """
    )


def find_chains(connection: duckdb.DuckDBPyConnection, judgement: Judgement, extract_id: str) -> None:
    """Make `contested`, the facts with more than one version at hand, and `chain`, those versions in order."""
    key = judgement.declared.key
    every = f"every_{judgement.table}"
    connection.execute(
        f"""
        create or replace temp table contested as
        with
        -- keys by their hash: to compare numbers is cheaper, and few facts are sent again
        twin as (select hash(fact_key) as mark from candidate group by mark having count(*) > 1),
        known as (select {key} from {every} semi join candidate on hash({every}.{key}) = hash(candidate.fact_key))
        select fact_key from candidate semi join twin on hash(fact_key) = mark
        union
        select fact_key from candidate semi join known on candidate.fact_key = known.{key}
        """
    )
    content = ", ".join(f'"{name}"' for name in ["patient_id", "effective_at", "is_retracted", *_content(judgement)])
    connection.execute(
        f"""
        create or replace table chain as
        with
        newest as (
            select *, {key} as fact_key
            from {every} semi join contested on {every}.{key} = contested.fact_key
            qualify row_number() over (
                partition by fact_key
                order by {NEWEST_FIRST}
            ) = 1
        ),
        every_version as (
            select
                fact_key, null as record_file, null as record_line, null as bucket,
                null as issued_at, null as closed_at,
                available_at + to_microseconds((extract_id > {quoted(extract_id)})::integer) as available_at, {content}
            from newest
            union all by name
            select fact_key, record_file, record_line, bucket, issued_at, closed_at, available_at, {content}
            from candidate semi join contested using (fact_key)
        ),
        numbered as (
            select
                *,
                row_number() over chain_order as place,
                lag(row({content})) over chain_order as before,
                row({content}) as content,
                min(available_at) filter (record_line is null) over (partition by fact_key) as not_before
            from every_version
            window chain_order as (
                partition by fact_key order by record_line is not null, issued_at nulls first, record_file, record_line
            )
        )
        select
            * exclude (before, content),
            place = 1 as is_first,
            record_line is not null and (place = 1 or content is distinct from before) as is_new
        from numbered
        """
    )


def make_fresh(connection: duckdb.DuckDBPyConnection, judgement: Judgement, extract_id: str) -> None:
    """Make `fresh`, the versions to write, with the columns of the lake; each bucket of it is read apart."""
    kinds = kinds_of(connection, "judged")
    names = ["fact_key", "record_file", "record_line", "bucket", "patient_id", "effective_at", "is_retracted"]
    names += [name for name in _content(judgement) if name not in names]
    listed = ", ".join(f'"{name}"' for name in names)
    as_judged = ", ".join(f'"{name}"::{kinds[name]} as "{name}"' for name in names)
    connection.execute(
        f"""
        create or replace temp table chained as
        with in_order as (
            select
                *,
                greatest(coalesce(closed_at, available_at), not_before) as own_at,
                row_number() over (partition by fact_key order by place) as step
            from chain
            where is_new
        )
        select
            {as_judged},
            min(own_at - to_microseconds(step)) over (
                partition by fact_key order by step rows between current row and unbounded following
            ) + to_microseconds(step) as known_at,
            available_at,
            is_first and closed_at is not null as is_split,
            place
        from in_order
        """
    )
    _find_given_away(connection, judgement, kinds)
    final = f"""
        final as (
            select {listed}, coalesce(closed_at, available_at) as known_at, available_at,
                closed_at is not null as is_split
            from candidate anti join contested using (fact_key)
            union all
            select {listed}, known_at, available_at, is_split from chained
            union all
            select {listed}, known_at, available_at, false from given_away
        )"""
    opened = OPEN_VERSION.get(judgement.table)
    columns = _written(judgement, extract_id)
    select = f"select {columns} from final"
    if opened:
        replaced = ", ".join(f"{value} as {name}" for name, value in opened.items())
        select = f"""
        select {columns} from final
        union all
        select {columns}
        from (
            select * replace ({replaced}, least(available_at, known_at - interval 1 microsecond) as known_at)
            from final where is_split
        )"""
    connection.execute(f"create or replace temp view fresh as with {final}\n{select}")


def _find_given_away(connection: duckdb.DuckDBPyConnection, judgement: Judgement, kinds: Mapping[str, str]) -> None:
    """Make `given_away`: of each new version of another patient than the one before it, the end of that one's."""
    names = [name for name in _content(judgement) if name != "patient_id"]
    content = ", ".join(f'try_cast(former."{name}" as {kinds[name]}) as "{name}"' for name in names)
    connection.execute(
        f"""
        create or replace temp table given_away as
        select
            former.fact_key, now.record_file, now.record_line, now.known_at, now.available_at,
            former.patient_id::{kinds["patient_id"]} as patient_id, former.effective_at, true as is_retracted, {content}
        from chained as now
        join chain as former on former.fact_key = now.fact_key and former.place = now.place - 1
        where former.patient_id <> now.patient_id and not former.is_retracted
        """
    )
    connection.execute("alter table given_away add column bucket integer")
    connection.execute(f"update given_away set bucket = {judgement.bucket_sql}")


def _content(judgement: Judgement) -> list[str]:
    return [column.name for column in judgement.declared.columns]


def _written(judgement: Judgement, extract_id: str) -> str:
    """The columns of the lake, by name, from those at hand."""
    given = {
        "source": word_sql(judgement.contract.source),
        "site_id": word_sql(judgement.contract.site_id),
        "available_at": "known_at",
        "is_available_at_inferred": str(judgement.is_history).lower(),
        "extract_id": word_sql(extract_id),
        "source_file": "record_file",
        "source_line": "record_line",
    }
    names = [column.name for column in judgement.declared.all_columns]
    return ", ".join(f'{given[name]} as "{name}"' if name in given else f'"{name}"' for name in names)
