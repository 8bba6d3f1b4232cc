"""A result in quarantine holds a feature as long as it would count for it: by trial, of every view and code."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pyarrow as pa
import pytest

from features.definitions import View, view, view_names
from features.parquet_files import view_rows
from integrations.duck import connect
from models.cases import Cases, open_stories

T = datetime(2024, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
AGES = tuple(HOUR * hours for hours in (2, 11, 13, 23, 25, 47, 49, 71, 167, 169, 24 * 40, 24 * 200, 24 * 364, 24 * 400))
STAYS = (timedelta(hours=48), timedelta(days=3), timedelta(days=390))  # for how long the patient has been in
BEFORE = (True, False)  # whether there is a result of an hour ago as well
WITH_CODES = tuple(name for name in view_names() if view(name).codes)
Tried = tuple[str, timedelta, bool, timedelta]  # code, how long in, with a result of an hour ago, age of the one tried
Reach = dict[tuple[str, str], timedelta]  # feature and code: the greatest age at which a result counts


@pytest.mark.parametrize("name", WITH_CODES)
def test_a_feature_is_held_by_every_result_that_would_count_for_it(name: str, tmp_path: Path) -> None:
    each = view(name)
    found = reach(each, tmp_path)
    assert {code for _, code in found} == set(each.codes), "a code of which no result counts shows nothing"
    assert too_short(each, found, {feature: each.hold_window_of(feature) for feature, _ in found}) == []
    hour = {feature: HOUR for feature, _ in found}
    assert {pair for pair, _ in too_short(each, found, hour)} == set(found), "an hour would pass as well"


def too_short(each: View, found: Reach, held: dict[str, timedelta]) -> list[tuple[tuple[str, str], timedelta]]:
    """The features that a result counts for though it would not hold them in quarantine."""
    return [
        ((feature, code), age)
        for (feature, code), age in sorted(found.items())
        if age >= held[feature] or code not in each.codes_of(feature)
    ]


def reach(each: View, folder: Path) -> Reach:
    """Give each of many patients one result more than a like patient has, each of another age or code."""
    tried = list(product(each.codes, STAYS, BEFORE, (timedelta(), *AGES)))
    told = {"time_zone": "UTC", "lateness_hours": {"ehr": 24}, "as_of": "2024-08-01"}
    story = {"story": "one", "facts": _facts(tried), "expect": {}}
    lake = connect(folder / "tmp", threads=1)
    open_stories(lake, Cases.model_validate({**told, "cases": [story]}), folder)
    names = [f"ehr/000.p{number}" for number in range(len(tried))]
    spine = {
        "site_id": pa.array(["demo"] * len(tried)),
        "patient_id": names,
        "encounter_id": names,
        "prediction_time": pa.array([T] * len(tried), pa.timestamp("us", "UTC")),
    }
    rows = {row["encounter_id"]: row for row in view_rows(lake, each, pa.table(spine)).to_pylist()}
    lake.close()
    found: Reach = {}
    like: dict[str, object] = {}
    for (code, _, _, age), name in zip(tried, names, strict=True):
        like = rows[name] if not age else like
        for feature in (feature.name for feature in each.features if rows[name][feature.name] != like[feature.name]):
            found[feature, code] = max(age, found.get((feature, code), age))
    return found


def _facts(tried: list[Tried]) -> dict[str, list[dict[str, object]]]:
    facts: dict[str, list[dict[str, object]]] = {"patient": [], "encounter": [], "observation": []}
    for number, (code, stay, is_before, age) in enumerate(tried):
        name = f"p{number}"
        facts["patient"].append({"id": name, "birth_date": "1950-01-01"})
        began = {"id": name, "patient": name, "service": "medical_icu", "started_at": f"{T - stay:%Y-%m-%d %H:%M}"}
        facts["encounter"].append(began)
        facts["observation"] += list(_results(name, code, is_before, age))
    return facts


def _results(name: str, code: str, is_before: bool, age: timedelta) -> Iterator[dict[str, object]]:
    """A result of an hour ago, and the one that is tried, which is another number."""
    for before, value, is_there in ((HOUR, 20.0, is_before), (age, 7.0, bool(age))):
        if is_there:
            yield {
                "patient": name,
                "code": code,
                "value_number": value,
                "effective_at": f"{T - before:%Y-%m-%d %H:%M}",
            }
