"""The staged rows of the two tables that laboratory messages give, in the order of their columns."""

from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

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
    """The rows gathered so far."""

    observation: list[ObservationRow] = field(default_factory=list)
    patient_link: list[LinkRow] = field(default_factory=list)
