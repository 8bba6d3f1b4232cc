"""Two feeds that nobody here made: a real hospital's warehouse tables, and a foreign system's FHIR bulk export."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import Rounds

pytestmark = pytest.mark.xdist_group("real input")


@pytest.fixture(scope="module")
def ingested(
    needs_shared: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Rounds, dict[str, Any]]]:
    made: dict[str, tuple[Rounds, dict[str, Any]]] = {}

    def of(source: str) -> tuple[Rounds, dict[str, Any]]:
        if source not in made:
            folder = needs_shared(f"data/{source}")
            rounds = Rounds(tmp_path_factory.mktemp(source) / "home")
            made[source] = rounds, rounds.done("ingest", source, "--from", str(folder), "--json").json
        return made[source]

    return of


Ingested = Callable[[str], tuple[Rounds, dict[str, Any]]]


@pytest.mark.parametrize(
    ("source", "table", "figures"),
    [
        ("mimic4_demo", "encounter", {"records": 275, "facts": 275, "patients": 100}),
        ("synthea_bulk", "encounter", {"records": 3697, "facts": 3697}),
        ("synthea_bulk", "observation", {"records": 16315}),
    ],
)
def test_the_tables_hold_what_was_sent(ingested: Ingested, source: str, table: str, figures: dict[str, int]) -> None:
    rounds, _ = ingested(source)
    entries = {entry["table"]: entry for entry in rounds.done("tables", "--json").json["tables"]}
    assert {name: entries[table][name] for name in figures} == figures


@pytest.mark.parametrize("source", ["mimic4_demo", "synthea_bulk"])
def test_every_record_is_accounted_for(ingested: Ingested, source: str) -> None:
    _, result = ingested(source)
    for account in result["accounts"].values():
        assert account["received"] == sum(
            account[part] for part in ("mapped", "unchanged", "out_of_scope", "waiting", "quarantined")
        )


@pytest.mark.parametrize("source", ["mimic4_demo", "synthea_bulk"])
def test_the_same_extract_again_changes_nothing(
    ingested: Ingested, needs_shared: Callable[[str], Path], source: str
) -> None:
    rounds, result = ingested(source)
    before = rounds.done("tables", "--json").json
    again = rounds.done("ingest", source, "--from", str(needs_shared(f"data/{source}")), "--json").json
    assert (again["is_new"], again["extract_id"]) == (False, result["extract_id"])
    assert rounds.done("tables", "--json").json == before


@pytest.mark.parametrize("source", ["mimic4_demo", "synthea_bulk"])
def test_too_few_patients_to_judge_is_said_and_the_past_can_be_scored_silently(ingested: Ingested, source: str) -> None:
    rounds, _ = ingested(source)
    trained = rounds.done("train", "readmission_30d")
    assert "too few patients to judge" in trained.out
    refused = rounds("score", "readmission_30d")
    assert refused.code == 1
    assert "no approved version" in refused.err
    scored = rounds.done("score", "readmission_30d", "--all-due", "--version", "1", "--json").json
    assert scored["scored"] == scored["due"] - scored["excluded"] > 50
    scores = rounds.done("scores", "readmission_30d", "--json").json["scores"]
    assert {(row["purpose"], row["status"]) for row in scores} == {("backfill", "scored")}
    assert rounds.done("outbox", "--json").json["queued"] == 0
    again = rounds.done("score", "readmission_30d", "--all-due", "--version", "1", "--json").json
    assert again["new_scores"] == 0
