"""Every step says how many rows went in and came out, and the two agree."""

import logging
import re
from datetime import datetime
from pathlib import Path

import pytest

from flows.build_features import build_features
from flows.demo_screen import show_memory
from integrations.synthetic_hospital.hospital import Hospital
from integrations.synthetic_hospital.write import write_hospital
from tests.flows.conftest import USE_CASE, PlayedHospital, Rounds, copied

pytestmark = pytest.mark.xdist_group("played hospital")

SOON_AFTER = "2024-07-09T12:10:00+00:00"  # the laboratory has sent by then what lay in quarantine


def numbers(sentence: str) -> list[int]:
    return [int(text.replace(",", "")) for text in re.findall(r"(?<![\w-])\d[\d,]*(?![\w-])", sentence)]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="rounds")
    return caplog


def test_an_ingest_tells_for_each_table_what_came_and_what_became_of_it(
    rounds: Rounds, tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    files = write_hospital(Hospital(patients=40, nights=0, scenario="none", seed=2), tmp_path / "files")
    at = files.history_taken_at.isoformat()
    rounds.done("ingest", "demo_ehr", "--from", str(files.history), "--history", "--as-of", at)
    assert len(told.messages) == 9
    for sentence in told.messages:
        received, *parts, written = numbers(sentence.partition(": ")[2])
        assert received == sum(parts)
        assert written >= parts[0] > 0


def test_a_round_tells_who_was_due_and_what_went_back(
    resent: Rounds, tmp_path: Path, told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = copied(resent, tmp_path)
    told.clear()
    monkeypatch.setenv("ROUNDS_HOME", str(rounds.home))
    built = build_features.fn(USE_CASE, as_of=datetime.fromisoformat(SOON_AFTER))
    run = rounds.done("score", USE_CASE, "--as-of", SOON_AFTER, "--json").json
    sent = rounds.done("write-back", "--as-of", SOON_AFTER, "--json").json
    seen = rounds.done("monitor", USE_CASE, "--no-report", "--as-of", SOON_AFTER, "--json").json
    features, score, write_back, monitor = map(numbers, told.messages)
    assert features[:2] == [built, built]
    assert built == run["scored"] + run["held"] > 0
    assert score[1:] == [run[name] for name in ("due", "scored", "held", "excluded", "new_scores", "queued")]
    assert write_back == [sent[name] for name in ("due", "acknowledged", "failed", "dead", "resources")]
    assert sent["due"] == sent["acknowledged"] == run["queued"] > 0
    assert [monitor[1], *monitor[3:]] == [seen["rows"], len(seen["verdicts"]), len(seen["breaches"])]


def test_a_training_tells_how_many_rows_it_learnt_from(
    played: PlayedHospital, tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    rounds = copied(played.rounds, tmp_path)
    at = played.files.history_taken_at.isoformat()
    run = rounds.done("train", "readmission_30d", "--as-of", at, "--json").json
    [sentence] = told.messages
    cohort, labelled, learnt, held, version = numbers(sentence)
    assert cohort == sum(run["labels"].values())
    assert labelled == learnt + held
    assert (learnt, held, version) == (run["rows"], run["held"], run["version"])


def test_the_demo_shows_what_memory_it_took() -> None:
    from flows.screen import console

    with console.capture() as said:
        show_memory()
    own, beside = numbers(said.get())
    assert own > 50
    assert beside >= 0
