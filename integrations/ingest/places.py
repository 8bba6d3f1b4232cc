"""What an ingest is given and what it says when it is done."""

from dataclasses import dataclass, field
from pathlib import Path

from integrations.lake import Lake
from integrations.watch.finding import Found


@dataclass(frozen=True, kw_only=True)
class IngestPlaces:
    """Where an ingest finds contracts and leaves what it makes."""

    landing: Path
    lake: Lake
    sources: Path
    temp: Path


@dataclass(frozen=True, kw_only=True)
class TableAccount:
    """What became of the records that came for one table; rows_written and taken_up are beside the sum.

    taken_up: records of earlier extracts that waited and came in now, or of this one that were released later.
    """

    received: int = 0
    mapped: int = 0
    unchanged: int = 0
    out_of_scope: int = 0
    waiting: int = 0
    quarantined: int = 0
    rows_written: int = 0
    taken_up: int = 0

    @property
    def balances(self) -> bool:
        """Whether every record received is accounted for."""
        return self.received == self.mapped + self.unchanged + self.out_of_scope + self.waiting + self.quarantined


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """How many records of a table were not taken in, and why: one line of a check."""

    table: str
    outcome: str  # out_of_scope, waiting or quarantined
    reason: str
    records: int


@dataclass(frozen=True, kw_only=True)
class UndecidedCode:
    """A code as sent that codes.csv does not name; where it names the code (`loinc`), units that it does not name.

    records: those that hold it. units: records by unit as sent; an empty unit is none sent.
    """

    local_system: str
    local_code: str
    loinc: str | None
    records: int
    units: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class IngestResult:
    """One extract, accounted for. `is_new` is false when the same bytes had been ingested before: nothing was done.

    extract_id: empty where there was nothing to take in.
    set_aside, undecided: of a dry run, what a person wants to know before the extract is taken in.
    found: what the watch notices in it; a dry run writes none of it.
    files_left_out: how many files fed no table, by why. litter_count: files that an operating system had put there.
    """

    extract_id: str
    is_new: bool
    accounts: dict[str, TableAccount] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)
    snapshot_id: int | None = None
    set_aside: tuple[SetAside, ...] = ()
    undecided: tuple[UndecidedCode, ...] = ()
    found: tuple[Found, ...] = ()
    files_left_out: dict[str, int] = field(default_factory=dict)
    litter_count: int = 0
