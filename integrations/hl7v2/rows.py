"""The staged rows of the tables that messages give, in the order of their columns."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

# What a message says of a stay; what it does not say stays as it was.
STAY = (
    "class",
    "admission_type",
    "admission_source",
    "started_at",
    "ended_at",
    "discharge_disposition",
    "service",
)


def _texts(*names: str) -> list[tuple[str, pa.DataType]]:
    return [(name, pa.string()) for name in names]


HEAD = [
    ("record_file", pa.string()),
    ("record_line", pa.int64()),
    ("problem", pa.string()),
    ("problem_detail", pa.string()),
    ("is_empty", pa.bool_()),
    ("out_of_scope_reason", pa.string()),
    ("patient_id", pa.string()),
    ("effective_at", pa.string()),
    ("issued_at", pa.string()),
    ("is_retracted", pa.bool_()),
]
SCHEMAS = {
    "observation": pa.schema(
        [
            *HEAD,
            ("observation_id", pa.string()),
            ("encounter_id", pa.string()),
            ("category", pa.string()),
            ("local_system", pa.string()),
            ("local_code", pa.string()),
            ("value_number", pa.float64()),
            ("unit", pa.string()),
            ("comparator", pa.string()),
            ("value_text", pa.string()),
            ("value_code", pa.string()),
            ("status", pa.string()),
            ("order_number", pa.string()),
        ]
    ),
    "patient_link": pa.schema([*HEAD, ("link_id", pa.string()), ("system", pa.string()), ("value", pa.string())]),
    "patient": pa.schema(
        [*HEAD, ("birth_date", pa.string()), ("sex", pa.string()), ("is_deceased", pa.bool_()), *_texts("deceased_at")]
    ),
    "encounter": pa.schema([*HEAD, *_texts("encounter_id", *STAY)]),
    "encounter_location": pa.schema([*HEAD, *_texts("location_id", "encounter_id", "ward", "started_at", "ended_at")]),
}


class LinkRow(NamedTuple):
    """A row of staged_patient_link, in the order of its columns."""

    record_file: str
    record_line: int
    problem: str | None = None
    problem_detail: str | None = None
    is_empty: bool = False
    out_of_scope_reason: str | None = None
    patient_id: str | None = None
    effective_at: str | None = None
    issued_at: str | None = None
    is_retracted: bool = False
    link_id: str | None = None
    system: str | None = None
    value: str | None = None


class ObservationRow(NamedTuple):
    """A row of staged_observation, in the order of its columns."""

    record_file: str
    record_line: int
    problem: str | None = None
    problem_detail: str | None = None
    is_empty: bool = False
    out_of_scope_reason: str | None = None
    patient_id: str | None = None
    effective_at: str | None = None
    issued_at: str | None = None
    is_retracted: bool = False
    observation_id: str | None = None
    encounter_id: str | None = None
    category: str = "laboratory"
    local_system: str | None = None
    local_code: str | None = None
    value_number: float | None = None
    unit: str | None = None
    comparator: str | None = None
    value_text: str | None = None
    value_code: str | None = None
    status: str | None = None
    order_number: str | None = None


@dataclass(frozen=True)
class Rows:
    """The rows gathered so far; those of an admission, which are few, by the names of their columns."""

    observation: list[ObservationRow] = field(default_factory=list)
    patient_link: list[LinkRow] = field(default_factory=list)
    patient: list[dict[str, object]] = field(default_factory=list)
    encounter: list[dict[str, object]] = field(default_factory=list)
    encounter_location: list[dict[str, object]] = field(default_factory=list)

    def add(self, table: str, file: str, line: int, **values: Any) -> None:
        """Add a row of which little is known."""
        if table == "observation":
            self.observation.append(ObservationRow(file, line, **values))
        elif table == "patient_link":
            self.patient_link.append(LinkRow(file, line, **values))
        else:
            getattr(self, table).append({"record_file": file, "record_line": line, **values})

    def of(self, table: str) -> pa.Table:
        """The rows of one table."""
        rows, schema = getattr(self, table), SCHEMAS[table]
        if table in ("observation", "patient_link"):
            columns = zip(*rows, strict=True) if rows else [[] for _ in schema]
            return pa.table(
                [pa.array(column, each.type) for column, each in zip(columns, schema, strict=True)], schema=schema
            )
        return pa.Table.from_pylist([{"is_empty": False, "is_retracted": False, **row} for row in rows], schema)

    def clear(self) -> None:
        """Forget them."""
        for table in SCHEMAS:
            getattr(self, table).clear()
