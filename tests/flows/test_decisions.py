"""Decisions that people sign at the command line: who may, what is planned, what is refused."""

from pathlib import Path

import pytest

from tests.flows.conftest import USE_CASE, PlayedHospital, Rounds, copied

pytestmark = pytest.mark.xdist_group("played hospital")


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
