"""What only a synthetic hospital knows: the true risk of every discharge, and what became of it. No feed has this."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from integrations.synthetic_hospital.calendar import Floats, instants, is_adult
from integrations.synthetic_hospital.catalogue import NOT_ELIGIBLE
from integrations.synthetic_hospital.fhir import encounter_id, patient_id
from integrations.synthetic_hospital.frames import Patients, Stays


class Truth:
    """truth.parquet, one row per inpatient stay that ended before the last extract, appended bucket by bucket.

    encounter_id and patient_id as the EHR writes them; discharged_at in UTC; is_eligible by the rules of
    readmission_30d; readmission_probability is Bayes-optimal for is_readmitted among eligible rows that are not
    is_same_episode; aki_probability is that of an injury at any time of the stay, as known at admission.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self._schema = pa.schema(
            {
                "encounter_id": pa.string(),
                "patient_id": pa.string(),
                "discharged_at": pa.timestamp("us", tz="UTC"),
                "is_eligible": pa.bool_(),
                "readmission_probability": pa.float64(),
                "is_readmitted": pa.bool_(),
                "is_same_episode": pa.bool_(),
                "aki_probability": pa.float64(),
                "is_kidney_injured": pa.bool_(),
                "kidney_injury_at": pa.timestamp("us", tz="UTC"),
            }
        )
        self._writer: Any = parquet.ParquetWriter(path, self._schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def add(self, patients: Patients, stays: Stays, until: float) -> None:
        """Add the stays of one bucket that ended by `until` (days)."""
        import pyarrow as pa

        ended = stays.take(stays.end <= until)
        people = zip(patients.number[ended.patient].tolist(), ended.is_under_second_record.tolist(), strict=True)
        is_injured = ~np.isnan(ended.injury_at)
        columns = {
            "encounter_id": [encounter_id(number) for number in ended.number.tolist()],
            "patient_id": [patient_id(number, is_second) for number, is_second in people],
            "discharged_at": _microseconds(ended.end),
            "is_eligible": ~np.isin(ended.disposition, NOT_ELIGIBLE) & is_adult(patients.age[ended.patient], ended.end),
            "readmission_probability": ended.readmission_risk,
            "is_readmitted": ended.is_readmitted,
            "is_same_episode": ended.is_same_episode,
            "aki_probability": ended.injury_risk,
            "is_kidney_injured": is_injured,
            "kidney_injury_at": pa.array(_microseconds(np.nan_to_num(ended.injury_at)), mask=~is_injured),
        }
        arrays = [pa.array(columns[field.name]).cast(field.type) for field in self._schema]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))


def _microseconds(days: Floats) -> "np.ndarray[Any, np.dtype[np.datetime64]]":
    return instants(days).astype("datetime64[us]")
