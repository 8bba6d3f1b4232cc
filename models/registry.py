"""The registry of trained versions: MLflow for people to browse, records for what may be believed.

MLflow keeps run, parameters, metrics, files and the aliases champion and challenger; version numbers are its own.
Records keep the manifest of the files, the gate and the reasons. Loading asks records only, so scoring never imports
MLflow, and an alias moved by hand moves nothing.
"""

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import RowMapping, func, insert, select

from integrations.errors import NotInOrder
from integrations.records import Records
from integrations.records import schema as s
from models.artifacts import (
    HELD_OUT,
    MODEL,
    REFERENCE,
    REPORT,
    TRUSTED_TYPES,
    RegisteredModel,
    hash_of,
    loaded,
    manifest_of,
    refuse_foreign_types,
    verified_files,
    write_files,
)
from models.evaluation import Champion
from models.evaluation_report import evaluation_report
from models.gate import Evaluation
from models.kept_report import keep_report
from models.training import Candidate
from models.use_case import UseCase

SWITCHES = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


@dataclass(frozen=True)
class Registry:
    """The folder in which MLflow's database and the files of all versions lie. Nothing is ever deleted from it."""

    folder: Path

    def register(
        self,
        use_case: UseCase,
        candidate: Candidate,
        evaluation: Evaluation,
        *,
        records: Records,
        reports: Path,
        reference: Mapping[str, Any],
        as_of: datetime,
        trained_by: str,
        snapshot_id: int,
    ) -> int:
        """Keep a candidate and all that was found out about it, and return its version.

        `reference` is what monitoring compares with. The version counts from the moment at which its manifest is in
        records; files without one are never loaded. `reports` gets the evaluation report that people read and sign.
        """
        import skops.io

        refuse_foreign_types(skops.io.dumps(candidate.estimator), f"the candidate of {use_case.name}")
        self.check_kept(use_case.name, records=records)
        report = evaluation_report(use_case, candidate, evaluation)
        client = self._client()
        run_id = _new_run(client, self.folder, use_case.name, candidate, evaluation)
        with tempfile.TemporaryDirectory(dir=self.folder) as made:
            _write_model(Path(made) / "model", candidate)
            write_files(Path(made), candidate.feature_names, evaluation, reference, report)
            client.log_artifacts(run_id, made)
        files = self.folder / "artifacts" / run_id
        _make_private(self.folder, files)
        manifest = manifest_of(self.folder, files)
        version = _new_version(client, use_case, run_id, str(files / "artifacts" / "model"))
        path = next(path for path in manifest if path.endswith(f"/{REPORT}"))
        row = {
            "use_case": use_case.name,
            "version": version,
            "trained_at": as_of,
            "trained_by": trained_by,
            "snapshot_id": snapshot_id,
            "manifest": manifest,
            "manifest_hash": hash_of(manifest),
            "report_hash": manifest[path],
            "gate": evaluation.gate,
            "reasons": list(evaluation.reasons),
            "evaluation": evaluation.to_json(),
        }
        with records.begin() as connection:
            connection.execute(insert(s.model_version).values(**row))
            keep_report(
                connection,
                reports,
                report,
                kind="evaluation",
                use_case=use_case.name,
                version=version,
                created_at=as_of,
            )
        return version

    def check_kept(self, use_case: str, *, records: Records) -> None:
        """Raise NotInOrder where MLflow has lost versions that records keep: it would give their numbers out again."""
        wanted = select(func.max(s.model_version.c.version)).where(s.model_version.c.use_case == use_case)
        with records.read() as connection:
            recorded = connection.execute(wanted).scalar()
        if recorded is None:
            return
        is_there = (self.folder / "mlflow.db").exists()
        found = self._client().search_model_versions(filter_string=f"name = '{use_case}'") if is_there else ()
        newest = max((int(each.version) for each in found), default=0)
        if newest < recorded:
            raise NotInOrder(
                f"records keep {use_case} up to version {recorded}, MLflow knows "
                + (f"no version after {newest}" if newest else "none of them"),
                where=str(self.folder),
                to_do="put this folder back from the backup that belongs to these records, then train again",
            )

    def load(self, use_case: str, version: int, *, records: Records) -> RegisteredModel:
        """Return a version that scores, after every file of it has been compared with the manifest in records.

        Raises NotInOrder when a file was touched or the version is not known.
        """
        row = _recorded(records, use_case, version)
        return loaded(self._verified(row), use_case=use_case, version=version, manifest_hash=row["manifest_hash"])

    def artifact(self, use_case: str, version: int, name: str, *, records: Records) -> bytes:
        """Return one file of a version (reference.json, report.html, held_out.parquet, ...), verified as for `load`."""
        return self._verified(_recorded(records, use_case, version))[name]

    def reference(self, use_case: str, version: int, *, records: Records) -> dict[str, Any]:
        """Return what monitoring compares live rows with."""
        found: dict[str, Any] = json.loads(self.artifact(use_case, version, REFERENCE, records=records))
        return found

    def champion(self, use_case: str, version: int, *, records: Records) -> Champion:
        """Return a version as a candidate meets it: with its own held-out predictions."""
        held_out = self.artifact(use_case, version, HELD_OUT, records=records)
        return Champion(
            version=version,
            scorer=self.load(use_case, version, records=records),
            trained_at=_recorded(records, use_case, version)["trained_at"],
            held_out=pq.read_table(pa.BufferReader(held_out)),
        )

    def set_alias(self, use_case: str, version: int, alias: str) -> None:
        """Let MLflow show what the audit chain has decided: champion or challenger. Scoring does not read it."""
        self._client().set_registered_model_alias(use_case, alias, str(version))

    def clear_alias(self, use_case: str, alias: str) -> None:
        """Take an alias away, when no version bears it any more."""
        self._client().delete_registered_model_alias(use_case, alias)

    def aliases(self, use_case: str) -> dict[str, int]:
        """Return the version that bears each alias, as MLflow shows it."""
        client = self._client()
        found = client.search_registered_models(filter_string=f"name = '{use_case}'")
        return {alias: int(version) for model in found for alias, version in model.aliases.items()}

    def _verified(self, row: RowMapping) -> dict[str, bytes]:
        name = f"{row['use_case']} version {row['version']}"
        return verified_files(self.folder, row["manifest"], row["manifest_hash"], version=name)

    def _client(self) -> Any:
        """MLflow on our own files: nothing goes out, and no pickle comes in."""
        set_switches()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        address = f"sqlite:///{self.folder / 'mlflow.db'}"
        with _quiet():
            from mlflow.tracking import MlflowClient

            return MlflowClient(tracking_uri=address, registry_uri=address)


