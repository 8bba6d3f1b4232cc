"""What a feed owes us: integrations/sources/<name>/contract.yaml.

A contract names who answers for the feed, where and when its clock runs, which files feed which canonical table, and
from when on a fact of its past counts as known (the history rule).
"""

import re
from collections.abc import Sequence
from datetime import datetime, time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AwareDatetime, BaseModel, Field, field_validator, model_validator

from integrations.asking import STRICT, Duration, Export, Qido
from integrations.contract_parts import Messages, PatientsOf, TableContract, TabularInput
from integrations.declared import load_declared
from integrations.errors import WrongUsage
from integrations.limits import DEFAULT_LIMITS, Limits
from integrations.tables import TABLES

SOURCES = Path(__file__).resolve().parent / "sources"
FILE_NAME = "contract.yaml"
ANY_FILE = "*"  # under files_out_of_scope: whatever nothing else names
# What of a table a feed may say that it does not tell: features cannot take it for none.
NOT_TOLD = {"encounter": {"emergency", "observation", "ambulatory"}, "procedure": {"of_this_stay"}}
# What messages and studies bring.
FED_BY = {
    "hl7v2": {"patient", "patient_link", "encounter", "encounter_location", "observation"},
    "dicomweb": {"patient_link", "imaging_study"},
}
OF_OTHERS = {
    "hl7v2": "an hl7v2 feed needs patients_of: the identifier of PID-3 by which a patient is known",
    "dicomweb": "a dicomweb feed needs patients_of: the identifier in PatientID by which a patient is known",
}


