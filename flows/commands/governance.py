"""Commands by which people decide: people, approve, stage, rollback. Each is signed with the person's own key."""

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import AsJson, AsPerson, DryRun, KeyFile, Reason, UseCaseName, has_server
from flows.screen import print_json, say, show_table

people_app = typer.Typer(help="The register of those who may sign: add, remove, list.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Put these commands into `rounds`."""
    app.add_typer(people_app, name="people")
    app.command()(approve)
    app.command()(stage)
    app.command()(rollback)


@people_app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="The person's name as it will stand in the audit chain.")],
    role: Annotated[str, typer.Option(help="engineer, governance or clinician.")],
    key_out: Annotated[Path, typer.Option(help="Where to put the new private key (only its owner keeps it).")],
    by: Annotated[
        str | None, typer.Option("--as", help="The governance person who adds them; the first needs none.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", help="That person's private key file.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Register a person with a new key pair; the private key is written once, for them alone."""
    from flows.house import clock, open_house
    from integrations.errors import WrongUsage
    from models.governance.people import add_person
    from models.governance.signing import load_signer

    if (by is None) != (key is None):
        raise WrongUsage("--as and --key go together", to_do="give both, or neither for the first person")
    house = open_house()
    person = add_person(
        house.records,
        name=name,
        role=role,
        key_out=key_out,
        as_of=clock(),
        signer=load_signer(by, key) if by and key else None,
        home=house.settings.home,
        dry_run=dry_run,
    )
    say(f"{'would register' if dry_run else 'registered'} {person.name} ({person.role}); private key: {key_out}")


@people_app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="Whose right to sign ends.")],
    by: AsPerson,
    key: KeyFile,
    reason: Reason,
    dry_run: DryRun = False,
) -> None:
    """End a person's right to sign; what they signed before stands in the chain."""
    from flows.house import clock, open_house
    from models.governance.people import remove_person
    from models.governance.signing import load_signer

    remove_person(
        open_house().records, name=name, signer=load_signer(by, key), reason=reason, as_of=clock(), dry_run=dry_run
    )
    say(f"{'would remove' if dry_run else 'removed'} {name}")


@people_app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """Show who may sign, and who once could."""
    from flows.house import open_house
    from models.governance.people import list_people

    people = [
        {"name": one.name, "role": one.role, "is_removed": one.is_removed, "public_key": one.public_key}
        for one in list_people(open_house().records)
    ]
    if as_json:
        print_json({"people": people})
        return
    show_table("people", ("name", "role", "removed", "public key"), (list(one.values()) for one in people))


def approve(
    use_case: UseCaseName,
    version: Annotated[int, typer.Argument(help="The version to approve; see rounds versions.")],
    by: AsPerson,
    key: KeyFile,
    reason: Reason,
    dry_run: DryRun = False,
) -> None:
    """Sign a version whose gate passed. Two people, neither the trainer; the second one's signature promotes it."""
    from flows import promote as flow
    from flows.house import clock, open_house
    from flows.step import run_flow
    from models.governance.approvals import approve as sign_version
    from models.governance.signing import load_signer

    house, moment = open_house(), clock()
    approval = sign_version(
        house.records,
        use_case=use_case,
        version=version,
        signer=load_signer(by, key),
        reason=reason,
        as_of=moment,
        dry_run=dry_run,
    )
    signed = f"{use_case} version {version}: approved by {', '.join(approval.approved_by)}"
    if not approval.is_trainer_known:
        say("note: this version was trained without a name; see to it that neither of you trained it")
    if dry_run:
        say(f"would be signed. {signed}{'; it would be promoted' if approval.is_complete else ''}")
    elif approval.is_complete:
        run_flow(flow.promote, has_server=has_server(), use_case=use_case, version=version, as_of=moment)
        say(f"{signed}; it is champion now")
    else:
        say(f"{signed}; one more person is needed")


def stage(
    use_case: UseCaseName,
    stage: Annotated[str, typer.Argument(help="off: not scored. silent: scored, not sent. live: scored and sent.")],
    by: AsPerson,
    key: KeyFile,
    reason: Reason,
    site: Annotated[str, typer.Option(help="The site_id of the hospital, as the contracts of its feeds name it.")],
    dry_run: DryRun = False,
) -> None:
    """Set what a site lets a use case do. off and silent need one person; live two: one asks, another grants."""
    from flows.house import clock, open_house
    from integrations.contract import known_sites
    from integrations.records.decision_check import LIVE_REQUEST_LASTS
    from models.catalog import check_name
    from models.governance.signing import load_signer
    from models.governance.stages import set_stage

    check_name(use_case)
    change = set_stage(
        open_house().records,
        site_id=site,
        sites=known_sites(),
        use_case=use_case,
        stage=stage,
        signer=load_signer(by, key),
        reason=reason,
        as_of=clock(),
        dry_run=dry_run,
    )
    would = "would be" if dry_run else "is"
    if change.expired_request_by:
        say(f"the request of {change.expired_request_by} has expired, it was older than {LIVE_REQUEST_LASTS.days} days")
    if change.is_granted:
        say(f"{use_case} {would} {change.stage} at {change.site_id}")
    else:
        say(
            f"{change.asked} {would} asked for; {use_case} stays {change.stage} at {change.site_id} "
            f"until another person grants it, within {LIVE_REQUEST_LASTS.days} days"
        )


def rollback(use_case: UseCaseName, by: AsPerson, key: KeyFile, reason: Reason, dry_run: DryRun = False) -> None:
    """Go back to the champion before. One person is enough; the version rolled back needs new approvals to return."""
    from flows.house import clock, open_house
    from flows.promote import project_aliases
    from models.governance.promotion import rollback as roll_back
    from models.governance.signing import load_signer

    house = open_house()
    done = roll_back(
        house.records, use_case=use_case, signer=load_signer(by, key), reason=reason, as_of=clock(), dry_run=dry_run
    )
    if not dry_run:
        project_aliases(house, use_case, done)
    say(
        f"{use_case}: version {done.champion} {'would be' if dry_run else 'is'} champion again, "
        f"in place of {done.previous}"
    )
