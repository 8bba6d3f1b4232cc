"""What happens in the hospital: each frame is one kind of fact, each field of it one column, all of equal length."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from integrations.synthetic_hospital.calendar import Floats

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[Any] | slice  # an index, a mask, or everything
EVERYTHING = slice(None)

INPATIENT, EMERGENCY, OBSERVATION, AMBULATORY = range(4)
FINAL, AMENDED, ENTERED_IN_ERROR = range(3)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Rows that are taken, joined and counted together."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def take(self, rows: Rows) -> Self:
        """The rows of an index or a mask."""
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def put(self, rows: Rows, **values: Any) -> Self:
        """A copy in which some columns have other values in some rows."""
        columns = {name: getattr(self, name).copy() for name in values}
        for name, column in columns.items():
            column[rows] = values[name]
        return replace(self, **columns)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """All rows of the parts, in order."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class Patients(Frame):
    """One row per person of a bucket. Instants are days since the epoch; nan means never."""

    number: Integers  # across the whole hospital
    age: Floats  # years at the epoch
    is_male: Flags
    frailty: Floats  # standard normal, never written anywhere
    conditions: npt.NDArray[np.bool_]  # (patients, CONDITIONS)
    problem_list: npt.NDArray[np.bool_]  # those of them that someone wrote on the problem list
    creatinine: Floats  # mg/dL when well
    is_on_dialysis: Flags
    admissions_a_day: Floats
    died_at: Floats
    registered_at: Floats  # first contact
    merged_at: Floats  # when a second record of this person was found and merged


@dataclass(frozen=True, kw_only=True)
class Contacts(Frame):
    """One row per encounter of any class. Ward transfers: in wards[k] from moved_at[k] on."""

    number: Integers
    patient: Integers  # row of Patients
    kind: Integers  # INPATIENT, EMERGENCY, OBSERVATION, AMBULATORY
    priority: Integers
    source: Integers
    service: Integers
    disposition: Integers
    start: Floats
    end: Floats
    wards: npt.NDArray[np.int64]  # (contacts, 3), -1 where none
    moved_at: Floats  # (contacts, 3), nan where none
    is_under_second_record: Flags


@dataclass(frozen=True, kw_only=True)
class Stays(Contacts):
    """Inpatient stays, with what the body did and what came of it."""

    age: Floats
    severity: Floats
    prerenal: Floats  # log rise of creatinine at admission, which heals
    bun_level: Floats
    injury_risk: Floats  # probability of acute kidney injury in this stay, as known at admission
    injury_at: Floats  # nan when the kidneys stayed well
    injury_size: Floats  # log rise of creatinine at the peak
    injury_rise: Floats  # days from injury to peak
    injury_remains: Floats  # share of the rise that never heals
    last_drawn_at: Floats
    last_creatinine: Floats
    last_bun: Floats
    last_sodium: Floats
    last_hemoglobin: Floats
    readmission_risk: Floats  # probability of an unplanned admission 24 h to 30 days after a discharge
    is_readmitted: Flags
    is_same_episode: Flags  # came back within 24 h
    is_return: Flags  # this stay is such a readmission

    def contacts(self) -> Contacts:
        """The same rows without what the body did."""
        return Contacts(**{field.name: getattr(self, field.name) for field in fields(Contacts)})


@dataclass(frozen=True, kw_only=True)
class Results(Frame):
    """One row per version of a result, vital signs included; a corrected result has a second row of the same number."""

    number: Integers
    draw: Integers  # accession: one specimen, or one set of vital signs
    contact: Integers  # number of the encounter
    patient: Integers
    is_under_second_record: Flags
    item: Integers  # row of ITEMS
    value: Floats
    collected: Floats
    issued: Floats
    status: Integers  # FINAL, AMENDED, ENTERED_IN_ERROR
    unit: Integers  # 0 as ITEMS says, 1 umol/L
    code: Integers  # 0 as ITEMS says, 1 the code after an upgrade
