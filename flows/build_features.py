"""Compute and keep the features of cohort rows: the one way to them, for training, scoring and ahead of the round."""

import hashlib
import json
from functools import partial
from typing import TYPE_CHECKING

from prefect import flow

from flows.due import Round, due_rows
from flows.house import House, Part, Snapshot, at, open_house
from flows.parameters import AsOf, UseCaseName
from flows.parts import in_parts
from flows.run_log import recorded_run
from flows.step import step, tell
from models.governance.versions import find_version
from models.use_case import UseCase

if TYPE_CHECKING:
    import pyarrow as pa


@flow(name="build_features")
def build_features(use_case: UseCaseName, as_of: AsOf = None) -> int:
    """Compute the features of every cohort row that is due, keep them, and put the newest online. Returns the rows."""
    house, moment = open_house(), at(as_of)
    with recorded_run(house, "build_features", as_of=moment, use_case=use_case):
        this = Round.of(house, use_case, as_of=moment)
        rows = sum(in_parts(house, build_part, this))
        online = put_online(house, this)
        if this.version is not None:
            declare(house, this.case, this.version)
        tell(
            f"{use_case}: {rows:,} due rows in, {rows:,} rows out of each of {len(views_of(this.case))} views, "
            f"{online:,} rows put online"
        )
        return rows


def build_part(house: House, this: Round, part: Part) -> int:
    """Compute the features of those of one part who are due. Returns the rows."""
    lake = house.open_snapshot(this.snapshot, part)
    spine = due_rows(house, lake, this).spine
    compute(house, this, part, spine)
    return int(spine.num_rows)


@step
def put_online(house: House, this: Round) -> int:
    """Put the newest row of each stay into the online store; an older one never wins. Returns the rows of all views."""
    return house.store.materialize(this.as_of, views_of(this.case))


@step
def declare(house: House, case: UseCase, version: int) -> None:
    """Tell Feast what a registered version takes, once, under a name such as aki_48h_v3."""
    from features.definitions import Service
    from models.artifacts import FEATURES

    taken = json.loads(house.registry.artifact(case.name, version, FEATURES, records=house.records))
    features = tuple(each for each in case.features if each.partition(":")[2] in taken)
    if len(features) < len(taken):
        tell(f"{case.name} version {version} is not declared to Feast: it takes features that the use case has dropped")
        return
    with house.records.read() as connection:
        registered = find_version(connection, case.name, version)
    house.store.declare(
        Service(
            name=f"{case.name}_v{version}",
            features=features,
            owner=case.owner,
            description=case.question,
            tags={
                "use_case": case.name,
                "version": str(version),
                "manifest_hash": registered.manifest_hash,
                "trained_at": registered.trained_at.isoformat(),
                **{f"view {name}": its for name, its in house.store.view_versions(views_of(case)).items()},
            },
        )
    )


@step
def compute(house: House, this: Round, part: Part, spine: "pa.Table") -> int:
    """Keep the features of a spine: what is kept, and of whom nothing that counts has come in since, stays as it is.

    Returns how many rows of views were computed.
    """
    views = views_of(this.case)
    changes = partial(house.changes, this.snapshot, views)
    buckets = house.buckets_of(part)
    with house.scratch() as connection:
        stale = house.store.stale(connection, views, spine, changes, buckets=buckets)
    for view, rows in stale.items():
        if rows.num_rows:
            lake = house.open_snapshot(this.snapshot, part)
            name = spine_name(this.case, rows, this.snapshot)
            house.store.compute(lake, [view], rows, name=name, snapshot_id=this.snapshot.snapshot_id, buckets=buckets)
    return sum(rows.num_rows for rows in stale.values())


@step
def features_of(house: House, this: Round, part: Part, spine: "pa.Table") -> "pa.Table":
    """Return the spine with its features, computed first where that is needed."""
    compute(house, this, part, spine)
    with house.scratch() as connection:
        return house.store.read(this.case.features, spine, connection, buckets=house.buckets_of(part))


def views_of(case: UseCase) -> tuple[str, ...]:
    """The feature views that a use case draws on."""
    return tuple(dict.fromkeys(feature.split(":")[0] for feature in case.features))


def spine_name(case: UseCase, spine: "pa.Table", snapshot: Snapshot) -> str:
    """Name the rows of a spine in a snapshot: the same rows get the same file, whoever asks for them."""
    digest = hashlib.sha256(str(snapshot.snapshot_id).encode())
    digest.update("\n".join(spine["encounter_id"].to_pylist()).encode())
    digest.update(spine["prediction_time"].cast("int64").to_numpy().tobytes())
    return f"{case.name}-{digest.hexdigest()[:16]}"
