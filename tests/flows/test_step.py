"""What leaves a flow when it fails: ids and counts, and never what a library said of a patient."""

import traceback
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from flows.house import House
from flows.run_log import recorded_run
from flows.step import step
from integrations.errors import Refused, RoundsError
from integrations.settings import load_settings

NAME = "Jane Doe"


def fails(error: Exception) -> Callable[[], None]:
    def run() -> None:
        raise error

    return run


def test_a_step_hides_what_a_library_said() -> None:
    with pytest.raises(RoundsError, match="unexpected KeyError") as hidden:
        step(fails(KeyError(NAME)))()
    assert NAME not in "".join(traceback.format_exception(hidden.value))
    assert "test_step.py" in hidden.value.where


def test_a_flow_hides_what_a_library_said_between_its_steps_and_is_noted_as_failed(rounds_home: House) -> None:
    with (
        pytest.raises(RoundsError, match="unexpected ValueError") as hidden,
        recorded_run(rounds_home, "score", as_of=datetime(2024, 7, 1, tzinfo=UTC)),
    ):
        raise ValueError(NAME)
    assert NAME not in "".join(traceback.format_exception(hidden.value))
    with rounds_home.records.read() as connection:
        assert connection.exec_driver_sql("select status from run").scalars().all() == ["failed"]


@pytest.mark.parametrize("error", [Refused("no approved version"), FileNotFoundError(2, "No such file", "/x")])
def test_what_is_said_for_people_stays_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as kept:
        step(fails(error))()
    assert kept.value is error


@pytest.fixture
def rounds_home(home: str) -> House:
    return House(load_settings({"ROUNDS_HOME": str(home)}))
