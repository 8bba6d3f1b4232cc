"""What one look at a version gave: its figures, what stands open, and what to say to people."""

from collections.abc import Iterator
from dataclasses import dataclass

from models.monitoring.breach import Breach, Window
from models.monitoring.findings import Finding
from models.monitoring.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class MonitoringResult:
    """What was seen in a window and what stands open."""

    window: Window
    row_count: int
    verdicts: tuple[Verdict, ...]
    findings: tuple[Finding, ...]
    breaches: tuple[Breach, ...]  # not closed
    report: str | None = None  # file name within the reports folder

    @property
    def to_emit(self) -> tuple[Breach, ...]:
        """The drift that nobody has been told of yet: its event runs train. A data fault never does."""
        return tuple(each for each in self.breaches if each.kind == "drift" and each.status == "open")

    @property
    def command(self) -> str | None:
        """What to type where no server listens to the event."""
        return f"rounds train {self.window.use_case}" if self.to_emit else None

    @property
    def is_judged(self) -> bool:
        """Whether there were rows enough to judge the inputs."""
        return any(each.metric == "psi" and each.verdict != "not enough data" for each in self.verdicts)

    @property
    def headline(self) -> str:
        """The state in one sentence."""
        faults = [each.subject for each in self.breaches if each.kind == "data fault"]
        drifts = [each.subject for each in self.breaches if each.kind == "drift"]
        said = [f"Data fault on {', '.join(faults)}: look at the feed, do not retrain for it."] if faults else []
        said += [f"Drift of {', '.join(drifts)}: a retraining is due."] if drifts else []
        breached = sum(each.verdict == "breach" for each in self.verdicts)
        if said:
            return " ".join(said)
        if breached:
            return f"{breached} figures outside their limits, not yet often enough to count as a breach."
        return "In order." if self.is_judged else "Too few rows to judge the inputs."

    @property
    def sentences(self) -> tuple[str, ...]:
        """What people should read: the window, the state, each figure in breach, what stands open."""
        return tuple(self._sentences())

    def _sentences(self) -> Iterator[str]:
        window = self.window
        span = f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC"
        yield f"{window.use_case} version {window.version}, {span}, {self.row_count} rows. {self.headline}"
        for each in self.verdicts:
            is_too_few = each.metric == "auroc" and each.verdict == "not enough data"
            if each.verdict == "breach" or is_too_few:
                yield each.sentence
        for breach in self.breaches:
            yield f"Open since {breach.opened_at:%Y-%m-%d}, {breach.kind}: {breach.subject}."
