"""ORU^R01 batch files to staged rows: each OBX a record of observation, each PID a record of patient_link.

A message of another type is one record, out of scope. A segment that cannot be read, or a result that cannot be
attributed to a patient and an order, is a record with the problem bad_segment.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa

from integrations.hl7v2.segments import Delimiters, segments
from integrations.hl7v2.segments import field as at
from integrations.hl7v2.values import RETRACTED, STATUS, WITHOUT_RESULT, namespace, read_value

Row = tuple[object, ...]
ENVELOPE = frozenset({"FHS", "BHS", "BTS", "FTS"})
ROWS_AT_A_TIME = 4096

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
TEXTS_BEFORE_NUMBER = ("observation_id", "encounter_id", "category", "local_system", "local_code")
TEXTS_AFTER_NUMBER = ("unit", "comparator", "value_text", "value_code", "status", "order_number")
OBSERVATION = pa.schema(
    [
        *HEAD,
        *((name, pa.string()) for name in TEXTS_BEFORE_NUMBER),
        ("value_number", pa.float64()),
        *((name, pa.string()) for name in TEXTS_AFTER_NUMBER),
    ]
)
PATIENT_LINK = pa.schema([*HEAD, *((name, pa.string()) for name in ("link_id", "system", "value"))])


def stage_oru(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path], *, root: Path | None = None
) -> dict[str, str]:
    """Make the staged relations over ORU files known to a connection, {table: relation}; each scan reads the files."""
    named = [(path.relative_to(root).as_posix() if root else path.name, path) for path in files]
    connection.register("staged_observation", OruStream(named, OBSERVATION))
    connection.register("staged_patient_link", OruStream(named, PATIENT_LINK))
    return {"observation": "staged_observation", "patient_link": "staged_patient_link"}


@dataclass(frozen=True)
class OruStream:
    """The staged rows of one table in ORU files, read anew by each scan."""

    files: Sequence[tuple[str, Path]]  # (name in record_file, where it lies)
    schema: pa.Schema

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.RecordBatchReader.from_batches(self.schema, self._batches()).__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        rows: list[Row] = []
        for name, path in self.files:
            reader = _Reader(name, is_of_links=self.schema is PATIENT_LINK)
            for number, text in segments(path):
                rows += reader.rows(number, text)
                if len(rows) >= ROWS_AT_A_TIME:
                    yield self._batch(rows)
                    rows = []
        if rows:
            yield self._batch(rows)

    def _batch(self, rows: list[Row]) -> pa.RecordBatch:
        columns = zip(*rows, strict=True)
        arrays = [pa.array(column, column_type) for column, column_type in zip(columns, self.schema.types, strict=True)]
        return pa.record_batch(arrays, schema=self.schema)


@dataclass
class _Message:
    """What the segments so far say of the message at hand."""

    signs: Delimiters | None
    is_oru: bool = False
    sent_at: str | None = None
    patient_id: str | None = None
    encounter_id: str | None = None
    order: list[str] = field(default_factory=list)


class _Reader:
    """Reads segment after segment of one file; state is the message at hand."""

    def __init__(self, file: str, *, is_of_links: bool) -> None:
        self.file, self.is_of_links = file, is_of_links
        self.message: _Message | None = None

    def rows(self, number: int, text: str | None) -> list[Row]:
        """Return the staged rows that a segment gives."""
        name = text[:3] if text else ""
        if text is None or (self.message is None and name not in ENVELOPE and name != "MSH") or not _is_named(name):
            return self._bad(number, name or "segment")
        if name == "MSH":
            return self._start(number, text)
        message = self.message
        if message is None or name in ENVELOPE:
            return []
        if message.signs is None:
            return self._bad(number, "MSH") if name == "OBX" else []
        if not message.is_oru or name not in ("PID", "PV1", "OBR", "OBX"):
            return []
        return self._segment(number, name, text.split(message.signs.field), message, message.signs)

    def _start(self, number: int, text: str) -> list[Row]:
        signs = Delimiters.of(text)
        self.message = _Message(signs)
        if signs is None:
            return self._bad(number, "MSH")
        fields = ["MSH", *text.split(signs.field)]  # MSH-1 is the separator itself, so every number is one higher
        kind = signs.components(at(fields, 9))
        self.message.sent_at = signs.plain(at(fields, 7))
        self.message.is_oru = kind[:2] == ["ORU", "R01"] or kind == ["ORU"]
        if self.message.is_oru or self.is_of_links:
            return []
        named = "^".join(part for part in kind[:2] if part.isalnum() and len(part) <= 3)
        return [self._head(number, reason=f"message {named}") + (None,) * (len(OBSERVATION) - len(HEAD))]

    def _segment(self, number: int, name: str, fields: list[str], message: _Message, signs: Delimiters) -> list[Row]:
        if name == "PID":
            message.encounter_id, message.order = None, []
            return self._person(number, at(fields, 3), message, signs)
        if name == "PV1":
            message.encounter_id = signs.plain(signs.components(at(fields, 19))[0])
        elif name == "OBR":
            message.order = fields
        elif not self.is_of_links:
            return [self._result(number, fields, message, signs)]
        return []

    def _person(self, number: int, identifiers: str, message: _Message, signs: Delimiters) -> list[Row]:
        """PID-3: the first identifier of type MR is the patient, without one the first; each with a value is a link."""
        found = [signs.components(one) for one in identifiers.split(signs.repetition)]
        records = [one for one in found if at(one, 4) == "MR"] or found
        message.patient_id = patient = signs.plain(records[0][0])
        if not self.is_of_links:
            return []
        if patient is None:
            return self._bad(number, "PID-3")
        rows = []
        for one in found:
            system, value = namespace(at(one, 3), signs), signs.plain(one[0])
            if value is not None:
                head = self._head(number, patient_id=patient, issued_at=message.sent_at)
                rows.append((*head, f"{patient}|{system or ''}|{value}", system, value))
        return rows

    def _result(self, number: int, fields: list[str], message: _Message, signs: Delimiters) -> Row:
        code = [signs.plain(part) for part in signs.components(at(fields, 3))[:3]]
        order = _order_number(message.order, signs)
        status = at(fields, 11)
        value = read_value(at(fields, 2), at(fields, 5), signs)
        is_retracted = status in RETRACTED
        reason = WITHOUT_RESULT.get(status, None if is_retracted else value.reason)
        missing = _missing(message, order, code[0])
        problem, detail = None, None
        if missing:
            problem, detail = "bad_segment", missing
        elif status and status not in STATUS and not is_retracted and not reason:
            problem, detail = "bad_value", "OBX-11"
        elif value.problem and not reason and not is_retracted:
            problem, detail = "bad_value", value.problem
        reason = None if problem else reason
        sub = signs.plain(at(fields, 4))
        return (
            *self._head(
                number,
                problem=problem,
                detail=detail,
                reason=reason,
                patient_id=message.patient_id,
                effective_at=signs.plain(at(fields, 14)) or signs.plain(at(message.order, 7)),
                issued_at=signs.plain(at(message.order, 22)) or message.sent_at,
                is_retracted=is_retracted,
            ),
            None if reason or missing else "#".join(part for part in (order, code[0], sub) if part),
            message.encounter_id,
            "laboratory",
            code[2] if len(code) > 2 else None,
            code[0],
            value.number,
            signs.plain(signs.components(at(fields, 6))[0]),
            value.comparator,
            value.text,
            value.code,
            "entered_in_error" if is_retracted else STATUS.get(status),
            order,
        )

    def _head(
        self,
        number: int,
        *,
        problem: str | None = None,
        detail: str | None = None,
        reason: str | None = None,
        patient_id: str | None = None,
        effective_at: str | None = None,
        issued_at: str | None = None,
        is_retracted: bool = False,
    ) -> Row:
        is_empty = reason is not None
        return (self.file, number, problem, detail, is_empty, reason, patient_id, effective_at, issued_at, is_retracted)

    def _bad(self, number: int, detail: str) -> list[Row]:
        """A segment that cannot be read is a record of observation; a PID without identifier one of patient_link."""
        if self.is_of_links != (detail == "PID-3"):
            return []
        width = len(PATIENT_LINK if self.is_of_links else OBSERVATION) - len(HEAD)
        return [self._head(number, problem="bad_segment", detail=detail) + (None,) * width]


def _is_named(name: str) -> bool:
    return len(name) == 3 and name.isascii() and name.isalnum() and name.isupper() and name[0].isalpha()


def _order_number(order: list[str], signs: Delimiters) -> str | None:
    """OBR-3, the number of the laboratory, else OBR-2, the number of who ordered."""
    return signs.plain(signs.components(at(order, 3))[0]) or signs.plain(signs.components(at(order, 2))[0])


def _missing(message: _Message, order: str | None, code: str | None) -> str | None:
    """Name the first field without which a result cannot be attributed."""
    if message.patient_id is None:
        return "PID-3"
    if order is None:
        return "OBR-3"
    return "OBX-3" if code is None else None
