"""A history that is loaded after go-live ends no night: the next extract still tells of the time since the last one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert

from integrations.contract import load_contract
from integrations.duck import connect
from integrations.records import Records
from integrations.records.schema import extract
from integrations.watch.extent import Extent
from integrations.watch.past import before_at, open_past

HISTORY, HOUR = datetime(2024, 7, 1, 4, tzinfo=UTC), timedelta(hours=1)


def test_a_history_between_two_nights_shortens_neither(sqlite_records: Records, tmp_path: Path) -> None:
    received = {"first history": HISTORY, "late history": HISTORY + 46 * HOUR}
    received |= {"night 1": HISTORY + 24 * HOUR, "night 2": HISTORY + 48 * HOUR}
    with sqlite_records.begin() as db:
        for name, at in received.items():
            own = {"extract_id": name, "source": "demo_lis", "site_id": "demo", "digest": name, "status": "committed"}
            db.execute(insert(extract).values(**own, received_at=at, is_history=int("history" in name)))
        assert before_at(db, "demo_lis", "night 1", received["night 1"]) == HISTORY
        assert before_at(db, "demo_lis", "night 2", received["night 2"]) == received["night 1"]
        assert before_at(db, "demo_lis", "first history", HISTORY) is None
        night_3 = HISTORY + 72 * HOUR
        extent = Extent(
            contract=load_contract("demo_lis"),
            extract_id="night 3",
            received_at=night_3,
            is_history=False,
            before_at=before_at(db, "demo_lis", "night 3", night_3),
        )
        connection = connect(tmp_path, threads=1)
        open_past(connection, db, extent)
    days = dict(connection.execute("select extract_id, days from past_window where not is_history").fetchall())
    connection.close()
    assert days == {"night 1": 1.0, "night 2": 1.0, "night 3": 1.0}
