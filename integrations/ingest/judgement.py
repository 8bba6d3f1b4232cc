"""What a judgement needs to know of the extract whose rows it judges."""

from dataclasses import dataclass
from datetime import datetime

from integrations.contract import Contract
from integrations.contract_parts import TableContract
from integrations.duck import quoted
from integrations.identity import bucket_sql
from integrations.tables import TABLES, Kind, Table

EARLIEST = "timestamptz '1900-01-01 00:00:00+00'"
# A death is mostly known by its day: it happened by the end of it. A contract may say otherwise.
DATES_ALONE: dict[str, dict[str, str]] = {"patient": {"deceased_at": "end_of_day"}}
MADE_HERE = {"observation": ("code", "is_extreme")}  # no door gives these: codes.csv and analytes.csv do


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One table of one extract: whose it is, when it came, and whether its past is loaded by the history rule.

    released_at: it came before and lay in quarantine; it is judged as when it came, and known from its release on.
    is_plan: nothing will be written, so what only tells people of unknown codes is kept too.
    """

    contract: Contract
    table: str
    received_at: datetime
    is_history: bool
    bucket_count: int
    files: tuple[str, ...]  # the names that record_file may hold
    released_at: datetime | None = None
    is_plan: bool = False

    @property
    def bucket_sql(self) -> str:
        """The partition of a row."""
        return bucket_sql("patient_id", self.bucket_count)

    @property
    def declared(self) -> Table:
        """The canonical table."""
        return TABLES[self.table]

    @property
    def rule(self) -> TableContract:
        """What the contract says of the table."""
        return self.contract.tables[self.table]

    @property
    def dates_alone(self) -> dict[str, str]:
        """What a date alone stands for, by column; in any other column it is no instant."""
        return {**DATES_ALONE.get(self.table, {}), **self.rule.dates_alone}

    @property
    def received_sql(self) -> str:
        """The moment of receipt as a SQL literal."""
        return f"timestamptz {quoted(self.received_at.isoformat())}"

    @property
    def released_sql(self) -> str:
        """The moment of release as a SQL literal; that of receipt for what never lay in quarantine."""
        return f"timestamptz {quoted((self.released_at or self.received_at).isoformat())}"

    @property
    def staged_columns(self) -> list[tuple[str, Kind]]:
        """The columns that a door fills, beside the patient."""
        made_here = MADE_HERE.get(self.table, ())
        own = [(column.name, column.kind) for column in self.declared.columns if column.name not in made_here]
        return [("effective_at", "instant"), ("issued_at", "instant"), *own]
