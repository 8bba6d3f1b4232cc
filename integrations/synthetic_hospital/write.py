"""Write what the hospital's EHR and LIS would send: the history, then night after night, and the truth beside it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from integrations.errors import Refused
from integrations.synthetic_hospital.calendar import Floats
from integrations.synthetic_hospital.extract import BulkExport
from integrations.synthetic_hospital.fhir_care import imaging_resources, medication_resources, procedure_resources
from integrations.synthetic_hospital.fhir_diagnoses import condition_resources
from integrations.synthetic_hospital.fhir_encounters import encounter_resources
from integrations.synthetic_hospital.fhir_patients import patient_resources
from integrations.synthetic_hospital.fhir_results import observation_lines
from integrations.synthetic_hospital.hospital import Bucket, Hospital, draw_bucket
from integrations.synthetic_hospital.lis_export import oru_messages
from integrations.synthetic_hospital.truth import Truth

Progress = Callable[[int, int], None]  # buckets done, buckets in all


@dataclass(frozen=True, kw_only=True)
class Night:
    """The extracts of one night."""

    taken_at: datetime  # when the extracts arrive: the as_of of their ingest
    round_at: datetime  # when the round scores
    ehr: Path
    lis: Path


@dataclass(frozen=True, kw_only=True)
class HospitalFiles:
    """Where everything lies."""

    folder: Path
    history: Path
    history_taken_at: datetime
    nights: tuple[Night, ...]
    truth: Path
    resource_count: int
    message_count: int


def write_hospital(hospital: Hospital, folder: Path, progress: Progress | None = None) -> HospitalFiles:
    """Write all extracts into an empty or new folder. Raises Refused when something lies there already."""
    if folder.exists() and any(folder.iterdir()):
        raise Refused("the folder is not empty", where=str(folder), to_do="choose a new folder, or empty this one")
    files = _layout(hospital, folder)
    exports = [BulkExport(path) for path in (files.history, *(night.ehr for night in files.nights))]
    for night in files.nights:
        night.lis.mkdir(parents=True)
    message_count = 0
    with Truth(files.truth) as truth:
        for number in range(hospital.bucket_count):
            bucket = draw_bucket(hospital, number)
            _write_ehr(bucket, exports, hospital.cuts)
            message_count += _write_lis(bucket, files.nights, hospital.cuts)
            truth.add(bucket.patients, bucket.stays, float(hospital.cuts[-1]))
            if progress:
                progress(number + 1, hospital.bucket_count)
    for export, taken_at in zip(exports, (hospital.history_end, *hospital.night_times), strict=True):
        export.finish(taken_at)
    return replace(files, resource_count=sum(export.resource_count for export in exports), message_count=message_count)


def _layout(hospital: Hospital, folder: Path) -> HospitalFiles:
    times = zip(hospital.night_times, hospital.round_times, strict=True)
    nights = tuple(
        Night(
            taken_at=taken_at,
            round_at=round_at,
            ehr=folder / "ehr" / f"night-{number:02d}",
            lis=folder / "lis" / f"night-{number:02d}",
        )
        for number, (taken_at, round_at) in enumerate(times, 1)
    )
    return HospitalFiles(
        folder=folder,
        history=folder / "ehr" / "history",
        history_taken_at=hospital.history_end,
        nights=nights,
        truth=folder / "truth.parquet",
        resource_count=0,
        message_count=0,
    )


def _write_ehr(bucket: Bucket, exports: list[BulkExport], cuts: Floats) -> None:
    patients, contacts, stays = bucket.patients, bucket.contacts, bucket.stays
    for export, since, until in zip(exports, [-np.inf, *cuts[:-1]], cuts, strict=True):
        export.add_resources("Patient", patient_resources(patients, contacts, since, until))
        export.add_resources("Encounter", encounter_resources(patients, contacts, since, until))
        export.add_resources("Condition", condition_resources(patients, contacts, stays, since, until))
        export.add_resources("Procedure", procedure_resources(patients, stays, since, until))
        export.add_resources("MedicationRequest", medication_resources(patients, stays, since, until))
        export.add_resources("ImagingStudy", imaging_resources(patients, stays, since, until))
        for lines in observation_lines(patients, bucket.results, since, until):
            export.add_observations(lines)


def _write_lis(bucket: Bucket, nights: tuple[Night, ...], cuts: Floats) -> int:
    written = 0
    for night, since, until in zip(nights, cuts[:-1], cuts[1:], strict=True):
        messages = list(oru_messages(bucket.patients, bucket.results, since, until))
        with (night.lis / "oru.hl7").open("a", encoding="utf-8", newline="") as file:
            file.writelines(messages)
        written += len(messages)
    return written
