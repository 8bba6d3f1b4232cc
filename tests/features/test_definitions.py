"""What a view's file says of itself, and what is refused."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from features.definitions import VIEWS, check_features, feature_names, view, view_names
from integrations.errors import WrongUsage

DEMOGRAPHICS = (VIEWS / "patient_demographics.sql").read_text(encoding="utf-8")
VITALS = (VIEWS / "vital_signs.sql").read_text(encoding="utf-8")


def with_view(folder: Path, sql: str) -> Path:
    (folder / "mine.sql").write_text(sql, encoding="utf-8")
    return folder


def test_a_view_is_read_from_its_file() -> None:
    labs = view("recent_labs")
    assert labs.codes[:2] == ("2160-0", "3094-0")
    assert labs.codes_of("creatinine_rise_48h_mg_dl") == ("2160-0",)
    assert view("vital_signs").codes_of("oxygen_saturation_last_percent") == ("59408-5", "2708-6")
    assert labs.codes_of("age_years") == ()
    assert labs.hold_window == timedelta(days=7)
    first = labs.features[0]
    assert (first.name, first.unit, first.description) == ("creatinine_last_mg_dl", "mg/dL", "last of 7 d")
    assert {feature.unit for feature in view("vital_signs").features} == {"/min", "mm[Hg]", "%", "Cel"}
    assert {each.name: each.unit for each in labs.features}["creatinine_slope_48h_mg_dl_per_day"] == "mg/dL per day"
    assert view("comorbidity").codes == ()


def test_every_sql_file_of_the_folder_is_a_view(tmp_path: Path) -> None:
    assert view_names(with_view(tmp_path, VITALS)) == ("mine",)
    assert feature_names(("mine",), tmp_path)[0] == "mine:heart_rate_last_per_min"


def test_the_version_changes_with_the_sql_and_with_a_table_that_it_names(tmp_path: Path) -> None:
    for name in ("comorbidity.sql", "charlson.csv"):
        shutil.copy(VIEWS / name, tmp_path)
    before = view("comorbidity", tmp_path).version
    assert before == view("comorbidity").version
    with (tmp_path / "charlson.csv").open("a") as file:
        file.write("dementia,icd-10-cm,F04,1\n")
    changed = view("comorbidity", tmp_path).version
    assert changed != before
    with (tmp_path / "comorbidity.sql").open("a") as file:
        file.write("-- changed\n")
    assert view("comorbidity", tmp_path).version not in (before, changed)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-- owner: ", "-- from: ", "no line '-- owner: '"),
        ("8867-4 heart_rate per_min", "8867-4", "a code of the header stands without its word"),
        ("-- hold window: 24 hours", "-- hold window: a day", "'a day' is no time span"),
        ("{word}_last_{unit}", "{word}_last", "feature heart_rate_last does not end in its unit"),
    ],
)
def test_a_header_that_lacks_a_line_or_a_feature_without_unit_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in VITALS
    with pytest.raises(WrongUsage, match=message):
        view("mine", with_view(tmp_path, VITALS.replace(old, new)))


def test_a_view_whose_features_have_no_description_is_refused(tmp_path: Path) -> None:
    bare = "\n".join(line.split(" -- ")[0] for line in DEMOGRAPHICS.splitlines())
    with pytest.raises(WrongUsage, match="no feature found"):
        view("mine", with_view(tmp_path, bare))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (("recent_lab:bun_last_mg_dl",), "did you mean recent_labs"),
        (("nothing:bun",), "known: "),
        (("recent_labs:bun_last",), "did you mean recent_labs:bun_last_mg_dl"),
        (("recent_labs:zzz",), "known: "),
        (("recent_labs:bun_last_mg_dl", "recent_labs:bun_last_mg_dl"), "named twice: bun_last_mg_dl"),
    ],
)
def test_a_feature_that_no_view_has_or_that_stands_twice_is_refused(features: tuple[str, ...], message: str) -> None:
    with pytest.raises(WrongUsage, match=message):
        check_features(features)


def test_the_charlson_table_holds_all_17_conditions_in_both_systems_with_their_weights() -> None:
    lines = [line.split(",") for line in (VIEWS / "charlson.csv").read_text().splitlines()[1:]]
    weights = {condition: int(weight) for condition, _, _, weight in lines}
    assert len(weights) == 17
    assert sorted(weights.values()) == [1] * 10 + [2] * 4 + [3] + [6] * 2
    assert {(condition, system) for condition, system, _, _ in lines} == {
        (condition, system) for condition in weights for system in ("icd-9-cm", "icd-10-cm")
    }
    assert len({(system, prefix, condition) for condition, system, prefix, _ in lines}) == len(lines)


def test_the_points_of_lace_stand_for_conditions_of_the_charlson_table() -> None:
    charlson, lace = (
        {line.split(",")[0] for line in (VIEWS / name).read_text().splitlines()[1:]}
        for name in ("charlson.csv", "lace_points.csv")
    )
    assert charlson - lace == {"hemiplegia_or_paraplegia", "peptic_ulcer_disease"}  # LACE gives no points for these
    assert lace <= charlson


def test_a_feature_without_a_word_draws_on_all_codes_unless_the_header_says_on_none(tmp_path: Path) -> None:
    risk = view("readmission_risk")
    assert risk.codes_of("hospital_score") == ("718-7", "2951-2")
    assert risk.codes_of("sodium_hospital_score") == ("2951-2",)
    assert risk.codes_of("lace_score") == ()
    with pytest.raises(WrongUsage, match="'-- no codes: ' names nothing_of_ours"):
        view("mine", with_view(tmp_path, VITALS.replace("-- owner: ", "-- no codes: nothing_of_ours\n-- owner: ")))
