"""The files of a registered version: hashed when they are written, and again before anything in them is believed.

The manifest (path -> sha256) lies in records, not beside the files, so who can write files cannot vouch for them.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from integrations.errors import NotInOrder
from models.calibration import Floats
from models.gate import Evaluation
from models.matrix import as_matrix

# What a model file may contain beyond scikit-learn's public classes; a file that names anything else is not loaded.
TRUSTED_TYPES = (
    "models.choice.ChosenByCrossValidation",
    "models.estimators.CalibratedGradientBoosting",
    "models.linear.CalibratedLinear",
    "models.linear.KinkedLines",
    "models.linear.RankedLines",
    "models.mean.CalibratedMean",
    "models.mean.MeanMargin",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)

MODEL, FEATURES = "model/model.skops", "features.json"
EVALUATION, REPORT, REFERENCE, HELD_OUT = "evaluation.json", "report.html", "reference.json", "held_out.parquet"


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """A version whose files are as they were when it was registered. It fits the Scorer protocol."""

    use_case: str
    version: int
    manifest_hash: str
    feature_names: tuple[str, ...]
    estimator: Any = field(repr=False)

    def predict(self, frame: pa.Table) -> Floats:
        """Return one probability per row of the frame; columns are found by name."""
        risk: Floats = self.estimator.predict_proba(as_matrix(frame, self.feature_names))[:, 1]
        return risk


def write_files(
    folder: Path, feature_names: Sequence[str], evaluation: Evaluation, reference: Mapping[str, Any], report: bytes
) -> None:
    """Write what is kept beside the model: its columns, how it was judged, and what monitoring compares with."""
    (folder / FEATURES).write_text(json.dumps(feature_names), encoding="utf-8")
    (folder / EVALUATION).write_text(json.dumps(evaluation.to_json(), indent=1), encoding="utf-8")
    (folder / REFERENCE).write_text(json.dumps(reference), encoding="utf-8")
    (folder / REPORT).write_bytes(report)
    pq.write_table(evaluation.held_out, folder / HELD_OUT)


def manifest_of(folder: Path, within: Path) -> dict[str, str]:
    """Return the sha256 of every file under `within`, by its path relative to `folder`; each file is flushed first."""
    manifest = {}
    for path in sorted(path for path in within.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            manifest[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
    return manifest


def hash_of(manifest: Mapping[str, str]) -> str:
    """Return the sha256 of the manifest itself: what people sign and what every score carries."""
    return hashlib.sha256(json.dumps(dict(manifest), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def verified_files(folder: Path, manifest: Mapping[str, str], manifest_hash: str, *, version: str) -> dict[str, bytes]:
    """Return the bytes of every file of the manifest, by its path within the version, once all of them are as recorded.

    Raises NotInOrder naming the version and the file that was changed, is missing or was added.
    """
    if hash_of(manifest) != manifest_hash:
        raise _touched(version, "the manifest in records", "does not have the hash it was recorded with")
    root = os.path.commonpath([os.path.dirname(path) for path in manifest])
    files = {}
    for path, expected in manifest.items():
        if not (folder / path).is_file():
            raise _touched(version, path, "is missing")
        content = (folder / path).read_bytes()
        if hashlib.sha256(content).hexdigest() != expected:
            raise _touched(version, path, "was changed after the version was registered")
        files[os.path.relpath(path, root)] = content
    for found in (folder / root).rglob("*"):
        if found.is_file() and found.relative_to(folder).as_posix() not in manifest:
            raise _touched(version, found.relative_to(folder).as_posix(), "was added after the version was registered")
    return files


def loaded(files: Mapping[str, bytes], *, use_case: str, version: int, manifest_hash: str) -> RegisteredModel:
    """Build the model from bytes that have been verified; only the types of our own list may be in it."""
    import skops.io

    refuse_foreign_types(files[MODEL], f"{use_case} version {version}")
    return RegisteredModel(
        use_case=use_case,
        version=version,
        manifest_hash=manifest_hash,
        feature_names=tuple(json.loads(files[FEATURES])),
        estimator=skops.io.loads(files[MODEL], trusted=list(TRUSTED_TYPES)),
    )


def refuse_foreign_types(model: bytes, name: str) -> None:
    """Raise NotInOrder when a model file holds a type that our list in code does not name, whatever the file says."""
    import skops.io

    foreign = set(skops.io.get_untrusted_types(data=model)) - set(TRUSTED_TYPES)
    if foreign:
        raise NotInOrder(
            f"{name} holds types that are not on the list: {', '.join(sorted(foreign))}",
            where="models/artifacts.py",
            to_do="name the type there after a review, or train a version without it",
        )


def _touched(version: str, path: str, what: str) -> NotInOrder:
    return NotInOrder(
        f"{version}: {path} {what}; nothing of it was loaded",
        where=path,
        to_do="restore the file from a backup, or roll back to another version",
    )
