"""A blocking finding of the watch on the codes of an input is a fault of the data, not drift."""

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from sqlalchemy import insert

from integrations.records import Records
from integrations.records import schema as s
from models.monitoring.findings import Finding, explains, watch_findings
from tests.models.monitoring.conftest import NIGHT, Watch, rows

DAY = timedelta(days=1)
CODES = {"creatinine_last_mg_dl": {"2160-0"}, "age_years": set[str]()}


def put(records: Records, *, subject: str = "2160-0", released_at: datetime | None = None, **changes: Any) -> None:
    own = {"source": "lis", "site_id": "demo", "extract_id": "x", "kind": "code_renamed", "severity": "blocking"}
    own |= {"codes": ["2160-0"], "evidence": {"expected_patients": 31.4}, "sentence": "", "to_do": ""}
    own |= {"since_at": NIGHT - 3 * DAY, "opened_at": NIGHT - 2 * DAY, **changes}
    with records.begin() as db:
        if not db.execute(s.extract.select()).first():
            extract = {"extract_id": "x", "source": "lis", "site_id": "demo", "received_at": NIGHT, "digest": "d"}
            db.execute(insert(s.extract).values(**extract, is_history=0, status="committed"))
            audit = {"at": NIGHT, "kind": "x", "body": "{}", "previous_hash": "", "hash": "x"}
            db.execute(insert(s.audit).values(seq=1, **audit))
        seq = 1 if released_at else None
        db.execute(insert(s.finding).values(**own, subject=subject, released_at=released_at, released_seq=seq))


def found(records: Records) -> list[Finding]:
    with records.read() as db:
        return watch_findings(db, CODES, window_start=NIGHT - 7 * DAY, window_end=NIGHT)


def test_only_blocking_findings_that_stood_in_the_window_count(sqlite_records: Records) -> None:
    put(sqlite_records, subject="a warning", severity="warning")
    put(sqlite_records, subject="another code", codes=["2823-3"])
    put(sqlite_records, subject="later", opened_at=NIGHT + DAY)
    put(sqlite_records, subject="long over", opened_at=NIGHT - 20 * DAY, released_at=NIGHT - 8 * DAY)
    assert found(sqlite_records) == []
    put(sqlite_records, subject="over", opened_at=NIGHT - 20 * DAY, released_at=NIGHT - 6 * DAY)
    [one] = found(sqlite_records)
    assert (one.feature, one.reason, one.row_count, one.is_of_watch) == (
        "creatinine_last_mg_dl",
        "code_renamed",
        31,
        True,
    )
    assert explains([one], "creatinine_last_mg_dl")
    assert not explains([one], "age_years")


def test_a_breach_on_its_codes_is_a_data_fault_that_names_it(watch: Watch, sqlite_records: Records) -> None:
    put(sqlite_records)
    findings = tuple(found(sqlite_records))
    watch(0, _shifted(0), findings=findings)
    result = watch(1, _shifted(1), findings=findings)
    [breach] = [each for each in result.breaches if each.subject == "creatinine_last_mg_dl"]
    assert breach.kind == "data fault"
    assert "The watch has found code_renamed on its codes" in breach.sentence


def _shifted(night: int) -> pa.Table:
    return rows(900, seed=night + 1, end=NIGHT + night * DAY, creatinine_times=3.0)
