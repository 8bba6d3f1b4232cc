"""Is this installation in order, and what is open? Reads only; nothing heavy is opened."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select

from flows.audit_chain import check_chain
from flows.house import House
from flows.nights import missing_rounds
from flows.watched import overdue_feeds
from integrations.records import schema as s
from integrations.write_back.outbox import void_report


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at. state: in order, open (somebody should act), not in order."""

    name: str
    state: str
    finding: str
    to_do: str = ""


def examine(house: House, now: datetime) -> list[Check]:
    """Look at everything that a person on call would ask first."""
    return [
        _home(house),
        *_extracts(house),
        _chain(house),
        *_breaches(house),
        *_watch(house, now),
        _outbox(house),
        *_void(house),
        *_set_aside(house),
        *_rounds(house, now),
    ]


def _home(house: House) -> Check:
    home = house.settings.home
    opened = list(_opened_to_others(home))
    if opened:
        return Check(
            name="home",
            state="not in order",
            finding=f"others may read {len(opened):,} files or folders of {home}, such as {opened[0]}",
            to_do=f"chmod -R go= {home}",
        )
    return Check(name="home", state="in order", finding=str(home))


def _opened_to_others(home: Path) -> Iterator[Path]:
    for path in (home, *home.rglob("*")):
        with suppress(FileNotFoundError):  # a temporary file of something that runs
            if not path.is_symlink() and path.stat().st_mode & 0o077:
                yield path


def _extracts(house: House) -> Iterator[Check]:
    wanted = select(s.extract.c.status, func.count(), func.max(s.extract.c.received_at)).group_by(s.extract.c.status)
    with house.records.read() as connection:
        found = {row[0]: row for row in connection.execute(wanted)}
    committed = found.get("committed")
    newest = f", newest of {committed[2]:%Y-%m-%d %H:%M} UTC" if committed else ""
    yield Check(name="extracts", state="in order", finding=f"{committed[1] if committed else 0} committed{newest}")
    if "landed" in found:
        yield Check(
            name="extracts",
            state="open",
            finding=f"{found['landed'][1]} landed but not committed",
            to_do="rounds ingest SOURCE goes on with it",
        )


def _chain(house: House) -> Check:
    check = check_chain(house)
    if check.findings:
        first = check.findings[0]
        finding = f"{len(check.findings)} findings, the first: entry {first.seq}: {first.what}"
        return Check(name="audit chain", state="not in order", finding=finding, to_do="rounds audit verify")
    finding = f"{check.head.seq} entries, every link and signature holds"
    return Check(name="audit chain", state="in order", finding=finding)


def _breaches(house: House) -> Iterator[Check]:
    wanted = select(s.breach).where(s.breach.c.status != "closed").order_by(s.breach.c.breach_id)
    with house.records.read() as connection:
        rows = connection.execute(wanted).all()
    for row in rows:
        is_drift = row.kind == "drift" and row.status == "open"
        yield Check(
            name=f"{row.kind}: {row.use_case}",
            state="open",
            finding=row.sentence,
            to_do=f"rounds train {row.use_case}" if is_drift else "see the report and the feed",
        )
    if not rows:
        yield Check(name="breaches", state="in order", finding="none open")


def _watch(house: House, now: datetime) -> Iterator[Check]:
    """Blocking findings, which hold scores until a person releases them, and feeds that are overdue."""
    is_open = s.finding.c.released_at.is_(None)
    wanted = select(s.finding).where(is_open, s.finding.c.severity == "blocking").order_by(s.finding.c.finding_id)
    others = select(func.count()).select_from(s.finding).where(is_open, s.finding.c.severity != "blocking")
    with house.records.read() as connection:
        blocking, other_count = connection.execute(wanted).all(), connection.execute(others).scalar_one()
    for row in blocking:
        yield Check(
            name=f"watch: {row.source}",
            state="open",
            finding=f"{row.finding_id} {row.kind}: {row.sentence}",
            to_do=row.to_do,
        )
    for late in overdue_feeds(house, now):
        yield Check(name=f"watch: {late.source}", state="open", finding=late.sentence, to_do="ask the sender")
    more = f"; {other_count:,} notes and warnings" if other_count else ""
    yield Check(name="watch", state="in order", finding=f"{len(blocking):,} blocking findings{more}: rounds watch")


def _outbox(house: House) -> Check:
    wanted = select(s.outbox.c.status, func.count()).group_by(s.outbox.c.status)
    with house.records.read() as connection:
        counts = {status: count for status, count in connection.execute(wanted)}
    stuck = counts.get("dead", 0) + counts.get("failed", 0)
    finding = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "empty"
    if stuck:
        return Check(name="outbox", state="open", finding=finding, to_do="rounds outbox; rounds write-back")
    return Check(name="outbox", state="in order", finding=finding)


def _void(house: House) -> Iterator[Check]:
    """Scores that were never sent, by rule; nobody has to act, but somebody may ask."""
    with house.records.read() as connection:
        report = void_report(connection)
    for (use_case, reason), count in report.items():
        yield Check(name=f"void: {use_case}", state="in order", finding=f"{count:,} scores were not sent: {reason}")


def _set_aside(house: House) -> Iterator[Check]:
    held = select(func.count()).select_from(s.quarantine).where(s.quarantine.c.released_at.is_(None))
    waits = select(func.count()).select_from(s.waiting).where(s.waiting.c.taken_up_at.is_(None))
    with house.records.read() as connection:
        quarantined, waiting = connection.execute(held).scalar_one(), connection.execute(waits).scalar_one()
    yield Check(
        name="quarantine",
        state="open" if quarantined else "in order",
        finding=f"{quarantined:,} records",
        to_do="rounds quarantine" if quarantined else "",
    )
    yield Check(
        name="waiting",
        state="open" if waiting else "in order",
        finding=f"{waiting:,} records wait for a patient or encounter",
        to_do="ingest the feed that knows them" if waiting else "",
    )


def _rounds(house: House, now: datetime) -> Iterator[Check]:
    missing = missing_rounds(house, now)
    for span in missing:
        yield Check(
            name=f"rounds: {span['use_case']}",
            state="open",
            finding=f"{span['round_count']} {span['state']}, {span['from_round']} to {span['to_round']}",
            to_do=f"rounds score {span['use_case']}",
        )
    if not missing:
        yield Check(name="rounds", state="in order", finding="no round is late or missing")
