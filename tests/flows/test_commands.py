"""What a person meets at the command line: help, errors, exit codes, JSON."""

import csv
import hashlib
import io
import json
import os
import pty
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tests.flows.conftest import USE_CASE, PlayedHospital, Rounds

pytestmark = pytest.mark.xdist_group("played hospital")

CHECKOUT = Path(__file__).resolve().parents[2]
HEAVY = ("feast", "mlflow", "sklearn", "scipy", "skops", "shap", "evidently", "prefect", "dask", "fhir")
READING = (
    ["tables", "--json"],
    ["quarantine", "--json"],
    ["versions", USE_CASE, "--json"],
    ["people", "list", "--json"],
    ["scores", USE_CASE, "--csv"],
    ["runs", "--json"],
    ["outbox", "--json"],
    ["report", USE_CASE, "--json"],
    ["audit", "verify", "--json"],
    ["doctor", "--json"],
)
IN_ONE_PROCESS = """
import contextlib, io, json, sys
from flows.cli import main
heavy, commands = json.loads(sys.argv[1])
known, said = set(), {}
for command in commands:
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(command)
    opened = [name for name in heavy if name in sys.modules and name not in known]
    known.update(opened)
    said[" ".join(command)] = [code, opened]
print(json.dumps(said))
"""


def commands() -> list[list[str]]:
    from flows.cli import app

    group = typer.main.get_command(app)
    found = []
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found += [[name, sub] for sub in inner] if inner else [[name]]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_explains_itself(command: list[str], rounds: Rounds) -> None:
    answer = rounds(*command, "--help")
    assert answer.code == 0
    sentence = answer.out.split("\n\n")[0:2]
    assert len(" ".join(sentence)) > 40


@pytest.mark.parametrize("command", [command for command in READING if "--json" in command], ids=" ".join)
def test_a_command_that_prints_data_prints_one_json_document(command: list[str], played: PlayedHospital) -> None:
    assert isinstance(played.rounds.done(*command).json, dict)


