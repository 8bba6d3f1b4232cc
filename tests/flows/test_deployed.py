"""The deployed way: a Prefect server, the deployments of prefect.yaml, and a worker that runs them in processes."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.demo import start_clean
from flows.server import PACE, api_url, down, environment, free_port, up
from integrations.errors import EnvironmentFault, Refused
from integrations.records import open_records
from integrations.settings import CHECKOUT, load_settings
from integrations.synthetic_hospital.hospital import Hospital
from integrations.synthetic_hospital.write import write_hospital
from tests.flows.cluster import dask_cluster
from tests.flows.conftest import USE_CASE, Rounds, approve_and_go_live, copied
from tests.flows.served import STARTED, TIME_OUT_SECONDS, Prefect

pytestmark = [pytest.mark.deployed, pytest.mark.xdist_group("deployed")]

SPAN = ("--from", "2024-04-01", "--to", "2024-04-30")
# A lake as small as this one is cut into parts, as though memory were scarce.
IN_PARTS = """
import sys, flows.house
flows.house.TIMES_IN_MEMORY = 1_000
from flows.cli import main
sys.exit(main(sys.argv[1:]))
"""
HOSPITAL = Hospital(patients=1000, nights=0, scenario="none", seed=1)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    """A hospital with a live version, too small for its gate: that is taken for passed."""
    folder = tmp_path_factory.mktemp("deployed")
    files, rounds = write_hospital(HOSPITAL, folder / "files"), Rounds(folder / "home")
    at = ("--as-of", files.history_taken_at.isoformat())
    rounds.done("ingest", "demo_ehr", "--from", str(files.history), "--history", *at)
    rounds.done("train", USE_CASE, *at)
    records = open_records(load_settings({"ROUNDS_HOME": str(rounds.home)}).records)
    with records.begin() as connection:
        connection.exec_driver_sql("update model_version set gate = 'pass'")
    records.close()
    approve_and_go_live(rounds, folder)
    return rounds


@pytest.fixture(scope="module")
def prefect(live: Rounds) -> Iterator[Prefect]:
    settings = load_settings({"ROUNDS_HOME": str(live.home)})
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what runs in the background
    server = up(settings, free_port())
    signal.signal(signal.SIGINT, heard)
    prefect = Prefect(server.url, live, settings)
    yield prefect
    prefect.client.close()
    down(settings)


@pytest.mark.parametrize(
    ("deployment", "hours"),
    [
        ("score_readmission_30d", {(0, 45)}),
        ("score_aki_48h", {(0, 45), (6, 45), (12, 45), (18, 45)}),
        ("write_back", {(1, 0), (7, 0), (13, 0), (19, 0)}),
        ("monitor_readmission_30d", {(4, 0)}),
        ("monitor_aki_48h", {(4, 15)}),
    ],
)
def test_the_rounds_are_planned_without_anybody_asking(
    prefect: Prefect, deployment: str, hours: set[tuple[int, int]]
) -> None:
    deadline = time.monotonic() + TIME_OUT_SECONDS
    while not (planned := prefect.planned_hours(deployment)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert planned
    assert planned <= hours  # a few runs ahead


def test_a_deployed_round_scores_who_is_due_and_sends_it(prefect: Prefect) -> None:
    before = prefect.rounds.done("outbox", "--json").json["acknowledged"]
    later = "2024-07-01T05:15:00+00:00"
    run = prefect.ended(prefect.start("score/score_aki_48h", as_of=later))
    assert run["state"]["type"] == "COMPLETED"
    assert prefect.rounds.done("outbox", "--json").json["queued"] > 0
    assert prefect.ended(prefect.start("write_back/write_back", as_of=later))["state"]["type"] == "COMPLETED"
    assert prefect.rounds.done("outbox", "--json").json["acknowledged"] > before


def test_the_steps_of_a_deployed_flow_are_its_tasks_and_its_log_says_the_rows(prefect: Prefect) -> None:
    [run] = prefect.runs_of("score_aki_48h")
    body = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    tasks = prefect.client.post("/task_runs/filter", json=body).raise_for_status().json()
    names = {task["name"].rpartition("-")[0] for task in tasks}
    assert {"approved model", "due rows", "known of", "score batch", "keep"} <= names
    logs = prefect.client.post("/logs/filter", json={"logs": {"flow_run_id": {"any_": [run["id"]]}}})
    messages = [log["message"] for log in logs.raise_for_status().json()]
    assert [message for message in messages if "due rows in" in message and "queued for the EHR" in message]


def test_a_parameter_that_is_no_choice_of_the_form_is_refused(prefect: Prefect) -> None:
    with pytest.raises(httpx.HTTPStatusError) as refused:
        prefect.start("train/train", use_case="no_such_use_case")
    assert refused.value.response.status_code in (409, 422)


def test_a_drift_event_runs_train_for_its_use_case_and_promotes_nothing(prefect: Prefect) -> None:
    event = {
        "id": "6b6e3c2e-0000-4000-8000-000000000001",
        "occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "event": "rounds.drift",
        "resource": {"prefect.resource.id": "rounds.use-case.aki_48h"},
        "payload": {"use_case": "aki_48h", "breach_ids": [1]},
    }
    prefect.client.post("/events", json=[event]).raise_for_status()
    deadline = time.monotonic() + TIME_OUT_SECONDS
    while not (runs := prefect.runs_of("train")) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert [run["parameters"]["use_case"] for run in runs] == ["aki_48h"]
    assert prefect.ended(runs[0]["id"])["state"]["type"] == "COMPLETED"
    versions = prefect.rounds.done("versions", "aki_48h", "--json").json["versions"]
    assert [version["version"] for version in versions] == [1, 2]
    assert versions[0]["aliases"] == ["champion"]
    records = open_records(prefect.settings.records)
    with records.read() as connection:
        trainers = connection.exec_driver_sql("select trained_by from model_version where use_case = 'aki_48h'")
        assert trainers.scalars().all() == ["unnamed", "service:train"]
    records.close()


def test_a_command_runs_as_a_flow_where_a_server_is_configured(
    prefect: Prefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "write-back", "--as-of", "2024-07-01T06:00:00Z", "--json"],
        env=environment(prefect.settings, str(prefect.client.base_url).rstrip("/")),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    body = {"flows": {"name": {"any_": ["write_back"]}}}
    runs = prefect.client.post("/flow_runs/filter", json=body).raise_for_status().json()
    assert [run for run in runs if run["deployment_id"] is None]


def test_what_the_clock_starts_is_run_by_the_worker(prefect: Prefect) -> None:
    deployment = prefect.client.get("/deployments/name/write_back/write_back").raise_for_status().json()["id"]
    missed = {"start_time": (datetime.now(UTC) - timedelta(days=1)).isoformat(), "max_runs": 1}
    prefect.client.post(f"/deployments/{deployment}/schedule", json=missed).raise_for_status()
    body = {
        "deployments": {"name": {"any_": ["write_back"]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}},
    }
    by_clock: list[dict[str, Any]] = []
    deadline = time.monotonic() + TIME_OUT_SECONDS
    while not by_clock and time.monotonic() < deadline:
        time.sleep(0.5)
        ended = prefect.client.post("/flow_runs/filter", json=body).raise_for_status().json()
        by_clock = [run for run in ended if run["auto_scheduled"]]
    assert by_clock[0]["state"]["type"] == "COMPLETED"


@pytest.fixture(scope="module")
def alone(prefect: Prefect, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What one process makes of the past."""
    rounds = copied(prefect.rounds, tmp_path_factory.mktemp("alone"))
    rounds.done("backfill", USE_CASE, *SPAN)
    scores = _backfilled(rounds)
    assert len(scores) > 200
    return scores


