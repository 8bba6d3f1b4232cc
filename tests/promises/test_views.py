"""What every feature view owes, by its existing."""

import dataclasses
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from features.definitions import View, view, view_names
from features.parquet_files import view_rows
from features.view_words import UNITS
from integrations.codes import load_analytes
from integrations.duck import connect
from models.cases import Cases, open_stories
from tests.features.view_stories import differences, spine_of, stories_of
from tests.promises.clauses import mutants

IN_WORDS = {"a": "years", "{score}": "score"}  # units that people do not say in UCUM
Opened = tuple[View, Cases, duckdb.DuckDBPyConnection]


@pytest.fixture(scope="module", params=view_names())
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A view, its stories, and the hospital of all of them."""
    folder = tmp_path_factory.mktemp(request.param)
    each = view(request.param)
    stories = stories_of(request.param)
    connection = connect(folder / "tmp", threads=1)
    open_stories(connection, stories, folder)
    yield each, stories, connection
    connection.close()


def test_every_story_of_a_view_comes_out_as_told(opened: Opened) -> None:
    each, stories, connection = opened
    assert {story: found for story, found in differences(connection, each, stories).items() if found} == {}


def test_every_condition_of_a_view_has_a_story_that_fails_without_it(opened: Opened) -> None:
    each, stories, connection = opened
    unnoticed = [
        f"{each.name}.sql line {mutant.line}: {mutant.clause}"
        for mutant in mutants(each.sql)
        if not any(differences(connection, dataclasses.replace(each, sql=mutant.sql), stories).values())
    ]
    assert unnoticed == []


def test_every_feature_of_a_view_is_expected_by_a_story(opened: Opened) -> None:
    each, stories, _ = opened
    told = {
        name
        for case in stories.cases
        for by_time in case.expect.features.values()
        for values in by_time.values()
        for name, value in values.items()
        if value is not None
    }
    assert {feature.name for feature in each.features} - told == set()


def test_a_view_gives_the_features_that_its_file_declares_as_numbers(opened: Opened) -> None:
    each, stories, connection = opened
    schema = view_rows(connection, each, spine_of(stories)).schema
    assert schema.names == ["encounter_id", "prediction_time", *(feature.name for feature in each.features)]
    assert {str(schema.field(feature.name).type) for feature in each.features} == {"double"}


def test_a_view_says_what_it_is_who_owns_it_and_what_holds_it(opened: Opened) -> None:
    each, _, _ = opened
    assert len(each.description) > 40
    assert each.owner
    assert {feature.unit.removesuffix(" per day") for feature in each.features} <= {"flag", *UNITS.values()}
    loinc = set(re.findall(r"'(\d{1,5}-\d)'", each.sql))
    assert loinc == set(each.codes)
    assert (each.hold_window.total_seconds() > 0) == bool(each.codes)


def test_a_view_with_codes_says_which_of_them_each_feature_draws_on(opened: Opened) -> None:
    each, _, _ = opened
    if each.codes:
        drawn_on = {feature.name: each.codes_of(feature.name) for feature in each.features}
        assert {name for name, codes in drawn_on.items() if not codes} == each.without_codes
        assert {code for codes in drawn_on.values() for code in codes} == set(each.codes)
        for name, codes in ((name, codes) for name, codes in drawn_on.items() if codes):
            words = {each.word_of_code[code] for code in codes}
            assert len(words) == 1 or codes == each.codes, f"{name} begins with two words"


def test_a_result_in_quarantine_holds_a_view_as_far_back_as_the_view_looks(opened: Opened) -> None:
    each, _, _ = opened
    spans = {timedelta(**{unit: int(count)}) for count, unit in re.findall(r"interval (\d+) (hours|days)", each.sql)}
    beyond = {
        timedelta(days=int(days)) for days in re.findall(r"Beyond the hold window, (\d+) days:", each.description)
    }
    assert beyond <= spans, "the header speaks of a span that the SQL does not look back"
    if each.codes:  # which feature looks how far back is tried in test_hold_windows.py
        assert each.hold_windows[-1] >= max(spans - beyond)


def test_a_view_is_lower_case_and_knows_no_clock(opened: Opened) -> None:
    each, _, _ = opened
    statement = re.sub(r"--.*|'[^']*'", "", each.sql)
    assert statement == statement.lower()
    assert not re.search(r"\b(now\(|current_timestamp|current_date|today\()", statement)


def test_every_sql_file_of_the_views_folder_is_a_view_and_has_its_stories() -> None:
    stories = Path(__file__).resolve().parents[1] / "features" / "stories"
    assert {path.stem for path in stories.glob("*.yaml")} == set(view_names())


def test_what_is_told_of_every_analyte_has_limits_and_the_unit_of_its_name(opened: Opened) -> None:
    each, _, _ = opened
    analytes = load_analytes()
    for word in each.words if each.patterns else ():
        for code in word.codes:
            assert code in analytes, f"{code} of {each.name} has no limits in integrations/analytes.csv"
            unit = analytes[code].unit
            assert word.unit is None or UNITS[f"_{word.unit}"] == IN_WORDS.get(unit, unit)