class Contract(BaseModel):
    """One feed: who owns it, how it speaks, and what becomes of what it sends."""

    model_config = STRICT

    source: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    owner: str
    site_id: str
    time_zone: str
    kind: Literal["fhir", "hl7v2", "tabular", "dicomweb"]
    lateness: Duration
    go_live_at: AwareDatetime | None = None
    # Daily, in the feed's time zone: in history a fact counts as known from the extract on that would have brought it.
    history_extract_at: time | None = None
    # Every patient's dates are moved, perhaps into the future: no instant is judged by received_at.
    is_date_shifted: bool = False
    is_authoritative_for: tuple[str, ...] = ()
    encounters_of: str = ""
    patients_of: PatientsOf | None = None
    # The identifier systems that name one person and are never given to another: only these link patients.
    person_systems: tuple[str, ...] = ()
    files_out_of_scope: dict[str, str] = {}
    limits: Limits = DEFAULT_LIMITS
    messages: Messages = Messages()
    inputs: dict[str, TabularInput] = {}
    export: Export | None = None
    qido: Qido | None = None
    # Of a dicomweb feed, where AccessionNumber is the number of the stay; it is not asked for elsewhere.
    is_accession_number_of_stay: bool = False
    tables: dict[str, TableContract] = Field(min_length=1)

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, value: str) -> str:
        if not is_time_zone(value):
            raise ValueError("not a time zone of the tz database, such as America/Chicago")
        return value

    @field_validator("is_authoritative_for")
    @classmethod
    def _are_tables(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(value) - TABLES.keys()):
            raise ValueError(f"{unknown[0]} is no canonical table")
        return value

    @field_validator("tables")
    @classmethod
    def _name_known_columns(cls, value: dict[str, TableContract]) -> dict[str, TableContract]:
        for name, table in value.items():
            if name not in TABLES:
                raise ValueError(f"{name} is no canonical table")
            instants = _instants(name)
            for column in table.history.instants:
                if column not in {*instants, "always", "encounter_ended_at"}:
                    raise ValueError(f"history of {name}: {column} is no instant of it")
            ended = [] if table.history.ended is None else [table.history.ended]
            if wrong := sorted({*ended, *table.dates_alone} - instants):
                raise ValueError(f"{name}: {wrong[0]} is no instant of it")
            if wrong := sorted(set(table.not_told) - NOT_TOLD.get(name, set())):
                raise ValueError(f"{name}: not_told cannot say {wrong[0]}; it can say {NOT_TOLD}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _own_encounters(cls, values: object) -> object:
        if isinstance(values, dict) and not values.get("encounters_of"):
            return {**values, "encounters_of": values.get("source", "")}
        return values

    @model_validator(mode="after")
    def _tabular_tables_have_mapping_and_inputs(self) -> Self:
        if wrong := [name for name in self.inputs if name in TABLES or not re.fullmatch("[a-z][a-z0-9_]*", name)]:
            raise ValueError(f"input {wrong[0]}: name it in small letters, and not as a canonical table")
        declared = {pattern for source in self.inputs.values() for pattern in source.files}
        for name, table in self.tables.items() if self.kind == "tabular" else ():
            if table.mapping is None:
                raise ValueError(f"{name} of a tabular feed needs a mapping, such as {name}.sql")
            if unknown := sorted(set(table.files) - declared):
                raise ValueError(f"{name}: {unknown[0]} belongs to no input")
            read = {glob for each in table.records_of for glob in self._files_of(each)}
            if table.records and not set(table.files) <= read:
                raise ValueError(f"{name}: {', '.join(table.records_of)}: no inputs that read all its files")
        return self

    def _files_of(self, source: str) -> tuple[str, ...]:
        return self.inputs[source].files if source in self.inputs else ()

    @model_validator(mode="after")
    def _export_what_they_know(self) -> Self:
        if self.export and self.kind != "fhir":
            raise ValueError("export: only a fhir feed is fetched from a server")
        globs = [*self.files_out_of_scope, *(glob for table in self.tables.values() for glob in table.files)]
        for kind in self.export.types if self.export else ():
            if not any(fnmatchcase(f"{kind}.000.ndjson", glob) for glob in globs):
                raise ValueError(f"export: {kind} feeds no table and is not out of scope")
        return self

    @model_validator(mode="after")
    def _read_studies_one_way(self) -> Self:
        is_of_studies = self.kind == "dicomweb"
        if self.qido and not is_of_studies:
            raise ValueError("qido: only a dicomweb feed is asked for studies")
        if self.is_accession_number_of_stay and not is_of_studies:
            raise ValueError("is_accession_number_of_stay: only studies have an AccessionNumber")
        if is_of_studies and "imaging_study" not in self.tables:
            raise ValueError("a dicomweb feed without imaging_study brings nothing")
        own = [name for name, table in self.tables.items() if is_of_studies and (table.view or table.mapping)]
        if own:
            raise ValueError(
                f"{own[0]}: studies are read by integrations/dicomweb, with no view or mapping of a source"
            )
        return self

    @model_validator(mode="after")
    def _say_whom_they_speak_of(self) -> Self:
        if "patient_link" in self.tables and not self.person_systems:
            raise ValueError("patient_link needs person_systems: the identifier systems that name one person")
        if self.kind in FED_BY and self.patients_of is None:
            raise ValueError(OF_OTHERS[self.kind])
        fed = FED_BY.get(self.kind, set(self.tables))
        if strange := sorted(set(self.tables) - fed):
            raise ValueError(f"{strange[0]}: {self.kind} feeds {', '.join(sorted(fed))}")
        if self.kind != "hl7v2" and self.messages != Messages():
            raise ValueError("messages: only an hl7v2 feed has them")
        of = self.patients_of
        if of and "patient_link" in self.tables and of.system not in self.person_systems:
            raise ValueError(f"patients_of: {of.system} must be one of person_systems")
        return self

    @property
    def is_fetched(self) -> bool:
        """Whether the feed is asked for, and does not only come."""
        return self.export is not None or self.qido is not None

    @property
    def takes_any_file(self) -> bool:
        """Whether a file that nothing names is out of scope, and so no name is too strange."""
        return ANY_FILE in self.files_out_of_scope

    @property
    def files_that_are_records(self) -> tuple[str, ...]:
        """The files whose name says whose records they hold."""
        return tuple(glob for each in self.inputs.values() if each.record == "file" for glob in each.files)

    @property
    def has_own_patients(self) -> bool:
        """Whether the feed brings its patients itself, and does not speak of those of another."""
        return self.patients_of is None or self.patients_of.source == self.source

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which the feed writes an instant that has no offset."""
        return ZoneInfo(self.time_zone)

    def is_past(self, as_of: datetime) -> bool:
        """Whether what arrives at `as_of` is history: the feed is not live yet."""
        return self.go_live_at is None or self.go_live_at > as_of


def matches(name: str, globs: Sequence[str]) -> bool:
    """Whether a file of an extract, packed or not, has a name that one of the globs means; `*` means folders too."""
    return any(fnmatchcase(name, glob) or fnmatchcase(name.removesuffix(".gz"), glob) for glob in globs)


def is_time_zone(name: str) -> bool:
    """Whether the tz database knows this zone; `America` is only a folder of it."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _instants(table: str) -> set[str]:
    declared = TABLES[table]
    own = (*declared.columns, *declared.staged_extra)
    return {"effective_at", *(column.name for column in own if column.kind == "instant")}


def load_contract(source: str, sources: Path = SOURCES) -> Contract:
    """Read the contract of one feed. Raises WrongUsage when there is none, or when it is wrong."""
    path = sources / source / FILE_NAME
    if source not in known_sources(sources):
        raise WrongUsage(
            f"unknown source {source}", where=str(sources), to_do=f"known: {', '.join(known_sources(sources))}"
        )
    contract = load_declared(path, Contract)
    if contract.source != source:
        problem = f"source is {contract.source}, its folder {source}"
        raise WrongUsage(problem, where=str(path), to_do="name both the same")
    if contract.patients_of:
        _refuse_unlinked(contract.patients_of, path, sources)
    return contract


def known_sites(sources: Path = SOURCES) -> list[str]:
    """Every site_id that a contract names."""
    return sorted({load_contract(source, sources).site_id for source in known_sources(sources)})


def _refuse_unlinked(patients_of: PatientsOf, path: Path, sources: Path) -> None:
    """Refuse a system by which the other feed links nobody: every row would wait for ever."""
    other = load_declared(sources / patients_of.source / FILE_NAME, Contract)
    if patients_of.system not in other.person_systems:
        raise WrongUsage(
            f"patients_of: {patients_of.source} links nobody by {patients_of.system}",
            where=str(path),
            to_do=f"name one of its person_systems: {', '.join(other.person_systems) or 'it has none'}",
        )


def known_sources(sources: Path = SOURCES) -> list[str]:
    """Every feed that has a contract, by name."""
    return sorted(path.parent.name for path in sources.glob(f"*/{FILE_NAME}"))
