"""What Feast is told of versions: a service of each, declared when it is registered, or else at its first use."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from flows.build_features import build_features, declare, views_of
from flows.house import House
from integrations.settings import Settings
from models.catalog import use_case
from tests.flows.conftest import USE_CASE, PlayedHospital, Rounds, copied

pytestmark = pytest.mark.xdist_group("played hospital")
CASE = use_case(USE_CASE)


def told_to_feast(rounds: Rounds) -> dict[str, tuple[str, str, dict[str, str], set[str]]]:
    """Of each service: owner, description, tags and features."""
    store = House(Settings(home=rounds.home)).store
    with store._opened() as (feast, _):
        services = {
            each.name: (
                each.owner,
                each.description,
                each.tags,
                {f"{view.name}:{field.name}" for view in each.feature_view_projections for field in view.features},
            )
            for each in feast.list_feature_services()
            if each.name.startswith(USE_CASE)  # another story of this home may have trained another use case
        }
    store.close()
    return services


def test_a_training_declares_its_version_with_its_features_owner_and_manifest(played: PlayedHospital) -> None:
    services = told_to_feast(played.rounds)
    assert set(services) == {f"{USE_CASE}_v1"}
    owner, description, tags, features = services[f"{USE_CASE}_v1"]
    assert (owner, description, features) == (CASE.owner, CASE.question, set(CASE.features))
    engine = create_engine(f"sqlite:///{played.rounds.home / 'records.db'}")
    with engine.connect() as connection:
        registered = connection.execute(
            text("select version, manifest_hash from model_version where use_case = 'aki_48h'")
        ).one()
    assert (tags["version"], tags["manifest_hash"]) == (str(registered.version), registered.manifest_hash)
    assert {name for name in tags if name.startswith("view ")} == {f"view {name}" for name in views_of(CASE)}


def test_a_version_that_feast_does_not_know_is_declared_at_its_first_use_and_the_others_stay(
    challenged: Rounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, played: PlayedHospital
) -> None:
    assert set(told_to_feast(challenged)) == {f"{USE_CASE}_v1", f"{USE_CASE}_v2"}
    rounds = copied(played.rounds, tmp_path)
    (rounds.home / "features" / "registry.db").unlink()
    optional = next(feature for feature in CASE.features if feature not in CASE.required)
    less = replace(CASE, features=tuple(each for each in CASE.features if each != optional))
    house = House(Settings(home=rounds.home))
    declare(house, less, 1)  # it takes a feature that the use case does not name any more
    house.store.close()
    assert told_to_feast(rounds) == {}
    monkeypatch.setenv("ROUNDS_HOME", str(rounds.home))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    build_features.fn(USE_CASE, as_of=played.files.nights[-1].round_at)
    assert set(told_to_feast(rounds)) == {f"{USE_CASE}_v1"}