@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_parts_spread_on_one_machine_give_what_one_process_gives(
    prefect: Prefect, alone: list[Any], tmp_path: Path, runner: str
) -> None:
    spread = copied(prefect.rounds, tmp_path)
    settings, url = load_settings({"ROUNDS_HOME": str(spread.home)}), str(prefect.client.base_url).rstrip("/")
    done = subprocess.run(
        [sys.executable, "-c", IN_PARTS, "backfill", USE_CASE, *SPAN, "--json"],
        env={**environment(settings, url), "ROUNDS_TASK_RUNNER": runner},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"4 parts, spread by {runner}" in done.stderr
    assert _backfilled(spread) == alone


def test_a_cluster_gives_what_one_process_gives_though_a_worker_is_killed(
    prefect: Prefect, alone: list[Any], tmp_path: Path
) -> None:
    """Parts spread over two workers, one of which dies with a part in hand: that part is tried again, no more."""
    spread = copied(prefect.rounds, tmp_path)
    settings, url = load_settings({"ROUNDS_HOME": str(spread.home)}), str(prefect.client.base_url).rstrip("/")
    with dask_cluster(settings, url, 2, tmp_path) as cluster:
        killed = subprocess.Popen(
            [sys.executable, "-c", IN_PARTS, "backfill", USE_CASE, *SPAN, "--json"],
            env=cluster.environment,
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            text=True,
        )
        worker = cluster.busy_worker()
        cluster.kill(worker)
        out, _ = killed.communicate(timeout=TIME_OUT_SECONDS)
        assert f"Remove worker addr: {worker} " in (tmp_path / "scheduler.log").read_text(encoding="utf-8")
    assert killed.returncode == 0
    assert _backfilled(spread) == alone
    said = json.loads(out[out.index("{") :])
    assert said["due"] == said["scored"] + said["held"] + said["excluded"] == said["new_scores"] == len(alone)


def _backfilled(rounds: Rounds) -> list[Any]:
    records = open_records(load_settings({"ROUNDS_HOME": str(rounds.home)}).records)
    columns = (
        "site_id, patient_id, encounter_id, prediction_time, horizon_starts_at, version, status, probability, band, "
        "is_at_or_above_threshold, reasons, explanation"
    )
    with records.read() as connection:
        found = connection.exec_driver_sql(f"select {columns} from score where purpose = 'backfill' order by 3, 4")
        rows = [tuple(row) for row in found]
    records.close()
    return rows


def test_no_patient_stands_in_what_the_server_keeps(prefect: Prefect) -> None:
    runs = prefect.client.post("/flow_runs/filter", json={"flow_runs": STARTED}).raise_for_status().text
    logs = prefect.client.post("/logs/filter", json={}).raise_for_status().text
    scores = prefect.rounds.done("scores", "aki_48h", "--json").json["scores"]
    ids = {row["patient_id"] for row in scores} | {row["source_encounter_id"] for row in scores}
    assert ids
    for file in prefect.rounds.home.glob("landing/demo_ehr/*/Patient*.ndjson"):  # all of them were learnt from
        sent = [json.loads(line)["id"] for line in file.read_text(encoding="utf-8").splitlines()]
        ids |= {*sent, *(f"demo_ehr/{one}" for one in sent)}
    assert len(ids) > 2 * 500
    assert not [one for one in ids if f'"{one}"' in runs + logs or f"{one} " in runs + logs]


def test_the_pace_is_one_that_prefect_knows_and_an_operator_may_set_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from prefect.settings import Settings as PrefectSettings

    for name in PACE:
        monkeypatch.delenv(name, raising=False)
    settings = load_settings({"ROUNDS_HOME": str(tmp_path)})
    ours = environment(settings, "http://127.0.0.1:1/api")
    monkeypatch.setenv("PREFECT_WORKER_QUERY_SECONDS", "30")
    assert environment(settings, "http://127.0.0.1:1/api")["PREFECT_WORKER_QUERY_SECONDS"] == "30"
    for name in PACE:
        monkeypatch.setenv(name, ours[name])
    known = PrefectSettings()
    recorder = known.server.services.task_run_recorder
    assert (recorder.batch_size, recorder.flush_interval, known.worker.query_seconds) == (100, 1, 2)


def test_a_second_server_on_the_same_home_is_refused(prefect: Prefect) -> None:
    with pytest.raises(Refused, match="is running already"):
        up(prefect.settings, free_port())
    with pytest.raises(Refused, match="make down"):
        start_clean(prefect.settings)


def test_a_port_in_use_is_a_fault_of_the_environment(prefect: Prefect, tmp_path: Path) -> None:
    from flows.server import start_server

    port = prefect.client.base_url.port
    assert port is not None
    assert api_url(port) == str(prefect.client.base_url).rstrip("/")
    with pytest.raises(EnvironmentFault, match=f"port {port} is in use"):
        start_server(load_settings({"ROUNDS_HOME": str(tmp_path)}), port)


def test_the_worker_ends_when_it_is_asked_though_a_shell_started_it_in_the_background(prefect: Prefect) -> None:
    assert down(prefect.settings) == ["worker", "server"]
    log = prefect.settings.home / "prefect" / "worker.log"
    assert "stopped!" in log.read_text(encoding="utf-8")
