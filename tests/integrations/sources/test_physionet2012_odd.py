"""PhysioNet 2012: what somebody really hands in. Odd files, outcomes that come later, and stays that come twice."""

import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from integrations.contract import SOURCES
from integrations.duck import connect
from integrations.errors import Refused
from integrations.ingest import IngestPlaces, IngestResult, ingest, quarantine_report, retry
from integrations.ingest.known import open_lake
from integrations.ingest.ledger import newest_snapshot
from integrations.ingest.report import tables_report
from integrations.lake import Lake
from integrations.records import open_records

NOW = datetime(2026, 1, 5, tzinfo=UTC)
HEAD = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n"


class Desk:
    """Somebody's folder, and a house that takes it in, an hour later each time."""

    def __init__(self, home: Path) -> None:
        self.home, self.sent, self.count = home, home / "sent", 0
        self.sent.mkdir()
        lake = Lake(home / "lake", 2)
        self.places = IngestPlaces(landing=home / "landing", lake=lake, sources=SOURCES, temp=home / "tmp")
        self.records = open_records(f"sqlite:///{home / 'records.db'}")

    def write(self, name: str, content: str | bytes) -> None:
        path = self.sent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def stay(self, name: str, *lines: str, unit: int = 3) -> None:
        record_id = Path(name).name.split(".")[0]
        first = (f"00:00,RecordID,{record_id}", "00:00,Age,70", f"00:00,ICUType,{unit}")
        self.write(name, "\n".join(["Time,Parameter,Value", *first, *lines]) + "\n")

    def clear(self) -> None:
        for path in [each for each in self.sent.rglob("*") if each.is_file()]:
            path.unlink()

    def later(self) -> datetime:
        self.count += 1
        return NOW + timedelta(hours=self.count)

    def ingested(self, path: Path | None = None) -> IngestResult:
        result = ingest(
            "physionet2012",
            path or self.sent,
            as_of=self.later(),
            is_history=False,
            places=self.places,
            records=self.records,
        )
        assert all(account.balances for account in result.accounts.values())
        return result

    def retried(self) -> dict[str, int]:
        return retry("physionet2012", as_of=self.later(), places=self.places, records=self.records).released

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        connection = connect(self.home / "spill")
        with self.records.read() as db:
            open_lake(connection, self.places.lake, newest_snapshot(db)[1])
        return connection.execute(sql).fetchall()

    def stays(self) -> dict[object, tuple[object, ...]]:
        """The newest version of each stay, and how many there are."""
        found = self.rows(
            """
            select
                split_part(encounter_id, '/', 2), arg_max(service, available_at),
                strftime(arg_max(row(ended_at), available_at)[1], '%Y-%m-%d'),
                arg_max(row(discharge_disposition), available_at)[1], count(*)
            from every_encounter group by encounter_id order by 1
            """
        )
        return {name: tuple(rest) for name, *rest in found}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


# --- odd files ----------------------------------------------------------------------------------------------------


def test_a_folder_of_a_desktop_is_taken_in_and_what_is_no_record_is_told_with_its_reason(desk: Desk) -> None:
    for name in ("132101.txt", "132102.TXT", "set-b/132103.txt"):
        desk.stay(name, "01:00,HR,80")
    for litter in (".DS_Store", "Thumbs.db", "set-b/._132103.txt", "__MACOSX/set-a/._132101.txt", "desktop.ini"):
        desk.write(litter, b"\x00\x01")
    desk.write("README", "what this is\n")
    desk.write("132104 (1).txt", "Time,Parameter,Value\n00:00,RecordID,132104\n")
    desk.write("notes/Überblick.docx", b"PK\x00")
    desk.write("empty", b"")
    for name in ("1321070.txt", "set-b/1321071.txt", "x132108.txt", "13210.txt"):
        desk.stay(name)
    desk.write("132105.txt", b"")
    desk.write("132106.txt", "some words\n")
    result = desk.ingested()
    assert desk.stays().keys() == {"132101", "132102", "132103"}
    assert result.litter_count == 5
    assert result.files_left_out == {
        "description": 1,
        "its name is not that of a stay (six digits and .txt), nor of outcomes": 7,
    }
    report = quarantine_report(desk.records, "physionet2012")
    assert {(row["source_file"], row["reason"], row["detail"]) for row in report["rows"]} == {
        ("132105.txt", "bad_value", "the file is empty"),
        ("132106.txt", "bad_value", "no column Time"),
    }
    assert (result.accounts["patient"].received, result.accounts["patient"].quarantined) == (5, 2)


