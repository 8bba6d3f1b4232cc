"""Commands that look after an installation: demo, audit verify, backup, restore."""

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import AsJson, DryRun
from flows.screen import print_json, say

audit_app = typer.Typer(help="The chain of what people and flows decided.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Put these commands into `rounds`."""
    app.command()(demo)
    app.add_typer(audit_app, name="audit")
    app.command()(backup)
    app.command()(restore)


def demo(
    patients: Annotated[int, typer.Option(help="How many patients the synthetic hospital has.", min=500)] = 8000,
    nights: Annotated[int, typer.Option(help="How many nights to play.", min=1, max=60)] = 14,
    scenario: Annotated[
        str, typer.Option(help="Which scripted fault strikes; none for quiet nights.")
    ] = "creatinine_unit",
    seed: Annotated[int, typer.Option(help="The same seed makes the same hospital.", min=0)] = 0,
) -> None:
    """Play a synthetic hospital through the real flows: history, training, approval, and night after night."""
    from flows.demo import play
    from integrations.settings import load_settings

    play(load_settings(), patients=patients, nights=nights, scenario=scenario, seed=seed)


@audit_app.command("verify")
def verify(as_json: AsJson = False) -> int:
    """Check every link and every signature of the chain; exit 1 when one does not hold."""
    from flows.house import open_house
    from integrations.records.audit_check import verify as verify_chain

    with open_house().records.read() as connection:
        findings = verify_chain(connection)
    if as_json:
        print_json({"findings": [{"seq": finding.seq, "what": finding.what} for finding in findings]})
    elif findings:
        for finding in findings:
            say(f"entry {finding.seq}: {finding.what}")
    else:
        say("the chain holds: every link and every signature")
    return 1 if findings else 0


def backup(
    target: Annotated[
        Path, typer.Argument(help="The archive to write, such as rounds.tar. It holds secrets: keep it safe.")
    ],
    dry_run: DryRun = False,
) -> None:
    """Copy ROUNDS_HOME, secrets included, into one archive that restore can verify."""
    from flows.house import clock, open_house
    from integrations.backup import backup as write_archive

    house = open_house()
    made = write_archive(house.settings.home, target.resolve(), records=house.records, as_of=clock(), dry_run=dry_run)
    say(f"{made.file_count:,} files, {made.byte_count:,} bytes {'would be' if dry_run else 'are'} in {target}")
    for left_out in made.left_out:
        say(f"left out: {left_out}")


def restore(
    archive: Annotated[Path, typer.Argument(help="An archive of rounds backup.")], dry_run: DryRun = False
) -> None:
    """Put an archive back into an empty ROUNDS_HOME, once every file of it has been verified."""
    from integrations.restore import restore as read_archive
    from integrations.settings import load_settings

    home = load_settings().home
    found = read_archive(archive, home, dry_run=dry_run)
    say(f"{found.file_count:,} files verified{'' if dry_run else f' and put into {home}'}")
    for left_out in found.left_out:
        say(f"left out of the backup: {left_out}")
