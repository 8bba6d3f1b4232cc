"""The parts of a contract: how an input, a table and messages are read, and from when a fact of the past is known."""

from datetime import timedelta
from typing import Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from integrations.asking import STRICT, Duration


class History(BaseModel):
    """From when on a fact of the past counts as known.

    available_at: `always` (as if known since 1900), `encounter_ended_at` (the end of the stay that the row belongs to),
    or an instant of the row; of a list the first one present; `plus` is added. ended: from when on its end is known
    (discharge, death, stop); until then the row reads as if still open. A rule that gives nothing means received_at.
    """

    model_config = STRICT

    available_at: str | tuple[str, ...]
    plus: Duration = timedelta()
    ended: str | None = None

    @property
    def instants(self) -> tuple[str, ...]:
        """The instants to look at, first one first."""
        return (self.available_at,) if isinstance(self.available_at, str) else self.available_at


class PatientsOf(BaseModel):
    """Whose patients the feed speaks of: known by an identifier `system` that `source` has linked.

    assigning_authorities: what an HL7 v2 sender writes for the system (PID-3, CX.4) where it writes no universal id: a
    namespace such as `DEMO`; an empty word where it sends none. An identifier of any other authority is a stranger's.
    """

    model_config = STRICT

    system: str
    source: str
    assigning_authorities: tuple[str, ...] = ()


class TabularInput(BaseModel):
    """Files of a tabular extract that mapping SQL sees as one relation of texts; a null word stands for nothing.

    record: what one record is, a `line`, or the whole `file`: then the relation has record_id, the file's name without
    folder and ending, and no column of its lines; a `line_of_file` is a line of such a file. columns: those that are
    read, by name and in any order; a file that lacks one is refused, one that is a record is set aside.
    is_optional: an extract may come without any of the files.
    """

    model_config = STRICT

    files: tuple[str, ...] = Field(min_length=1)
    delimiter: str = Field(",", min_length=1, max_length=1)
    encoding: Literal["utf-8", "windows-1252", "latin-1"] = "utf-8"
    null_words: tuple[str, ...] = ("",)
    record: Literal["line", "file", "line_of_file"] = "line"
    columns: tuple[str, ...] = ()
    is_optional: bool = False

    @model_validator(mode="after")
    def _name_what_is_read(self) -> Self:
        if not self.columns and (self.is_optional or self.record != "line"):
            raise ValueError("columns: name those that are read, where files may be absent or are records")
        return self


class Messages(BaseModel):
    """How an HL7 v2 sender writes. encoding: of messages that do not say (MSH-18).

    control_ids_unique_for: within this time a control id (MSH-10) that comes again with another body is a conflict.
    words: what a word of the sender's own means, by field: `PV1-2: {OBS: observation}`; those that HL7 suggests are
    known (integrations/hl7v2/words.py).
    """

    model_config = STRICT

    encoding: Literal["utf-8", "windows-1252", "latin-1"] = "utf-8"
    control_ids_unique_for: Duration = timedelta(days=7)
    words: dict[Literal["PV1-2", "PV1-4", "PV1-14", "PV1-36"], dict[str, str]] = {}

    @field_validator("words")
    @classmethod
    def _mean_what_the_tables_know(cls, value: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        from integrations.hl7v2.words import meanings

        for field, words in value.items():
            if strange := sorted(set(words.values()) - meanings(field)):
                raise ValueError(f"{field}: {strange[0]} is none of {', '.join(sorted(meanings(field)))}")
        return value


class TableContract(BaseModel):
    """How the feed fills one canonical table.

    records: of several inputs that read these files, those whose records are the table's. A file of a stay may be one
    record for the table of stays, and one record a line for that of results.
    """

    model_config = STRICT

    files: tuple[str, ...] = Field(min_length=1)
    view: str | None = None
    mapping: str | None = None
    records: str | tuple[str, ...] = ()
    history: History
    dates_alone: dict[str, Literal["start_of_day", "end_of_day"]] = {}
    not_told: tuple[str, ...] = ()  # classes of encounters; procedures of_this_stay, coded after it

    @property
    def records_of(self) -> tuple[str, ...]:
        """The inputs that `records` names."""
        return (self.records,) if isinstance(self.records, str) else self.records
