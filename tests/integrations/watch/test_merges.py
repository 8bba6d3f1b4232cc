"""Two records of one person: nothing of theirs is lost, and the watch of feeds has nothing to say."""

from pathlib import Path

from integrations.contract import SOURCES
from integrations.duck import connect
from integrations.ingest import IngestPlaces, ingest, ledger
from integrations.lake import Lake
from integrations.records import Records
from integrations.synthetic_hospital import Hospital, write_hospital


def test_who_is_registered_twice_is_one_person_with_all_results_once_merged(
    home: Path, sqlite_records: Records, tmp_path: Path
) -> None:
    hospital = Hospital(patients=700, nights=3, scenario="merged_patients", seed=3)
    files = write_hospital(hospital, tmp_path / "hospital")
    places = IngestPlaces(landing=home / "landing", lake=Lake(home / "lake", 2), sources=SOURCES, temp=home / "tmp")
    sent = [("demo_ehr", files.history, files.history_taken_at)]
    for night in files.nights:
        sent += [("demo_ehr", night.ehr, night.taken_at), ("demo_lis", night.lis, night.taken_at)]
    for source, folder, at in sent:
        done = ingest(source, folder, as_of=at, is_history=False, places=places, records=sqlite_records)
        assert done.found == ()
        assert done.quarantined == {}
        assert not any(account.waiting for account in done.accounts.values())
    with sqlite_records.read() as db, connect(home / "tmp", threads=1) as lake:
        _, versions = ledger.newest_snapshot(db)
        places.lake.open_snapshot(lake, versions)
        [(both,)] = lake.execute(
            """
            select count(distinct patient_id)
            from same_person
            where patient_id like 'demo_ehr/%'
            and other_patient_id like 'demo_ehr/%'
            and patient_id <> other_patient_id
            and superseded_at = timestamptz 'infinity'
            """
        ).fetchall()
    assert both >= 2