@pytest.fixture(scope="module")
def opened(played: PlayedHospital) -> dict[str, list[Any]]:
    """Of each reading command its exit code and the heavy libraries that it opened, all in one fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", IN_ONE_PROCESS, json.dumps([HEAVY, READING])],
        env={**os.environ, "ROUNDS_HOME": str(played.rounds.home)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    beside_a_list = ("excluded, and not in the list: ", "who they are: ")
    others = [line for line in done.stderr.splitlines() if not line.startswith(beside_a_list)]
    assert (done.returncode, others) == (0, [])
    said: dict[str, list[Any]] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_command_that_only_reads_opens_no_heavy_library(command: list[str], opened: dict[str, list[Any]]) -> None:
    assert opened[" ".join(command)] == [0, []]


def test_the_script_and_the_module_are_the_same_from_any_folder(played: PlayedHospital, tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "rounds"
    outputs = {
        subprocess.run(
            [*command, "outbox", "--json"],
            env={**os.environ, "ROUNDS_HOME": str(played.rounds.home)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for command in ([str(script)], [sys.executable, "-m", "flows.cli"])
    }
    assert [set(json.loads(output)) for output in outputs] == [{"queued", "sent", "acknowledged", "failed", "dead"}]
    assert list(tmp_path.iterdir()) == []


def shown_on_a_terminal(home: Path, **environment: str) -> str:
    ours, theirs = pty.openpty()
    without = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    command = [sys.executable, "-m", "flows.cli", "versions", "aki_48"]
    environment = {**without, "TERM": "xterm-256color", "ROUNDS_HOME": str(home), **environment}
    try:
        subprocess.run(command, cwd=CHECKOUT, env=environment, stdout=theirs, stderr=theirs, check=False)
        return os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_an_error_is_red_on_a_terminal_but_not_where_no_color_is_set(tmp_path: Path) -> None:
    red = "\x1b[31m"
    assert red in shown_on_a_terminal(tmp_path)
    plain = shown_on_a_terminal(tmp_path, NO_COLOR="1")
    assert red not in plain
    assert "did you mean aki_48h?" in plain


def test_what_a_hospital_leaves_behind_is_for_its_owner_only(played: PlayedHospital) -> None:
    home = played.rounds.home
    assert [path for path in (home, *home.rglob("*")) if path.stat().st_mode & 0o077] == []
    checks = {check["name"]: check for check in played.rounds.done("doctor", "--json").json["checks"]}
    assert checks["home"]["state"] == "in order"


def test_doctor_names_a_file_that_others_may_read(rounds: Rounds) -> None:
    rounds.done("tables")
    (rounds.home / "records.db").chmod(0o644)
    checks = {check["name"]: check for check in rounds("doctor", "--json").json["checks"]}
    assert checks["home"]["state"] == "not in order"
    assert "records.db" in checks["home"]["finding"]


def test_an_unknown_use_case_is_wrong_usage_with_a_hint(rounds: Rounds) -> None:
    answer = rounds("versions", "aki_48")
    assert answer.code == 2
    assert "did you mean aki_48h?" in answer.err


def test_an_unknown_option_is_wrong_usage(rounds: Rounds) -> None:
    assert rounds("tables", "--jsn").code == 2


def test_an_unknown_setting_names_its_line(rounds: Rounds) -> None:
    rounds.home.mkdir()
    (rounds.home / "settings.yaml").write_text("# ours\nbukcet_count: 4\n")
    answer = rounds("tables")
    assert answer.code == 2
    assert "settings.yaml, line 2" in answer.err
    assert "did you mean bucket_count?" in answer.err


def test_a_time_without_offset_is_wrong_usage(rounds: Rounds) -> None:
    answer = rounds("runs", "--as-of", "2024-07-01T06:00:00")
    assert answer.code == 2
    assert "has no offset" in answer.err


def test_a_folder_that_cannot_be_written_is_a_fault_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Rounds(tmp_path / "file" / "home")("tables").code == 3


def test_before_anything_came_in_the_commands_say_so(rounds: Rounds) -> None:
    assert rounds.done("tables", "--json").json == {"tables": []}
    assert rounds.done("scores", USE_CASE, "--csv").out.count("\n") == 1
    refused = rounds("train", USE_CASE)
    assert refused.code == 1
    assert "nothing has been ingested yet" in refused.err


def test_without_an_approved_version_nobody_is_scored(played: PlayedHospital) -> None:
    answer = played.rounds("score", "readmission_30d")
    assert answer.code == 1
    assert "no approved version" in answer.err


def test_too_few_patients_are_said_plainly_and_the_candidate_is_kept(played: PlayedHospital) -> None:
    at = played.files.history_taken_at.isoformat()
    plan = played.rounds.done("train", "readmission_30d", "--as-of", at, "--dry-run", "--json").json
    answer = played.rounds.done("train", "readmission_30d", "--as-of", at, "--as", "Ada")
    assert f"{plan['rows']:,} rows in, {plan['held']:,} held rows left out" in answer.out
    assert "too few patients to judge" in answer.out
    [version] = played.rounds.done("versions", "readmission_30d", "--json").json["versions"]
    assert version["gate"] == "not enough data"
    assert version["aliases"] == []
    ben = ("--as", "Ben", "--key", str(played.rounds.home.parent / "ben.key"), "--reason", "hope")
    refused = played.rounds("approve", "readmission_30d", "1", *ben)
    assert refused.code == 1
    assert "says not enough data: There are too few patients to judge" in refused.err
    scored = played.rounds.done("score", "readmission_30d", "--all-due", "--version", "1", "--as-of", at, "--json").json
    assert scored["scored"] == scored["due"] - scored["excluded"] > 0
    assert scored["queued"] == 0
    scores = played.rounds.done("scores", "readmission_30d", "--json").json["scores"]
    assert {row["purpose"] for row in scores} == {"backfill"}


def test_an_ingest_says_in_words_which_files_it_did_not_take(rounds: Rounds, tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    sent.mkdir()
    (sent / "132101.txt").write_text("Time,Parameter,Value\n00:00,RecordID,132101\n00:00,Age,70\n")
    for name in (".DS_Store", "132102.txt", "notes.docx", "README"):
        (sent / name).write_bytes(b"")
    said = rounds.done("ingest", "physionet2012", "--from", str(sent)).out.splitlines()
    assert "1 files left aside: an operating system put them there by itself" in said
    assert "files out of scope: 1 description" in said
    assert "files out of scope: 1 its name is not that of a stay (six digits and .txt), nor of outcomes" in said
    assert "quarantined: 3 bad_value" in said
    assert not [line for line in said if "132102" in line]


def test_the_worklist_is_the_same_as_csv_and_as_json(played: PlayedHospital) -> None:
    rows = played.rounds.done("scores", USE_CASE, "--json").json["scores"]
    table = list(csv.DictReader(io.StringIO(played.rounds.done("scores", USE_CASE, "--csv").out)))
    assert len(table) == len(rows) > 0
    assert list(table[0]) == list(rows[0])
    assert [row["score_id"] for row in table] == [row["score_id"] for row in rows]
    assert {row["encounter_id"] for row in table} == {f"demo_ehr/{row['source_encounter_id']}" for row in table}


def test_the_tables_report_names_every_table_of_every_source(played: PlayedHospital) -> None:
    entries = played.rounds.done("tables", "--json").json["tables"]
    assert {entry["source"] for entry in entries} == {"demo_ehr", "demo_lis"}
    assert len(entries) == 2 * 9
    assert set(entries[0]) == {
        "table",
        "source",
        "records",
        "facts",
        "versions",
        "patients",
        "first_available_at",
        "last_available_at",
        "out_of_scope",
        "waiting",
        "quarantined",
    }
    empty = next(entry for entry in entries if (entry["table"], entry["source"]) == ("encounter", "demo_lis"))
    assert (empty["records"], empty["facts"], empty["first_available_at"]) == (0, 0, None)


def test_every_screen_can_be_read_as_a_table_too(played: PlayedHospital) -> None:
    for command in READING:
        plain = [word for word in command if word not in ("--json", "--csv")]
        assert played.rounds.done(*plain).out.strip()


def test_the_monitor_says_what_it_saw_and_plans_without_a_trace(played: PlayedHospital) -> None:
    at = ("--as-of", played.files.nights[-1].round_at.isoformat())
    plan = played.rounds.done("monitor", USE_CASE, "--dry-run", "--json", *at).json
    assert plan["rows"] == played.deeds[f"monitor {len(played.files.nights)}"]["rows"]
    answer = played.rounds.done("monitor", USE_CASE, *at)
    assert f"{USE_CASE} version 1" in answer.out
    evaluation, drift = played.rounds.done("report", USE_CASE, "--json").json["reports"]
    assert (evaluation["kind"], evaluation["version"], drift["kind"]) == ("evaluation", 1, "drift")
    for report in (evaluation, drift):
        content = Path(report["path"]).read_bytes()
        assert content.lstrip().lower().startswith(b"<!doctype html>")
        assert hashlib.sha256(content).hexdigest() == report["sha256"]
        assert report["state"] == "as written"
    assert {body["report_hash"] for body in approvals(played.rounds)} == {evaluation["sha256"]}


def test_an_unexpected_fault_does_not_print_its_message(rounds: Rounds, capsys: pytest.CaptureFixture[str]) -> None:
    from flows.cli import app, main

    @app.command("fail-for-this-test", hidden=True)
    def fail() -> None:
        raise KeyError("Jane Doe")

    try:
        assert main(["fail-for-this-test"]) == 1
    finally:
        app.registered_commands.pop()
    said = capsys.readouterr()
    assert "unexpected KeyError" in said.err
    assert "Doe" not in said.out + said.err


def approvals(rounds: Rounds) -> list[dict[str, Any]]:
    """What was signed, as the chain has it."""
    with sqlite3.connect(rounds.home / "records.db") as connection:
        return [json.loads(body) for (body,) in connection.execute("select body from audit where kind = 'approved'")]
