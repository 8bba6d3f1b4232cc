"""What every use case owes, by its existing: six files, stories, a card, features that exist, and no look ahead."""

import dataclasses
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from features.definitions import check_features
from integrations.duck import connect
from integrations.errors import NotInOrder
from models.card import load_card
from models.case_runner import by_as_of, cohort_differences, differences, keyed, label_differences
from models.cases import Case, Cases, load_cases, open_stories
from models.catalog import use_case, use_case_names
from models.cohort import STAY_NOW, cohort, labels
from models.use_case import UseCase
from tests.promises.clauses import Mutant, mutants

SIX_FILES = ("use_case.py", "cohort.sql", "label.sql", "estimator.py", "cases.yaml", "card.yaml")
Opened = tuple[UseCase, Cases, duckdb.DuckDBPyConnection]
Told = list[tuple[int, Case]]


@pytest.fixture(scope="module", params=use_case_names())
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A use case, its stories, and the hospital of all of them."""
    folder = tmp_path_factory.mktemp(request.param)
    case = use_case(request.param)
    stories = load_cases(case.folder / "cases.yaml")
    connection = connect(folder / "tmp", threads=1)
    open_stories(connection, stories, folder)
    yield case, stories, connection
    connection.close()


def test_a_use_case_is_a_folder_of_six_files(opened: Opened) -> None:
    case, _, _ = opened
    assert [name for name in SIX_FILES if not (case.folder / name).is_file()] == []
    assert case.folder.name == case.name


def test_every_story_of_a_use_case_comes_out_as_told(opened: Opened) -> None:
    case, stories, connection = opened
    assert {story: found for story, found in differences(connection, case, stories).items() if found} == {}


def test_every_condition_of_cohort_sql_has_a_story_that_fails_without_it(opened: Opened, tmp_path: Path) -> None:
    case, stories, connection = opened
    unnoticed = []
    for mutant in mutants(case.cohort_sql):
        changed = _with(case, "cohort.sql", mutant, tmp_path)
        if not any(_differs(connection, changed, as_of, told) for as_of, told in by_as_of(stories).items()):
            unnoticed.append(f"line {mutant.line}: {mutant.clause}")
    assert unnoticed == []


def test_every_condition_of_label_sql_has_a_story_that_fails_without_it(opened: Opened, tmp_path: Path) -> None:
    case, stories, connection = opened
    told_of = {as_of: (told, cohort(connection, case, as_of)) for as_of, told in by_as_of(stories).items()}
    unnoticed = []
    for mutant in mutants(case.label_sql):
        changed = _with(case, "label.sql", mutant, tmp_path)
        if not any(_labels_differ(connection, changed, as_of, *told) for as_of, told in told_of.items()):
            unnoticed.append(f"line {mutant.line}: {mutant.clause}")
    assert unnoticed == []


def test_every_condition_of_what_is_known_now_of_a_stay_has_a_story_that_fails_without_it(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, stories, connection = opened
    unnoticed = []
    for mutant in mutants(STAY_NOW):
        monkeypatch.setattr("models.cohort.STAY_NOW", mutant.sql)
        if not any(_differs(connection, case, as_of, told) for as_of, told in by_as_of(stories).items()):
            unnoticed.append(f"line {mutant.line}: {mutant.clause}")
    assert unnoticed == []


def test_the_stories_tell_of_every_reason_that_the_sql_may_give(opened: Opened) -> None:
    case, stories, _ = opened
    told = {text for each in stories.cases for by_time in each.expect.cohort.values() for text in by_time.values()}
    told |= {
        text.split(" at ")[0].split(" ")[1]
        for each in stories.cases
        for by_time in each.expect.label.values()
        for text in by_time.values()
    }
    reasons = set(re.findall(r"(?:then|else) '(\w+)'", case.cohort_sql + case.label_sql))
    assert reasons - told == set()


def test_every_feature_of_a_use_case_exists_and_stands_once(opened: Opened) -> None:
    case, _, _ = opened
    check_features(case.features)
    assert set(case.required) <= set(case.features)
    assert set(case.descriptors) < set(case.features)
    assert set(case.subgroups) <= set(case.feature_names)


def test_a_use_case_without_required_features_says_which_measure_nothing(opened: Opened) -> None:
    case, _, _ = opened
    if not case.required:
        of_the_person = {name for name in case.features if name.startswith("patient_demographics:")}
        flags = {name for name in case.features if name.partition(":")[2].startswith("is_")}
        assert of_the_person | flags <= set(case.descriptors)


def test_the_card_is_complete_and_agrees_with_the_use_case(opened: Opened) -> None:
    case, _, _ = opened
    card = load_card(case)
    assert card.definition.cited
    assert all(each.url.startswith("https://") for each in card.definition.cited)
    assert card.definition.differences
    assert card.limits
    assert card.not_intended_for


def test_bands_rise_from_zero_and_the_threshold_starts_one(opened: Opened) -> None:
    case, _, _ = opened
    starts = [start for start, _ in case.write_back.bands]
    assert starts[0] == 0
    assert starts == sorted(starts)
    assert case.write_back.threshold in starts
    assert {band for _, band in case.write_back.bands} <= {"low", "moderate", "high"}


def _with(case: UseCase, file: str, mutant: Mutant, folder: Path) -> UseCase:
    for name in ("cohort.sql", "label.sql"):
        text = mutant.sql if name == file else (case.folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(text, encoding="utf-8")
    return dataclasses.replace(case, folder=folder)


def _differs(connection: duckdb.DuckDBPyConnection, case: UseCase, as_of: datetime, told: Told) -> bool:
    """Whether cohort or label come out otherwise, or the rows are not in order at all."""
    try:
        rows = cohort(connection, case, as_of)
    except NotInOrder:
        return True
    states = keyed(rows)
    if any(any(cohort_differences(number, each, states)) for number, each in told):
        return True
    return _labels_differ(connection, case, as_of, told, rows)


def _labels_differ(
    connection: duckdb.DuckDBPyConnection, case: UseCase, as_of: datetime, told: Told, rows: pa.Table
) -> bool:
    try:
        known = keyed(labels(connection, case, rows, as_of))
    except NotInOrder:
        return True
    return any(any(label_differences(number, each, known)) for number, each in told)
