"""Commands on models: train, versions, promote."""

from typing import Annotated

import typer

from flows.commands.options import AsJson, AsOf, DryRun, UseCaseName, has_server, instant
from flows.screen import print_json, say, show_dicts


def add_to(app: typer.Typer) -> None:
    """Put these commands into `rounds`."""
    app.command()(train)
    app.command()(versions)
    app.command()(promote)


def train(
    use_case: UseCaseName,
    as_of: AsOf = None,
    trained_by: Annotated[
        str | None,
        typer.Option(
            "--as", help="Who trains, as registered; a trainer cannot approve. Default: the person in settings."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed over the same snapshot gives the same model.", min=0)] = 0,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train a candidate, judge it by the gate and register it, whatever the gate says. Never promotes."""
    from flows import train as flow
    from flows.house import at, open_house
    from flows.step import run_flow

    moment, house = at(instant(as_of)), open_house()
    trainer = trained_by or house.settings.person
    if dry_run:
        flow.who_trains(house, trainer)
        plan = flow.plan(house, use_case, moment)
        if as_json:
            print_json(plan)
        else:
            say(
                f"would train {use_case} on {plan['rows']:,} rows with a known outcome, "
                f"{plan['outcomes']:,} of them positive; {plan['held']:,} held rows would be left out"
            )
        return
    run = run_flow(
        flow.train,
        has_server=has_server(),
        use_case=use_case,
        as_of=moment,
        seed=seed,
        trained_by=trainer,
    )
    if as_json:
        print_json(
            {
                "version": run.version,
                "rows": run.row_count,
                "held": run.held_row_count,
                "labels": run.label_reasons,
                "evaluation": run.evaluation.to_json(),
            }
        )
        return
    say(
        f"{use_case} version {run.version}: {sum(run.label_reasons.values()):,} cohort rows, "
        f"{run.row_count:,} rows in, {run.held_row_count:,} held rows left out"
    )
    for reason, count in run.label_reasons.items():
        say(f"  label: {count:,} {reason}")
    say(f"gate: {run.evaluation.gate}")
    for sentence in run.evaluation.reasons:
        say(f"  {sentence}")
    if run.evaluation.gate == "pass":
        say(
            f"next: two people, not the trainer, run  rounds approve {use_case} {run.version} "
            "--as NAME --key FILE --reason TEXT"
        )


def versions(use_case: UseCaseName, as_json: AsJson = False) -> None:
    """Show every version: aliases, when trained, what the gate said and why, who approved."""
    from flows.house import open_house
    from models.catalog import check_name
    from models.governance.promotion import versions_report

    check_name(use_case)
    rows = versions_report(open_house().records, use_case)
    if as_json:
        print_json({"versions": rows})
        return
    show_dicts(f"versions of {use_case}", rows)


def promote(
    use_case: UseCaseName,
    version: Annotated[int, typer.Argument(help="A version whose gate passed and that two people have approved.")],
    as_of: AsOf = None,
    dry_run: DryRun = False,
) -> None:
    """Make an approved version the champion. The second approval does this by itself; repeating it changes nothing."""
    from flows import promote as flow
    from flows.house import at, open_house
    from flows.step import run_flow
    from models.governance.promotion import promote as promote_version

    moment = at(instant(as_of))
    if dry_run:
        done = promote_version(open_house().records, use_case=use_case, version=version, as_of=moment, dry_run=True)
    else:
        done = run_flow(flow.promote, has_server=has_server(), use_case=use_case, version=version, as_of=moment)
    before = f"version {done.previous}" if done.previous else "none"
    would = "would be" if dry_run else "is"
    say(f"{use_case}: version {done.champion} {would} champion (before: {before})")
