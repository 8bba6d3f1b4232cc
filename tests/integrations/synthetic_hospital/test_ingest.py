"""The demo hospital through the real ingest: nothing sound is set aside, and the scripted fault is."""

from integrations.contract import SOURCES, load_contract
from integrations.duck import connect
from integrations.ingest import IngestPlaces, ingest, ledger
from integrations.lake import Lake
from integrations.records import open_records
from integrations.snapshot import Feed

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
    _blood_counts_that_both_bring_are_one(places, records, home)


def _blood_counts_that_both_bring_are_one(places, records, home):
    """The EHR knows patients by numbers of its own, and passes on what the laboratory counted."""
    feeds = [
        Feed(source=each.source, site_id=each.site_id, time_zone=each.time_zone, lateness=each.lateness,
             is_authoritative_for=each.is_authoritative_for)
        for each in map(load_contract, ("demo_ehr", "demo_lis"))
    ]  # fmt: skip
    with records.read() as db, connect(home / "tmp") as connection:
        _, versions = ledger.newest_snapshot(db)
        places.lake.open_snapshot(connection, versions, feeds=feeds)
        rows = connection.execute(
            """
            select
                source,
                count(distinct (order_number, code)),
                count(distinct (order_number, code)) filter (superseded_at = 'infinity')
            from observation
            where code in ('718-7', '6690-2') and order_number is not null
            group by source order by source
            """
        ).fetchall()
    (ehr, passed_on, still_counted), (lis, counted, believed) = rows
    assert (ehr, lis) == ("demo_ehr", "demo_lis")
    assert passed_on == counted == believed > 20
    assert still_counted == 0
