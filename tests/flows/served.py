"""A Prefect server as stories ask it: start a deployment, wait for its end, see what is planned."""

import time
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from prefect.client.base import PrefectHttpxSyncClient

from integrations.settings import Settings
from tests.flows.conftest import Rounds

TIME_OUT_SECONDS = 240
CHICAGO = ZoneInfo("America/Chicago")
STARTED = {"state": {"type": {"not_any_": ["SCHEDULED"]}}}


class Prefect:
    """The server's API, as far as these stories ask it; asked again where it says 503 while its database is busy."""

    def __init__(self, url: str, rounds: Rounds, settings: Settings) -> None:
        self.rounds, self.settings = rounds, settings
        self.client = PrefectHttpxSyncClient(base_url=url, timeout=30)

    def start(self, deployment: str, **parameters: Any) -> str:
        found = self.client.get(f"/deployments/name/{deployment}").raise_for_status().json()
        body = {"parameters": found["parameters"] | parameters, "enforce_parameter_schema": True}
        made = self.client.post(f"/deployments/{found['id']}/create_flow_run", json=body)
        return str(made.raise_for_status().json()["id"])

    def ended(self, run_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + TIME_OUT_SECONDS
        while time.monotonic() < deadline:
            run: dict[str, Any] = self.client.get(f"/flow_runs/{run_id}").raise_for_status().json()
            if run["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
                return run
            time.sleep(0.5)
        raise AssertionError(f"flow run {run_id} did not end in {TIME_OUT_SECONDS} s")

    def runs_of(self, deployment: str) -> list[dict[str, Any]]:
        """Those that were started by these stories, not by the clock."""
        body = {"deployments": {"name": {"any_": [deployment]}}, "flow_runs": STARTED}
        found: list[dict[str, Any]] = self.client.post("/flow_runs/filter", json=body).raise_for_status().json()
        return [run for run in found if not run["auto_scheduled"]]

    def planned_hours(self, deployment: str) -> set[tuple[int, int]]:
        """Hour and minute, where the hospital lies, of the runs that the server has planned."""
        body = {
            "deployments": {"name": {"any_": [deployment]}},
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
            "sort": "EXPECTED_START_TIME_ASC",
        }
        found = self.client.post("/flow_runs/filter", json=body).raise_for_status().json()
        times = [datetime.fromisoformat(run["expected_start_time"]) for run in found if run["auto_scheduled"]]
        return {(time.hour, time.minute) for time in (time.astimezone(CHICAGO) for time in times)}
