"""A feed fetched from its FHIR server: by bulk export and by search, whole and what has changed since."""

import json
import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from integrations.errors import EnvironmentFault, Refused, WrongUsage
from integrations.fhir.export.fetch import desk_of
from integrations.synthetic_hospital.ehr_faults import Fault
from integrations.synthetic_hospital.ehr_shelf import LONG_AGO
from integrations.synthetic_hospital.write import HospitalFiles
from tests.integrations.fhir.export.conftest import FEED, QUICK, TYPES, House, MakeEhr, moment, on_a_bad_day

BOTH_WAYS = pytest.mark.parametrize("method", ["bulk", "search"])


def always(*kinds: str, **fault: Any) -> Any:
    """The same fault for every request of some kinds."""
    return lambda kind, _number: Fault(**fault) if kind in kinds else None


def test_export_and_search_bring_the_same_facts_whole_and_night_by_night(
    two_houses: tuple[House, House], make_ehr: MakeEhr, hospital: HospitalFiles
) -> None:
    by_bulk, by_search = two_houses
    for house, method in ((by_bulk, "bulk"), (by_search, "search")):
        ehr = make_ehr()
        for night in range(4):
            ehr.now = moment(hospital, night)
            result = house.take(ehr, method=method)
            assert result.is_new
            assert not result.quarantined
            assert all(account.balances for account in result.accounts.values())
    assert by_bulk.count("patient") == by_search.count("patient") > 10
    assert by_bulk.facts() == by_search.facts()


def test_what_is_fetched_over_http_is_what_the_hospital_wrote(
    two_houses: tuple[House, House], make_ehr: MakeEhr, hospital: HospitalFiles
) -> None:
    over_http, from_disk = two_houses
    over_http.take(make_ehr())
    from_disk.ingest(hospital.history, as_of=hospital.history_taken_at)
    assert over_http.facts() == from_disk.facts()


def test_the_second_export_asks_only_for_what_has_changed(
    house: House, make_ehr: MakeEhr, hospital: HospitalFiles
) -> None:
    ehr = make_ehr()
    house.take(ehr)
    ehr.now = moment(hospital, 1)
    house.take(ehr)
    since = hospital.history_taken_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert house.requests(ehr) == [None, since]


def test_an_overlap_asks_from_earlier_and_what_comes_twice_is_unchanged(
    house: House, make_ehr: MakeEhr, hospital: HospitalFiles
) -> None:
    ehr = make_ehr()
    house.take(ehr)
    for night in (1, 2):
        ehr.now = moment(hospital, night)
        result = house.take(ehr, overlap=timedelta(hours=30))
    assert sum(account.unchanged for account in result.accounts.values()) > 10


def test_a_night_without_changes_is_an_extract_too_and_moves_the_watermark(house: House, make_ehr: MakeEhr) -> None:
    ehr = make_ehr(nights=3)
    house.take(ehr)
    ehr.now += timedelta(hours=1)
    result = house.take(ehr)
    assert result.is_new
    assert sum(account.received for account in result.accounts.values()) == 0
    assert house.wanted().since == ehr.now


@BOTH_WAYS
def test_what_the_server_deletes_is_withdrawn(house: House, make_ehr: MakeEhr, method: str) -> None:
    ehr = make_ehr(nights=3)
    house.take(ehr, method=method)
    before = {table: house.count(table) for table in ("patient", "encounter")}
    [patient, *_] = ehr.shelf.resources("Patient", LONG_AGO, ehr.now)
    [stay, *_] = ehr.shelf.resources("Encounter", LONG_AGO, ehr.now)
    ehr.now += timedelta(hours=1)
    ehr.shelf.deletions += [(ehr.now, f"Patient/{json.loads(patient)['id']}")]
    ehr.shelf.deletions += [(ehr.now, f"Encounter/{json.loads(stay)['id']}")]
    house.take(ehr, method=method)
    assert {table: house.count(table) for table in before} == {name: count - 1 for name, count in before.items()}


def test_a_server_that_could_not_give_all_is_asked_for_the_same_again(house: House, make_ehr: MakeEhr) -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}
    ehr = make_ehr(errors=[outcome])
    fetched = house.fetch(ehr)
    assert fetched.serious == 1
    result = house.take(ehr)
    assert result.accounts["none"].out_of_scope == 1
    assert house.wanted().since is None
    warning = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "informational"}]}
    ehr.errors[:] = [warning]
    house.take(ehr)
    assert house.wanted().since == ehr.now


def test_a_search_that_says_it_is_incomplete_is_asked_for_the_same_again(house: House, make_ehr: MakeEhr) -> None:
    ehr = make_ehr()
    found, outcome = ehr.shelf.resources, b'{"resourceType":"OperationOutcome","issue":[{"severity":"error"}]}'

    def incomplete(kind: str, since: datetime, now: datetime) -> list[bytes]:
        return [*found(kind, since, now)[1:], outcome, *found(kind, since, now)[:1]] if kind == "Patient" else []

    ehr.shelf.resources = incomplete  # type: ignore[method-assign]
    ehr.says_total = False
    assert house.fetch(ehr, method="search").serious == 1
    house.take(ehr, method="search")
    assert house.wanted().since is None


