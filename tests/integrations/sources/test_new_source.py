"""A new source is there whole or not at all, and keeps every promise of a source."""

import inspect
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from integrations import new_source
from integrations.codes import load_analytes, load_codes
from integrations.contract import known_sources, load_contract
from integrations.errors import Refused, RoundsError, WrongUsage
from integrations.new_source import KINDS, LOINC_SYSTEM
from integrations.source_page import source_page
from integrations.tables import TABLES
from tests.integrations.sources.conftest import make
from tests.promises import test_sources as promises

SYSTEM = "http://example.org/north/mrn"
EVERY_KIND = [*(f"north_{kind}" for kind in KINDS), "ehr", "lis", "dwh", "pacs"]
EVERY_NEW = pytest.mark.parametrize("source", EVERY_KIND)


def kept(module: ModuleType, source: str, sources: Path, patch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Hold one source of `sources` to every promise that the suite has for each source: which of them it keeps."""
    patch.setattr(module, "SOURCES", sources)
    patch.setattr(module, "load_contract", partial(load_contract, sources=sources))
    patch.setattr(module, "known_sources", partial(known_sources, sources))
    found = {}
    for name, promise in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("test_") and list(inspect.signature(promise).parameters) == ["source"]:
            try:
                promise(source)
            except (AssertionError, RoundsError, KeyError):
                found[name] = False
            else:
                found[name] = True
    return found


@EVERY_NEW
def test_a_new_source_keeps_every_promise_of_a_source(
    source: str, made_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kept(promises, source, made_once, monkeypatch)
    print(f"promises of {source}: tried {len(found)}, passed {sum(found.values())}, never reached 0")
    assert len(found) >= 8
    assert all(found.values()), [name for name, is_kept in found.items() if not is_kept]


@pytest.mark.parametrize(
    ("old", "new", "broken"),
    [
        (f'["{SYSTEM}"]', '["mrn"]', "test_a_system_that_names_persons_is_a_uri"),
        ("owner: data owner of north", 'owner: " "', "test_a_contract_can_be_read_and_names_its_owner"),
        ("available_at: encounter_ended_at, plus: 7d", "available_at: always", "test_a_coded_diagnosis"),
        ("mapping: patient.sql", "mapping: persons.sql", "test_views_and_mappings"),
        ('"*README*": description', '"results.csv": none', "test_a_file_is_named_once"),
        ("  [", "  [imaging_study] #", ""),
    ],
)
def test_the_same_check_finds_a_promise_that_is_broken(
    made: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, broken: str
) -> None:
    file = made / "north_tabular" / "contract.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    found = kept(promises, "north_tabular", made, monkeypatch)
    assert [name for name, is_kept in found.items() if not is_kept and name.startswith(broken)] or not broken
    assert all(found.values()) == (not broken)


@EVERY_NEW
def test_its_folder_holds_what_other_sources_hold_and_its_page_is_fresh(source: str, made_once: Path) -> None:
    folder = made_once / source
    assert {"README.md", "__init__.py", "codes.csv", "contract.yaml"} <= {file.name for file in folder.iterdir()}
    assert (folder / "README.md").read_text() == source_page(source, made_once)
    assert "DECIDE" in (folder / "contract.yaml").read_text()
    assert not any("$" in file.read_text() for file in folder.iterdir())
    assert {oct(file.stat().st_mode & 0o777) for file in folder.iterdir()} == {"0o644"}


@EVERY_NEW
def test_every_analyte_is_mapped_to_itself_in_its_own_unit_by_an_owner(source: str, made_once: Path) -> None:
    codes = load_codes(made_once / source)
    if load_contract(source, made_once).kind not in LOINC_SYSTEM:  # it has no results
        assert (codes, "observation" in load_contract(source, made_once).tables) == ((), False)
        return
    assert {code.local_code: code.loinc for code in codes} == {loinc: loinc for loinc in load_analytes()}
    assert all([unit.sent for unit in code.units] == [code.analyte.unit] for code in codes if code.analyte)
    assert {line.rpartition(",")[2] for line in (made_once / source / "codes.csv").read_text().splitlines()[1:]} == {
        load_contract(source, made_once).owner
    }


def test_one_of_each_kind_knows_the_same_patients(made_once: Path) -> None:
    ehr, lis, dwh, pacs = every = [load_contract(f"north_{kind}", made_once) for kind in KINDS]
    for each in (lis, pacs):
        assert each.patients_of is not None
        assert (each.patients_of.source, each.encounters_of) == ("north_fhir", "north_fhir")
        assert each.patients_of.system == SYSTEM
    assert {each.person_systems for each in every} == {(SYSTEM,)}
    believed = [table for each in every for table in each.is_authoritative_for]
    assert sorted(believed) == sorted(TABLES)
    assert (lis.is_authoritative_for, pacs.is_authoritative_for) == (("observation",), ("imaging_study",))
    assert {each.site_id for each in every} == {"north"}
    assert {each.go_live_at for each in every} == {None}
    assert dwh.patients_of is ehr.patients_of is None


@pytest.mark.parametrize("kind", ["hl7v2", "dicomweb"])
def test_a_laboratory_or_a_pacs_alone_speaks_of_the_patients_of_its_site(sources: Path, kind: str) -> None:
    with pytest.raises(Refused, match="whom another feed knows"):
        make(sources, "lis", kind)
    make(sources, "south", "tabular")
    make(sources, "west", "fhir")
    [first] = make(sources, "lis", kind)
    [west] = make(sources, "west_lis", kind, site="west")
    assert first.patients_of is not None
    assert west.patients_of is not None
    assert (first.patients_of.source, west.patients_of.source) == ("south", "west")
    assert west.patients_of.system == "http://example.org/west/mrn"


@pytest.mark.parametrize("owner", ["Ada: #1", "yes", "'", '"', "null", "Ünal", "a\\nb", "[x]", "- ", "$source", "x, y"])
def test_what_a_person_types_stands_in_the_contract_as_typed(sources: Path, owner: str) -> None:
    [made] = make(sources, "ehr", "fhir", owner=owner, site=owner, time_zone="Europe/Berlin")
    assert (made.owner, made.site_id, made.time_zone) == (owner, owner, "Europe/Berlin")


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"name": "North"}, WrongUsage, "no plain identifier"),
        ({"name": "1st"}, WrongUsage, "no plain identifier"),
        ({"name": "a-b"}, WrongUsage, "no plain identifier"),
        ({"name": "../up"}, WrongUsage, "no plain identifier"),
        ({"name": ""}, WrongUsage, "no plain identifier"),
        ({"name": "north\n"}, WrongUsage, "no plain identifier"),
        ({"kind": "hl7"}, WrongUsage, "did you mean hl7v2?"),
        ({"time_zone": "America/Chicgo"}, WrongUsage, "did you mean America/Chicago?"),
        ({"time_zone": "America"}, WrongUsage, "no time zone"),
        ({"time_zone": ""}, WrongUsage, "no time zone"),
        ({"owner": " "}, WrongUsage, "--owner is no line of text"),
        ({"owner": ""}, WrongUsage, "--owner is no line of text"),
        ({"site": "a\nb"}, WrongUsage, "--site is no line of text"),
        ({"name": "there", "kind": "fhir"}, Refused, "there exists already"),
        ({"name": "half"}, Refused, "half_tabular exists already"),
        ({"name": "file", "kind": "fhir"}, Refused, "file exists already"),
        ({"name": "link", "kind": "fhir"}, Refused, "link exists already"),
    ],
)
def test_what_cannot_be_made_is_refused_and_nothing_changes(
    sources: Path, given: dict[str, Any], error: type[RoundsError], says: str
) -> None:
    (sources / "there").mkdir()
    (sources / "half_tabular").mkdir()
    (sources / "file").write_text("")
    (sources / "link").symlink_to("nowhere")
    before = tree(sources)
    with pytest.raises(error) as caught:
        make(sources, **given)
    assert says in str(caught.value)
    assert caught.value.where
    assert caught.value.to_do
    assert tree(sources) == before


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# Whole or not at all: the disk fails at every step of the making, one after the other.


class DiskFull(OSError):
    """A disk that takes no more."""


@contextmanager
def failing_at(step: int | None, patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let the step-th writing, move or change of mode fail; without a number, count them all."""
    done: list[str] = []

    def failing(name: str, real: Any) -> Any:
        def instead(*arguments: Any, **more: Any) -> Any:
            done.append(name)
            if len(done) == step:
                raise DiskFull(name)
            return real(*arguments, **more)

        return instead

    with patch.context() as inner:
        inner.setattr(new_source, "write_whole", failing("write_whole", new_source.write_whole))
        inner.setattr(new_source, "sync_folder", failing("sync_folder", new_source.sync_folder))
        inner.setattr(new_source, "source_page", failing("source_page", lambda source, sources: "a page"))
        inner.setattr(Path, "chmod", failing("chmod", Path.chmod))
        inner.setattr(Path, "rename", failing("rename", Path.rename))
        yield done


def left_by_faults(sources: Path, patch: pytest.MonkeyPatch) -> tuple[int, dict[int, list[str]]]:
    """Fail at each step of making one of each kind: how many were tried, and what some left in `sources`."""
    with failing_at(None, patch) as steps:
        make(sources)
    reached, left = 0, {}
    for step in range(1, len(steps) + 1):
        empty(sources)
        with failing_at(step, patch) as done, pytest.raises(DiskFull):
            make(sources)
        reached += len(done) >= step
        if found := tree(sources):
            left[step] = found
    print(f"faults: tried {reached}, passed {reached - len(left)}, never reached {len(steps) - reached}")
    assert reached == len(steps)
    return reached, left


def empty(sources: Path) -> None:
    for folder in sources.iterdir():
        shutil.rmtree(folder)


def test_whichever_step_fails_nothing_is_left(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried, left = left_by_faults(sources, monkeypatch)
    assert tried > 60
    assert left == {}
    assert len(make(sources)) == len(KINDS)


def test_the_same_faults_find_a_build_that_works_in_place(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def in_place(folder: Path, others: Any) -> Iterator[Path]:
        yield folder

    monkeypatch.setattr(new_source, "_beside", in_place)
    _, left = left_by_faults(sources, monkeypatch)
    assert len(left) > 60


def test_the_same_faults_find_a_build_that_leaves_the_first_of_several(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_by_one(names: list[str], staged: Path, target: Path) -> None:
        for name in names:
            (staged / name).rename(target / name)

    monkeypatch.setattr(new_source, "_move", one_by_one)
    _, left = left_by_faults(sources, monkeypatch)
    assert len(left) == len(KINDS) - 1
