"""Commands on what the watch has found in the feeds: list it, release it."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from flows.commands.data import ListByDefault
from flows.commands.options import AsJson, AsPerson, DryRun, KeyFile, Reason
from flows.screen import print_json, say

watch_app = typer.Typer(
    cls=ListByDefault,
    help="What is odd in the feeds, by their own history: list it (without more words), or release it.",
)


def add_to(app: typer.Typer) -> None:
    """Put these commands into `rounds`."""
    app.add_typer(watch_app, name="watch")


@watch_app.command("list")
def watch(
    with_released: Annotated[bool, typer.Option("--all", help="Released findings, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show open findings, the most severe first, each with its evidence and what to do; and feeds that are overdue."""
    from flows.house import clock, open_house
    from flows.watched import overdue_feeds
    from integrations.watch.kept import findings

    house = open_house()
    with house.records.read() as connection:
        rows = [dict(row._mapping) for row in findings(connection, with_released=with_released)]
    late = overdue_feeds(house, clock())
    if as_json:
        feeds = [
            {**vars(each), "usual_gap": each.usual_gap.total_seconds(), "sentence": each.sentence} for each in late
        ]
        print_json({"findings": rows, "overdue": feeds})
        return
    for each in late:
        say(f"warning freshness: {each.sentence}")
        say("    do: ask the sender; it ends with the next extract")
    for row in rows:
        for line in _lines(row):
            say(line)
    if not rows and not late:
        say("nothing odd is open")


def _lines(row: dict[str, Any]) -> Iterator[str]:
    yield f"{row['finding_id']}  {row['severity']} {row['kind']}, {row['source']}: {row['sentence']}"
    codes = f"; codes {', '.join(row['codes'])}" if row["codes"] else ""
    yield f"    since {row['since_at']:%Y-%m-%d %H:%M} UTC, known from {row['opened_at']:%Y-%m-%d %H:%M} UTC{codes}"
    yield "    " + ", ".join(f"{name} {value}" for name, value in row["evidence"].items())
    if row["released_at"]:
        yield f"    released {row['released_at']:%Y-%m-%d %H:%M} UTC, entry {row['released_seq']} of the audit chain"
    else:
        yield f"    do: {row['to_do']}"


@watch_app.command("release")
def release(
    finding: Annotated[int, typer.Argument(help="The number that `rounds watch` shows.")],
    by: AsPerson,
    key: KeyFile,
    reason: Reason,
    is_usual: Annotated[
        bool, typer.Option("--usual", help="What it shows is right and stays so: it counts as usual from now on.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Lift a finding, signed with your own key: from now on it holds nothing. What it shows is found if it returns."""
    from flows.house import clock, open_house
    from models.governance.finding_release import release_finding
    from models.governance.signing import load_signer

    done = release_finding(
        open_house().records,
        finding_id=finding,
        signer=load_signer(by, key),
        reason=reason,
        as_of=clock(),
        is_usual=is_usual,
        dry_run=dry_run,
    )
    say(
        f"finding {done.finding_id} ({done.kind} of {done.source}) {'would be' if dry_run else 'is'} released"
        f"{'' if dry_run else f', entry {done.seq} of the audit chain'}"
    )
    if done.severity == "blocking" and not dry_run:
        say("who was held by it is due once more, if the use case still asks: rounds score USE_CASE")
