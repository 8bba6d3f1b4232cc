"""A champion made by hand: fitted on noise, its gate taken for passed, signed and taken live by two people."""

import json
import os
from datetime import datetime
from pathlib import Path

USE_CASE, SITE = "aki_48h", "demo"


def make_champion(home: Path, at: datetime) -> None:
    """Register version 1 of a use case in a home that knows its patients, and take it live. Runs in its own process."""
    from flows.house import House
    from integrations.settings import Settings
    from integrations.write_back.identifier import site_namespace
    from models.governance.approvals import approve
    from models.governance.people import add_person
    from models.governance.promotion import promote
    from models.governance.signing import load_signer
    from models.governance.stages import set_stage

    os.umask(0o077)
    house = House(Settings(home=home))
    records, keys = house.records, home.parent
    _register(house.registry.folder, house, at)
    signers = []
    for name, role in (("Ada", "governance"), ("Ben", "clinician")):
        key = keys / f"{home.name}-{name}.key"
        by = signers[0] if signers else None
        add_person(records, name=name, role=role, key_out=key, as_of=at, signer=by, home=home)
        signers.append(load_signer(name, key))
    for signer in signers:
        approve(records, use_case=USE_CASE, version=1, signer=signer, reason="for this story", as_of=at)
    promote(records, use_case=USE_CASE, version=1, as_of=at)
    for signer in signers:
        set_stage(
            records,
            site_id=SITE,
            sites=[SITE],
            use_case=USE_CASE,
            stage="live",
            signer=signer,
            reason="for this story",
            as_of=at,
        )
    site_namespace(house.settings.secrets, SITE)  # made here, so that every life has the same one
    records.close()


def _register(folder: Path, house: "object", at: datetime) -> None:
    import numpy as np
    import skops.io
    from sqlalchemy import insert

    from integrations.records import schema as s
    from models.artifacts import FEATURES, MODEL, hash_of, manifest_of
    from models.catalog import use_case
    from tests.models.made import small_estimator

    case = use_case(USE_CASE)
    random = np.random.default_rng(1)
    rows = random.normal(size=(400, len(case.feature_names)))
    labels = (rows[:, 0] + random.normal(size=len(rows)) > 1).astype(int)
    files = folder / "artifacts" / "by_hand" / "artifacts"
    (files / MODEL).parent.mkdir(parents=True, mode=0o700)
    skops.io.dump(small_estimator(1).fit(rows, labels), files / MODEL)
    (files / FEATURES).write_text(json.dumps(case.feature_names), encoding="utf-8")
    manifest = manifest_of(folder, files)
    row = {
        "use_case": USE_CASE,
        "version": 1,
        "trained_at": at,
        "trained_by": "by hand",
        "snapshot_id": 1,
        "manifest": manifest,
        "manifest_hash": hash_of(manifest),
        "report_hash": "none",
        "gate": "pass",
        "reasons": [],
        "evaluation": {},
    }
    with house.records.begin() as connection:  # type: ignore[attr-defined]
        connection.execute(insert(s.model_version).values(**row))
