"""The demo hospital through the real ingest: nothing sound is set aside, and the scripted fault is."""

from integrations.contract import SOURCES
from integrations.ingest import IngestPlaces, ingest
from integrations.lake import Lake
from integrations.records import open_records

IMPOSSIBLE_FROM = 50  # mg/dL


def test_history_and_nights_are_taken_in_whole_but_for_creatinine_that_is_88_times_too_high(home, written, reading):
    files = written("creatinine_unit")
    places = IngestPlaces(landing=home / "landing", lake=Lake(home / "lake", 2), sources=SOURCES, temp=home / "tmp")
    records = open_records(f"sqlite:///{home / 'records.db'}")

    def take_in(source, folder, at):
        return ingest(source, folder, as_of=at, is_history=False, places=places, records=records)

    results = {"history": take_in("demo_ehr", files.history, files.history_taken_at)}
    for number, night in enumerate(files.nights[:5], 1):
        results[f"ehr {number}"] = take_in("demo_ehr", night.ehr, night.taken_at)
        results[f"lis {number}"] = take_in("demo_lis", night.lis, night.taken_at)

    too_high = [r for r in reading.results(files.nights[4].lis) if r.code == "2160-0" and r.value > IMPOSSIBLE_FROM]
    for name, result in results.items():
        assert result.is_new
        assert not any(account.waiting or account.out_of_scope for account in result.accounts.values())
        assert result.quarantined == ({"impossible_value": len(too_high)} if name == "lis 5" else {})
    assert len(too_high) >= 2
    assert results["lis 1"].accounts["observation"].mapped == len(reading.results(files.nights[0].lis))
