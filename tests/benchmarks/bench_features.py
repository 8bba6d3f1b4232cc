"""What the feature store costs beside the same SQL run by hand: 200,000 spine rows over a million observations."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features.definitions import view, view_names
from features.parquet_files import ROW_GROUP_ROWS
from integrations.duck import connect, quoted
from tests.benchmarks.row import Row, peak_mb

PATIENTS, SPINE_ROWS_EACH, RESULTS_EACH, PAIRS = 20_000, 10, 50, 3
BOUND = 2.0
KNOWN = "timestamptz 'infinity' as superseded_at, false as is_retracted"
PATIENT = "'ehr/p' || p as patient_id"
TABLES = {
    "same_person": f"""select {PATIENT}, patient_id as other_patient_id, timestamptz '-infinity' as available_at,
        timestamptz 'infinity' as superseded_at from stay""",
    "feed": """select 'ehr' as source, 'demo' as site_id, 'America/Chicago' as time_zone, interval 1 day as lateness,
        ['medication', 'procedure', 'imaging_study'] as tables, []::varchar[] as not_told""",
    "patient": f"""select 'ehr' as source, {PATIENT}, date '1950-01-01' as birth_date, 'female' as sex,
        timestamptz '2000-01-01' as available_at, {KNOWN} from stay""",
    "encounter": f"""select 'ehr' as source, {PATIENT}, 'ehr/e' || p as encounter_id, 'inpatient' as class,
        'Oncology' as service,
        'emergency' as admission_type, 'home' as admission_source, null as discharge_disposition, started_at,
        null::timestamptz as ended_at, started_at as available_at, {KNOWN} from stay""",
    "condition": f"""select {PATIENT}, 'icd-10-cm' as code_system, ['I509', 'N183', 'I10'][1 + p % 3] as code,
        timestamptz '2000-01-01' as available_at, {KNOWN} from stay""",
    "observation": f"""select {PATIENT}, ['2160-0', '2823-3', '718-7', '8867-4', '8480-6'][1 + n % 5] as code,
        1 + (hash(p, n) % 400) / 100 as value_number, started_at + to_hours(4 * n) as effective_at,
        started_at + to_hours(4 * n + 1) as available_at, {KNOWN} from stay, range({RESULTS_EACH}) as r (n)""",
    "medication": f"""select {PATIENT}, 'ehr/e' || p as encounter_id, 'rxnorm' as code_system, (n % 7)::varchar as code,
        null::varchar as name, 'completed' as status, started_at + to_hours(9 * n) as started_at,
        started_at + to_hours(12 * n + 24) as ended_at, started_at + to_hours(9 * n) as effective_at,
        started_at + to_hours(9 * n) as available_at, {KNOWN} from stay, range(10) as r (n)""",
    "procedure": f"""select {PATIENT}, 'ehr/e' || p as encounter_id, 'cpt' as code_system, n::varchar as code,
        started_at + to_hours(30 * n) as effective_at, started_at + to_hours(30 * n + 2) as available_at, {KNOWN}
        from stay, range(3) as r (n)""",
    "imaging_study": f"""select {PATIENT}, 'ehr/e' || p as encounter_id, ['CT', 'MR', 'DX'][1 + n] as modality,
        started_at + to_hours(30 * n) as effective_at, started_at + to_hours(30 * n + 2) as available_at, {KNOWN}
        from stay, range(3) as r (n)""",
    "spine": f"""select 'demo' as site_id, {PATIENT}, 'ehr/e' || p as encounter_id,
        started_at + to_hours(20 * n + 12) as prediction_time from stay, range({SPINE_ROWS_EACH}) as r (n)""",
}
STAY = f"""create table stay as
    select p, timestamptz '2024-01-01' + to_hours(p % 2000) as started_at from range({PATIENTS}) as t (p)"""


def rows() -> Iterator[Row]:
    """Yield CPU seconds by hand and the ratio of ours to it; each run is a process of its own, in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make(folder)
        runs = [{side: _measured(side, folder) for side in ("hand", "store")} for _ in range(PAIRS)]
        ratio = median(run["store"]["cpu"] / run["hand"]["cpu"] for run in runs)
        cpu = {side: median(run[side]["cpu"] for run in runs) for side in ("hand", "store")}
        peak = {side: max(run[side]["peak_mb"] for run in runs) for side in ("hand", "store")}
        told = {side: f"{cpu[side]:.2f} CPU s, {peak[side]:.0f} MB" for side in cpu}
        yield Row(
            what=f"features, {len(view_names())} views: 200,000 spine rows over 1M observations, to Parquet",
            figure=ratio,
            unit="x by hand",
            bound=BOUND,
            is_bound="at most",
            detail=f"store {told['store']}; by hand {told['hand']}",
        )


def _make(folder: Path) -> None:
    connection = connect(folder / "tmp")
    connection.execute(STAY)
    for name, sql in TABLES.items():
        connection.execute(f"copy ({sql}) to {quoted(folder / f'{name}.parquet')} (format parquet)")
    connection.close()


def _measured(side: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_features", side, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _run(side: str, folder: Path) -> dict[str, float]:
    connection = connect(folder / "tmp")
    for name in TABLES:
        if name != "spine":
            connection.execute(f"create table {name} as from read_parquet({quoted(folder / f'{name}.parquet')})")
    spine = pq.read_table(folder / "spine.parquet")
    begin = time.process_time()
    _with_store(connection, spine, folder) if side == "store" else _by_hand(connection, spine, folder)
    return {"cpu": time.process_time() - begin, "peak_mb": peak_mb()}


def _with_store(connection: duckdb.DuckDBPyConnection, spine: pa.Table, folder: Path) -> None:
    from features.store import FeatureStore

    FeatureStore(folder / "features").compute(connection, view_names(), spine, name="bench", snapshot_id=1)


def _by_hand(connection: duckdb.DuckDBPyConnection, spine: pa.Table, folder: Path) -> None:
    connection.register("spine", spine)
    for each in (view(name) for name in view_names()):
        for path in each.reference_tables:
            connection.execute(
                f"create or replace table {path.stem} as from read_csv({quoted(path)}, all_varchar = true)"
            )
        path = folder / f"{each.name}_by_hand.parquet"
        options = f"format parquet, row_group_size {ROW_GROUP_ROWS}"
        connection.execute(f"copy ({each.sql}) to {quoted(path)} ({options})")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_run(sys.argv[1], Path(sys.argv[2]))))
