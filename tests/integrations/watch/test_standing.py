"""A code that arrives wrong is held until a person releases it, also where later extracts bring too little to judge."""

import duckdb
import pytest
from sqlalchemy import select

from integrations.records import schema as s
from integrations.synthetic_hospital.hospital import Hospital
from integrations.watch.bounds import MIN_PATIENTS
from integrations.watch.finding import Found
from tests.integrations.watch.conftest import OpenFeed
from tests.integrations.watch.nights import Nights
from tests.integrations.watch.test_faults import GLUCOSE_IN_MMOL, PATIENTS

BAD = 6  # night


@pytest.fixture
def nights(feed: OpenFeed) -> Nights:
    """A laboratory that has sent glucose in mmol/L under the name of mg/dL for one night, after five good ones."""
    watched = feed("demo_lis", Hospital(patients=PATIENTS, nights=9, scenario="none", seed=3))
    watched.learn(range(1, BAD))
    assert jumps(watched.play([BAD], GLUCOSE_IN_MMOL)) == ["2345-7"]
    return watched


def jumps(found: list[Found]) -> list[str]:
    return [each.subject for each in found if each.kind == "scale_jump"]


def held_extracts(nights: Nights) -> list[str]:
    with nights.records.read() as db:
        assert len(list(db.execute(select(s.finding.c.finding_id).where(s.finding.c.kind == "scale_jump")))) == 1
        return list(
            db.execute(select(s.finding_extract.c.extract_id).order_by(s.finding_extract.c.extract_id)).scalars()
        )


def few(lake: duckdb.DuckDBPyConnection) -> None:
    """Glucose of a few patients only, as wrong as before."""
    GLUCOSE_IN_MMOL(lake)
    lake.execute(
        """
        delete from judged
        where code = '2345-7' and patient_id not in (
            select distinct patient_id from judged where code = '2345-7' order by patient_id limit $few
        )
        """,
        {"few": MIN_PATIENTS - 1},
    )


def test_too_few_patients_to_be_judged_are_held_by_the_finding_that_stands(nights: Nights) -> None:
    assert jumps(nights.play([BAD + 1], few)) == ["2345-7"]
    assert held_extracts(nights) == ["demo_lis-006", "demo_lis-007"]


def test_an_extract_that_shows_the_usual_scale_is_not_held(nights: Nights) -> None:
    assert jumps(nights.play([BAD + 1])) == []
    assert held_extracts(nights) == ["demo_lis-006"]
