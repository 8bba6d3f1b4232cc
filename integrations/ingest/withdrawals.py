"""A withdrawal takes back what is known: the newest version as it stands, marked is_retracted.

A record that is withdrawn may come without its content, and without its patient where the server only says that it is
deleted. What came of one resource (`<id>#<code>`, of a patient `<id>|<system>|<value>`) is withdrawn with it.
"""

import duckdb

from integrations.ingest.faults import needed
from integrations.ingest.judgement import Judgement
from integrations.ingest.words import kinds_of
from integrations.tables import NEWEST_FIRST

NOTHING_KNOWN = "withdraws_nothing_known"


def withdraw_known(connection: duckdb.DuckDBPyConnection, judgement: Judgement) -> None:
    """Put the known facts that it takes back in place of each sound withdrawal; one of nothing known stays."""
    sound = "is_retracted and fault is null and waits_for is null and scope_code is null"
    [(count,)] = connection.execute(f"select count(*) from judged where {sound}").fetchall()
    if count == 0:
        return
    every, key = f"every_{judgement.table}", judgement.declared.key
    names = ["effective_at", *(column.name for column in judgement.declared.columns if column.name != key)]
    status = {"status": "'entered_in_error' as status"} if judgement.table == "observation" else {}
    mark = "'|'" if judgement.table == "patient_link" else "'#'"
    kinds = kinds_of(connection, "judged")  # a code that codes.csv has dropped since is none of its words
    content = ", ".join(status.get(name, f'try_cast(newest."{name}" as {kinds[name]}) as "{name}"') for name in names)
    connection.execute(
        f"""
        create or replace temp table withdrawal as
        with
        withdrawn as (
            select fact_key, record_file, record_line, issued_at, available_at from judged where {sound}
        ),
        newest as (
            select *, {judgement.bucket_sql} as bucket, {key} as known_key, split_part({key}, {mark}, 1) as whole_key
            from {every}
            where {key} in (select fact_key from withdrawn)
               or split_part({key}, {mark}, 1) in (select fact_key from withdrawn)
            qualify row_number() over (
                partition by {key} order by {NEWEST_FIRST}
            ) = 1
        )
        select
            withdrawn.* exclude (fact_key), fact_key as withdrawn_key, newest.patient_id, known_key as fact_key, bucket,
            {f"known_key as {key}," if key != "patient_id" else ""} true as is_retracted, {content}
        from withdrawn join newest on fact_key = known_key or fact_key = whole_key
        """
    )
    connection.execute(f"delete from judged where {sound} and fact_key in (select withdrawn_key from withdrawal)")
    connection.execute(
        f"""
        update judged set scope_code = '{NOTHING_KNOWN}', scope_reason = '{NOTHING_KNOWN}'
        where {sound} and {"true" if judgement.table == "patient" else "patient_id is null"}
        """
    )
    connection.execute("insert into judged by name select * exclude (withdrawn_key) from withdrawal")
    for name in [*needed(judgement), *(["code"] if judgement.table == "observation" else [])]:
        connection.execute(f"update judged set fault = 'missing_field {name}' where {sound} and \"{name}\" is null")
