"""The one screen at the end of the demo: who was scored, how good it was, what the fault did, where the reports lie."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any

from sqlalchemy import func, select

from flows.house import House
from flows.screen import say, show_table
from integrations.records import schema as s
from integrations.synthetic_hospital.hospital import Hospital
from integrations.synthetic_hospital.scenarios import SCENARIOS
from integrations.synthetic_hospital.write import HospitalFiles

SOURCE = "demo_ehr"
FINDINGS_SHOWN = 2


def show_outcome(
    house: House, hospital: Hospital, files: HospitalFiles, versions: dict[str, int], *, seconds: float
) -> None:
    """Show what came of the demo."""
    say()
    say(
        f"{hospital.patients:,} patients, {files.resource_count:,} FHIR resources, {files.message_count:,} HL7 v2 "
        f"messages, {hospital.nights} nights, scenario {hospital.scenario}, seed {hospital.seed}: {seconds:.0f} s"
    )
    show_memory()
    show_rounds(house)
    for name, version in versions.items():
        show_quality(house, name, version, files)
    show_outbox(house)
    show_fault(house, hospital)
    show_findings(house)
    show_places(house)


def show_memory() -> None:
    """What the demo took at most: this process, and the largest of those it started and has seen end."""
    own, beside = (getrusage(who).ru_maxrss / 1024 for who in (RUSAGE_SELF, RUSAGE_CHILDREN))
    say(f"peak memory: {own:,.0f} MB in the demo, {beside:,.0f} MB in the largest process beside it (Prefect's server)")


def show_rounds(house: House) -> None:
    """Who was due, over all nights."""
    run = s.run.c
    sums = [func.sum(column) for column in (run.due, run.scored, run.held, run.excluded)]
    wanted = (
        select(run.use_case, func.count(), *sums)
        .where(run.kind == "score", run.status == "done")
        .group_by(run.use_case)
        .order_by(run.use_case)
    )
    with house.records.read() as connection:
        rows = [list(row) for row in connection.execute(wanted)]
    if not rows:
        say("no round was made: nobody is scored before a version is approved")
        return
    show_table("patients, by use case", ("use case", "rounds", "due", "scored", "held", "excluded"), rows)


def show_quality(house: House, name: str, version: int, files: HospitalFiles) -> None:
    """How good the version is: on held-out history, beside the best that is possible, and on the nights' outcomes."""
    wanted = select(s.model_version).where(s.model_version.c.use_case == name, s.model_version.c.version == version)
    with house.records.read() as connection:
        row = connection.execute(wanted).one()
    figures = row.evaluation["figures"]
    say()
    say(f"{name} version {version}: the gate says {row.gate}")
    if figures is None:
        return
    say(
        f"  held-out history: {figures['rows']:,} rows, {figures['outcomes']:,} outcomes; "
        f"AUROC {_figure(figures['auroc'])}; calibration slope {_figure(figures['calibration_slope'])}; "
        f"observed/expected {_figure(figures['observed_expected'])}"
    )
    if name == "readmission_30d":
        say(f"  Bayes-optimal on the same rows: {_bayes(house, name, version, files.truth)}")
    say(f"  {_nights(house, files, name, version)}")


def show_outbox(house: House) -> None:
    """What went back to the EHR."""
    from integrations.write_back.outbox import outbox_report

    with house.records.read() as connection:
        report = outbox_report(connection)
    where = house.settings.outgoing if house.settings.write_back_target == "file" else house.settings.fhir_base_url
    say()
    say(
        f"written back: {report['acknowledged']:,} RiskAssessments acknowledged, "
        f"{report['failed'] + report['dead']:,} failed, in {where}"
    )


def show_fault(house: House, hospital: Hospital) -> None:
    """Which guard caught the scripted fault, and what it held."""
    first = SCENARIOS[hospital.scenario].first_night
    place, run = s.quarantine.c, s.run.c
    caught = select(s.extract.c.received_at, place.source, place.reason, place.code, func.count()).join(
        s.extract, s.extract.c.extract_id == place.extract_id
    )
    caught = caught.group_by(s.extract.c.received_at, place.source, place.reason, place.code).order_by(
        s.extract.c.received_at
    )
    held = (
        select(run.as_of, run.use_case, run.held, run.reasons)
        .where(run.kind == "score", run.held > 0)
        .order_by(run.as_of)
    )
    with house.records.read() as connection:
        rows = [list(row) for row in connection.execute(caught)]
        nights = connection.execute(held).all()
        faults = connection.execute(
            select(s.breach.c.use_case, s.breach.c.sentence).where(s.breach.c.kind == "data fault")
        ).all()
    say()
    if hospital.nights < first:
        say(f"scenario {hospital.scenario} begins with night {first}, after the last night of this demo")
    if not rows:
        say("no record was quarantined and no score was held")
        return
    show_table("caught at the door, in quarantine", ("received", "source", "guard", "code", "records"), rows)
    scores: Counter[str] = Counter()
    for night in nights:
        scores[night.use_case] += night.held
    said = ", ".join(f"{count} of {name}" for name, count in scores.items()) or "none"
    say(f"scores held because of it: {said}, over {len({night.as_of for night in nights})} nights")
    for fault in faults:
        say(f"data fault, no retraining: {fault.use_case}: {fault.sentence}")


