"""From what messages said of persons, in the order in which they came, to rows of patient.

What a message does not say stays as it was, by the messages before it and by what the lake knows; a merge or a transfer
often names the patient by number alone.
"""

import duckdb

from integrations.tables import NEWEST_FIRST

TAKEN_BACK = '""'
SAID = ("birth_date", "sex", "is_deceased", "deceased_at")


def fold_persons(connection: duckdb.DuckDBPyConnection, source: str) -> None:
    """Complete the rows of `sent_patient`."""
    columns = ",\n            ".join(f"{_completed(column)} as {column}" for column in SAID)
    connection.execute(
        f"""
        create or replace temp table sent_patient as
        with known as (
            select
                substr(patient_id, {len(source) + 2}) as patient_id,
                strftime(birth_date, '%Y%m%d') as birth_date,
                sex,
                is_deceased,
                strftime(deceased_at at time zone 'UTC', '%Y%m%d%H%M%S.%f+0000') as deceased_at
            from every_patient
            where patient_id in (select $source || '/' || patient_id from sent_patient)
            qualify not is_retracted and row_number() over (
                partition by patient_id order by {NEWEST_FIRST}
            ) = 1
        )
        select sent.* replace (
            {columns}
        )
        from sent_patient as sent left join known using (patient_id)
        window so_far as (
            partition by sent.patient_id order by record_file, record_line
            rows between unbounded preceding and current row
        )
        order by record_file, record_line
        """,
        {"source": source},
    )


def _completed(column: str) -> str:
    said = f"last_value(case when problem is null then sent.{column} end ignore nulls) over so_far"
    now = f"coalesce({said}, known.{column})"
    if column != "is_deceased":
        now = f"nullif({now}, '{TAKEN_BACK}')"
    return f"case when problem is null and not is_empty then {now} else sent.{column} end"