def test_what_is_new_to_the_contract_is_asked_for_from_the_beginning(
    house: House, make_ehr: MakeEhr, hospital: HospitalFiles
) -> None:
    ehr = make_ehr()
    house.take(ehr, types=[name for name in TYPES if name != "MedicationRequest"])
    for night in (1, 2):
        ehr.now = moment(hospital, night)
        house.take(ehr)
    assert house.count("medication") > 0
    assert [since is None for since in house.requests(ehr)] == [True, True, False]


def test_every_filter_of_a_type_is_searched_for(house: House, make_ehr: MakeEhr) -> None:
    ehr = make_ehr()
    filters = ["Observation?category=laboratory", "Observation?date=ge2024-01-01&date=le2024-02-01"]
    files = sorted(path.name for path in house.fetch(ehr, method="search", type_filters=filters).folder.iterdir())
    assert [name for name in files if "Observation" in name] == ["Observation.000.ndjson", "Observation.001.ndjson"]
    assert any("category=laboratory" in path for path in ehr.paths)
    assert any("date=ge2024-01-01&date=le2024-02-01" in path for path in ehr.paths)


def test_a_page_of_a_manifest_that_is_none_refuses_the_export(house: House, make_ehr: MakeEhr) -> None:
    ehr = make_ehr(polls=0)
    whole = ehr.manifest

    def first(job_id: str) -> dict[str, Any]:
        return whole(job_id) | {"link": [{"relation": "next", "url": f"{ehr.base_url}/Patient?_count=1"}]}

    ehr.manifest = first  # type: ignore[method-assign]
    with pytest.raises(Refused, match="next page of its manifest"):
        house.fetch(ehr)


def test_an_export_that_failed_on_the_server_is_started_again_by_the_next_command(
    house: House, make_ehr: MakeEhr
) -> None:
    ehr = make_ehr(faults=on_a_bad_day({("status", 0): Fault(what="refuse", status=422)}))
    with pytest.raises(Refused, match="will not tell of its export: 422"):
        house.fetch(ehr)
    assert house.fetch(ehr).file_count > 5
    assert ehr.asked["kick_off"] == 2
    assert len(ehr.deleted_jobs) == 2


def test_links_that_come_again_in_another_order_are_another_export(house: House, make_ehr: MakeEhr) -> None:
    ehr = make_ehr(polls=0, faults=on_a_bad_day({("file", 3): Fault(what="expire_links")}))
    whole, asked = ehr.manifest, []

    def turned(job_id: str) -> dict[str, Any]:
        asked.append(job_id)
        said = whole(job_id)
        order = said["output"] if len(asked) == 1 else said["output"][::-1]
        return said | {"output": [{**each, "type": "Patient", "count": None} for each in order]}

    ehr.manifest = turned  # type: ignore[method-assign]
    folder = house.fetch(ehr, parallel=1).folder
    assert len(set(asked)) == 2  # a second export: nobody could tell which file is which
    assert len({path.read_bytes() for path in folder.glob("Patient*")}) == 7


def test_a_download_that_breaks_goes_on_at_the_byte_where_it_broke(house: House, make_ehr: MakeEhr) -> None:
    ehr = make_ehr(faults=on_a_bad_day({("file", 1): Fault(what="cut", at=3_000)}))
    house.fetch(ehr, parallel=1)
    ranges = [headers for path, headers in ehr.headers if "/files/" in path and "Range: bytes=" in headers]
    assert len(ranges) == 1
    assert "Range: bytes=3000-" in ranges[0]


@pytest.mark.parametrize("scope", ["system", "patient", "group"])
def test_a_contract_says_whose_resources_are_exported(house: House, make_ehr: MakeEhr, scope: str) -> None:
    ehr = make_ehr(polls=2)
    house.fetch(ehr, scope=scope)
    [job] = house.kicked_off(ehr)
    path = {"system": "/fhir/$export", "patient": "/fhir/Patient/$export", "group": "/fhir/Group/g1/$export"}[scope]
    assert path in job
    assert ehr.asked["status"] == 3
    assert len(ehr.deleted_jobs) == 1  # the server may forget it


def test_a_group_that_settings_do_not_name_is_said_at_once(house: House, make_ehr: MakeEhr) -> None:
    wanted = house.wanted(scope="group")
    with house.server(make_ehr()) as server, pytest.raises(WrongUsage, match="group"):
        type(wanted)(export=wanted.export).kick_off(server.base)


