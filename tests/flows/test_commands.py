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

from tests.flows.conftest import USE_CASE, PlayedHospital, Rounds, copied

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


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_command_that_only_reads_opens_no_heavy_library(command: list[str], played: PlayedHospital) -> None:
    program = (
        "import sys; from flows.cli import main; code = main(sys.argv[1:]); "
        f"sys.stderr.write(','.join(name for name in {HEAVY!r} if name in sys.modules)); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command],
        env={**os.environ, "ROUNDS_HOME": str(played.rounds.home)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


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


def test_who_trains_is_somebody_registered_once_anybody_is(rounds: Rounds, tmp_path: Path) -> None:
    assert "nothing has been ingested yet" in rounds("train", USE_CASE, "--as", "Adda").err
    rounds.done("people", "add", "Ada Osei", "--role", "governance", "--key-out", str(tmp_path / "ada.key"))
    for dry_run in ([], ["--dry-run"]):
        refused = rounds("train", USE_CASE, "--as", "Ada Osej", *dry_run)
        assert refused.code == 1
        assert "Ada Osej is not registered" in refused.err
        assert "did you mean Ada Osei?" in refused.err
        assert "nothing has been ingested yet" in rounds("train", USE_CASE, "--as", "ada  osei", *dry_run).err
    assert "nothing has been ingested yet" in rounds("train", USE_CASE).err
    assert "no name of a person" in rounds("train", USE_CASE, "--as", "service:train").err


def test_a_stage_at_a_mistyped_site_is_wrong_usage_and_changes_nothing(played: PlayedHospital, tmp_path: Path) -> None:
    rounds = copied(played.rounds, tmp_path)
    ada = ("--as", "Ada", "--key", str(played.rounds.home.parent / "ada.key"), "--reason", "patients harmed")
    before = rounds.done("audit", "verify", "--json").json
    for stage in ("off", "silent", "live"):
        answer = rounds("stage", USE_CASE, stage, "--site", "demi", *ada)
        assert answer.code == 2
        assert "did you mean demo?" in answer.err
    assert rounds.done("audit", "verify", "--json").json == before


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


def test_a_report_that_was_touched_or_taken_away_is_said(played: PlayedHospital, tmp_path: Path) -> None:
    rounds = copied(played.rounds, tmp_path)
    for state in ("as written", "changed", "missing"):
        evaluation = rounds.done("report", USE_CASE, "--json").json["reports"][0]
        assert evaluation["state"] == state
        path = Path(evaluation["path"])
        if state == "as written":
            path.chmod(0o600)
            path.write_bytes(path.read_bytes() + b" ")
        elif state == "changed":
            path.unlink()


def test_a_model_that_was_touched_is_refused(played: PlayedHospital, tmp_path: Path) -> None:
    rounds = copied(played.rounds, tmp_path)
    for model in (rounds.home / "mlflow").rglob("model.skops"):  # whichever of them is the champion's
        model.chmod(0o600)
        model.write_bytes(model.read_bytes() + b" ")
    answer = rounds("score", USE_CASE, "--as-of", played.files.nights[-1].round_at.isoformat())
    assert answer.code == 1
    assert "was changed after the version was registered" in answer.err


def test_a_registry_that_is_lost_stops_a_training_before_it_begins(played: PlayedHospital, tmp_path: Path) -> None:
    import shutil

    rounds = copied(played.rounds, tmp_path)
    shutil.rmtree(rounds.home / "mlflow")
    answer = rounds("train", USE_CASE, "--as-of", played.files.history_taken_at.isoformat())
    assert answer.code == 1
    assert "records keep aki_48h up to version 1, MLflow knows none of them" in answer.err
    assert f"where: {rounds.home / 'mlflow'}" in answer.err
    assert "do:    put this folder back from the backup" in answer.err


def test_a_chain_that_was_touched_is_found(played: PlayedHospital, tmp_path: Path) -> None:
    rounds = copied(played.rounds, tmp_path)
    with sqlite3.connect(rounds.home / "records.db") as connection:
        for (name,) in connection.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            connection.execute(f"drop trigger {name}")
        connection.execute("update audit set body = replace(body, 'Ben', 'Bea') where seq = 2")
    answer = rounds("audit", "verify")
    assert answer.code == 1
    assert "entry 2" in answer.out
    assert rounds("doctor").code == 1


def test_a_chain_whose_end_was_cut_off_is_found_by_the_head_that_was_kept(
    played: PlayedHospital, tmp_path: Path
) -> None:
    rounds = copied(played.rounds, tmp_path)
    ada = ("--as", "Ada", "--key", str(played.rounds.home.parent / "ada.key"), "--reason", "patients harmed")
    rounds.done("stage", USE_CASE, "off", "--site", "demo", *ada)
    head = rounds.done("audit", "verify", "--json").json["head"]
    assert f"--anchor: {head}" in rounds.done("audit", "verify", "--anchor", head).out
    with sqlite3.connect(rounds.home / "records.db") as connection:
        guards = connection.execute("select name, sql from sqlite_master where type = 'trigger'").fetchall()
        for name, _ in guards:
            connection.execute(f"drop trigger {name}")
        connection.execute("delete from audit where seq = (select max(seq) from audit)")
        for _, statement in guards:
            connection.execute(statement)
    for command in (("audit", "verify"), ("audit", "verify", "--anchor", head), ("doctor", "--json")):
        found = rounds(*command)
        assert found.code == 1
        assert "missing at the end" in found.out
    (rounds.home / "audit_head").unlink()
    assert rounds("audit", "verify").code == 0
    assert rounds("audit", "verify", "--anchor", head).code == 1
    assert rounds("audit", "verify", "--anchor", "nothing").code == 2


def test_a_use_case_that_is_off_scores_nobody_and_sends_nothing(played: PlayedHospital, tmp_path: Path) -> None:
    rounds = copied(played.rounds, tmp_path)
    ada = ("--as", "Ada", "--key", str(played.rounds.home.parent / "ada.key"), "--reason", "stop")
    rounds.done("stage", USE_CASE, "off", "--site", "demo", *ada)
    later = "2024-07-07T11:15:00+00:00"
    run = rounds.done("score", USE_CASE, "--as-of", later, "--json").json
    assert (run["due"], run["new_scores"]) == (0, 0)


def test_decisions_are_planned_signed_and_refused(played: PlayedHospital, tmp_path: Path) -> None:
    rounds = copied(played.rounds, tmp_path)
    key = played.rounds.home.parent
    ada, ben = (
        ("--as", name, "--key", str(key / f"{name.lower()}.key"), "--reason", "because") for name in ("Ada", "Ben")
    )
    before = rounds.done("audit", "verify", "--json"), (rounds.home / "records.db").read_bytes()
    assert "would be off" in rounds.done("stage", USE_CASE, "off", "--site", "demo", "--dry-run", *ada).out
    assert (
        "would register Cy"
        in rounds.done(
            "people", "add", "Cy", "--role", "engineer", "--key-out", str(tmp_path / "cy.key"), "--dry-run", *ada[:4]
        ).out
    )
    assert (rounds.home / "records.db").read_bytes() == before[1]
    assert rounds("rollback", USE_CASE, *ada).code == 1  # there is no earlier champion
    assert rounds("approve", USE_CASE, "1", *ada).code == 1  # approved already
    assert rounds("promote", USE_CASE, "7").code == 1
    assert "is champion" in rounds.done("promote", USE_CASE, "1").out
    assert "would be champion" in rounds.done("promote", USE_CASE, "1", "--dry-run").out
    stolen = ("--as", "Ada", "--key", str(key / "ben.key"), "--reason", "because")
    assert rounds("stage", USE_CASE, "silent", "--site", "demo", *stolen).code == 1
    assert "is silent" in rounds.done("stage", USE_CASE, "silent", "--site", "demo", *ben).out
    assert (
        "until another person grants it, within 7 days"
        in rounds.done("stage", USE_CASE, "live", "--site", "demo", *ada).out
    )
    assert "removed Ben" in rounds.done("people", "remove", "Ben", *ada).out
    assert (
        rounds("people", "add", "Di", "--role", "engineer", "--key-out", str(tmp_path / "di"), "--as", "Ada").code == 2
    )


def test_a_second_version_is_promoted_and_rolled_back(
    played: PlayedHospital, challenged: Rounds, tmp_path: Path
) -> None:
    rounds = copied(challenged, tmp_path)
    keys = played.rounds.home.parent
    versions = rounds.done("versions", USE_CASE, "--json").json["versions"]
    assert versions[-1]["gate"] == "pass"
    assert versions[-1]["aliases"] == ["challenger"]
    people = [
        ("--as", name, "--key", str(keys / f"{name.lower()}.key"), "--reason", "newer data") for name in ("Ada", "Ben")
    ]
    first = rounds.done("approve", USE_CASE, "2", *people[0]).out
    assert "trained without a name" in first
    assert "one more person is needed" in first
    assert "it would be promoted" in rounds.done("approve", USE_CASE, "2", *people[1], "--dry-run").out
    assert "it is champion now" in rounds.done("approve", USE_CASE, "2", *people[1]).out
    assert "version 1 would be champion again" in rounds.done("rollback", USE_CASE, *people[0], "--dry-run").out
    assert "version 1 is champion again, in place of 2" in rounds.done("rollback", USE_CASE, *people[0]).out
    aliases = {row["version"]: row["aliases"] for row in rounds.done("versions", USE_CASE, "--json").json["versions"]}
    assert aliases[1] == ["champion"]
    assert "has 0 of 2 approvals" in rounds("promote", USE_CASE, "2").err
    rounds.done("approve", USE_CASE, "2", *people[0])
    assert "has 1 of 2 approvals" in rounds("promote", USE_CASE, "2").err
    assert "it is champion now" in rounds.done("approve", USE_CASE, "2", *people[1]).out


def test_a_backup_restores_to_a_home_that_answers_the_same(played: PlayedHospital, tmp_path: Path) -> None:
    archive = tmp_path / "rounds.tar"
    assert "would be" in played.rounds.done("backup", str(archive), "--dry-run").out
    assert not archive.exists()
    head = played.rounds.done("audit", "verify", "--json").json["head"]
    assert f"up to {head}" in played.rounds.done("backup", str(archive)).out
    played.rounds.done("audit", "verify", "--anchor", str(archive))
    restored = Rounds(tmp_path / "restored")
    assert "verified" in restored.done("restore", str(archive), "--dry-run").out
    assert f"the audit chain ends at {head}" in restored.done("restore", str(archive)).out
    restored.done("doctor")
    for command in READING[:7]:
        assert restored.done(*command).out == played.rounds.done(*command).out
    assert restored("restore", str(archive)).code == 1


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
