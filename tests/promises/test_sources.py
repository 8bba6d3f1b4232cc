"""What every source owes, by being a folder of integrations/sources with a contract."""

import re
from pathlib import Path

import pytest

from flows.house import feed_of
from integrations.codes import load_codes
from integrations.contract import SOURCES, known_sources, load_contract
from integrations.tables import TABLES

EVERY_SOURCE = pytest.mark.parametrize("source", known_sources())


def test_the_real_feeds_are_known() -> None:
    assert {"synthea_bulk", "mimic4_demo"} <= set(known_sources())


@EVERY_SOURCE
def test_a_contract_can_be_read_and_names_its_owner(source: str) -> None:
    contract = load_contract(source)
    assert contract.owner.strip()
    assert all(reason.strip() for reason in contract.files_out_of_scope.values())


@EVERY_SOURCE
def test_features_may_ask_which_tables_a_feed_may_bring(source: str) -> None:
    contract = load_contract(source)
    feed = feed_of(contract)
    assert (feed.source, set(feed.tables)) == (source, set(contract.tables))
    assert set(feed.tables) <= TABLES.keys()


@EVERY_SOURCE
def test_an_authority_feeds_the_table_that_it_answers_for(source: str) -> None:
    contract = load_contract(source)
    assert set(contract.is_authoritative_for) <= contract.tables.keys()


@EVERY_SOURCE
def test_a_feed_refers_only_to_sources_that_exist(source: str) -> None:
    contract = load_contract(source)
    assert contract.encounters_of in known_sources()
    if contract.patients_of:
        other = load_contract(contract.patients_of.source)
        assert "patient_link" in other.tables
        assert contract.patients_of.system in other.person_systems


@EVERY_SOURCE
def test_a_system_that_names_persons_is_a_uri(source: str) -> None:
    assert all(re.match(r"(urn:[\w-]+:|https?://)\S+$", system) for system in load_contract(source).person_systems)


@EVERY_SOURCE
def test_a_coded_diagnosis_of_the_past_is_not_known_at_the_stay_that_it_belongs_to(source: str) -> None:
    condition = load_contract(source).tables.get("condition")
    if condition is not None:
        assert "always" not in condition.history.instants
        assert "started_at" not in condition.history.instants


@EVERY_SOURCE
def test_every_code_is_mapped_to_an_analyte_or_named_out_of_scope_by_an_owner(source: str) -> None:
    codes = load_codes(SOURCES / source)
    assert codes or "observation" not in load_contract(source).tables
    for code in codes:
        assert code.loinc is None or code.units or code.takes_text


@EVERY_SOURCE
def test_a_file_is_named_once_either_for_tables_or_out_of_scope(source: str) -> None:
    contract = load_contract(source)
    fed = {glob for table in contract.tables.values() for glob in table.files}
    assert not fed & contract.files_out_of_scope.keys()


@EVERY_SOURCE
def test_views_and_mappings_that_a_contract_names_exist(source: str) -> None:
    folder = SOURCES / source
    for name, table in load_contract(source).tables.items():
        assert name in TABLES
        named = [table.mapping] if table.mapping else [f"{table.view}.json"] if table.view else []
        assert all(Path(folder / file).exists() for file in named)
