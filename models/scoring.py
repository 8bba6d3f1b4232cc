"""From due rows with features to scores: who gets a probability, who is held or excluded, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from integrations.errors import NotInOrder
from models.calibration import Floats
from models.matrix import as_matrix
from models.rows import row_keys
from models.use_case import UseCase

KEYS = ("site_id", "patient_id", "encounter_id", "prediction_time", "horizon_starts_at")
Mask = npt.NDArray[np.bool_]


class Scorer(Protocol):
    """Whatever gives a risk for each row of a frame: a registered version here, or a model server."""

    @property
    def version(self) -> int:
        """The registered version that answers."""

    @property
    def manifest_hash(self) -> str:
        """What people approved, and every score carries."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns it takes."""

    def predict(self, frame: pa.Table) -> Floats:
        """Return one probability per row."""


@dataclass(frozen=True, kw_only=True)
class ScoredRows:
    """One entry per due row, in the frame's order. Held and excluded rows have reasons and no probability (NaN).

    A reason is `<feature view>: <word of quarantine or watch>`, `<feature view>: <feature> not measured`, or the
    cohort's own; a scored row with reasons is flagged.
    """

    keys: pa.Table  # site_id, patient_id, encounter_id, prediction_time, horizon_starts_at (null: at prediction_time)
    probability: Floats
    band: list[str | None]
    is_at_or_above_threshold: Mask
    is_held: Mask
    is_excluded: Mask
    reasons: Mapping[int, tuple[str, ...]]  # by row; most rows have none
    use_case: str
    version: int
    manifest_hash: str

    @property
    def is_scored(self) -> Mask:
        """Which rows have a probability."""
        scored: Mask = ~(self.is_held | self.is_excluded)
        return scored


def score_rows(scorer: Scorer, frame: pa.Table, use_case: UseCase, holds: pa.Table) -> ScoredRows:
    """Score every row that is neither held nor excluded. `holds`: as features/held.py gives them.

    A row is held when a required feature is, or when a held feature has no value: the model would take that for "not
    measured". Any other held feature flags the row. A row is excluded when a required feature was not measured and is
    not held, or, where none is required, when nothing was: whatever the model said would not be of this patient.
    Descriptors measure nothing.
    Raises NotInOrder or Refused on columns that are missing, are no numbers or hold infinite values, and when the
    scorer does not answer with one risk per row.
    """
    reasons, is_held = _apply(holds, frame, use_case)
    unmeasured = {row: why for row, why in _unmeasured(frame, use_case).items() if not is_held[row]}
    is_excluded = np.isin(np.arange(frame.num_rows), list(unmeasured))
    is_asked = ~(is_held | is_excluded)
    asked = frame if is_asked.all() else frame.filter(pa.array(is_asked))
    probability = np.full(frame.num_rows, np.nan)
    if asked.num_rows:
        probability[is_asked] = _checked(scorer.predict(asked), asked.num_rows, use_case.name)
    return _rows(scorer, frame, use_case, probability, is_held, is_excluded, reasons | unmeasured)


def excluded_rows(scorer: Scorer, rows: pa.Table, use_case: UseCase) -> ScoredRows:
    """Return cohort rows for whom no prediction is made, each with its excluded_reason. They need no features."""
    no, yes = np.zeros(rows.num_rows, dtype=bool), np.ones(rows.num_rows, dtype=bool)
    reasons = {row: (reason,) for row, reason in enumerate(rows["excluded_reason"].to_pylist())}
    return _rows(scorer, rows, use_case, np.full(rows.num_rows, np.nan), no, yes, reasons)


def _rows(
    scorer: Scorer,
    frame: pa.Table,
    use_case: UseCase,
    probability: Floats,
    is_held: Mask,
    is_excluded: Mask,
    reasons: Mapping[int, tuple[str, ...]],
) -> ScoredRows:
    return ScoredRows(
        keys=frame.select(KEYS),
        probability=probability,
        band=_bands(probability, use_case),
        is_at_or_above_threshold=probability >= use_case.write_back.threshold,
        is_held=is_held,
        is_excluded=is_excluded,
        reasons=reasons,
        use_case=use_case.name,
        version=scorer.version,
        manifest_hash=scorer.manifest_hash,
    )


def rows_to_explain(rows: ScoredRows, *, is_written_back: bool) -> list[int]:
    """Return the rows whose score people will see with its causes: all that go to the EHR, else those to act upon."""
    wanted = rows.is_scored if is_written_back else rows.is_at_or_above_threshold
    found: list[int] = np.flatnonzero(wanted).tolist()
    return found


def is_held_of(holds: pa.Table, frame: pa.Table, use_case: UseCase) -> Mask:
    """Say which rows of a frame are held, by a round and so by a training."""
    return _apply(holds, frame, use_case)[1]


def _apply(holds: pa.Table, frame: pa.Table, use_case: UseCase) -> tuple[dict[int, tuple[str, ...]], Mask]:
    """Return the reasons by row and which rows are held."""
    is_held = np.zeros(frame.num_rows, dtype=bool)
    row_of_key = {key: row for row, key in enumerate(row_keys(frame))} if holds.num_rows else {}
    reasons: dict[int, set[str]] = {}
    held_of_row: dict[int, set[str]] = {}
    columns = (holds.column(name).to_pylist() for name in ("view", "features", "reason"))
    for key, view, names, word in zip(row_keys(holds), *columns, strict=True):
        row = row_of_key.get(key)
        held = {f"{view}:{name}" for name in names}.intersection(use_case.features)
        if row is not None and held:
            reasons.setdefault(row, set()).add(f"{view}: {word}")
            held_of_row.setdefault(row, set()).update(held)
    for row, held in held_of_row.items():
        is_held[row] = _holds_the_score(held, frame, row, use_case)
    return {row: tuple(sorted(reasons[row])) for row in reasons}, is_held


def _unmeasured(frame: pa.Table, use_case: UseCase) -> dict[int, tuple[str, ...]]:
    """Return by row which required features have no value; or, where none is required, that nothing measured has."""
    found: dict[int, tuple[str, ...]] = {}
    if not use_case.required:
        nothing = np.isnan(as_matrix(frame, list(use_case.measured))).all(axis=1)
        return {row: ("nothing measured",) for row in np.flatnonzero(nothing).tolist()}
    for reference in use_case.required:
        view, _, name = reference.partition(":")
        for row in np.flatnonzero(np.isnan(as_matrix(frame, [name])[:, 0])).tolist():
            found[row] = (*found.get(row, ()), f"{view}: {name} not measured")
    return found


def _holds_the_score(held: set[str], frame: pa.Table, row: int, use_case: UseCase) -> bool:
    if held & set(use_case.required):
        return True
    values = (frame.column(feature.split(":")[1])[row].as_py() for feature in held)
    return any(value is None or value != value for value in values)


def _checked(risk: Floats, row_count: int, name: str) -> Floats:
    if len(risk) != row_count or not ((risk >= 0) & (risk <= 1)).all():
        raise NotInOrder(
            f"{name}: the model answered {len(risk)} rows with {row_count} asked, or not with probabilities",
            to_do="rounds rollback to a version that does",
        )
    return risk


def _bands(probability: Floats, use_case: UseCase) -> list[str | None]:
    limits = [limit for limit, _ in use_case.write_back.bands]
    names = np.array([name for _, name in use_case.write_back.bands] + [None], dtype=object)
    position = np.searchsorted(limits, probability, side="right") - 1
    position[np.isnan(probability)] = len(limits)
    bands: list[str | None] = names[position].tolist()
    return bands