def set_switches() -> None:
    """Must be called before MLflow is first imported, which is when it reads them."""
    os.environ.update(SWITCHES)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let MLflow keep to itself what it says of its own code: deprecations, type hints, a new database's migrations."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _recorded(records: Records, use_case: str, version: int) -> RowMapping:
    wanted = select(s.model_version).where(s.model_version.c.use_case == use_case, s.model_version.c.version == version)
    with records.read() as connection:
        row = connection.execute(wanted).mappings().one_or_none()
    if row is None:
        raise NotInOrder(
            f"{use_case} has no version {version}", to_do=f"rounds versions {use_case} lists those that were registered"
        )
    return row


def _new_run(client: Any, folder: Path, name: str, candidate: Candidate, evaluation: Evaluation) -> str:
    experiment = client.get_experiment_by_name(name)
    location = str(folder / "artifacts")
    if experiment and experiment.artifact_location != location:  # the folder has moved, and MLflow keeps whole paths
        client.rename_experiment(experiment.experiment_id, f"{name}, kept at {experiment.artifact_location}")
        experiment = None
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(name, location)
    run_id: str = client.create_run(experiment_id).info.run_id
    parameters = candidate.estimator.get_params() | {
        "rows": candidate.row_count,
        "outcomes": candidate.outcome_count,
        "held_rows": candidate.held_row_count,
        "gate": evaluation.gate,
    }
    for key, value in parameters.items():
        client.log_param(run_id, key, value)
    for key, number in evaluation.metrics().items():
        client.log_metric(run_id, key, number)
    return run_id


def _write_model(folder: Path, candidate: Candidate) -> None:
    """Write the model as MLflow has it, in skops format, with a signature of doubles."""
    with _quiet():
        import mlflow.sklearn
        import sklearn
        from mlflow.models import Model, ModelSignature
        from mlflow.types import ColSpec, DataType, Schema

        inputs: list[Any] = [ColSpec(DataType.double, name, required=False) for name in candidate.feature_names]
        mlflow.sklearn.save_model(
            candidate.estimator,
            str(folder),
            serialization_format="skops",
            skops_trusted_types=list(TRUSTED_TYPES),
            signature=ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec(DataType.double, "probability")])),
            pip_requirements=[f"scikit-learn=={sklearn.__version__}"],
        )
        signature = Model.load(str(folder)).signature
    if signature is None or signature.inputs.input_names() != list(candidate.feature_names):
        raise NotInOrder(f"{candidate.use_case}: MLflow stored the model without its signature", where=MODEL)


def _new_version(client: Any, use_case: UseCase, run_id: str, source: str) -> int:
    if not client.search_registered_models(filter_string=f"name = '{use_case.name}'"):
        client.create_registered_model(use_case.name, description=use_case.question)
    version = int(client.create_model_version(use_case.name, source=source, run_id=run_id).version)
    client.set_terminated(run_id)
    return version


def _make_private(folder: Path, files: Path) -> None:
    """Only the owner reads the registry; the files of a version are not to be written again."""
    for path in (folder / "mlflow.db", folder / "artifacts", files, *files.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600 if path.suffix == ".db" else 0o400)
