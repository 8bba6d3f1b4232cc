"""Use cases are found by their folders, and a wrong name is answered."""

import pytest

from integrations.errors import WrongUsage
from models.catalog import use_case, use_case_names, use_cases


def test_use_cases_are_found_by_their_folders() -> None:
    assert {"aki_48h", "readmission_30d"} <= set(use_case_names())
    assert {name: case.name for name, case in use_cases().items()} == {name: name for name in use_case_names()}


def test_an_unknown_use_case_is_answered_by_the_nearest_one() -> None:
    with pytest.raises(WrongUsage, match="did you mean aki_48h"):
        use_case("aki_48")
    with pytest.raises(WrongUsage, match="known: "):
        use_case("zzz")
