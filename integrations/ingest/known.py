"""Which patients and stays are known: those in the lake, and those that came in earlier in the same ingest."""

from collections.abc import Mapping

import duckdb

from integrations.contract import Contract
from integrations.duck import quoted
from integrations.ingest.judgement import Judgement
from integrations.lake import Lake
from integrations.tables import DUCKDB_TYPES, TABLES

REFERRED_TO = ("patient", "patient_link", "encounter")


def open_lake(connection: duckdb.DuckDBPyConnection, lake: Lake, versions: Mapping[str, int]) -> None:
    """Make `every_<table>`: all rows of each table at these versions, and those that this ingest has taken up."""
    for table in TABLES.values():
        columns = [column for column in table.all_columns if column.name != "bucket"]
        kinds = ", ".join(f'"{column.name}" {DUCKDB_TYPES[column.kind]}' for column in columns)
        connection.execute(f"create or replace temp table taken_up_{table.name} ({kinds})")
        rows = f"from taken_up_{table.name}"
        if files := lake.files(table.name, versions[table.name]) if versions.get(table.name) else []:
            names = ", ".join(f'"{column.name}"' for column in columns)
            listed = ", ".join(quoted(file) for file in files)
            rows = f"select {names} from read_parquet([{listed}], hive_partitioning = false) union all {rows}"
        connection.execute(f"create or replace temp view every_{table.name} as {rows}")
    connection.execute(
        """
        create or replace temp table arrived (
            table_name varchar, fact_key varchar, source varchar, system varchar, value varchar, ended_at timestamptz
        )
        """
    )


def count_as_known(connection: duckdb.DuckDBPyConnection, table: str, written: str) -> None:
    """Let what comes later in this ingest see the versions of `written`."""
    connection.execute(f"insert into taken_up_{table} by name select * exclude (bucket) from {written}")


def remember(connection: duckdb.DuckDBPyConnection, table: str, written: str) -> None:
    """Add the facts of `written` to what may be referred to."""
    if table not in REFERRED_TO:
        return
    link = "system, value" if table == "patient_link" else "null, null"
    ended = "ended_at" if table == "encounter" else "null"
    connection.execute(
        f"insert into arrived select {quoted(table)}, {TABLES[table].key}, source, {link}, {ended} from {written}"
    )


def find_unknown(connection: duckdb.DuckDBPyConnection, table: str, contract: Contract) -> None:
    """Mark in `judged` the rows that wait: first for their patient, then for their stay."""
    if table != "patient":
        waits_for_table = "patient" if contract.has_own_patients else "patient_link"
        _mark(connection, "patient_id", waits_for_table, known_patients_sql(contract))
    if table != "encounter" and any(column.name == "encounter_id" for column in TABLES[table].columns):
        _mark(connection, "encounter_id", "encounter", KNOWN_ENCOUNTERS)


KNOWN_ENCOUNTERS = """
    select encounter_id as id from every_encounter
    union all
    select fact_key from arrived where table_name = 'encounter'
"""


def known_patients_sql(contract: Contract) -> str:
    """The ids of the patients whom the feed may speak of: its own, or those whom another feed has linked."""
    if contract.patients_of is None or contract.has_own_patients:
        return """
            select patient_id as id from every_patient
            union all
            select fact_key from arrived where table_name = 'patient'
        """
    scope = quoted(contract.source + "/")
    source, system = quoted(contract.patients_of.source), quoted(contract.patients_of.system)
    return f"""
        select {scope} || value as id from every_patient_link where source = {source} and system = {system}
        union all
        select {scope} || value from arrived
        where table_name = 'patient_link' and source = {source} and system = {system}
    """


def find_encounter_end(connection: duckdb.DuckDBPyConnection, judgement: Judgement) -> None:
    """Date the rows of `judged` by the end of their stay; a stay without end, or no stay, means received_at."""
    received = judgement.received_sql
    connection.execute(
        """
        create or replace temp table encounter_end as
        with referred as (
            select distinct encounter_id from judged where encounter_id is not null
        ),
        ending as (
            select encounter_id, ended_at, row(available_at, not is_retracted) as place
            from every_encounter semi join referred using (encounter_id)
            union all
            select fact_key, ended_at, row(timestamptz 'infinity', true) from arrived
            where table_name = 'encounter' and ended_at is not null
        )
        select encounter_id, arg_max(ended_at, place) as ended_at from ending group by encounter_id
        """
    )
    rule = f"next_extract(ended_at + to_seconds({int(judgement.rule.history.plus.total_seconds())}))"
    known = rule if judgement.contract.is_date_shifted else f"least({rule}, {received})"
    connection.execute(
        f"""
        update judged
        set available_at = coalesce(
            (select {known} from encounter_end where encounter_end.encounter_id = judged.encounter_id), {received}
        )
        """
    )


def _mark(connection: duckdb.DuckDBPyConnection, column: str, waits_for_table: str, known: str) -> None:
    sound = "fault is null and scope_code is null and waits_for is null"
    connection.execute(
        f"""
        create or replace temp table unknown as
        with referred as (
            select distinct {column} as id from judged where {sound} and {column} is not null
        )
        select id from referred anti join ({known}) using (id)
        """
    )
    connection.execute(
        f"""
        update judged set waits_for_table = {quoted(waits_for_table)}, waits_for = {column}
        where {sound} and {column} in (select id from unknown)
        """
    )
