"""Score the past as it was known then: silently, nothing for the EHR, and where a run was killed the next goes on."""

from typing import Annotated

from prefect import flow
from pydantic import AwareDatetime

from flows.due import Round
from flows.house import at, open_house
from flows.parameters import AsOf, UseCaseName, Version, described
from flows.run_log import recorded_run
from flows.score import ScoringRun, score_round
from flows.step import tell
from integrations.errors import WrongUsage

First = Annotated[AwareDatetime, described("The first prediction time, with offset.")]
Last = Annotated[AwareDatetime, described("Up to before this instant, with offset.")]


@flow(name="backfill")
def backfill(
    use_case: UseCaseName, first: First, last: Last, version: Version = None, as_of: AsOf = None
) -> ScoringRun:
    """Score every prediction time of a span that this version has not scored, each with what was known at it."""
    house, moment = open_house(), at(as_of)
    if first >= last:
        raise WrongUsage(
            "the span to score ends before it begins", where="first, last", to_do="name the later one last"
        )
    this = Round.of(house, use_case, as_of=moment, version=version, window=(at(first), at(last)))
    this.scoring_version()
    with recorded_run(house, "score", as_of=moment, use_case=use_case) as run_id:
        run = score_round(house, this, run_id, dry_run=False)
        account = run.account
        tell(
            f"{use_case} version {run.version}: {run.due:,} rows of the past in = {account.scored:,} scored "
            f"+ {account.held:,} held + {account.excluded:,} excluded; {run.new_scores:,} new scores out"
        )
        return run
