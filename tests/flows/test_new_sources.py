"""New sources hold every promise, in a checkout of its own in which `rounds source new` was called."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from integrations.settings import CHECKOUT


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout in which new sources of every kind were made."""
    copy = tmp_path_factory.mktemp("checkout") / "rounds"
    left_out = shutil.ignore_patterns(".*", "var", "__pycache__", "*.egg-info", "node_modules")
    shutil.copytree(CHECKOUT, copy, ignore=left_out)
    for arguments in (["north"], ["west", "--kind", "fhir"], ["lis", "--kind", "hl7v2"], ["dwh", "--kind", "tabular"]):
        run(copy, "flows.cli", "source", "new", *arguments).check_returncode()
    return copy


def run(checkout: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "ROUNDS_HOME": str(checkout / "var")}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def promises(checkout: Path, *options: str) -> str:
    """What the promise tests of sources and pages say of a checkout."""
    tests = ("tests/promises/test_sources.py", "tests/promises/test_docs.py")
    done = run(checkout, "pytest", "-p", "no:cacheprovider", *tests, *options)
    print(done.stdout.splitlines()[-1])
    return done.stdout


def test_after_new_every_promise_of_sources_and_pages_holds(checkout: Path) -> None:
    told = promises(checkout, "-v")
    assert " failed" not in told
    assert " error" not in told
    for source in ("north_fhir", "north_hl7v2", "north_tabular", "west", "lis", "dwh"):
        assert f"[integrations/sources/{source}/README.md] PASSED" in told
        assert told.count(f"[{source}] PASSED") >= 8
    assert run(checkout, "flows.docs").stdout == ""  # `make docs` has nothing to write


def test_the_same_tests_find_a_new_source_that_breaks_a_promise(checkout: Path) -> None:
    page, contract = (checkout / "integrations/sources/west" / name for name in ("README.md", "contract.yaml"))
    sound = contract.read_text()
    contract.write_text(sound.replace('["http://example.org/west/mrn"]', "[mrn]"))
    told = promises(checkout, "-k", "west")
    contract.write_text(sound)
    assert "test_a_system_that_names_persons_is_a_uri[west]" in told
    assert f"{page.relative_to(checkout)} is stale" in told
    assert "2 failed" in told
