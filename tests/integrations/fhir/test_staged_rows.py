"""What becomes of each resource: one story per rule of views/*.json and staged/*.sql."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from integrations.fhir.sql_on_fhir import compile_view
from integrations.fhir.staging import own_view, stage
from integrations.tables import DUCKDB_TYPES, LOAD_ORDER, TABLES

Staged = Callable[..., list[dict[str, Any]]]
Resource = dict[str, Any]

HEAD = {
    "record_file": "VARCHAR",
    "record_line": "BIGINT",
    "problem": "VARCHAR",
    "problem_detail": "VARCHAR",
    "is_empty": "BOOLEAN",
    "out_of_scope_reason": "VARCHAR",
    "patient_id": "VARCHAR",
    "effective_at": "VARCHAR",
    "issued_at": "VARCHAR",
    "is_retracted": "BOOLEAN",
}


def coded(code: str, system: str = "", display: str | None = None) -> Resource:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def encounter(**parts: Any) -> Resource:
    return {
        "resourceType": "Encounter",
        "id": "e1",
        "meta": {"lastUpdated": "2024-03-04T00:00:00Z"},
        "status": "finished",
        "class": {"code": "IMP"},
        "subject": {"reference": "Patient/p1"},
        "period": {"start": "2024-03-01T08:00:00-06:00", "end": "2024-03-03T12:00:00-06:00"},
        **parts,
    }


def condition(**parts: Any) -> Resource:
    return {
        "resourceType": "Condition",
        "id": "c1",
        "subject": {"reference": "Patient/p1"},
        "code": coded("N17.9", "http://hl7.org/fhir/sid/icd-10-cm"),
        **parts,
    }


def observation(**parts: Any) -> Resource:
    return {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "subject": {"reference": "Patient/p1"},
        "code": coded("2160-0", "http://loinc.org"),
        "effectiveDateTime": "2024-03-01T09:00:00-06:00",
        **parts,
    }


@pytest.mark.parametrize("table", LOAD_ORDER)
def test_a_staged_relation_has_the_columns_of_its_table(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    left_out = {"code", "is_extreme"} if table == "observation" else set()
    kept = {column.name: column.kind for column in TABLES[table].columns if column.name not in left_out}
    types = {name: "VARCHAR" if kind in ("instant", "date") else DUCKDB_TYPES[kind] for name, kind in kept.items()}
    described = connection.execute(f"describe {stage(connection, table, [])}").fetchall()
    assert [(row[0], row[1]) for row in described] == list({**HEAD, **types}.items())


@pytest.mark.parametrize("table", LOAD_ORDER)
def test_no_view_of_ours_can_stop_on_more_values_than_expected(table: str) -> None:
    assert "error(" not in compile_view(own_view(table), is_checked=True).sql


def test_a_patient(staged: Staged) -> None:
    person = {"resourceType": "Patient", "id": "p1", "meta": {"lastUpdated": "2024-03-01"}, "birthDate": "1980-02"}
    rows = staged(
        "patient",
        {**person, "gender": "female", "deceasedDateTime": "2024-02-03T04:05:06-06:00"},
        {**person, "id": "p2", "deceasedBoolean": True},
        {**person, "id": "p3", "gender": "F"},
        {**person, "id": "p4", "deceasedDateTime": "2024-02"},
    )
    columns = ("patient_id", "birth_date", "sex", "is_deceased", "deceased_at", "problem_detail")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        ("p1", "1980-02", "female", True, "2024-02-03T04:05:06-06:00", None),
        ("p2", "1980-02", None, True, None, None),
        ("p3", "1980-02", None, False, None, "gender"),
        ("p4", "1980-02", None, True, None, None),
    ]
    assert {row["issued_at"] for row in rows} == {"2024-03-01"}


def test_each_identifier_with_a_namespace_is_a_link(staged: Staged) -> None:
    identifiers = [{"system": "urn:oid:1.2", "value": "MRN1"}, {"value": "bare"}, {"system": "urn:ssn", "value": "9"}]
    person = {"resourceType": "Patient", "id": "p1", "identifier": identifiers}
    rows = staged("patient_link", person, {"resourceType": "Patient", "id": "p2"})
    links = {(row["link_id"], row["out_of_scope_reason"]) for row in rows}
    assert links == {
        ("p1|urn:oid:1.2|MRN1", None),
        ("p1|urn:ssn|9", None),
        (None, "identifier_without_namespace"),
        (None, "no_identifier"),
    }


def test_a_finished_stay(staged: Staged) -> None:
    (row,) = staged(
        "encounter",
        encounter(
            priority=coded("UR"),
            serviceType={"text": "Cardiology"},
            hospitalization={"admitSource": coded("emd"), "dischargeDisposition": coded("snf")},
        ),
    )
    expected = {
        "encounter_id": "e1",
        "patient_id": "p1",
        "class": "inpatient",
        "admission_type": "urgent",
        "admission_source": "emergency_department",
        "started_at": "2024-03-01T08:00:00-06:00",
        "ended_at": "2024-03-03T12:00:00-06:00",
        "discharge_disposition": "skilled_nursing",
        "service": "Cardiology",
        "effective_at": "2024-03-01T08:00:00-06:00",
        "issued_at": "2024-03-04T00:00:00Z",
        "is_retracted": False,
        "problem": None,
    }
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("home", "home"),
        ("hosp", "hospice"),
        ("exp", "died"),
        ("aadvice", "against_advice"),
        ("02", "acute_hospital"),
        ("07", "against_advice"),
        ("20", "died"),
        ("06", "home_health"),
        ("other-hcf", "other"),
    ],
)
def test_a_discharge_disposition_becomes_our_word(staged: Staged, code: str, word: str) -> None:
    (row,) = staged("encounter", encounter(hospitalization={"dischargeDisposition": coded(code)}))
    assert row["discharge_disposition"] == word


@pytest.mark.parametrize(
    ("parts", "detail"),
    [
        ({"class": {"code": "WARD"}}, "class"),
        ({"status": "over"}, "status"),
        ({"priority": coded("soon")}, "priority"),
        ({"hospitalization": {"admitSource": coded("street")}}, "hospitalization.admitSource"),
        ({"hospitalization": {"dischargeDisposition": coded("99")}}, "hospitalization.dischargeDisposition"),
    ],
)
def test_a_code_that_is_not_known_is_not_guessed(staged: Staged, parts: Resource, detail: str) -> None:
    bad, good = staged("encounter", encounter(**parts), encounter(id="e2"))
    assert (bad["problem"], bad["problem_detail"], bad["encounter_id"]) == ("bad_value", detail, "e1")
    assert good["problem"] is None


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"status": "planned"}, "planned"),
        ({"class": {"code": "PRENC"}}, "planned"),
        ({"status": "cancelled"}, "cancelled"),
    ],
)
def test_a_stay_that_did_not_begin_is_out_of_scope(staged: Staged, parts: Resource, reason: str) -> None:
    (row,) = staged("encounter", encounter(**parts))
    assert (row["is_empty"], row["out_of_scope_reason"], row["encounter_id"]) == (True, reason, None)


def test_a_stay_in_progress_has_not_ended_whatever_end_was_planned(staged: Staged) -> None:
    (row,) = staged("encounter", encounter(status="in-progress"))
    assert (row["started_at"], row["ended_at"]) == ("2024-03-01T08:00:00-06:00", None)


def test_the_urgency_of_an_emergency_visit_follows_from_its_class_or_type(staged: Staged) -> None:
    rows = staged(
        "encounter",
        encounter(**{"class": {"code": "EMER"}}),
        encounter(id="e2", type=[coded("183452005", "http://snomed.info/sct")]),
        encounter(id="e3", type=[coded("1", "urn:local")]),
        encounter(id="e4", **{"class": {"code": "OBSENC"}}),
    )
    assert [row["admission_type"] for row in rows] == ["emergency", "emergency", None, "observation"]


def test_each_ward_of_a_stay_is_a_row(staged: Staged) -> None:
    wards = [
        {"location": {"display": "ICU", "reference": "Location/icu"}},
        {"location": {"reference": "Location/w3"}, "period": {"start": "2024-03-02T08:00:00-06:00"}},
        {"location": {"display": "Next"}, "status": "planned"},
    ]
    rows = staged("encounter_location", encounter(location=wards), encounter(id="e2"))
    found = [(row["location_id"], row["ward"], row["started_at"], row["out_of_scope_reason"]) for row in rows]
    assert sorted(found, key=str) == [
        ("e1#1", "ICU", "2024-03-01T08:00:00-06:00", None),
        ("e1#2", "w3", "2024-03-02T08:00:00-06:00", None),
        (None, "Next", None, "planned"),
        (None, None, None, "no_location"),
    ]


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ({"category": [coded("problem-list-item")]}, "problem"),
        ({"category": [coded("encounter-diagnosis")]}, "encounter"),
        ({"category": [coded("billing-diagnosis")]}, "billing"),
        ({"encounter": {"reference": "Encounter/e1"}}, "encounter"),
        ({}, "problem"),
    ],
)
def test_the_kind_of_a_condition(staged: Staged, parts: Resource, kind: str) -> None:
    (row,) = staged("condition", condition(**parts))
    assert (row["kind"], row["code_system"], row["code"], row["problem"]) == (kind, "icd-10-cm", "N179", None)


def test_a_condition_is_coded_in_the_system_that_charlson_reads_first(staged: Staged) -> None:
    both = {
        "coding": [
            {"system": "http://snomed.info/sct", "code": "14669001"},
            {"system": "http://hl7.org/fhir/sid/icd-9-cm", "code": "584.9"},
        ]
    }
    rows = staged(
        "condition",
        condition(code=both),
        condition(id="c2", code=coded("x", "urn:local")),
        condition(id="c3", code={"text": "x"}),
    )
    assert [(row["code_system"], row["code"], row["problem_detail"]) for row in rows] == [
        ("icd-9-cm", "5849", None),
        (None, None, "code.coding.system"),
        (None, None, None),
    ]


@pytest.mark.parametrize(
    ("status", "is_retracted"), [("entered-in-error", True), ("refuted", True), ("confirmed", False)]
)
def test_a_condition_entered_in_error_or_refuted_is_withdrawn(staged: Staged, status: str, is_retracted: bool) -> None:
    (row,) = staged("condition", condition(verificationStatus=coded(status), recordedDate="2024-03-01"))
    assert (row["is_retracted"], row["issued_at"], row["effective_at"]) == (is_retracted, "2024-03-01", "2024-03-01")


def test_a_procedure(staged: Staged) -> None:
    done = {
        "resourceType": "Procedure",
        "id": "r1",
        "status": "completed",
        "subject": {"reference": "Patient/p1"},
        "code": coded("5A1D70Z", "http://www.cms.gov/Medicare/Coding/ICD10"),
        "performedPeriod": {"start": "2024-03-01T10:00:00Z"},
    }
    rows = staged(
        "procedure",
        done,
        {**done, "id": "r2", "status": "not-done"},
        {**done, "id": "r3", "status": "over"},
        {**done, "id": "r4", "status": "entered-in-error", "code": coded("x", "urn:local")},
    )
    found = [(row["code_system"], row["code"], row["out_of_scope_reason"], row["problem_detail"]) for row in rows]
    assert found == [
        ("icd-10-pcs", "5A1D70Z", None, None),
        ("icd-10-pcs", "5A1D70Z", "not_done", None),
        ("icd-10-pcs", "5A1D70Z", None, "status"),
        (None, None, None, "code.coding.system"),
    ]
    assert (rows[0]["effective_at"], rows[3]["is_retracted"]) == ("2024-03-01T10:00:00Z", True)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"valueQuantity": {"value": 1.5, "unit": "mg", "code": "mg/dL"}}, (1.5, "mg/dL", None, None, None)),
        ({"valueQuantity": {"value": 0.1, "unit": "mg/dL", "comparator": "<"}}, (0.1, "mg/dL", "<", None, None)),
        ({"valueInteger": 7}, (7.0, None, None, None, None)),
        ({"valueString": "cloudy"}, (None, None, None, "cloudy", None)),
        ({"valueBoolean": False}, (None, None, None, "false", None)),
        ({"valueDateTime": "2024-03"}, (None, None, None, "2024-03", None)),
        (
            {"valueCodeableConcept": coded("10828004", "http://snomed.info/sct", "Positive")},
            (None, None, None, "Positive", "10828004"),
        ),
        ({"valueCodeableConcept": {"text": "Yes"}}, (None, None, None, "Yes", None)),
    ],
)
def test_an_observation_keeps_its_value(staged: Staged, value: Resource, found: tuple[Any, ...]) -> None:
    (row,) = staged("observation", observation(**value))
    assert tuple(row[name] for name in ("value_number", "unit", "comparator", "value_text", "value_code")) == found
    assert (row["problem"], row["is_empty"], row["observation_id"]) == (None, False, "o1")


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({}, "no_value"),
        ({"valueRatio": {"numerator": {"value": 1}}}, "value_type"),
        ({"status": "cancelled", "valueString": "x"}, "cancelled"),
    ],
)
def test_an_observation_without_a_value_of_ours_is_out_of_scope(staged: Staged, parts: Resource, reason: str) -> None:
    (row,) = staged("observation", observation(**parts))
    assert (row["is_empty"], row["out_of_scope_reason"], row["observation_id"], row["problem"]) == (
        True,
        reason,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("status", "word", "is_retracted"),
    [
        ("registered", "preliminary", False),
        ("preliminary", "preliminary", False),
        ("final", "final", False),
        ("amended", "corrected", False),
        ("corrected", "corrected", False),
        ("entered-in-error", "entered_in_error", True),
    ],
)
def test_the_status_of_an_observation(staged: Staged, status: str, word: str, is_retracted: bool) -> None:
    (row,) = staged("observation", observation(status=status, valueString="x"))
    assert (row["status"], row["is_retracted"]) == (word, is_retracted)


def test_a_retraction_needs_no_value(staged: Staged) -> None:
    (row,) = staged("observation", observation(status="entered-in-error"))
    assert (row["observation_id"], row["is_retracted"], row["is_empty"]) == ("o1", True, False)


def test_each_component_is_a_row_and_a_panel_without_value_is_none(staged: Staged) -> None:
    parts = [
        {"code": coded("8480-6", "http://loinc.org"), "valueQuantity": {"value": 120, "code": "mm[Hg]"}},
        {"code": coded("8462-4", "http://loinc.org"), "valueQuantity": {"value": 80, "code": "mm[Hg]"}},
    ]
    rows = staged("observation", observation(component=parts), observation(id="o2", component=parts, valueString="x"))
    assert [(row["record_line"], row["observation_id"], row["value_number"]) for row in rows] == [
        (1, "o1#8462-4", 80.0),
        (1, "o1#8480-6", 120.0),
        (2, "o2", None),
        (2, "o2#8462-4", 80.0),
        (2, "o2#8480-6", 120.0),
    ]


def test_of_several_codings_the_one_of_loinc_counts_and_rows_do_not_fan_out(staged: Staged) -> None:
    codings = [{"system": "urn:lab", "code": "CREA"}, {"system": "http://loinc.org", "code": "2160-0"}]
    rows = staged(
        "observation",
        observation(code={"coding": codings}, valueInteger=1),
        observation(code={"coding": codings[:1]}, valueInteger=1),
    )
    assert [(row["local_system"], row["local_code"]) for row in rows] == [
        ("http://loinc.org", "2160-0"),
        ("urn:lab", "CREA"),
    ]


def test_the_time_an_observation_became_known(staged: Staged) -> None:
    rows = staged(
        "observation",
        observation(valueInteger=1, issued="2024-03-01T11:00:00Z", meta={"lastUpdated": "2024-03-05T00:00:00Z"}),
        observation(valueInteger=1, meta={"lastUpdated": "2024-03-05T00:00:00Z"}),
        observation(valueInteger=1, effectiveDateTime=None, effectivePeriod={"start": "2024-03-02"}),
    )
    assert [(row["issued_at"], row["effective_at"]) for row in rows] == [
        ("2024-03-01T11:00:00Z", "2024-03-01T09:00:00-06:00"),
        ("2024-03-05T00:00:00Z", "2024-03-01T09:00:00-06:00"),
        (None, "2024-03-02"),
    ]


def test_category_and_order_of_an_observation(staged: Staged) -> None:
    ordered = [{"reference": "ServiceRequest/s1"}]
    rows = staged(
        "observation",
        observation(valueInteger=1, category=[coded("vital-signs")], basedOn=ordered),
        observation(valueInteger=1, category=[coded("exam")]),
    )
    assert [(row["category"], row["order_number"]) for row in rows] == [("vital_signs", "s1"), ("other", None)]


def test_an_order_of_a_medication(staged: Staged) -> None:
    order = {
        "resourceType": "MedicationRequest",
        "id": "m1",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p1"},
        "authoredOn": "2024-03-01",
        "medicationCodeableConcept": {
            **coded("313782", "http://www.nlm.nih.gov/research/umls/rxnorm"),
            "text": "Acetaminophen",
        },
    }
    named = {**order, "id": "m2", "medicationCodeableConcept": None, "medicationReference": {"display": "Heparin"}}
    rows = staged(
        "medication",
        {**order, "dispenseRequest": {"validityPeriod": {"start": "2024-03-02", "end": "2024-03-09"}}},
        named,
        {**order, "id": "m3", "intent": "plan"},
        {**order, "id": "m4", "status": "lost"},
    )
    found = [(row["code_system"], row["name"], row["started_at"], row["ended_at"], row["status"]) for row in rows[:2]]
    assert found == [
        ("rxnorm", "Acetaminophen", "2024-03-02", "2024-03-09", "active"),
        (None, "Heparin", "2024-03-01", None, "active"),
    ]
    assert [(row["out_of_scope_reason"], row["problem_detail"]) for row in rows[2:]] == [
        ("planned", None),
        (None, "status"),
    ]


def test_an_imaging_study(staged: Staged) -> None:
    study = {
        "resourceType": "ImagingStudy",
        "id": "i1",
        "status": "available",
        "subject": {"reference": "Patient/p1"},
        "started": "2024-03-01",
        "series": [{"modality": {"code": "CT"}, "bodySite": {"code": "51185008"}}, {"modality": {"code": "SR"}}],
    }
    rows = staged(
        "imaging_study",
        study,
        {**study, "id": "i2", "numberOfSeries": 5},
        {**study, "id": "i3", "status": "registered"},
    )
    found = [(row["modality"], row["body_site"], row["series_count"], row["out_of_scope_reason"]) for row in rows]
    assert found == [("CT", "51185008", 2, None), ("CT", "51185008", 5, None), ("CT", "51185008", 2, "pending")]


@pytest.mark.parametrize(
    ("table", "file", "records", "rows"),
    [
        ("patient", "Patient", 100, 100),
        ("patient_link", "Patient", 100, 465),
        ("encounter", "Encounter", 3697, 3697),
        ("condition", "Condition", 639, 639),
        ("procedure", "Procedure", 2351, 2351),
        ("observation", "Observation", 16315, 17300),
        ("medication", "MedicationRequest", 2386, 2386),
        ("imaging_study", "ImagingStudy", 16, 16),
    ],
)
def test_a_foreign_system_is_read_whole(
    connection: duckdb.DuckDBPyConnection,
    needs_shared: Callable[[str], Path],
    table: str,
    file: str,
    records: int,
    rows: int,
) -> None:
    name = stage(connection, table, [needs_shared("data/synthea_bulk") / f"{file}.ndjson"])
    found = connection.execute(
        f"select count(distinct record_line), count(*), count(problem), count(*) filter (is_empty),"
        f" count(*) filter (patient_id is null), count(distinct {TABLES[table].key}) from {name}"
    ).fetchall()
    assert found == [(records, rows, 0, 0, 0, rows)]
