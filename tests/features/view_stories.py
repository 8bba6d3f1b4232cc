"""Run the stories of a view: the spine is what they ask for, the view's SQL answers."""

from pathlib import Path

import duckdb
import pyarrow as pa

from features.definitions import View
from features.parquet_files import view_rows
from models.case_runner import expanded, is_same, keyed
from models.cases import SITE, Cases, encounter_key, load_cases

STORIES = Path(__file__).parent / "stories"


def stories_of(view: str) -> Cases:
    """Read the stories of one view."""
    return load_cases(STORIES / f"{view}.yaml")


def spine_of(cases: Cases) -> pa.Table:
    """Ask for every stay and time that a story expects something of."""
    rows = []
    for number, case in enumerate(cases.cases):
        patient_of = {str(fact["id"]): str(fact["patient"]) for fact in case.facts["encounter"]}
        for name in case.expect.features:
            for (encounter_id, at), _ in expanded(number, {name: case.expect.features[name]}):
                patient_id = encounter_key(number, patient_of[name])
                rows.append({"patient_id": patient_id, "encounter_id": encounter_id, "prediction_time": at})
    instants = pa.timestamp("us", "UTC")
    schema = pa.schema([("patient_id", pa.string()), ("encounter_id", pa.string()), ("prediction_time", instants)])
    table = pa.Table.from_pylist(rows, schema=schema)
    return table.append_column("site_id", pa.array([SITE] * table.num_rows, pa.string()))


def differences(connection: duckdb.DuckDBPyConnection, view: View, cases: Cases) -> dict[str, list[str]]:
    """Return for each story where the view answers otherwise; the facts are open in the connection."""
    rows = keyed(view_rows(connection, view, spine_of(cases)))
    found: dict[str, list[str]] = {}
    for number, case in enumerate(cases.cases):
        found[case.story] = [
            f"{name} of {key}: expected {value}, found {rows[key].get(name, 'no such feature')}"
            for key, values in expanded(number, case.expect.features)
            for name, value in values.items()
            if not is_same(value, rows[key].get(name, "no such feature"))
        ]
    return found
