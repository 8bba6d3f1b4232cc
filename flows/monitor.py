"""Judge the last window of scores against the reference: a breach is a row first, then an event that opens training."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from prefect import flow
from sqlalchemy import select

from flows.build_features import compute
from flows.due import Round
from flows.house import House, at, open_house
from flows.nights import hospital_zone
from flows.parameters import AsOf, UseCaseName, described
from flows.run_log import recorded_run
from flows.step import on_server, step, tell
from integrations.errors import NotInOrder, Refused
from integrations.records import schema as s
from models.cohort import labelled, query
from models.monitoring.findings import Finding, quarantine_findings, taken_counts, watch_findings
from models.monitoring.monitor import monitor as watch
from models.monitoring.monitor import outcomes_start, window_start
from models.monitoring.result import MonitoringResult

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

WithReport = Annotated[bool, described("Also write the HTML report for people (takes some seconds).")]
DRIFT_EVENT = "rounds.drift"


@flow(name="monitor")
def monitor(use_case: UseCaseName, as_of: AsOf = None, with_report: WithReport = True) -> MonitoringResult:
    """Judge data, predictions and matured outcomes of the last window; report, and open training where they drifted."""
    house, moment = open_house(), at(as_of)
    this = Round.of(house, use_case, as_of=moment)
    if this.version is None:
        raise Refused(f"{use_case} has no champion, so there is nothing to watch", to_do=f"rounds versions {use_case}")
    with recorded_run(house, "monitor", as_of=moment, use_case=use_case) as run_id:
        window = scored_window(house, this)
        matured, taken = matured_outcomes(house, this), taken_results(house, this)
        result = judge_window(house, this, window, matured, taken, run_id, with_report)
        tell(
            f"{use_case} version {this.version}: {window.num_rows:,} rows of the window and {matured.num_rows:,} final "
            f"outcomes in, {len(result.verdicts):,} verdicts out, {len(result.breaches):,} breaches open"
        )
        if on_server():
            emit_drift(house, this, result)
        return result


def plan(use_case: str, moment: datetime) -> dict[str, int]:
    """What monitoring would judge: rows scored in the window, and those whose outcomes it would look for."""
    house = open_house()
    this = Round.of(house, use_case, as_of=moment)
    this.scoring_version()
    rows = _unseen_scores(house, this, window_start(this.case, moment))
    scored = _unseen_scores(house, this, outcomes_start(this.case, moment))
    return {"rows": rows.num_rows, "scored": scored.num_rows}


@step
def scored_window(house: House, this: Round) -> "pa.Table":
    """The rows that the champion scored in the window, with their features as the model took them and their risk."""
    scored = _unseen_scores(house, this, window_start(this.case, this.as_of))
    spine = scored.select(["site_id", "patient_id", "encounter_id", "prediction_time"])
    try:
        frame = house.store.read(this.case.features, spine)
    except NotInOrder:  # a view has changed since: judge the rows by what it says now
        for part in house.parts(this.snapshot):
            compute(house, this, part, of_part(house.open_snapshot(this.snapshot, part), spine))
        frame = house.store.read(this.case.features, spine)
    return frame.append_column("probability", scored["probability"])


@step
def matured_outcomes(house: House, this: Round) -> "pa.Table":
    """The rows of the last nights that the champion scored, had not learnt from, and whose outcome is final by now."""
    import pyarrow as pa

    scored = _unseen_scores(house, this, outcomes_start(this.case, this.as_of))
    rows = scored.append_column("excluded_reason", pa.nulls(scored.num_rows, pa.string()))
    asked, found = rows.drop_columns(["probability"]), []
    for part in house.parts(this.snapshot):
        lake = house.open_snapshot(this.snapshot, part)
        found.append(labelled(lake, this.case, of_part(lake, asked), this.as_of).rows)
    known = pa.concat_tables(found)
    keys = ["encounter_id", "prediction_time"]
    joined = known.join(scored.select([*keys, "probability"]), keys, join_type="inner")
    return joined.sort_by([("prediction_time", "ascending"), ("encounter_id", "ascending")])


@step
def taken_results(house: House, this: Round) -> Counter[str]:
    """How many results of each code that the features draw on were collected in the window and came through."""
    codes = {code for each in codes_of_features(house, this).values() for code in each}
    window = {"window_start": window_start(this.case, this.as_of), "window_end": this.as_of}
    taken: Counter[str] = Counter()
    for part in house.parts(this.snapshot):
        taken.update(taken_counts(house.open_snapshot(this.snapshot, part), codes, **window))
    return taken


def of_part(lake: "duckdb.DuckDBPyConnection", rows: "pa.Table") -> "pa.Table":
    """The rows whose patients the open part holds."""
    return query(lake, "select rows.* from rows semi join same_person using (patient_id)", rows=rows)


@step
def judge_window(
    house: House,
    this: Round,
    window: "pa.Table",
    matured: "pa.Table",
    taken: Mapping[str, int],
    run_id: str,
    with_report: bool,
) -> MonitoringResult:
    """Full data for the verdict, a sample for the report; figures and breaches go to records."""
    version = this.scoring_version()
    return watch(
        house.records,
        this.case,
        version=version,
        window=window,
        reference=house.registry.reference(this.case.name, version, records=house.records),
        matured=matured,
        findings=_findings(house, this, taken),
        as_of=this.as_of,
        reports=house.settings.reports,
        run_id=run_id,
        with_report=with_report,
        time_zone=hospital_zone(),
    )


@step
def emit_drift(house: House, this: Round, result: MonitoringResult) -> None:
    """Tell Prefect of new drift; the trigger in prefect.yaml runs train. The breach is in records already."""
    from prefect.events import emit_event

    from models.monitoring.breach import set_breach_status

    if not result.to_emit:
        return
    emit_event(
        event=DRIFT_EVENT,
        resource={"prefect.resource.id": f"rounds.use-case.{this.case.name}"},
        payload={"use_case": this.case.name, "breach_ids": [each.breach_id for each in result.to_emit]},
    )
    with house.records.begin() as connection:
        set_breach_status(connection, [each.breach_id for each in result.to_emit], "emitted")


def codes_of_features(house: House, this: Round) -> dict[str, tuple[str, ...]]:
    """The codes that each feature itself draws on."""
    from features.definitions import view

    pairs = [feature.split(":") for feature in this.case.features]
    return {feature: view(name, house.store.views).codes_of(feature) for name, feature in pairs}


def _findings(house: House, this: Round, taken: Mapping[str, int]) -> list[Finding]:
    """What was quarantined, or found by the watch, in the window on the codes that each feature itself draws on."""
    codes, start, end = codes_of_features(house, this), window_start(this.case, this.as_of), this.as_of
    with house.records.read() as connection:
        aside = quarantine_findings(connection, codes, taken, window_start=start, window_end=end)
        return aside + watch_findings(connection, codes, window_start=start, window_end=end)


def _unseen_scores(house: House, this: Round, since: datetime) -> "pa.Table":
    """The version's scores after `since` and after its training, up to as_of, one per row: it has learnt from none.

    Rounds that were caught up count as well; a shadow's scores do not, and no look at the past it was trained on.
    """
    import pyarrow as pa

    columns = ("site_id", "patient_id", "encounter_id", "prediction_time", "probability")
    training = select(s.model_version.c.trained_at).where(
        s.model_version.c.use_case == this.case.name, s.model_version.c.version == this.version
    )
    with house.records.read() as connection:
        trained_at = connection.execute(training).scalar_one()
    wanted = (
        select(*(s.score.c[name] for name in columns))
        .where(
            s.score.c.use_case == this.case.name,
            s.score.c.version == this.version,
            s.score.c.status == "scored",
            s.score.c.purpose != "shadow",
            s.score.c.prediction_time > max(trained_at, since),
            s.score.c.prediction_time <= this.as_of,
        )
        .order_by(s.score.c.prediction_time, s.score.c.encounter_id)
    )
    with house.records.read() as connection:
        rows = connection.execute(wanted).all()
    unique = {(row.encounter_id, row.prediction_time): row for row in rows}.values()
    types = (pa.string(), pa.string(), pa.string(), pa.timestamp("us", "UTC"), pa.float64())
    return pa.table(
        {
            name: pa.array([getattr(row, name) for row in unique], kind)
            for name, kind in zip(columns, types, strict=True)
        }
    )
