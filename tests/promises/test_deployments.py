"""What prefect.yaml owes: every flow is deployed, every use case has its schedule, every form can be filled in."""

import importlib
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from flows.nights import GRACE, hospital_zone
from models.catalog import use_case, use_case_names

CHECKOUT = Path(__file__).resolve().parents[2]
DEPLOYMENTS = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
FLOWS = ("ingest", "build_features", "train", "promote", "score", "write_back", "monitor")


def entry(deployment: dict[str, Any]) -> Any:
    path, name = deployment["entrypoint"].split(":")
    return getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)


@pytest.mark.parametrize("flow", FLOWS)
def test_every_flow_is_deployed(flow: str) -> None:
    assert [one["name"] for one in DEPLOYMENTS if one["entrypoint"] == f"flows/{flow}.py:{flow}"]


@pytest.mark.parametrize("flow", ["score", "monitor"])
@pytest.mark.parametrize("name", use_case_names())
def test_every_use_case_has_its_schedule_in_its_hospitals_time(name: str, flow: str) -> None:
    [deployment] = [one for one in DEPLOYMENTS if one["name"] == f"{flow}_{name}"]
    assert deployment["parameters"] == {"use_case": name}
    [schedule] = deployment["schedules"]
    assert ZoneInfo(schedule["timezone"])
    assert len(schedule["cron"].split()) == 5


@pytest.mark.parametrize("name", use_case_names())
def test_a_score_is_scheduled_when_its_use_case_says_that_a_round_is_due(name: str) -> None:
    [deployment] = [one for one in DEPLOYMENTS if one["name"] == f"score_{name}"]
    [schedule] = deployment["schedules"]
    minute, hours, *days = schedule["cron"].split()
    assert tuple(int(hour) for hour in hours.split(",")) == use_case(name).schedule_hours
    assert days == ["*", "*", "*"]
    assert timedelta(minutes=int(minute)) < GRACE, "each round would be late before it begins"
    assert schedule["timezone"] == hospital_zone().key


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["name"])
def test_every_parameter_has_a_type_and_says_what_it_is_for(deployment: dict[str, Any]) -> None:
    flow = entry(deployment)
    for name, schema in flow.parameters.properties.items():
        described = schema.get("description") or name in ("version",)
        assert described, f"{name} of {deployment['name']} has no description"
    assert set(deployment["parameters"]) <= set(flow.parameters.properties)
    assert deployment["concurrency_limit"]["limit"] == 1
    assert deployment["tags"]


def test_use_cases_and_sources_are_choices_and_not_free_text() -> None:
    from flows.ingest import ingest
    from flows.score import score

    assert score.parameters.properties["use_case"]["enum"] == list(use_case_names())
    assert "demo_ehr" in ingest.parameters.properties["source"]["enum"]


def test_a_drift_event_runs_train_for_its_use_case() -> None:
    [train] = [one for one in DEPLOYMENTS if one["name"] == "train"]
    [trigger] = train["triggers"]
    assert trigger["expect"] == ["rounds.drift"]
    assert trigger["parameters"]["use_case"]["template"] == "{{ event.payload.use_case }}"
