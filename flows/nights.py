"""What was scored, night by night, and which nights are late or missing."""

from datetime import date, datetime, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

from sqlalchemy import select

from flows.house import House
from integrations.contract import known_sources, load_contract
from integrations.records import schema as s
from models.catalog import use_case, use_case_names

GRACE = timedelta(hours=1)  # after its hour, until a round counts as late
RUN_COLUMNS = (
    "run_id",
    "use_case",
    "as_of",
    "status",
    "purpose",
    "version",
    "due",
    "scored",
    "held",
    "excluded",
    "reasons",
)


def scoring_runs(house: House) -> list[dict[str, object]]:
    """Every scoring run, oldest first: due = scored + held + excluded, and why rows were held or excluded."""
    wanted = select(*(s.run.c[name] for name in RUN_COLUMNS)).where(s.run.c.kind == "score").order_by(s.run.c.as_of)
    with house.records.read() as connection:
        return [dict(row) for row in connection.execute(wanted).mappings()]


def missing_rounds(house: House, now: datetime) -> list[dict[str, object]]:
    """Nights since a use case's first round that have none, in spans: the newest may be late, others are missing."""
    done = _nights_done(house)
    found: list[dict[str, object]] = []
    for name in use_case_names():
        if nights := done.get(name):
            due_until, is_late = _newest_due_night(name, now)
            gap = [night for night in _days(min(nights), due_until) if night not in nights]
            found += [_span(name, span, due_until if is_late else None) for span in _spans(gap)]
    return found


def hospital_zone() -> ZoneInfo:
    """The clock by which nights are counted: that of the feeds that are live, else UTC."""
    for source in known_sources():
        contract = load_contract(source)
        if contract.go_live_at is not None:
            return contract.zone
    return ZoneInfo("UTC")


def _nights_done(house: House) -> dict[str, set[date]]:
    zone, done = hospital_zone(), dict[str, set[date]]()
    wanted = select(s.run.c.use_case, s.run.c.as_of).where(
        s.run.c.kind == "score", s.run.c.status == "done", s.run.c.purpose.in_(("live", "silent"))
    )
    with house.records.read() as connection:
        for row in connection.execute(wanted):
            done.setdefault(row.use_case, set()).add(row.as_of.astimezone(zone).date())
    return done


def _newest_due_night(name: str, now: datetime) -> tuple[date, bool]:
    """The newest night whose hour has come, and whether it may still be on its way."""
    local = now.astimezone(hospital_zone())
    hour = min(use_case(name).schedule_hours)
    due_at = local.replace(hour=hour, minute=0, second=0, microsecond=0)
    if local < due_at + GRACE:
        return local.date() - timedelta(days=1), False
    return local.date(), True


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _spans(nights: list[date]) -> list[list[date]]:
    groups = groupby(enumerate(nights), key=lambda pair: pair[1].toordinal() - pair[0])
    return [[night for _, night in group] for _, group in groups]


def _span(name: str, nights: list[date], newest: date | None) -> dict[str, object]:
    return {
        "use_case": name,
        "from_night": str(nights[0]),
        "to_night": str(nights[-1]),
        "night_count": len(nights),
        "state": "late" if nights == [newest] else "missing",
    }
