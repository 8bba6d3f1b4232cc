"""Where in the house a patient lies: up to three wards in a stay, intensive care for the sickest."""

import numpy as np
import numpy.typing as npt

from integrations.synthetic_hospital.calendar import Floats
from integrations.synthetic_hospital.catalogue import INTENSIVE_CARE, SERVICES
from integrations.synthetic_hospital.frames import Integers

NOWHERE = -1


def draw_wards(
    rng: np.random.Generator, service: Integers, severity: Floats, start: Floats, end: Floats
) -> tuple[npt.NDArray[np.int64], Floats]:
    """The wards of each stay in order (NOWHERE where there is no further one), and when the patient moved into each."""
    count = len(service)
    home_ward = np.array([each.ward for each in SERVICES])[service]
    goes_to_icu = rng.random(count) < np.where(severity > 1.2, 0.6, 0.05)
    starts_in_icu = goes_to_icu & (rng.random(count) < 0.5)
    into_icu = np.where(starts_in_icu, 0.0, rng.uniform(0.1, 0.3, count))
    out_of_icu = into_icu + rng.uniform(0.2, 0.4, count)
    wards = np.full((count, 3), NOWHERE)
    share = np.full((count, 3), np.nan)  # of the stay that has passed at the move
    wards[:, 0], share[:, 0] = np.where(starts_in_icu, INTENSIVE_CARE, home_ward), 0.0
    wards[goes_to_icu, 1] = np.where(starts_in_icu, home_ward, INTENSIVE_CARE)[goes_to_icu]
    share[goes_to_icu, 1] = np.where(starts_in_icu, out_of_icu, into_icu)[goes_to_icu]
    comes_back = goes_to_icu & ~starts_in_icu
    wards[comes_back, 2], share[comes_back, 2] = home_ward[comes_back], out_of_icu[comes_back]
    return wards, start[:, None] + share * (end - start)[:, None]


def one_ward(ward: npt.NDArray[np.int64], start: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Visits know one place only."""
    wards, moved_at = np.full((len(ward), 3), NOWHERE), np.full((len(ward), 3), np.nan)
    wards[:, 0], moved_at[:, 0] = ward, start
    return wards, moved_at
