"""A score as the EHR takes it: a FHIR R4 RiskAssessment, checked before it leaves the house."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

BANDS = ("low", "moderate", "high")
RISK_PROBABILITY = "http://terminology.hl7.org/CodeSystem/risk-probability"
MODEL_SYSTEM = "urn:rounds:model"
SNAPSHOT_SYSTEM = "urn:rounds:snapshot"
# "Artificial Intelligence asserted": a label on how far to trust the content, hence security and not tag.
AI_ASSERTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "AIAST"}

FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")

Resource = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RiskDescription:
    """What a use case says about its RiskAssessments: the outcome in words and code, its horizon, the bands."""

    outcome_text: str
    outcome_system: str
    outcome_code: str
    bands: tuple[tuple[float, str], ...]  # (from probability, band), ascending, the first from 0
    horizon: timedelta

    def band(self, probability: float) -> str:
        """Return the band of a probability: the last one that starts at or below it."""
        return [name for start, name in self.bands if start <= probability][-1]


@dataclass(frozen=True, kw_only=True)
class RiskScore:
    """One score on its way to the EHR. Ids are source-scoped; `explanation` is the features that moved it most."""

    score_id: str
    identifier: str
    use_case: str
    version: int
    patient_id: str
    encounter_id: str
    prediction_time: datetime
    probability: float
    band: str | None
    snapshot_id: int
    explanation: Sequence[Mapping[str, Any]] = ()
    reasons: Sequence[str] = field(default=())
    horizon_starts_at: datetime | None = None  # None: at prediction_time


def risk_assessment(score: RiskScore, description: RiskDescription, *, identifier_system: str) -> Resource:
    """Say a score in FHIR R4: whose, during which stay, of what, how likely, by which model, on what known when."""
    resource: Resource = {
        "resourceType": "RiskAssessment",
        "meta": {"security": [AI_ASSERTED]},
        "identifier": [{"system": identifier_system, "value": score.identifier}],
        "status": "final",
        "method": {"text": f"Rounds {score.use_case}, model version {score.version}"},
        "subject": {"reference": f"Patient/{_bare(score.patient_id)}"},
        "encounter": {"reference": f"Encounter/{_bare(score.encounter_id)}"},
        "occurrenceDateTime": _instant(score.prediction_time),
        "performer": _model(score),
        "basis": [_basis(score)],
        "prediction": [_prediction(score, description)],
    }
    if score.reasons:
        resource["note"] = [{"text": "Flagged: " + "; ".join(score.reasons) + "."}]
    return resource


def _prediction(score: RiskScore, description: RiskDescription) -> Resource:
    band = score.band or description.band(score.probability)
    coding = {"system": description.outcome_system, "code": description.outcome_code}
    prediction: Resource = {
        "outcome": {"coding": [coding], "text": description.outcome_text},
        "probabilityDecimal": round(score.probability, 6),
        "qualitativeRisk": {"coding": [{"system": RISK_PROBABILITY, "code": band}], "text": band},
        "whenPeriod": {
            "start": _instant(score.prediction_time),
            "end": _instant((score.horizon_starts_at or score.prediction_time) + description.horizon),
        },
    }
    if score.explanation:
        prediction["rationale"] = "Moved the estimate most: " + "; ".join(map(_moved, score.explanation)) + "."
    return prediction


def _moved(feature: Mapping[str, Any]) -> str:
    value = "not measured" if feature["value"] is None else f"{feature['value']:g}"
    direction = "raises" if feature["contribution"] > 0 else "lowers"
    return f"{feature['feature']} {value} ({direction} it)"


def _model(score: RiskScore) -> Resource:
    return {
        "type": "Device",
        "identifier": {"system": MODEL_SYSTEM, "value": f"{score.use_case}/{score.version}"},
        "display": f"Rounds {score.use_case}, version {score.version}",
    }


def _basis(score: RiskScore) -> Resource:
    return {
        "identifier": {"system": SNAPSHOT_SYSTEM, "value": str(score.snapshot_id)},
        "display": f"What was known at {_instant(score.prediction_time)}, snapshot {score.snapshot_id}",
    }


def _bare(scoped: str) -> str:
    return scoped.partition("/")[2]


def _instant(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat(timespec="microseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def faults(resource: Resource) -> list[str]:
    """Return what is wrong with a RiskAssessment, without a value of the patient; empty when it may be sent."""
    return _shape_faults(resource) or _sense_faults(resource)


def _shape_faults(resource: Resource) -> list[str]:
    """Return what breaks the FHIR R4 definition of the resource."""
    from fhir.resources.R4B.riskassessment import RiskAssessment
    from pydantic import ValidationError

    try:
        RiskAssessment.model_validate(resource)
    except ValidationError as error:
        return [f"{'.'.join(map(str, each['loc']))}: {each['type']}" for each in error.errors()]
    return []


def _sense_faults(resource: Resource) -> list[str]:
    """Return what the definition lets pass, and an EHR or a reader would not."""
    predictions = resource.get("prediction", [])
    security = [each.get("code") for each in resource.get("meta", {}).get("security", [])]
    checks = {
        "status is not final": resource.get("status") == "final",
        "subject is not one Patient by id": _points_to(resource.get("subject"), "Patient"),
        "encounter is not one Encounter by id": _points_to(resource.get("encounter"), "Encounter"),
        "identifier is not one pair of system and value": _is_named(resource.get("identifier", [])),
        "occurrence is missing": "occurrenceDateTime" in resource,
        "there is not exactly one prediction": len(predictions) == 1,
        "probability is not between 0 and 1": all(_is_probability(each) for each in predictions),
        "band is not low, moderate or high": all(_is_banded(each) for each in predictions),
        "it does not say that it was made by AI (AIAST)": "AIAST" in security,
    }
    return [fault for fault, is_right in checks.items() if not is_right]


def _points_to(reference: Resource | None, kind: str) -> bool:
    head, _, bare = (reference or {}).get("reference", "").partition("/")
    return head == kind and FHIR_ID.fullmatch(bare) is not None


def _is_named(identifiers: list[Resource]) -> bool:
    return len(identifiers) == 1 and bool(identifiers[0].get("system")) and bool(identifiers[0].get("value"))


def _is_probability(prediction: Resource) -> bool:
    value = prediction.get("probabilityDecimal")
    return isinstance(value, int | float) and 0 <= value <= 1  # false for not-a-number too


def _is_banded(prediction: Resource) -> bool:
    codings = prediction.get("qualitativeRisk", {}).get("coding", [])
    return [each.get("code") in BANDS for each in codings if each.get("system") == RISK_PROBABILITY] == [True]