@BOTH_WAYS
def test_type_filters_reach_the_server(house: House, make_ehr: MakeEhr, method: str) -> None:
    ehr = make_ehr()
    house.fetch(ehr, method=method, type_filters=["Observation?category=laboratory"])
    seen = "_typeFilter=Observation%3Fcategory%3Dlaboratory" if method == "bulk" else "category=laboratory"
    assert any(seen in path for path in ehr.paths)


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        (always("kick_off", what="refuse", status=403), "will not start an export: 403 \\(transient\\)"),
        (always("kick_off", what="refuse", status=400), "will not start an export: 400"),
        (always("status", what="refuse", status=422), "will not tell of its export: 422"),
        (always("file", what="refuse", status=403), "refuses a file of its export with 403"),
        (always("status", what="garbage"), "manifest cannot be read"),
        (always("token", what="refuse", status=401), "gives us no token: 401"),
        (always("kick_off", what="redirect", status=302, to="http://127.0.0.1:9/fhir"), "302 and points elsewhere"),
    ],
)
def test_what_will_never_pass_is_said_at_once(house: House, make_ehr: MakeEhr, faults: Any, sentence: str) -> None:
    ehr = make_ehr(faults=faults)
    with pytest.raises(Refused, match=sentence):
        house.fetch(ehr)
    assert max(ehr.asked[kind] for kind in ("kick_off", "status", "token")) <= 3


@pytest.mark.parametrize("kind", ["kick_off", "status", "file", "token", "discovery"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(house: House, make_ehr: MakeEhr, kind: str, status: int) -> None:
    fault = Fault(what="refuse", status=status, retry_after=0)
    ehr = make_ehr(faults=on_a_bad_day({(kind, 0): fault, (kind, 1): fault}))
    assert house.fetch(ehr).file_count > 5
    assert ehr.asked[kind] >= 3


def test_a_server_that_asks_to_be_left_alone_is_until_then_or_the_command_ends(
    house: House, make_ehr: MakeEhr, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    busy = Fault(what="refuse", status=429, retry_after=7)
    house.fetch(make_ehr(faults=on_a_bad_day({("kick_off", 0): busy})))
    assert 7 in waited
    for_hours = Fault(what="refuse", status=429, retry_after=7200)
    ehr = make_ehr(faults=on_a_bad_day({("kick_off", 0): for_hours}))
    shutil.rmtree(house.home / "exports" / FEED)
    with pytest.raises(EnvironmentFault, match="answers 429"):
        house.fetch(ehr)
    assert ehr.asked["kick_off"] == 1


def test_an_export_that_is_not_ready_in_time_is_waited_on_for_by_the_next_command(
    house: House, make_ehr: MakeEhr
) -> None:
    ehr = make_ehr(polls=1_000)
    house.patience = replace(QUICK, whole_export=timedelta(milliseconds=200))
    with pytest.raises(EnvironmentFault, match="not ready after"):
        house.fetch(ehr)
    ehr.polls = 0
    assert house.fetch(ehr).file_count > 5
    assert ehr.asked["kick_off"] == 1


def test_a_server_that_stays_away_ends_with_a_sentence_and_what_has_come_stays(house: House, make_ehr: MakeEhr) -> None:
    ehr = make_ehr(faults=lambda kind, number: Fault(what="refuse") if kind == "file" and number > 2 else None)
    house.patience = replace(house.patience, longest_retry_after=timedelta(seconds=1))  # the circuit asks for 15
    with pytest.raises(EnvironmentFault, match=r"not there for us: (it answers 503|the circuit is open)"):
        house.fetch(ehr, parallel=1)
    ehr.faults = lambda _kind, _number: None
    house.close_circuit()
    before = ehr.asked["file"]
    assert house.fetch(ehr).file_count > 5
    assert ehr.asked["file"] - before == house.fetch(ehr).file_count - 3  # three had come
    assert ehr.asked["kick_off"] == 1


def test_a_token_that_ends_halfway_is_renewed(house: House, make_ehr: MakeEhr) -> None:
    ehr = make_ehr(
        faults=on_a_bad_day({("file", 2): Fault(what="expire_tokens"), ("status", 1): Fault(what="expire_tokens")})
    )
    assert house.fetch(ehr, parallel=1).file_count > 5
    assert ehr.asked["token"] == 3
    assert not ehr.tokens.refusals


def test_one_process_at_a_time_fetches_a_feed(house: House, make_ehr: MakeEhr) -> None:
    ehr = make_ehr()
    with desk_of(FEED, house.home / "exports"), pytest.raises(Refused, match=f"another process fetches {FEED}"):
        house.fetch(ehr)
    assert not ehr.asked


def test_a_manifest_of_a_million_links_is_refused(house: House, make_ehr: MakeEhr) -> None:
    ehr = make_ehr()
    link = {"type": "Patient", "url": "https://ehr/" + "x" * 20}
    ehr.manifest = lambda _job: {"transactionTime": "2024-01-01T00:00:00Z", "output": [link] * 1_000_000}  # type: ignore[method-assign]
    with pytest.raises(Refused, match=r"1,000,000 files|longer than"):
        house.fetch(ehr)
