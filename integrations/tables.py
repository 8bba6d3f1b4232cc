"""The canonical tables: the contract of the whole house.

Every door ends here. A row is one version of one fact; a fact is identified by the table's key. Ids are scoped to their
source, `<source>/<id as the source wrote it>`, so that two feeds never collide. Instants are UTC in microseconds.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "number", "flag", "instant", "date", "count"]

DUCKDB_TYPES: dict[Kind, str] = {
    "text": "VARCHAR",
    "number": "DOUBLE",
    "flag": "BOOLEAN",
    "instant": "TIMESTAMPTZ",
    "date": "DATE",
    "count": "INTEGER",
}


@dataclass(frozen=True)
class Column:
    """One column: what it holds, and what a null in it means where that is not plain."""

    name: str
    kind: Kind
    meaning: str
    is_required: bool = False


@dataclass(frozen=True)
class Table:
    """One canonical table. `staged_extra` are columns that a door adds for the history rules and that are not kept."""

    name: str
    key: str
    grain: str
    columns: tuple[Column, ...]
    staged_extra: tuple[Column, ...] = ()

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """The columns as they lie in the lake, in order."""
        return (*HEAD, *self.columns, *TAIL)


HEAD = (
    Column("source", "text", "the feed that brought the fact", is_required=True),
    Column("site_id", "text", "the hospital site the feed belongs to", is_required=True),
    Column("patient_id", "text", "the patient as the source knows them, source-scoped", is_required=True),
)

TAIL = (
    Column("effective_at", "instant", "when it was true of the patient (specimen collected, stay begun)"),
    Column("available_at", "instant", "when Rounds could have used it", is_required=True),
    Column("is_available_at_inferred", "flag", "available_at comes from a history rule", is_required=True),
    Column("is_retracted", "flag", "this version withdraws the fact", is_required=True),
    Column("extract_id", "text", "the extract that brought this version", is_required=True),
    Column("source_file", "text", "file within the extract", is_required=True),
    Column("source_line", "count", "line (HL7 v2: segment) within the file, from 1", is_required=True),
    Column("bucket", "count", "partition: hash of patient_id", is_required=True),
)

ISSUED_AT = Column(
    "issued_at", "instant", "when the source says that it made the fact known (issued, recorded, updated)"
)

PATIENT = Table(
    "patient",
    "patient_id",
    "one person as one source knows them",
    (
        Column("birth_date", "date", "date of birth"),
        Column("sex", "text", "administrative sex: female, male, other, unknown"),
        Column(
            "is_deceased",
            "flag",
            "the source says that the patient is dead, with or without a day; known from available_at on",
            is_required=True,
        ),
        Column(
            "deceased_at",
            "instant",
            "death where its day is known, a date alone as the end of that day; null while alive, or without a day",
        ),
    ),
    (ISSUED_AT,),
)

PATIENT_LINK = Table(
    "patient_link",
    "link_id",
    "one identifier that names one person, of the systems in the contract's person_systems; two patients who share "
    "(system, value) are one person",
    (
        Column("link_id", "text", "source-scoped: patient, system and value", is_required=True),
        Column("system", "text", "namespace of the identifier, a URI", is_required=True),
        Column("value", "text", "the identifier", is_required=True),
    ),
    (ISSUED_AT,),
)

ENCOUNTER = Table(
    "encounter",
    "encounter_id",
    "one contact with the hospital; admitted and discharged are two versions of it",
    (
        Column("encounter_id", "text", "source-scoped", is_required=True),
        Column("class", "text", "inpatient, emergency, observation, ambulatory or other", is_required=True),
        Column(
            "admission_type", "text", "emergency, urgent, elective, observation, newborn or other; null when not sent"
        ),
        Column(
            "admission_source", "text", "home, emergency_department, acute_hospital, skilled_nursing, clinic or other"
        ),
        Column("started_at", "instant", "admission", is_required=True),
        Column("ended_at", "instant", "discharge; null while the patient is in the house"),
        Column(
            "discharge_disposition",
            "text",
            "home, home_health, skilled_nursing, rehab, long_term_care, acute_hospital, psychiatric, hospice, "
            "against_advice, died or other; null while in the house",
        ),
        Column("service", "text", "clinical service, as the source names it"),
    ),
    (ISSUED_AT,),
)

ENCOUNTER_LOCATION = Table(
    "encounter_location",
    "location_id",
    "one stay of one encounter in one ward",
    (
        Column("location_id", "text", "source-scoped", is_required=True),
        Column("encounter_id", "text", "source-scoped"),
        Column("ward", "text", "the ward or care unit, as the source names it", is_required=True),
        Column("started_at", "instant", "moved in", is_required=True),
        Column("ended_at", "instant", "moved out; null while there"),
    ),
    (ISSUED_AT,),
)

CONDITION = Table(
    "condition",
    "condition_id",
    "one diagnosis or problem of a patient, by code",
    (
        Column("condition_id", "text", "source-scoped", is_required=True),
        Column("encounter_id", "text", "source-scoped; null for a problem without a stay"),
        Column("kind", "text", "problem, encounter or billing", is_required=True),
        Column("code_system", "text", "icd-9-cm, icd-10-cm or snomed", is_required=True),
        Column("code", "text", "without dots", is_required=True),
        Column("rank", "count", "1 is the principal diagnosis; null when not ranked"),
    ),
    (ISSUED_AT,),
)

PROCEDURE = Table(
    "procedure",
    "procedure_id",
    "one procedure done to a patient",
    (
        Column("procedure_id", "text", "source-scoped", is_required=True),
        Column("encounter_id", "text", "source-scoped"),
        Column("code_system", "text", "icd-9-pcs, icd-10-pcs, cpt or snomed", is_required=True),
        Column("code", "text", "without dots", is_required=True),
    ),
    (ISSUED_AT,),
)

OBSERVATION = Table(
    "observation",
    "observation_id",
    "one result: a laboratory value, a vital sign, an answer; a component is a row of its own",
    (
        Column("observation_id", "text", "source-scoped; a component adds #<code>", is_required=True),
        Column("encounter_id", "text", "source-scoped; null when the source does not say"),
        Column("category", "text", "laboratory, vital_signs, survey, social_history or other"),
        Column("code", "text", "LOINC, by the contract's codes.csv", is_required=True),
        Column("local_system", "text", "code system as sent"),
        Column("local_code", "text", "code as sent"),
        Column("value_number", "number", "in `unit`"),
        Column("unit", "text", "UCUM, the one unit that analytes.csv or codes.csv names for this code"),
        Column("comparator", "text", "<, <=, >=, > or null for ="),
        Column("value_text", "text", "an answer in words"),
        Column("value_code", "text", "a coded answer"),
        Column("status", "text", "preliminary, final, corrected or entered_in_error", is_required=True),
        Column("is_extreme", "flag", "outside the extreme limit of its analyte, kept", is_required=True),
        Column("order_number", "text", "order or accession number of the laboratory"),
    ),
    (ISSUED_AT,),
)

MEDICATION = Table(
    "medication",
    "medication_id",
    "one order of a medication",
    (
        Column("medication_id", "text", "source-scoped", is_required=True),
        Column("encounter_id", "text", "source-scoped"),
        Column("code_system", "text", "rxnorm, ndc or local"),
        Column("code", "text", "as sent; null when only a name was sent"),
        Column("name", "text", "as sent"),
        Column("status", "text", "active, completed, stopped, cancelled or unknown", is_required=True),
        Column("started_at", "instant", "start of the order"),
        Column("ended_at", "instant", "end of the order; null when open"),
    ),
    (ISSUED_AT,),
)

IMAGING_STUDY = Table(
    "imaging_study",
    "imaging_study_id",
    "one imaging study, metadata only",
    (
        Column("imaging_study_id", "text", "source-scoped", is_required=True),
        Column("encounter_id", "text", "source-scoped"),
        Column("modality", "text", "DICOM modality of the first series"),
        Column("body_site", "text", "as the source codes it"),
        Column("series_count", "count", "number of series"),
    ),
    (ISSUED_AT,),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        PATIENT,
        PATIENT_LINK,
        ENCOUNTER,
        ENCOUNTER_LOCATION,
        CONDITION,
        PROCEDURE,
        OBSERVATION,
        MEDICATION,
        IMAGING_STUDY,
    )
}

# Of two versions of one moment the later one of what was sent stands; where one record takes a fact from a patient and
# gives it to another, what it gives.
VERSION_ORDER = "available_at, extract_id, source_file, source_line, is_retracted desc"
NEWEST_FIRST = "available_at desc, extract_id desc, source_file desc, source_line desc, is_retracted"
# A row waits until the row it points to is known: patients first, then stays, then the rest.
LOAD_ORDER: tuple[str, ...] = tuple(TABLES)
