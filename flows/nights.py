"""What was scored, round by round, and which rounds are late or missing."""

from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
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
    """Rounds since a use case's first one that were not made, in spans: the newest may be late, others are missing."""
    found: list[dict[str, object]] = []
    for name, made_at in _rounds_made(house).items():
        rounds = scheduled_rounds(name, min(made_at), now)
        made = {rounds[bisect_right(rounds, at) - 1] for at in made_at if at <= now}
        due = [at for at in rounds if at + GRACE <= now]
        for is_made, span in groupby(due, key=made.__contains__):
            if not is_made:
                found.append(_span(name, list(span), due[-1]))
    return found


def scheduled_rounds(name: str, first: datetime, last: datetime) -> list[datetime]:
    """Every round of a use case by the hospital's clock, in UTC: from the one that `first` belongs to, up to `last`.

    What is made before the next round is due belongs to the one before.
    """
    zone, hours = hospital_zone(), sorted(use_case(name).schedule_hours)
    day, rounds = first.astimezone(zone).date() - timedelta(days=1), list[datetime]()
    while day <= last.astimezone(zone).date():
        rounds += [round_at(day, hour, zone) for hour in hours]
        day += timedelta(days=1)
    return [at for at in rounds[bisect_right(rounds, first) - 1 :] if at <= last]


def round_at(day: date, hour: int, zone: ZoneInfo) -> datetime:
    """Return when it is this hour of a day by the hospital's clock, in UTC, as the SQL of a cohort has it.

    Of an hour that a clock change repeats the later one; for one that it leaves out, as much after the change.
    """
    wall = datetime.combine(day, time(hour), zone)
    return max(wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1))


def hospital_zone() -> ZoneInfo:
    """The clock by which nights are counted: that of the feeds that are live, else UTC."""
    for source in known_sources():
        contract = load_contract(source)
        if contract.go_live_at is not None:
            return contract.zone
    return ZoneInfo("UTC")


def _rounds_made(house: House) -> dict[str, list[datetime]]:
    """When rounds of each use case were made; a silent look at the past is none."""
    made: dict[str, list[datetime]] = {name: [] for name in use_case_names()}
    wanted = select(s.run.c.use_case, s.run.c.as_of).where(
        s.run.c.kind == "score", s.run.c.status == "done", s.run.c.purpose.in_(("live", "silent"))
    )
    with house.records.read() as connection:
        for row in connection.execute(wanted):
            made[row.use_case].append(row.as_of)
    return {name: times for name, times in made.items() if times}


def _span(name: str, rounds: list[datetime], newest: datetime) -> dict[str, object]:
    first, last = (f"{at.astimezone(hospital_zone()):%Y-%m-%d %H:%M}" for at in (rounds[0], rounds[-1]))
    return {
        "use_case": name,
        "from_round": first,
        "to_round": last,
        "round_count": len(rounds),
        "state": "late" if rounds == [newest] else "missing",
    }
