"""What goes back to the EHR after a rollback, and after a site stood still."""

from pathlib import Path

import pytest

from tests.flows.conftest import USE_CASE, PlayedHospital, Rounds, copied

pytestmark = pytest.mark.xdist_group("played hospital")

NOON = "2024-07-09T12:10:00+00:00"  # the laboratory has sent by then what lay in quarantine
SOON = "2024-07-09T12:20:00+00:00"
MONTHS_LATER = "2024-10-07T12:10:00+00:00"


def person(played: PlayedHospital, name: str, reason: str) -> tuple[str, ...]:
    return ("--as", name, "--key", str(played.rounds.home.parent / f"{name.lower()}.key"), "--reason", reason)


def write_back(rounds: Rounds, at: str, *options: str) -> dict[str, int]:
    counts: dict[str, int] = rounds.done("write-back", "--as-of", at, "--json", *options).json
    return {name: count for name, count in counts.items() if count and name != "is_plan"}


def queued_at_noon(rounds: Rounds, at: str = NOON) -> int:
    queued: int = rounds.done("score", USE_CASE, "--as-of", at, "--json").json["queued"]
    assert queued > 0
    return queued


def test_after_a_rollback_the_champion_before_speaks_in_place_of_the_version_rolled_back(
    played: PlayedHospital, challenged: Rounds, tmp_path: Path
) -> None:
    rounds = copied(challenged, tmp_path)
    for name in ("Ada", "Ben"):
        rounds.done("approve", USE_CASE, "2", *person(played, name, "newer data"))
    count = queued_at_noon(rounds)
    rounds.done("rollback", USE_CASE, *person(played, "Ada", "harmful"))
    assert write_back(rounds, SOON, "--dry-run") == {"due": count, "withheld": count}
    assert write_back(rounds, SOON) == {"due": count, "withheld": count, "void": count}
    told = f"{count} scores of {USE_CASE}: version 2 is not the champion any more"
    assert told in " ".join(rounds.done("outbox").out.split())
    assert "version 2 is not the champion any more" in " ".join(rounds("doctor").out.split())
    assert rounds.done("outbox", "--json").json["dead"] == count
    assert queued_at_noon(rounds, SOON) == count
    assert write_back(rounds, SOON) == {"due": count, "resources": count, "acknowledged": count}
    assert rounds.done("score", USE_CASE, "--as-of", SOON, "--json").json["new_scores"] == 0


def test_what_a_stopped_site_had_queued_is_too_old_when_it_goes_live_again(
    played: PlayedHospital, resent: Rounds, tmp_path: Path
) -> None:
    rounds = copied(resent, tmp_path)
    count = queued_at_noon(rounds)
    rounds.done("stage", USE_CASE, "off", "--site", "demo", *person(played, "Ada", "stop"))
    assert write_back(rounds, MONTHS_LATER) == {}
    for name in ("Ada", "Ben"):
        rounds.done("stage", USE_CASE, "live", "--site", "demo", *person(played, name, "go on"))
    assert write_back(rounds, MONTHS_LATER, "--dry-run") == {"due": count, "withheld": count}
    assert write_back(rounds, MONTHS_LATER) == {"due": count, "withheld": count, "void": count}
    assert "older than 6 h" in rounds.done("outbox").out
