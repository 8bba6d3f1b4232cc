"""What lies in quarantine, and what the watch found, around a time T; and the same past with another future."""

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Engine, StaticPool, create_engine, insert

from features.definitions import view, view_names
from features.held import held_features, released_holds
from integrations.records.schema import extract, finding, finding_extract, metadata, quarantine
from integrations.watch.finding import MISSING, WRONG
from models.cases import SITE
from tests.promises.compared import differing
from tests.promises.feeds import SHIFTED
from tests.promises.histories import DAY, HOUR, LAKE_BEGINS, Facts, Shape

Rows = list[dict[str, Any]]
Holds = dict[str, pa.Table]
LIVE, OF_THE_PAST = "impossible_value", "bad_time"  # the reasons tell rows of a live extract from rows of history
MICROSECOND = timedelta(microseconds=1)
# What may hold at T and become known later: these count from their collection, or from their receipt, on.
FROM_BEFORE = (OF_THE_PAST, *WRONG)


def set_aside(facts: Facts, shape: Shape) -> Rows:
    """Rows of quarantine and findings, about half of them known at T, some released before it and some after."""
    drawn = _SetAside(facts, shape, random.Random(shape.seed + 2))
    return [*drawn.rows(200), *drawn.findings(12)]


def with_other_holds(rows: Rows, facts: Facts, shape: Shape) -> Rows:
    """The same up to T; a release after it is at another time or none, and what became known after it is other."""
    chance = random.Random(shape.seed + 3)
    drawn = _SetAside(facts, shape, chance)
    known = [dict(row) for row in rows if row["known_at"] <= shape.at]
    for row in known:
        if row["released_at"] is None or row["released_at"] > shape.at:
            row["released_at"] = drawn.later() if chance.random() < 0.5 else None
    return [*known, *({**row, "known_at": drawn.later()} for row in (*drawn.rows(100), *drawn.findings(6)))]


