"""Commands of the round itself: score, scores, runs, write-back, outbox."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.options import AsJson, AsOf, DryRun, UseCaseName, has_server, instant, span
from flows.screen import print_json, say, show_dicts, show_table

if TYPE_CHECKING:
    from flows.score import ScoringRun


def add_to(app: typer.Typer) -> None:
    """Put these commands into `rounds`."""
    app.command()(score)
    app.command()(backfill)
    app.command()(scores)
    app.command()(runs)
    app.command("write-back")(write_back)
    app.command()(outbox)


def score(
    use_case: UseCaseName,
    as_of: AsOf = None,
    version: Annotated[
        int | None, typer.Option(help="Score by this version instead of the champion, silently.")
    ] = None,
    all_due: Annotated[
        bool, typer.Option("--all-due", help="Also every older prediction time, silently (backfill).")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Score every patient who is due, and queue what goes back to the EHR."""
    from flows import score as flow
    from flows.due import Round
    from flows.house import at, open_house
    from flows.step import run_flow

    moment = at(instant(as_of))
    if dry_run:
        house = open_house()
        this = Round.of(house, use_case, as_of=moment, version=version, all_due=all_due)
        run = flow.score_round(house, this, "plan", dry_run=True)
    else:
        run = run_flow(
            flow.score, has_server=has_server(), use_case=use_case, as_of=moment, version=version, all_due=all_due
        )
    _show_run(use_case, run, as_json=as_json, is_plan=dry_run)


