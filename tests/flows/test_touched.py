"""What somebody touched, took away or cut off is found; what was backed up comes back."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.flows.conftest import USE_CASE, PlayedHospital, Rounds, copied
from tests.flows.test_commands import READING

pytestmark = pytest.mark.xdist_group("played hospital")


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
