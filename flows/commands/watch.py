"""Commands for those who watch: monitor, report, doctor."""

from typing import Annotated

import typer

from flows.commands.options import AsJson, AsOf, DryRun, UseCaseName, has_server, instant
from flows.screen import print_json, say, show_dicts, show_table


def add_to(app: typer.Typer) -> None:
    """Put these commands into `rounds`."""
    app.command()(monitor)
    app.command()(report)
    app.command()(doctor)


def monitor(
    use_case: UseCaseName,
    as_of: AsOf = None,
    with_report: Annotated[bool, typer.Option("--report/--no-report", help="Also write the HTML report.")] = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Judge data, predictions and matured outcomes of the last window; say what drifted and what to do."""
    from flows import monitor as flow
    from flows.house import at
    from flows.step import run_flow

    moment = at(instant(as_of))
    if dry_run:
        plan = flow.plan(use_case, moment)
        print_json(plan) if as_json else say(
            f"would judge {plan['rows']:,} rows of the window and the outcomes of {plan['scored']:,} scored rows "
            f"of {use_case}"
        )
        return
    result = run_flow(flow.monitor, has_server=has_server(), use_case=use_case, as_of=moment, with_report=with_report)
    if as_json:
        print_json(
            {
                "rows": result.row_count,
                "verdicts": [vars(each) for each in result.verdicts],
                "breaches": [vars(each) for each in result.breaches],
                "report": result.report,
                "command": None if has_server() else result.command,
            }
        )
        return
    for sentence in result.sentences:
        say(sentence)
    if result.report:
        say(f"report: {result.report}")
    if result.command and not has_server():
        say(f"open training with: {result.command}")


def report(use_case: UseCaseName, as_json: AsJson = False) -> None:
    """Show where the reports lie, with their hashes: drift reports and the evaluations that people sign."""
    from sqlalchemy import select

    from flows.house import open_house
    from integrations.records import schema as s
    from models.catalog import check_name
    from models.kept_report import report_state

    check_name(use_case)
    house = open_house()
    wanted = select(s.report).where(s.report.c.use_case == use_case).order_by(s.report.c.created_at)
    with house.records.read() as connection:
        rows = [
            {
                "kind": row.kind,
                "version": row.version,
                "created_at": row.created_at,
                "path": str(house.settings.reports / row.path),
                "sha256": row.sha256,
                "state": report_state(house.settings.reports / row.path, row.sha256),
            }
            for row in connection.execute(wanted)
        ]
    if as_json:
        print_json({"reports": rows})
        return
    show_dicts(f"reports of {use_case}", rows, ("kind", "version", "created_at", "path", "sha256", "state"))


def doctor(as_json: AsJson = False) -> int:
    """Check the installation and list what is open: breaches, dead letters, waiting records, the audit chain."""
    from flows.doctor import examine
    from flows.house import clock, open_house

    checks = examine(open_house(), clock())
    if as_json:
        print_json({"checks": [vars(check) for check in checks]})
    else:
        show_table(
            "doctor", ("check", "state", "finding", "do"), ([c.name, c.state, c.finding, c.to_do] for c in checks)
        )
    return 1 if any(check.state == "not in order" for check in checks) else 0