def test_litter_changes_no_extract_so_a_folder_that_was_looked_at_is_the_same_one(desk: Desk) -> None:
    desk.stay("132101.txt")
    first = desk.ingested()
    desk.write(".DS_Store", b"\x00")
    again = desk.ingested()
    assert (again.is_new, again.extract_id, again.litter_count) == (False, first.extract_id, 1)


def test_a_zip_of_a_mac_is_taken_as_its_stays(desk: Desk) -> None:
    desk.stay("132101.txt")
    with zipfile.ZipFile(desk.home / "sent.ZIP", "w") as writer:
        writer.write(desk.sent / "132101.txt", "set-a/132101.txt")
        writer.writestr("__MACOSX/set-a/._132101.txt", b"\x00")
        writer.writestr("set-a/.DS_Store", b"\x00")
        writer.writestr("set-a/Größe.txt", b"x\n")
    result = desk.ingested(desk.home / "sent.ZIP")
    assert (result.litter_count, sum(result.files_left_out.values())) == (2, 1)
    assert desk.stays().keys() == {"132101"}


def test_no_error_names_a_file_whose_name_is_that_of_a_stay(desk: Desk) -> None:
    """Each of these is refused: outcomes without a column, a zip that is broken, packed files that are cut off."""
    for name, content in (
        ("132101.zip", b"PK\x03\x04 cut off"),
        ("132101.txt.gz", b"\x1f\x8b\x08\x00 cut off"),
        ("132101-outcomes.txt", b"RecordID,In-hospital_death\n132101,1\n"),
    ):
        desk.clear()
        desk.stay("132102.txt")
        desk.write(name, content)
        with pytest.raises(Refused) as refused:
            desk.ingested()
        assert "1321" not in str(refused.value)
        assert "file 1 of" in str(refused.value)


# --- outcomes -----------------------------------------------------------------------------------------------------


def test_outcomes_that_come_alone_later_end_the_stays_that_are_known(desk: Desk) -> None:
    desk.stay("132101.txt", unit=2)
    desk.stay("132102.txt")
    desk.stay("132103.txt")
    desk.ingested()
    desk.clear()
    desk.write("Outcomes-a.txt", f"{HEAD}132101,1,1,5,-1,0\n132102,1,1,9,9,1\n132999,1,1,9,9,1\n")
    result = desk.ingested()
    assert desk.stays() == {
        "132101": ("cardiac_surgery_recovery_unit", "2000-01-06", "other", 2),
        "132102": ("medical_icu", "2000-01-10", "died", 2),
        "132103": ("medical_icu", None, None, 1),
    }
    account = result.accounts["encounter"]
    assert (account.received, account.mapped, account.quarantined) == (3, 2, 1)
    assert result.quarantined == {"unknown_stay": 1}


def test_outcomes_that_come_before_their_stay_count_once_it_has_come(desk: Desk) -> None:
    desk.write("outcomes.csv", f"{HEAD}132101,1,1,9,9,1\n")
    desk.ingested()
    desk.clear()
    desk.stay("132101.txt")
    desk.ingested()
    assert desk.stays()["132101"] == ("medical_icu", None, None, 1)
    assert desk.retried() == {"unknown_stay": 1}
    assert desk.stays()["132101"] == ("medical_icu", "2000-01-10", "died", 2)


def test_a_stay_that_is_sent_again_without_its_outcome_does_not_open_again(desk: Desk) -> None:
    desk.stay("132101.txt")
    desk.write("Outcomes-a.txt", f"{HEAD}132101,1,1,9,9,1\n")
    desk.ingested()
    before = desk.stays()
    desk.clear()
    desk.stay("132101.txt")
    desk.stay("132102.txt")
    result = desk.ingested()
    assert desk.stays()["132101"] == before["132101"] == ("medical_icu", "2000-01-10", "died", 2)
    assert (result.accounts["encounter"].unchanged, result.accounts["encounter"].mapped) == (1, 1)