def backfill(
    use_case: UseCaseName,
    first: Annotated[
        str, typer.Option("--from", help="The first day, by the hospital's clock; or an instant with offset.")
    ],
    last: Annotated[str, typer.Option("--to", help="The last day, whole; or an instant, up to before it.")],
    version: Annotated[int | None, typer.Option(help="Score by this version instead of the champion.")] = None,
    as_of: AsOf = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Score the past as it was known then, silently; a run that was killed is gone on with by the same command."""
    from flows import backfill as flow
    from flows.due import Round
    from flows.house import at, open_house
    from flows.score import score_round
    from flows.screen import progress_said
    from flows.step import run_flow

    moment, window = at(instant(as_of)), span(first, last)
    with progress_said(is_wanted=not as_json):
        if dry_run:
            house = open_house()
            this = Round.of(house, use_case, as_of=moment, version=version, window=window)
            run = score_round(house, this, "plan", dry_run=True)
        else:
            given = {"use_case": use_case, "first": window[0], "last": window[1], "version": version, "as_of": moment}
            run = run_flow(flow.backfill, has_server=has_server(), **given)
    _show_run(use_case, run, as_json=as_json, is_plan=dry_run)


def _show_run(use_case: str, run: "ScoringRun", *, as_json: bool, is_plan: bool) -> None:
    account = run.account
    figures = {
        "due": run.due,
        "scored": account.scored,
        "held": account.held,
        "excluded": account.excluded,
        "new_scores": run.new_scores,
        "queued": run.queued,
        "superseded": run.superseded,
        "reasons": account.reasons,
        "left": run.left,
    }
    if as_json:
        print_json({"use_case": use_case, "version": run.version, "is_plan": is_plan, **figures})
        return
    would = "would be " if is_plan else ""
    say(
        f"{use_case} version {run.version}: {run.due:,} due = {account.scored:,} {would}scored + {account.held:,} held "
        f"+ {account.excluded:,} excluded"
    )
    for reason, count in account.reasons.items():
        say(f"  {count:,} {reason}")
    say(f"{run.new_scores:,} scores {would}new, {run.queued:,} {would}queued for the EHR")
    if run.superseded:
        say(f"{run.superseded:,} scores {would}superseded by them: what they were made of has changed")
    for reason, count in run.left.items():
        say(f"{count:,} scores stay as they are, {reason}")


SCORE_COLUMNS = (
    "score_id",
    "site_id",
    "patient_id",
    "encounter_id",
    "source_encounter_id",
    "prediction_time",
    "status",
    "probability",
    "band",
    "is_at_or_above_threshold",
    "version",
    "stage",
    "purpose",
    "reasons",
    "run_id",
    "scored_at",
)


def scores(
    use_case: UseCaseName,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    superseded: Annotated[
        bool, typer.Option("--superseded", help="Instead, those in whose place others stand, as they were.")
    ] = False,
) -> None:
    """Show the worklist: every score and held row, newest prediction time first, highest risk first.

    Who was excluded is counted beside it, by reason, and named by --json.
    """
    from sqlalchemy import select

    from flows.house import open_house
    from flows.screen import print_csv, say_beside
    from integrations.records import schema as s
    from models.catalog import check_name
    from models.score_records import excluded_by_reason, excluded_rows

    check_name(use_case)
    table = s.superseded_score if superseded else s.score
    its = table.c
    columns = (*SCORE_COLUMNS, "superseded_at") if superseded else SCORE_COLUMNS
    wanted = (
        select(*(its[name] for name in columns))
        .where(its.use_case == use_case, its.status != "excluded")
        .order_by(its.prediction_time.desc(), its.probability.desc(), its.score_id)
    )
    with open_house().records.read() as connection:
        rows = [dict(row) for row in connection.execute(wanted).mappings()]
        excluded = excluded_by_reason(connection, use_case, of=table)
        who_excluded = excluded_rows(connection, use_case, of=table) if as_json else []
    for reason, count in excluded.items() if not as_json else ():
        say_beside(f"excluded, and not in the list: {count:,} {reason}")
    if excluded and not as_json:
        among = " --superseded" if superseded else ""
        say_beside(f"who they are: rounds scores {use_case}{among} --json, under excluded_rows")
    if as_csv:
        print_csv(columns, rows)
    elif as_json:
        print_json({"scores": rows, "excluded": excluded, "excluded_rows": who_excluded})
    else:
        rename = {"source_encounter_id": "encounter", "is_at_or_above_threshold": "act"}
        shown = (
            "source_encounter_id",
            "prediction_time",
            "status",
            "probability",
            "band",
            "is_at_or_above_threshold",
            "version",
            "purpose",
            "reasons",
        )
        show_table(
            f"{'superseded ' if superseded else ''}scores of {use_case}",
            [rename.get(name, name) for name in shown],
            ([row[name] for name in shown] for row in rows[:50]),
        )
        if len(rows) > 50:
            say(f"{len(rows) - 50:,} more: rounds scores {use_case} --csv")


def runs(as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Show the nights: due = scored + held + excluded per scoring run, and rounds that are late or missing."""
    from flows.house import at, open_house
    from flows.nights import missing_rounds, scoring_runs

    house, moment = open_house(), at(instant(as_of))
    made, missing = scoring_runs(house), missing_rounds(house, moment)
    if as_json:
        print_json({"runs": made, "missing": missing})
        return
    show_dicts("scoring runs", made)
    show_dicts("rounds that are late or missing", missing) if missing else say("no round is late or missing")


def write_back(as_of: AsOf = None, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Send queued scores to the EHR as RiskAssessments, and take up those that failed before."""
    from dataclasses import asdict

    from flows import write_back as flow
    from flows.house import at, open_house
    from flows.step import run_flow

    moment = at(instant(as_of))
    if dry_run:
        counts = flow.send(open_house(), moment, dry_run=True)
    else:
        counts = run_flow(flow.write_back, has_server=has_server(), as_of=moment)
    if as_json:
        print_json(asdict(counts))
        return
    if dry_run:
        say(
            f"{counts.due:,} due: {counts.resources:,} RiskAssessments would be sent, "
            f"{counts.withheld:,} may not go out any more, {counts.invalid:,} are not fit to send"
        )
        return
    say(
        f"{counts.due:,} due: {counts.acknowledged:,} acknowledged, {counts.failed:,} to be tried again, "
        f"{counts.dead:,} dead, {counts.void:,} void"
    )


def outbox(as_json: AsJson = False) -> None:
    """Show how many scores wait for the EHR, and what became of the others. Void ones count as dead."""
    from flows.house import open_house
    from integrations.write_back.outbox import outbox_report, outbox_rows, void_report

    with open_house().records.read() as connection:
        report, stuck, void = outbox_report(connection), outbox_rows(connection), void_report(connection)
    if as_json:
        print_json(report)
        return
    show_table("outbox", tuple(report), [list(report.values())])
    for row in stuck[:20]:
        say(f"{row.status}: score {row.score_id} of {row.use_case}, {row.attempts} attempts: {row.last_error}")
    for (use_case, reason), count in void.items():
        say(f"of the dead, void: {count:,} scores of {use_case}: {reason}")
