"""New sources, made as the command makes them."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from integrations.contract import Contract
from integrations.new_source import new_sources


def make(sources: Path, name: str = "north", kind: str | None = None, **more: Any) -> list[Contract]:
    """Make new sources as the command does."""
    given = {"owner": None, "site": None, "time_zone": "UTC"} | more
    return new_sources(name, sources=sources, kind=kind, **given)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder of sources without any."""
    (tmp_path / "sources").mkdir()
    return tmp_path / "sources"


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One source of each kind knit together, and one of each kind alone."""
    sources = tmp_path_factory.mktemp("made") / "sources"
    sources.mkdir()
    make(sources)
    for name, kind in (("ehr", "fhir"), ("lis", "hl7v2"), ("dwh", "tabular"), ("pacs", "dicomweb")):
        make(sources, name, kind)
    return sources


@pytest.fixture
def made(made_once: Path, tmp_path: Path) -> Path:
    """The same, to be spoilt."""
    shutil.copytree(made_once, tmp_path / "made")
    return tmp_path / "made"
