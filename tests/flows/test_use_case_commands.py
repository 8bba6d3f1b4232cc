"""`rounds use-case new`: the folder of a use case that keeps every promise before anybody has touched it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.new_deployments import with_deployments
from integrations.errors import NotInOrder, Refused, WrongUsage
from integrations.settings import CHECKOUT
from models.new_use_case import new_use_case

NAME = "early_death_30d"
FILES = (
    "use_case.py",
    "cohort.sql",
    "label.sql",
    "estimator.py",
    "cases.yaml",
    "card.yaml",
    "__init__.py",
    "README.md",
)
DEPLOYMENTS = (CHECKOUT / "prefect.yaml").read_text(encoding="utf-8")
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "var", "__pycache__", ".*_cache", ".hypothesis", ".coverage*", "*.egg-info"
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A scratch copy of the tree."""
    return Path(shutil.copytree(CHECKOUT, tmp_path / "tree", ignore=LEFT_OUT))


def run(checkout: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "ROUNDS_HOME": str(checkout.parent / "home")}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        [sys.executable, *command], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )


def test_a_new_use_case_keeps_every_promise_at_once_and_changes_only_prefect_yaml(checkout: Path) -> None:
    before = {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}
    made = run(checkout, "-m", "flows.cli", "use-case", "new", NAME)
    assert made.returncode == 0, made.stderr
    made_files = (path.name for path in (checkout / "models" / NAME).iterdir() if path.name != "__pycache__")
    assert sorted(made_files) == sorted(FILES)
    changed = [path for path, content in before.items() if path.read_bytes() != content]
    assert [path.name for path in changed] == ["prefect.yaml"]
    kept = run(checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/promises", "-k", NAME)
    assert kept.returncode == 0, kept.stdout
    assert " failed" not in kept.stdout
    assert int(kept.stdout.rpartition(" passed")[0].split()[-1]) >= 16


def test_a_broken_one_does_not(checkout: Path) -> None:
    assert run(checkout, "-m", "flows.cli", "use-case", "new", NAME).returncode == 0
    cohort = checkout / "models" / NAME / "cohort.sql"
    cohort.write_text(
        cohort.read_text().replace("and e.available_at <= e.started_at", "and e.started_at <= e.started_at")
    )
    kept = run(checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/promises/test_use_cases.py", "-k", NAME)
    assert kept.returncode == 1
    assert "test_every_story_of_a_use_case_comes_out_as_told" in kept.stdout


@pytest.mark.parametrize(
    "name", ["Sepsis_24h", "sepsis", "sepsis-24h", "24h_sepsis", "../sepsis_24h", "sepsis_24h_", ""]
)
def test_a_name_that_no_module_may_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(WrongUsage, match="snake case"):
        new_use_case(name, models=tmp_path, owner="o")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_refused_and_what_stands_there_stays(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    (tmp_path / "score_records.py").touch()
    for taken in (NAME, "score_records"):
        with pytest.raises(Refused, match=f"{taken} exists already"):
            new_use_case(taken, models=tmp_path, owner="o")
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, "score_records.py"]


def test_deployments_come_behind_those_of_their_kind_and_no_line_of_the_others_changes() -> None:
    after = with_deployments(DEPLOYMENTS, NAME, hours=(6, 18), time_zone="Europe/Berlin")
    added = [line for line in after.splitlines() if line not in DEPLOYMENTS.splitlines()]
    left = list(after.splitlines())
    for line in DEPLOYMENTS.splitlines():
        left.remove(line)
    assert set(added) <= set(left)
    names = [each["name"] for each in yaml.safe_load(after)["deployments"]]
    scores = [name for name in names if name.startswith("score_")]
    assert names.index(f"score_{NAME}") == names.index(scores[0]) + len(scores) - 1
    assert names[-1] == f"monitor_{NAME}"
    by_name = {each["name"]: each for each in yaml.safe_load(after)["deployments"]}
    assert by_name[f"score_{NAME}"]["schedules"] == [
        {"cron": "45 6,18 * * *", "timezone": "Europe/Berlin", "active": True}
    ]
    assert "# Every deployment of Rounds." in after
    crons = [each["schedules"][0]["cron"] for name, each in by_name.items() if name.startswith("monitor_")]
    assert len(crons) == len(set(crons)), "two would run at the same minute"


def test_a_file_without_deployments_or_with_these_is_refused() -> None:
    after = with_deployments(DEPLOYMENTS, NAME, hours=(6,), time_zone="UTC")
    with pytest.raises(NotInOrder, match="has a deployment already"):
        with_deployments(after, NAME, hours=(6,), time_zone="UTC")
    with pytest.raises(NotInOrder, match="there is no deployment score_"):
        with_deployments("deployments: []\n", NAME, hours=(6,), time_zone="UTC")
