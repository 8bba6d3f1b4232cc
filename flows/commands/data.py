"""Commands on what comes in: ingest, tables, view, quarantine, quarantine retry."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from flows.commands.options import AsJson, AsOf, DryRun, has_server, instant
from flows.screen import print_json, say, show_dicts, show_table
from integrations.errors import NotInOrder, WrongUsage

SHOWN = 30  # rows on a screen


class ListByDefault(TyperGroup):
    """`rounds quarantine` and `rounds quarantine SOURCE` list."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


quarantine_app = typer.Typer(
    cls=ListByDefault, help="What broke its contract: list it (without more words), or retry it once that is mended."
)


def add_to(app: typer.Typer) -> None:
    """Put these commands into `rounds`."""
    app.command()(ingest)
    app.command()(tables)
    app.command()(view)
    app.add_typer(quarantine_app, name="quarantine")


def ingest(
    source: Annotated[str, typer.Argument(help="A folder of integrations/sources, such as synthea_bulk.")],
    path: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Folder or file of the extract; without it, fetch it, take what was heard, or go on with a cut one.",
        ),
    ] = None,
    is_history: Annotated[bool, typer.Option("--history", help="The extract is from before go-live.")] = False,
    is_whole: Annotated[
        bool, typer.Option("--whole", help="Fetch everything again, not only what has changed since the last export.")
    ] = False,
    as_of: AsOf = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Bring one extract in: land it, map it to the canonical tables, account for every record."""
    from flows import ingest as door
    from flows.fetch import is_fetched
    from flows.house import at, open_house
    from flows.step import run_flow

    place = path.resolve() if path else None
    if dry_run:
        house = open_house()
        if place is None and is_fetched(house, source):
            raise WrongUsage("a dry run fetches nothing", to_do=f"give --from, or use: rounds source check {source}")
        result = door.plan(house, source, place, is_history, at(instant(as_of)), dry_run=True)
    else:
        result = run_flow(
            door.ingest,
            has_server=has_server(),
            source=source,
            path=str(place) if place else None,
            is_history=is_history,
            is_whole=is_whole,
            as_of=instant(as_of),
        )
    names = ("received", "mapped", "unchanged", "out_of_scope", "waiting", "quarantined", "rows_written", "taken_up")
    accounts = {table: {name: getattr(one, name) for name in names} for table, one in result.accounts.items()}
    if as_json:
        print_json(
            {
                "extract_id": result.extract_id,
                "is_new": result.is_new,
                "is_plan": dry_run,
                "snapshot_id": result.snapshot_id,
                "accounts": accounts,
                "quarantined": result.quarantined,
                "files_left_out": result.files_left_out,
                "litter_count": result.litter_count,
                "findings": [vars(each) for each in result.found],
            }
        )
        return
    if not result.extract_id:
        say(f"nothing was heard for {source} since the last ingest: nothing changes")
        return
    if result.litter_count:
        say(f"{result.litter_count:,} files left aside: an operating system put them there by itself")
    if not result.is_new:
        say(f"this extract was ingested before, as {result.extract_id}: nothing changes")
        return
    title = f"{'plan for' if dry_run else 'extract'} {result.extract_id}, in source records"
    show_table(title, ("table", *names), ([table, *one.values()] for table, one in accounts.items()))
    for reason, count in result.files_left_out.items():
        say(f"files out of scope: {count:,} {reason}")
    for reason, count in result.quarantined.items():
        say(f"quarantined: {count:,} {reason}")
    if result.quarantined:
        say(f"see them with: rounds quarantine {source}")
    for each in result.found:
        say(f"{each.severity} {each.kind}: {each.sentence}")
    if result.found:
        say(f"{'a plan notes nothing' if dry_run else 'see what to do with: rounds watch'}")


def view(
    definition: Annotated[
        Path, typer.Argument(help="A ViewDefinition (SQL on FHIR v2), a JSON file.", exists=True, dir_okay=False)
    ],
    files: Annotated[
        list[Path] | None, typer.Argument(help="FHIR R4 resources: NDJSON, or a Bundle.", exists=True, dir_okay=False)
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help="ndjson, csv or parquet.")] = "ndjson",
    out: Annotated[Path | None, typer.Option("--out", help="The file to write; without it, the screen.")] = None,
    show_sql: Annotated[
        bool, typer.Option("--sql", help="Show the SQL that the view becomes, and run nothing.")
    ] = False,
) -> None:
    """Run a view of your own over files of resources: rows of its columns, nothing else is read or kept."""
    from integrations.fhir.view_files import read_view, write_view

    compiled = read_view(definition)
    if show_sql:
        say(compiled.sql)
        return
    if not files:
        raise WrongUsage("no file to run the view over", to_do="rounds view VIEW.json FILE...")
    run = write_view(compiled, files, file_format, out)
    if out:
        say(f"{run.rows:,} rows in {out}")
    if run.unread:
        raise NotInOrder(
            f"{sum(count for count, _ in run.unread.values()):,} lines are no FHIR resource and gave no row",
            where=", ".join(
                f"{name}: {count:,}, the first is line {first:,}" for name, (count, first) in run.unread.items()
            ),
        )


def tables(as_json: AsJson = False) -> None:
    """Show what the canonical tables hold, by source: records, facts, versions, patients, and what was set aside."""
    from flows.house import open_house, places
    from integrations.ingest import tables_report

    house = open_house()
    rows = tables_report(house.records, places(house), memory_limit_mb=house.settings.memory_limit_mb)
    if as_json:
        print_json({"tables": rows})
        return
    shown = ("table", "records", "facts", "versions", "patients", "out_of_scope", "waiting", "quarantined")
    for source in dict.fromkeys(row["source"] for row in rows):
        show_dicts(source, [row for row in rows if row["source"] == source], shown)
    if not rows:
        say("nothing has been ingested yet: rounds ingest SOURCE --from PATH")


@quarantine_app.command("list")
def quarantine(
    source: Annotated[str | None, typer.Argument(help="Only this source.")] = None, as_json: AsJson = False
) -> None:
    """Show what broke its contract: reasons with counts, and places in landing."""
    from flows.house import open_house
    from integrations.ingest import quarantine_report

    report = quarantine_report(open_house().records, source)
    if as_json:
        print_json(report)
        return
    show_table("quarantine, by reason", ("reason", "records"), report["reasons"].items())
    if report["holding_no_one"]:
        say(f"{report['holding_no_one']:,} of them hold no score: their patient or code cannot be read")
    # a record that fills several tables lies there once for each of them
    lines = dict.fromkeys(
        f"{row['reason']} ({row['detail']}): {row['source']}/{row['extract_id']}, "
        f"{row['source_file']} line {row['source_line']}"
        for row in report["rows"]
    )
    for line in list(lines)[:SHOWN]:
        say(line)
    if len(lines) > SHOWN:
        say(f"{len(lines) - SHOWN:,} more: rounds quarantine --json")


@quarantine_app.command("retry")
def retry(
    source: Annotated[str, typer.Argument(help="The source whose codes.csv or contract was mended.")],
    as_of: AsOf = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Read the quarantined records of a source again; what passes by now is released and known from now on."""
    from dataclasses import asdict

    from flows import ingest as door
    from flows.house import at, open_house

    house, moment = open_house(), at(instant(as_of))
    result = door.plan_retry(house, source, moment, dry_run=True) if dry_run else door.retry(house, source, moment)
    if as_json:
        print_json({"source": source, "is_plan": dry_run, **asdict(result)})
        return
    title = f"quarantine of {source}, {'plan' if dry_run else 'read again'}"
    show_table(title, ("outcome", "records"), result.outcomes.items())
    for word, counts in (("released", result.released), ("stays", result.stays)):
        for reason, count in counts.items():
            say(f"{word}: {count:,} {reason}")
    if not result.outcomes:
        say(f"nothing of {source} lies in quarantine")