def test_outcomes_need_three_columns_in_any_order_and_the_error_says_which_is_missing(desk: Desk) -> None:
    desk.stay("132101.txt")
    desk.write("Outcomes-a.txt", "In-hospital_death,Length_of_stay,RecordID\n1,9,132101\n")
    desk.ingested()
    assert desk.stays()["132101"] == ("medical_icu", "2000-01-10", "died", 2)
    desk.write("Outcomes-a.txt", "RecordID,In-hospital_death\n132101,1\n")
    with pytest.raises(Refused) as refused:
        desk.ingested()
    assert str(refused.value).splitlines() == [
        "a file of the extract cannot be read: no column Length_of_stay",
        "where: input outcomes, file 1 of 1 by name",
        "do: send it with the columns RecordID, Length_of_stay, In-hospital_death, in any order; others are not read",
    ]


def test_an_outcome_that_cannot_be_read_is_a_fault_and_not_a_stay_that_is_open(desk: Desk) -> None:
    for number, line in enumerate(
        ("132100,1,1,9,9,yes", "132101,1,1,long,9,1", "132102,1,1,9,9,1", "132102,1,1,9,9,0")
    ):
        desk.stay(f"13210{number}.txt")
        desk.write(f"outcomes-{number}.txt", f"{HEAD}{line}\n")
    result = desk.ingested()
    assert result.quarantined == {"bad_value": 2, "sent_twice": 1}
    assert [stay[2] for stay in desk.stays().values()] == [None, None, "died", None]


# --- stays that come twice ----------------------------------------------------------------------------------------


def test_stays_of_a_second_zip_that_are_known_write_nothing_and_count_no_line_twice(desk: Desk) -> None:
    desk.stay("set-a/132101.txt", "01:00,HR,80", "02:00,pH,735", "03:00,HR,fast")
    desk.stay("set-a/132102.txt", "02:00,pH,735")
    desk.ingested()
    before = desk.rows("select count(*) from every_observation")
    (desk.sent / "set-a").rename(desk.sent / "set-b")
    desk.stay("set-b/132103.txt")
    result = desk.ingested()
    assert result.is_new
    assert result.accounts["observation"].mapped == 1  # the age of the new stay
    assert desk.rows("select count(*) from every_observation") == [(before[0][0] + 1,)]
    assert quarantine_report(desk.records, "physionet2012")["reasons"] == {"bad_value": 1, "impossible_value": 2}
    [found] = [
        each for each in tables_report(desk.records, desk.places) if each["table"] == "observation" and each["records"]
    ]
    assert found["quarantined"] == 3


def test_a_second_file_of_one_stay_is_set_aside_unless_it_says_the_same(desk: Desk) -> None:
    desk.stay("a/132101.txt", "01:00,HR,80")
    desk.stay("b/132101.txt", "01:00,HR,140", "02:00,HR,150")
    desk.stay("a/132102.txt", "01:00,HR,60")
    desk.stay("b/132102.txt", "01:00,HR,60")
    result = desk.ingested()
    assert desk.rows("select value_number from every_observation where code = '8867-4' order by 1") == [
        (60.0,),
        (80.0,),
    ]
    for table in ("patient", "patient_link", "encounter"):
        account = result.accounts[table]
        assert (account.mapped, account.out_of_scope, account.quarantined) == (2, 1, 1)
    reasons = {(row["source_file"], row["reason"]) for row in quarantine_report(desk.records, "physionet2012")["rows"]}
    assert reasons == {("b/132101.txt", "sent_twice")}


def test_a_stay_in_two_zips_is_a_second_file_and_stops_nothing(desk: Desk) -> None:
    for number in (1, 2):
        with zipfile.ZipFile(desk.sent / f"{number}.zip", "w") as writer:
            text = f"Time,Parameter,Value\n00:00,RecordID,132101\n01:00,HR,8{number}\n"
            writer.writestr("132101.txt", text)
    result = desk.ingested()
    assert desk.rows("select value_number from every_observation") == [(81.0,)]
    assert result.accounts["patient"].quarantined == 1
