"""Blood samples at visits: what the kidneys do when nobody is ill."""

import numpy as np

from integrations.synthetic_hospital.frames import EVERYTHING, Contacts, Patients, Results
from integrations.synthetic_hospital.reporting import first_versions, usual_bun

SAMPLED_SHARE, RESULT_AFTER = 0.5, 55 / 1440


def sample_visits(rng: np.random.Generator, patients: Patients, visits: Contacts) -> Results:
    """One sample in every other visit, numbered from 0."""
    sampled = visits.take(rng.random(len(visits)) < SAMPLED_SHARE)
    rows = np.arange(len(sampled))
    at = sampled.start + 0.3 * (sampled.end - sampled.start)
    creatinine = patients.creatinine[sampled.patient] * np.exp(rng.normal(0, 0.05, len(rows)))
    values = {
        "creatinine": creatinine,
        "bun": usual_bun(creatinine) * np.exp(rng.normal(0, 0.2, len(rows))),
        "potassium": rng.normal(4.2, 0.35, len(rows)),
        "hemoglobin": 12.6 + 0.7 * patients.is_male[sampled.patient] + rng.normal(0, 1.2, len(rows)),
    }
    results = Results.join(
        [first_versions(sampled, rows, rows, at, key, value, RESULT_AFTER) for key, value in values.items()]
    )
    return results.put(EVERYTHING, number=np.arange(len(results)))