class _SetAside:
    def __init__(self, facts: Facts, shape: Shape, chance: random.Random) -> None:
        self.shape, self.chance = shape, chance
        codes = {code for name in view_names() for code in view(name).codes}
        self.results: Rows = [row for row in facts["observation"] if row["code"] in codes]

    def rows(self, count: int) -> Iterator[dict[str, Any]]:
        for _ in range(count):
            result, is_history = self.chance.choice(self.results), self.chance.random() < 0.3
            is_shifted = result["patient_id"].startswith(f"{SHIFTED.source}/")
            known_at = result["effective_at"] + self._ticks(2 * DAY)
            yield {
                "patient_id": result["patient_id"],
                "code": result["code"],
                "reason": OF_THE_PAST if is_history or is_shifted else LIVE,
                "extract_id": SHIFTED.source if is_shifted else OF_THE_PAST if is_history else LIVE,
                "collected_at": result["effective_at"] if self.chance.random() < 0.9 else None,
                "known_at": known_at,
                "released_at": known_at + self._ticks(3 * DAY) if self.chance.random() < 0.4 else None,
            }

    def findings(self, count: int) -> Iterator[dict[str, Any]]:
        for _ in range(count):
            result, known_at = self.chance.choice(self.results), self.shape.at + self._around()
            yield {
                "kind": self.chance.choice((*MISSING, *WRONG)),
                "site_id": self.chance.choice((SITE, SHIFTED.site_id)),
                "extract_id": result["extract_id"],
                "code": result["code"],
                "known_at": known_at,
                "released_at": known_at + self._ticks(3 * DAY) if self.chance.random() < 0.8 else None,
            }

    def later(self) -> datetime:
        return self.shape.at + MICROSECOND + self._ticks(20 * DAY)

    def _around(self) -> timedelta:
        return self._ticks(3 * DAY) - self._ticks(3 * DAY)

    def _ticks(self, most: timedelta) -> timedelta:
        return self.chance.randint(0, most // self.shape.tick) * self.shape.tick


def open_set_aside(rows: Rows) -> Engine:
    """Records that hold these rows and nothing else."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    metadata.create_all(engine)
    told = [(number, row) for number, row in enumerate(rows)]
    _insert(engine, extract, [_extract(LIVE), _extract(OF_THE_PAST, is_history=1)])
    of_shifted = {"source": SHIFTED.source, "site_id": SHIFTED.site_id}
    _insert(engine, extract, [{**_extract(SHIFTED.source, is_history=1), **of_shifted}])
    _insert(engine, quarantine, [_quarantined(number, row) for number, row in told if "reason" in row])
    found = [(number, row) for number, row in told if "kind" in row]
    seen = {row["extract_id"]: row["known_at"] for _, row in found}
    _insert(engine, extract, [{**_extract(name), "received_at": at} for name, at in seen.items()])
    _insert(engine, finding, [_found(number, row) for number, row in found])
    links = [{"finding_id": number, "extract_id": row["extract_id"]} for number, row in found]
    _insert(engine, finding_extract, links)
    return engine


def holds(records: Engine, lake: duckdb.DuckDBPyConnection, spine: pa.Table, as_of: datetime) -> Holds:
    """Everything that is held, or was and is released, of all views."""
    with records.connect() as connection:
        asked: tuple[Callable[..., pa.Table], ...] = (held_features, released_holds)
        return {each.__name__: each(connection, lake, spine, view_names(), as_of) for each in asked}


def of_reasons(held: pa.Table, reasons: tuple[str, ...], *, is_other: bool = False) -> pa.Table:
    """The holds of these reasons, or of all others."""
    is_of = pc.is_in(held["reason"], pa.array(reasons))
    return held.filter(pc.invert(is_of) if is_other else is_of)


def holds_differ(now: tuple[Holds, Holds], later: tuple[Holds, Holds]) -> list[str]:
    """What is held otherwise: asked at T anything, asked later all but what counts from before it was known."""
    found = [f"{name}.{each}" for name in now[0] for each in differing(now[0][name], now[1][name])]
    first, second = (of_reasons(each["held_features"], FROM_BEFORE, is_other=True) for each in later)
    return found + [f"{each}, asked later" for each in differing(first, second)]


def _insert(engine: Engine, table: Any, rows: Rows) -> None:
    if rows:
        with engine.begin() as connection:
            connection.execute(insert(table), rows)


def _extract(extract_id: str, *, is_history: int = 0) -> dict[str, Any]:
    named = {"extract_id": extract_id, "source": "ehr", "site_id": SITE, "is_history": is_history}
    return {**named, "received_at": LAKE_BEGINS, "digest": "x", "status": "committed"}


def _quarantined(number: int, row: dict[str, Any]) -> dict[str, Any]:
    source = SHIFTED.source if row["extract_id"] == SHIFTED.source else "ehr"
    place = {"extract_id": row["extract_id"], "source": source, "table_name": "observation", "source_file": "f"}
    what = {"source_line": number, "detail": "", "record_hash": "x", "bytes": b""}
    when = {"effective_at": row["collected_at"], "quarantined_at": row["known_at"], "released_at": row["released_at"]}
    who = {"patient_id": row["patient_id"], "code": row["code"], "reason": row["reason"]}
    return {**place, **what, **when, **who, "released_by": "retry" if row["released_at"] else None}


def _found(number: int, row: dict[str, Any]) -> dict[str, Any]:
    what = {"finding_id": number, "source": "ehr", "subject": str(number), "severity": "blocking", "evidence": {}}
    when = {"since_at": row["known_at"] - 12 * HOUR, "opened_at": row["known_at"], "released_at": row["released_at"]}
    said = {"sentence": "", "to_do": "", "codes": [row["code"]], "released_seq": 1 if row["released_at"] else None}
    return {**what, **when, **said, "site_id": row["site_id"], "kind": row["kind"], "extract_id": row["extract_id"]}
