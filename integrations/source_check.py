"""What a sample of a source would come to, before any of it is taken in; nothing is written."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from integrations.codes_file import CodeAnswer, answer_codes
from integrations.contract import load_contract
from integrations.ingest import IngestPlaces, SetAside, TableAccount, ingest
from integrations.records import Records


@dataclass(frozen=True, kw_only=True)
class SourceCheck:
    """The account of a sample by table, why records would be set aside, and the codes that nobody has decided about.

    What waited before and would be taken up with the sample is none of its account.
    """

    accounts: dict[str, TableAccount]
    set_aside: tuple[SetAside, ...]
    answers: list[CodeAnswer]


def check_source(
    source: str, sample: Path, *, as_of: datetime, places: IngestPlaces, records: Records, memory_limit_mb: int
) -> SourceCheck:
    """Judge a sample as an ingest at `as_of` would, also one that was ingested before. Raises what an ingest raises."""
    told = ingest(
        source,
        sample,
        as_of=as_of,
        is_history=False,
        places=places,
        records=records,
        dry_run=True,
        once_more=True,
        memory_limit_mb=memory_limit_mb,
    )
    own = {table: account for table, account in told.accounts.items() if account.received or not account.taken_up}
    owner = load_contract(source, places.sources).owner
    return SourceCheck(accounts=own, set_aside=told.set_aside, answers=answer_codes(told.undecided, owner))
