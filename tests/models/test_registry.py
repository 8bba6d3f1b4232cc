"""A version is believed only while its files are as they were when it was registered."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from sqlalchemy import insert, select, update

from integrations.errors import NotInOrder
from integrations.records import Records, open_records
from integrations.records import schema as s
from models.artifacts import MODEL, loaded, verified_files
from models.evaluation import champion_risk
from models.registry import Registry
from models.training import train
from tests.models.conftest import Trained
from tests.models.made import NIGHT, USE_CASE, cohort

NAME = USE_CASE.name


@dataclass
class Shelf:
    """A registry with two versions, and the records that vouch for them."""

    registry: Registry
    records: Records

    def file(self, name: str) -> Path:
        """The file of version 1, made writable as its owner could."""
        with self.records.read() as connection:
            manifest = connection.execute(select(s.model_version.c.manifest)).scalars().first()
        path = self.registry.folder / next(path for path in manifest or () if path.endswith(f"/{name}"))
        path.chmod(0o600)
        return path


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, trained: Trained) -> Path:
    """A home in which the candidate was registered twice; stories that touch it get a copy."""
    home = tmp_path_factory.mktemp("registered")
    records, registry = open_records(f"sqlite:///{home / 'records.db'}"), Registry(home / "mlflow")
    with records.begin() as connection:
        connection.execute(insert(s.snapshot).values(snapshot_id=1, created_at=NIGHT, versions={}))
    versions = [
        registry.register(
            USE_CASE,
            trained.candidate,
            trained.evaluation,
            records=records,
            reports=home / "reports",
            reference={"labs:creatinine_mg_dl": [1.0, 2.0]},
            as_of=NIGHT,
            trained_by="ada",
            snapshot_id=1,
        )
        for _ in range(2)
    ]
    assert versions == [1, 2]
    records.close()
    return home


@pytest.fixture
def shelf(registered: Path, tmp_path: Path) -> Shelf:
    """A copy of the home, at another place: the registry may be moved."""
    home = shutil.copytree(registered, tmp_path / "moved")
    return Shelf(Registry(home / "mlflow"), open_records(f"sqlite:///{home / 'records.db'}"))


def test_a_loaded_version_says_what_the_candidate_said(shelf: Shelf, trained: Trained) -> None:
    model = shelf.registry.load(NAME, 2, records=shelf.records)
    frame = cohort(200, seed=4)
    direct = trained.candidate.estimator.predict_proba(
        np.column_stack([frame[name].to_numpy() for name in USE_CASE.feature_names])
    )
    shuffled = frame.select(list(reversed(frame.column_names)))
    np.testing.assert_array_equal(model.predict(shuffled), direct[:, 1])
    assert (model.version, model.feature_names) == (2, USE_CASE.feature_names)


def test_records_keep_the_verdict_and_the_hashes_that_people_sign(shelf: Shelf, trained: Trained) -> None:
    with shelf.records.read() as connection:
        row = connection.execute(select(s.model_version).where(s.model_version.c.version == 1)).mappings().one()
    assert (row["gate"], row["reasons"]) == ("pass", list(trained.evaluation.reasons))
    assert (row["trained_at"], row["trained_by"]) == (NIGHT, "ada")
    assert row["evaluation"] == trained.evaluation.to_json()
    report = shelf.registry.artifact(NAME, 1, "report.html", records=shelf.records)
    assert hashlib.sha256(report).hexdigest() == row["report_hash"]
    assert shelf.registry.load(NAME, 1, records=shelf.records).manifest_hash == row["manifest_hash"]


def test_the_report_that_people_sign_is_listed_and_lies_among_the_reports(shelf: Shelf) -> None:
    with shelf.records.read() as connection:
        listed = connection.execute(select(s.report).order_by(s.report.c.version)).mappings().all()
        signed = connection.execute(select(s.model_version.c.report_hash)).scalars().all()
    assert [(row["kind"], row["use_case"], row["version"], row["created_at"]) for row in listed] == [
        ("evaluation", NAME, 1, NIGHT),
        ("evaluation", NAME, 2, NIGHT),
    ]
    assert [row["sha256"] for row in listed] == signed
    for row in listed:
        path = shelf.registry.folder.parent / "reports" / row["path"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]
        assert path.stat().st_mode & 0o777 == 0o400


def test_what_monitoring_and_the_demo_need_lies_beside_the_model(shelf: Shelf, trained: Trained) -> None:
    reference = shelf.registry.reference(NAME, 1, records=shelf.records)
    held_out = pa.BufferReader(shelf.registry.artifact(NAME, 1, "held_out.parquet", records=shelf.records))
    assert reference == {"labs:creatinine_mg_dl": [1.0, 2.0]}
    assert pq.read_table(held_out).equals(trained.evaluation.held_out)


def test_a_champion_comes_with_its_own_held_out_predictions(shelf: Shelf, trained: Trained) -> None:
    champion = shelf.registry.champion(NAME, 1, records=shelf.records)
    rows = trained.frame.filter(pc.is_in(trained.frame["encounter_id"], trained.evaluation.held_out["encounter_id"]))
    assert (champion.version, champion.trained_at) == (1, NIGHT)
    known_at = rows["label_known_at"].to_pylist()
    expected = trained.evaluation.held_out["probability"].to_pylist()
    told = champion_risk(champion, rows)
    assert [told[row] == expected[row] for row in range(rows.num_rows)] == [at <= NIGHT for at in known_at]
    assert not np.isnan(told).any()


def test_the_signature_is_there_and_all_double(shelf: Shelf) -> None:
    described = yaml.safe_load(shelf.file("model/MLmodel").read_text())
    columns = json.loads(described["signature"]["inputs"])
    assert [(column["name"], column["type"]) for column in columns] == [
        (name, "double") for name in USE_CASE.feature_names
    ]
    assert described["flavors"]["sklearn"]["serialization_format"] == "skops"


@pytest.mark.parametrize("name", ["model/model.skops", "features.json", "report.html", "held_out.parquet"])
@pytest.mark.parametrize(
    ("touch", "words"),
    [
        pytest.param(lambda path: path.write_bytes(path.read_bytes() + b" "), "was changed", id="changed"),
        pytest.param(lambda path: path.unlink(), "is missing", id="missing"),
    ],
)
def test_a_touched_file_is_refused_by_name_and_version_before_anything_is_loaded(
    shelf: Shelf, name: str, touch: Callable[[Path], object], words: str
) -> None:
    touch(shelf.file(name))
    with pytest.raises(NotInOrder, match=rf"{NAME} version 1: .*{name} {words}"):
        shelf.registry.load(NAME, 1, records=shelf.records)
    assert shelf.registry.load(NAME, 2, records=shelf.records).version == 2  # the other version is a bystander


def test_a_file_that_was_added_is_refused(shelf: Shelf) -> None:
    (shelf.file("model/MLmodel").parent / "more.py").write_text("1")
    with pytest.raises(NotInOrder, match=r"model/more.py was added"):
        shelf.registry.load(NAME, 1, records=shelf.records)


def test_a_manifest_that_was_rewritten_to_fit_a_touched_file_is_refused(shelf: Shelf) -> None:
    path = shelf.file("features.json")
    path.write_text("[]")
    key = path.relative_to(shelf.registry.folder).as_posix()
    with shelf.records.begin() as connection:
        manifest = connection.execute(select(s.model_version.c.manifest)).scalars().first()
        changed = dict(manifest or {}) | {key: hashlib.sha256(b"[]").hexdigest()}
        connection.execute(update(s.model_version).where(s.model_version.c.version == 1).values(manifest=changed))
    with pytest.raises(NotInOrder, match="the manifest in records does not have the hash"):
        shelf.registry.load(NAME, 1, records=shelf.records)


def test_a_version_that_was_never_registered_is_not_found(shelf: Shelf) -> None:
    with pytest.raises(NotInOrder, match=f"{NAME} has no version 9"):
        shelf.registry.load(NAME, 9, records=shelf.records)


def test_a_model_file_with_a_type_that_is_not_on_our_list_is_not_loaded(shelf: Shelf) -> None:
    import skops.io

    with shelf.records.read() as connection:
        row = connection.execute(select(s.model_version).where(s.model_version.c.version == 1)).mappings().one()
    files = verified_files(shelf.registry.folder, row["manifest"], row["manifest_hash"], version="1")
    files[MODEL] = skops.io.dumps(Oracle())
    with pytest.raises(NotInOrder, match=r"types that are not on the list: .*Oracle"):
        loaded(files, use_case=NAME, version=1, manifest_hash="")


class Oracle:
    """A model of somebody else."""


def test_aliases_are_shown_and_change_nothing(registered: Path) -> None:
    registry, records = Registry(registered / "mlflow"), open_records(f"sqlite:///{registered / 'records.db'}")
    registry.set_alias(NAME, 1, "champion")
    registry.set_alias(NAME, 2, "challenger")
    assert registry.aliases(NAME) == {"champion": 1, "challenger": 2}
    registry.set_alias(NAME, 2, "champion")
    registry.clear_alias(NAME, "challenger")
    assert registry.aliases(NAME) == {"champion": 2}
    assert registry.load(NAME, 1, records=records).version == 1
    assert registry.aliases("nobody") == {}
    records.close()


def test_only_the_owner_can_read_the_registry(shelf: Shelf) -> None:
    folder = shelf.registry.folder
    modes = {path.name: path.stat().st_mode & 0o077 for path in (folder, folder / "mlflow.db", *folder.rglob("*"))}
    assert set(modes.values()) == {0}


def test_loading_for_scoring_does_not_import_mlflow(shelf: Shelf) -> None:
    program = (
        "import sys; from pathlib import Path; from models.registry import Registry;"
        "from integrations.records import open_records;"
        "model = Registry(Path(sys.argv[1])).load(sys.argv[2], 1, records=open_records(sys.argv[3]));"
        "print(model.version, 'mlflow' in sys.modules)"
    )
    address = f"sqlite:///{shelf.registry.folder.parent / 'records.db'}"
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", program, str(shelf.registry.folder), NAME, address]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, timeout=120)
    assert found.stdout.split() == ["1", "False"]


def test_nothing_is_registered_beside_records_whose_versions_mlflow_has_lost(shelf: Shelf, trained: Trained) -> None:
    shutil.rmtree(shelf.registry.folder)
    with pytest.raises(NotInOrder, match="records keep back_soon up to version 2, MLflow knows none of them") as lost:
        shelf.registry.register(
            USE_CASE,
            trained.candidate,
            trained.evaluation,
            records=shelf.records,
            reference={},
            as_of=NIGHT,
            trained_by="ada",
            snapshot_id=1,
            reports=shelf.registry.folder.parent / "reports",
        )
    assert lost.value.where == str(shelf.registry.folder)
    assert "backup" in lost.value.to_do
    assert not shelf.registry.folder.exists()


def test_a_version_that_was_deleted_in_mlflow_is_missed(shelf: Shelf) -> None:
    shelf.registry.check_kept(NAME, records=shelf.records)
    shelf.registry._client().delete_model_version(NAME, "2")
    with pytest.raises(NotInOrder, match="MLflow knows no version after 1"):
        shelf.registry.check_kept(NAME, records=shelf.records)


def test_a_candidate_whose_model_holds_a_foreign_type_is_not_registered(
    shelf: Shelf, trained: Trained, tmp_path: Path
) -> None:
    candidate = train(USE_CASE, cohort(60), seed=1)
    candidate.estimator.foreign = Oracle()
    with pytest.raises(NotInOrder, match=r"the candidate of back_soon holds types .*Oracle"):
        Registry(tmp_path / "mlflow").register(
            USE_CASE,
            candidate,
            trained.evaluation,
            records=shelf.records,
            reports=tmp_path / "reports",
            reference={},
            as_of=NIGHT,
            trained_by="ada",
            snapshot_id=1,
        )
