"""When drift counts: in the newest window and in enough of the last ones. A breach is a row in records first."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal

from sqlalchemy import Connection, insert, select, update

from integrations.records.schema import breach, verdict
from models.monitoring.findings import Finding, explains
from models.monitoring.reference import PREDICTION
from models.monitoring.verdict import Verdict, concern
from models.use_case import Monitoring

Kind = Literal["drift", "data fault"]


@dataclass(frozen=True, kw_only=True)
class Window:
    """Which version was watched, when, and by which run. The window holds (start, end]."""

    use_case: str
    version: int
    start: datetime
    end: datetime
    run_id: str
    time_zone: tzinfo  # the hospital's: its date says which night the window belongs to


@dataclass(frozen=True, kw_only=True)
class Breach:
    """One breach that is not closed. A data fault is for those who keep the feed, drift for those who train."""

    breach_id: int
    use_case: str
    version: int
    opened_at: datetime
    kind: Kind
    subject: str
    sentence: str
    status: str  # open, or emitted: the event that runs train has been sent


def store_verdicts(connection: Connection, window: Window, verdicts: Sequence[Verdict]) -> None:
    """Keep every figure of the window."""
    head = {
        "run_id": window.run_id,
        "use_case": window.use_case,
        "version": window.version,
        "window_start": window.start,
        "window_end": window.end,
    }
    names = ("metric", "subject", "row_count", "figure", "threshold", "verdict")
    connection.execute(insert(verdict), [head | {name: getattr(each, name) for name in names} for each in verdicts])


def update_breaches(
    connection: Connection,
    window: Window,
    verdicts: Sequence[Verdict],
    findings: Sequence[Finding],
    rule: Monitoring,
) -> list[Breach]:
    """Open, keep or close breaches by the stored windows up to this one; return those that are not closed.

    One concern has one breach: opened anew when it turns out to be of the other kind, closed when none of the last
    windows shows it and the newest could be judged. Call after `store_verdicts`.
    """
    needed, of = rule.breaches_of_last
    seen = _seen(connection, window, of)
    standing = _standing(verdicts, findings, seen, needed, of)
    judged = {concern(each) for each in verdicts if each.verdict != "not enough data"}
    for old in open_breaches(connection, window.use_case, window.version):
        now = standing.get(old.subject)
        if now and now[0] == old.kind:
            del standing[old.subject]
        elif now or (old.subject in judged and not seen[old.subject]):
            set_breach_status(connection, [old.breach_id], "closed")
    for subject, (kind, sentence) in standing.items():
        _open(connection, window, kind, subject, sentence)
    return open_breaches(connection, window.use_case, window.version)


def _seen(connection: Connection, window: Window, of: int) -> Counter[str]:
    """Count in how many of the last windows each concern was in breach. A night has one window: the one judged last."""
    is_ours = (verdict.c.use_case == window.use_case) & (verdict.c.version == window.version)
    ends = select(verdict.c.window_end).where(is_ours, verdict.c.window_end <= window.end).distinct()
    last_of_night = {end.astimezone(window.time_zone).date(): end for end in sorted(connection.execute(ends).scalars())}
    rows = connection.execute(
        select(verdict.c.window_end, verdict.c.metric, verdict.c.subject, verdict.c.verdict)
        .where(is_ours, verdict.c.window_end.in_(list(last_of_night.values())[-of:]))
        .order_by(verdict.c.verdict_id)
    )
    last = {(row.window_end, row.metric, row.subject): row for row in rows}
    return Counter(
        subject for _, subject in {(row.window_end, concern(row)) for row in last.values() if row.verdict == "breach"}
    )


def _standing(
    verdicts: Sequence[Verdict], findings: Sequence[Finding], seen: Mapping[str, int], needed: int, of: int
) -> dict[str, tuple[Kind, str]]:
    """Return what is in breach now and often enough before: its kind, and why, in a sentence."""
    now = [each for each in verdicts if each.verdict == "breach"]
    at_fault = _at_fault(now, findings)
    standing: dict[str, tuple[Kind, str]] = {}
    for subject in dict.fromkeys(map(concern, now)):
        if seen[subject] >= needed:
            said = [each.sentence for each in now if concern(each) == subject]
            said += [at_fault[subject]] if subject in at_fault else []
            kind: Kind = "data fault" if subject in at_fault else "drift"
            standing[subject] = (kind, f"In {seen[subject]} of the last {of} windows. " + " ".join(said))
    return standing


def _at_fault(now: Sequence[Verdict], findings: Sequence[Finding]) -> dict[str, str]:
    """Return the concerns that a fault of the data explains, with the sentence that says so.

    Risks that move while an input is at fault move because of it: no reason to train.
    """
    faults: dict[str, str] = {}
    for subject in {concern(each) for each in now if each.metric in ("psi", "missing")}:
        if explains(findings, subject):
            faults[subject] = " ".join(_said([each for each in findings if each.feature == subject]))
        elif any(each.metric == "missing" and each.subject == subject for each in now):
            faults[subject] = (
                "What is measured has changed: a fault of the data, not of the patients, until shown otherwise."
            )
    if faults and any(each.metric == "prediction_psi" for each in now):
        faults[PREDICTION] = f"Its inputs are at fault: {', '.join(sorted(faults))}."
    return faults


def _said(findings: Sequence[Finding]) -> Iterator[str]:
    aside = [each for each in findings if not each.is_of_watch]
    if aside:
        found = ", ".join(f"{each.row_count} rows {each.reason}" for each in aside)
        share = sum(each.share for each in aside)
        yield f"Ingest has quarantined {found} on its codes, {share:.0%} of them: a fault of the data."
    if seen := dict.fromkeys(each.reason for each in findings if each.is_of_watch):
        yield f"The watch has found {', '.join(seen)} on its codes: a fault of the data."


def _open(connection: Connection, window: Window, kind: Kind, subject: str, sentence: str) -> None:
    values = {"use_case": window.use_case, "version": window.version, "opened_at": window.end, "kind": kind}
    connection.execute(insert(breach).values(**values, subject=subject, sentence=sentence, status="open"))


def open_breaches(connection: Connection, use_case: str, version: int | None = None) -> list[Breach]:
    """Return the breaches of a use case that are not closed, oldest first; of all versions when none is named."""
    query = select(breach).where(breach.c.use_case == use_case, breach.c.status != "closed")
    if version is not None:
        query = query.where(breach.c.version == version)
    return [Breach(**row) for row in connection.execute(query.order_by(breach.c.breach_id)).mappings()]


def set_breach_status(
    connection: Connection, breach_ids: Collection[int], status: Literal["open", "emitted", "closed"]
) -> None:
    """Note that the event of these breaches was emitted, or that they are over."""
    connection.execute(update(breach).where(breach.c.breach_id.in_(breach_ids)).values(status=status))
