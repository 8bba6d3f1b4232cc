"""A hospital of any size, written straight to the canonical tables: one stay a patient, bucket by bucket.

One patient in ten comes back within the month, so that there is something to learn. The laboratory, which brings half
of the results, knows everybody by a number of its own; where it has none, all comes by one feed. Every row is an
arithmetic of the patient's number: the same size gives the same hospital.
"""

from datetime import UTC, datetime
from pathlib import Path

import duckdb
from sqlalchemy import insert

from flows.house import House
from integrations.duck import connect
from integrations.records import schema as s
from integrations.settings import Settings
from integrations.tables import DUCKDB_TYPES, TABLES

TAKEN_AT, NIGHT = datetime(2024, 7, 1, tzinfo=UTC), datetime(2024, 7, 2, tzinfo=UTC)
RESULTS_EACH = 12
CODES = ("2160-0", "3094-0", "2951-2", "2823-3", "718-7", "6690-2", "777-3", "2345-7", "8867-4", "8480-6", "9279-1")
STAY = "timestamptz '2023-01-01' + to_hours((hash(p) % 12000)::bigint)"
HEAD = "'demo_ehr' as source, 'demo' as site_id, 'demo_ehr/p' || p as patient_id"
LAB_HEAD = "'demo_lis' as source, 'demo' as site_id, 'demo_lis/' || p as patient_id"
TAIL = "true as is_available_at_inferred, false as is_retracted, 'demo_ehr-1' as extract_id, 'x' as source_file"
ROWS = {
    "patient": f"""
        select {HEAD}, date '1930-01-01' + (hash(p, 1) % 22000)::integer as birth_date,
            ['female', 'male'][1 + p % 2] as sex, false as is_deceased, {STAY} as effective_at, {STAY} as available_at,
            {TAIL} from person""",
    "encounter": f"""
        select {HEAD}, 'demo_ehr/e' || p || '-' || n as encounter_id, 'inpatient' as class,
            ['emergency', 'urgent', 'elective'][(1 + hash(p, n) % 3)::bigint] as admission_type,
            'home' as admission_source,
            {STAY} + to_days(20 * n) as started_at,
            case when is_ended then started_at + to_hours((24 + hash(p, 2) % 200)::bigint) end as ended_at,
            case when is_ended then 'home' end as discharge_disposition, started_at as effective_at,
            coalesce(ended_at, started_at) as available_at, {TAIL}
        from person, range(1 + (hash(p, 3) % 10 = 0)::integer) as stay (n), (values (false), (true)) as v (is_ended)""",
    "condition": f"""
        select {HEAD}, 'demo_ehr/c' || p || '-' || n as condition_id, 'billing' as kind, 'icd-10-cm' as code_system,
            ['I509', 'E119', 'N183', 'J449', 'I10'][(1 + hash(p, n, 4) % 5)::bigint] as code, {STAY} as effective_at,
            {STAY} as available_at, {TAIL}
        from person, range(3) as diagnosis (n)""",
    "observation": f"""
        select {HEAD}, 'demo_ehr/o' || p || '-' || n as observation_id, 'laboratory' as category,
            {list(CODES)}[1 + n % {len(CODES)}] as code, 0.5 + (hash(p, n, 5) % 400) / 100 as value_number,
            'final' as status, false as is_extreme, {STAY} + to_hours(2 * n + 1) as effective_at,
            {STAY} + to_hours(2 * n + 2) as available_at, {TAIL}
        from person, range({RESULTS_EACH}) as result (n)""",
    "patient_link": f"""
        select {HEAD}, 'demo_ehr/p' || p || '#mrn' as link_id, 'mrn' as system, p::varchar as value,
            {STAY} as effective_at, {STAY} as available_at, {TAIL}
        from person""",
}
WITHOUT_LAB = ROWS | {"observation": f"{ROWS['observation']} where n % 2 = 0"}
OF_THE_LAB = {
    "patient_link": ROWS["patient_link"].replace(HEAD, LAB_HEAD).replace("'demo_ehr/p' ||", "'demo_lis/' ||"),
    "observation": f"{ROWS['observation'].replace(HEAD, LAB_HEAD).replace('ehr/o', 'lis/o')} where n % 2 = 1",
}


def house_of(home: Path, bucket_count: int) -> House:
    """A house whose lake has so many buckets."""
    return House(Settings(home=home, bucket_count=bucket_count))


def write_hospital(house: House, patient_count: int, *, has_lab: bool = True) -> None:
    """Write the hospital into a house whose lake is empty, and let readers see it.

    Without the laboratory its results come by the EHR's feed, so everybody has one number.
    """
    house.lake.create()
    connection = connect(house.settings.temp, memory_limit_mb=1000)
    of_feeds = {"demo_ehr/p": WITHOUT_LAB, "demo_lis/": OF_THE_LAB} if has_lab else {"demo_ehr/p": ROWS}
    for feed, its_rows in of_feeds.items():
        bucket = house.lake.bucket_sql(f"'{feed}' || p")
        connection.execute(
            f"create or replace table everybody as select p, {bucket} as b from range({patient_count}) as t (p)"
        )
        for number in range(house.settings.bucket_count):
            connection.execute(f"create or replace temp view person as select p from everybody where b = {number}")
            for name, sql in its_rows.items():
                write(house, connection, name, f"x-{number}", sql)
    connection.close()
    note_snapshot(house, TAKEN_AT)


def write(house: House, connection: duckdb.DuckDBPyConnection, table: str, extract_id: str, rows: str) -> None:
    """Write rows of the persons in view into a table; columns not given are null."""
    given = {name for name, *_ in connection.execute(f"describe {rows}").fetchall()}
    listed = ", ".join(
        column.name if column.name in given else f"null::{DUCKDB_TYPES[column.kind]} as {column.name}"
        for column in TABLES[table].all_columns
        if column.name not in ("bucket", "source_line")
    )
    house.lake.write(connection, table, f"select {listed}, 1 as source_line from ({rows})", extract_id=extract_id)


def note_snapshot(house: House, at: datetime) -> None:
    """Let readers see what the lake holds now."""
    with house.records.begin() as connection:
        connection.execute(insert(s.snapshot).values(created_at=at, versions=house.lake.versions()))
