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
def verify(
    anchor: Annotated[
        str | None,
        typer.Option(help="A head that this command printed earlier, a file that holds one, or an archive of backup."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Check every link, signature and decision of the chain, and print its head to write down; exit 1 on a finding."""
    from flows.audit_chain import check_chain
    from flows.house import open_house
    from integrations.anchor import read_anchor

    check = check_chain(open_house(), *([read_anchor(anchor)] if anchor else []))
    if as_json:
        findings = [{"seq": finding.seq, "what": finding.what} for finding in check.findings]
        print_json({"findings": findings, "entry_count": check.head.seq, "head": str(check.head)})
        return 1 if findings else 0
    for finding in check.findings:
        say(f"entry {finding.seq}: {finding.what}")
    if not check.findings:
        say("the chain holds: every link, every signature, every decision")
    say(f"{check.head.seq:,} entries; to write down for --anchor: {check.head}")
    return 1 if check.findings else 0


def backup(
    target: Annotated[
        Path, typer.Argument(help="The archive to write, such as rounds.tar. It holds secrets: keep it safe.")
    ],
    dry_run: DryRun = False,
) -> None:
    """Copy ROUNDS_HOME, secrets included, into one archive that restore can verify."""
    from flows.house import clock, open_house
    from integrations.anchor import read_anchor
    from integrations.backup import backup as write_archive

    house = open_house()
    made = write_archive(house.settings.home, target.resolve(), records=house.records, as_of=clock(), dry_run=dry_run)
    say(f"{made.file_count:,} files, {made.byte_count:,} bytes {'would be' if dry_run else 'are'} in {target}")
    for left_out in made.left_out:
        say(f"left out: {left_out}")
    if not dry_run:
        say(f"it holds the audit chain up to {read_anchor(str(target))}: rounds audit verify --anchor {target}")


def restore(
    archive: Annotated[Path, typer.Argument(help="An archive of rounds backup.")], dry_run: DryRun = False
) -> int:
    """Put an archive back into an empty ROUNDS_HOME, once every file of it has been verified; exit 1 on a bad chain."""
    from flows.audit_chain import check_chain
    from flows.house import open_house
    from integrations.anchor import read_anchor
    from integrations.restore import restore as read_archive
    from integrations.settings import load_settings

    home = load_settings().home
    found = read_archive(archive, home, dry_run=dry_run)
    say(f"{found.file_count:,} files verified{'' if dry_run else f' and put into {home}'}")
    for left_out in found.left_out:
        say(f"left out of the backup: {left_out}")
    if dry_run or not (home / "records.db").exists():
        return 0
    check = check_chain(open_house(), read_anchor(str(archive)))
    for finding in check.findings:
        say(f"audit chain, entry {finding.seq}: {finding.what}")
    say(f"the audit chain ends at {check.head}; decide again what was decided since, first of all who is to be off")
    return 1 if check.findings else 0
