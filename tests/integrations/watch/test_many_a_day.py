"""A feed that is taken in many times a day: a night without some results is no code that is gone."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert

from integrations.contract import load_contract
from integrations.duck import connect
from integrations.records import Records
from integrations.records.schema import extract
from integrations.watch import measure
from integrations.watch.extent import Extent
from integrations.watch.finding import Found
from integrations.watch.judge import judge
from integrations.watch.kept import note_figures
from integrations.watch.past import before_at

BEGIN = datetime(2024, 7, 1, 6, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)
ALWAYS, BY_DAY = "2160-0", "2345-7"


def test_what_comes_by_day_only_is_not_missed_in_the_nights(sqlite_records: Records, tmp_path: Path) -> None:
    assert play(sqlite_records, tmp_path, range(0, 2 * 24 + 23, 2)) == []


def test_what_does_not_come_in_the_day_either_is_missed(sqlite_records: Records, tmp_path: Path) -> None:
    found = play(sqlite_records, tmp_path, range(0, 3 * 24 + 12, 2), gone_from=3 * 24)
    assert {(each.kind, each.codes, each.severity) for each in found} == {("code_vanished", (BY_DAY,), "blocking")}


def play(records: Records, temp: Path, hours: range, *, gone_from: int = 10_000) -> list[Found]:
    """Take in an extract each second hour: a code of all hours, and one of 06 to 20 h until it is gone."""
    connection, found = connect(temp, threads=1), list[Found]()
    for hour in hours:
        patients = {ALWAYS: 16, BY_DAY: 16 if hour % 24 < 14 and hour < gone_from else 0}
        extract_id, received_at = f"demo_lis-{hour:04d}", BEGIN + hour * HOUR
        with records.begin() as db:
            before = before_at(db, "demo_lis", extract_id, received_at)
            extent = Extent(
                contract=load_contract("demo_lis"),
                extract_id=extract_id,
                received_at=received_at,
                is_history=False,
                before_at=before,
            )
            measure.begin(connection)
            for code, count in patients.items():
                if count:
                    connection.execute(
                        "insert into watch_figure by name select 'code' as kind, $code as subject, $code as code, "
                        "$day::date as day, $count as value_count, $count as patient_count, $count as part_count, "
                        "0.0 as low, 0.1 as middle, 0.2 as high",
                        {"code": code, "day": extent.day, "count": count},
                    )
            found += judge(connection, db, extent, frozenset(patients))
            own = {"extract_id": extract_id, "source": "demo_lis", "site_id": "demo", "digest": extract_id}
            db.execute(insert(extract).values(**own, received_at=received_at, is_history=0, status="committed"))
            note_figures(connection, db, extent)
    connection.close()
    return found