def show_findings(house: House) -> None:
    """What the watch noticed in the nights, where it did."""
    from integrations.watch.kept import findings

    with house.records.read() as connection:
        rows = findings(connection)
    for row in rows[:FINDINGS_SHOWN]:
        say(f"the watch, {row.opened_at:%Y-%m-%d}: {row.severity} {row.kind}, {row.source}: {row.sentence}")
    if rows:
        say(f"open findings: {len(rows)}, see rounds watch")


def show_places(house: House) -> None:
    """Where to look next."""
    with house.records.read() as connection:
        reports = connection.execute(select(s.report.c.use_case, s.report.c.path).order_by(s.report.c.report_id)).all()
    say()
    say(f"reports: {house.settings.reports}")
    for use_case, path in {report.use_case: report.path for report in reports}.items():
        say(f"  newest of {use_case}: {path}")
    say("the keys in demo_people lie side by side for show; in a hospital each person keeps their own")
    say("next: rounds runs, rounds scores aki_48h, rounds doctor; make up shows these nights in Prefect's pages")


def _figure(figure: dict[str, float | None]) -> str:
    value, lower, upper = figure["value"], figure["lower"], figure["upper"]
    if value is None:
        return "not known"
    return f"{value:.3f}" if lower is None else f"{value:.3f} [{lower:.3f} to {upper:.3f}]"


def _bayes(house: House, name: str, version: int, truth: Path) -> str:
    """The figures of the true risk on the rows that the gate held out."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from models.artifacts import HELD_OUT
    from models.figures import measure
    from models.folds import person_numbers

    content = house.registry.artifact(name, version, HELD_OUT, records=house.records)
    held_out: Any = pq.read_table(pa.BufferReader(content))
    risk = {
        f"{SOURCE}/{encounter}": probability
        for encounter, probability in zip(
            *(pq.read_table(truth)[column].to_pylist() for column in ("encounter_id", "readmission_probability")),
            strict=True,
        )
    }
    labels = held_out["label"].to_numpy().astype(np.int64)
    best = np.array([risk[encounter] for encounter in held_out["encounter_id"].to_pylist()])
    figures = measure(labels, best, person_numbers(held_out["person_id"].to_numpy()), seed=0)
    auroc = {part: getattr(figures.auroc, part) for part in ("value", "lower", "upper")}
    expected = figures.observed_expected.value
    return f"AUROC {_figure(auroc)}; observed/expected {expected:.3f}" if expected else f"AUROC {_figure(auroc)}"


def _nights(house: House, files: HospitalFiles, name: str, version: int) -> str:
    """What the nights' own outcomes say, where their windows have closed; few of them make a wide interval."""
    import numpy as np

    from flows.due import Round
    from flows.monitor import matured_outcomes
    from models.figures import measure
    from models.folds import person_numbers

    this = Round.of(house, name, as_of=files.nights[-1].round_at, version=version)
    rows = matured_outcomes(house, this)
    labels = rows["label"].to_numpy().astype(np.int64)
    outcomes = int(labels.sum())
    if outcomes in (0, len(labels)):
        return (
            f"the nights' own outcomes cannot be judged: {len(labels):,} windows have closed "
            f"(horizon {this.case.horizon.days} days, and lateness), {outcomes:,} of them with an outcome"
        )
    figures = measure(labels, rows["probability"].to_numpy(), person_numbers(rows["person_id"].to_numpy()), seed=0)
    return (
        f"the nights' own matured outcomes: {len(labels):,} rows, {outcomes:,} outcomes; "
        f"AUROC {_figure(asdict(figures.auroc))}; observed/expected {_figure(asdict(figures.observed_expected))}"
    )
