"""Send what the outbox holds to the EHR; each score stands there once, however often this runs."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from prefect import flow
from sqlalchemy import select

from flows.house import House, at, clock, open_house
from flows.parameters import AsOf
from flows.run_log import recorded_run
from flows.step import step, tell
from integrations.errors import WrongUsage
from integrations.fhir.risk_assessment import RiskDescription
from integrations.records import schema as s
from integrations.write_back.outbox import OPEN
from integrations.write_back.permit import Permit
from integrations.write_back.send import WriteBackCounts
from integrations.write_back.send import write_back as send_outbox
from models.catalog import use_cases
from models.governance.promotion import champion
from models.governance.stages import stage_of
from models.use_case import UseCase

if TYPE_CHECKING:
    from datetime import datetime

    from integrations.write_back.target import Target


@flow(name="write_back")
def write_back(as_of: AsOf = None) -> WriteBackCounts:
    """Send queued scores to the EHR as RiskAssessments, and take up those that failed before."""
    house, moment = open_house(), at(as_of)
    with recorded_run(house, "write_back", as_of=moment):
        counts = send(house, moment, dry_run=False)
        tell(
            f"{counts.due:,} scores in = {counts.acknowledged:,} acknowledged + {counts.failed:,} to be tried again "
            f"+ {counts.dead:,} dead; {counts.resources:,} RiskAssessments out"
        )
        return counts


@step
def send(house: House, as_of: "datetime", *, dry_run: bool) -> WriteBackCounts:
    """Send the champion's scores of every site and use case that is live; those of a stopped one stay in the outbox."""
    with open_target(house, as_of) as target:
        return send_outbox(
            house.records,
            target=target,
            permits=permits(house),
            identifier_system=house.settings.identifier_system,
            as_of=as_of,
            dry_run=dry_run,
        )


def permits(house: House) -> dict[tuple[str, str], Permit]:
    """What each use case may send for each site where it is live, of those that have something in the outbox."""
    waiting = (
        select(s.score.c.site_id, s.score.c.use_case)
        .join(s.outbox, s.outbox.c.score_id == s.score.c.score_id)
        .where(s.outbox.c.status.in_(OPEN))
        .distinct()
    )
    known = use_cases()
    with house.records.read() as connection:
        return {
            (row.site_id, row.use_case): permit_of(known[row.use_case], champion(connection, row.use_case))
            for row in connection.execute(waiting).all()
            if row.use_case in known and stage_of(connection, row.site_id, row.use_case) == "live"
        }


def permit_of(case: UseCase, version: int | None) -> Permit:
    """What a use case says about its RiskAssessments; they go out as long as such a score would be made live at all."""
    return Permit(
        description=RiskDescription(
            outcome_text=case.write_back.outcome_text,
            outcome_system=case.write_back.outcome_system,
            outcome_code=case.write_back.outcome_code,
            bands=case.write_back.bands,
            horizon=case.horizon,
        ),
        champion=version,
        valid_for=min(case.max_age, case.horizon),
    )


def open_target(house: House, as_of: "datetime") -> AbstractContextManager["Target"]:
    """Where settings say that RiskAssessments go, open until the end of the block."""
    settings = house.settings
    if settings.write_back_target == "file":
        from integrations.write_back.file_target import FileTarget

        return nullcontext(FileTarget(folder=settings.outgoing, as_of=as_of))
    if not settings.fhir_base_url:
        raise WrongUsage("write_back_target is fhir, but fhir_base_url is not set", to_do="set ROUNDS_FHIR_BASE_URL")
    from integrations.web.breaker import Breaker
    from integrations.write_back.fhir_target import open_fhir_target

    token = settings.fhir_token.get_secret_value() if settings.fhir_token else None
    breaker = Breaker.of(settings.fhir_base_url, house.records, clock)
    return open_fhir_target(settings.fhir_base_url, token, breaker=breaker)
