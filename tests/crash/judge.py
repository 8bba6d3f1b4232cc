"""An independent judge of a home: reads files and tables plainly, without a line of Rounds, and says what is wrong."""

import gzip
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

Rows = list[tuple[Any, ...]]
RECORDS_OF = {
    "patient": "Patient",
    "encounter": "Encounter",
    "condition": "Condition",
    "procedure": "Procedure",
    "observation": "Observation",
    "medication": "MedicationRequest",
    "imaging_study": "ImagingStudy",
}
ASIDE = ("account", "out_of_scope", "quarantine", "waiting")


def findings(home: Path) -> list[str]:
    """Everything that must hold of a home at any moment, also when its process has just died: what does not."""
    found = [*_landing(home), *_write_back_files(home), *_features(home)]
    if not (home / "records.db").exists():
        return found
    with sqlite3.connect(home / "records.db") as db:
        has_tables = db.execute("select count(*) from sqlite_master where name = 'extract'").fetchone()[0]
        checks = (_sound, _extracts, _lake, _scores, _sent, _chain) if has_tables else (_sound,)
        found += [finding for check in checks for finding in check(home, db)]
    db.close()
    return found


def findings_at_rest(home: Path) -> list[str]:
    """What must also hold once the command has been given again: nothing is left to do, nothing lies about."""
    with sqlite3.connect(home / "records.db") as db:
        open_extracts = _list(db, "select extract_id from extract where status <> 'committed'")
    db.close()
    left = [path for path in (home / "landing").glob("*/.*")] if (home / "landing").exists() else []
    left += [path for path in (home / "tmp").glob("ingest-*")] if (home / "tmp").exists() else []
    return [
        *findings(home),
        *(f"extract {extract_id} is still not committed" for (extract_id,) in open_extracts),
        *(f"left lying: {path.relative_to(home)}" for path in left),
    ]


def _landing(home: Path) -> Iterator[str]:
    """A name without a dot is a whole extract: manifest, and every file as the manifest says."""
    for folder in sorted(path for path in (home / "landing").glob("*/[!.]*") if path.is_dir()):
        if not (folder / "manifest.json").exists():
            yield f"{folder.name} has a place in landing, but no manifest"
            continue
        for file in json.loads((folder / "manifest.json").read_bytes())["files"]:
            path = folder / file["name"]
            if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != file["sha256"]:
                yield f"{folder.name}: {file['name']} is not as its manifest says"


def _sound(_home: Path, db: sqlite3.Connection) -> Iterator[str]:
    for (problem,) in _list(db, "pragma integrity_check"):
        if problem != "ok":
            yield f"the records are damaged: {problem}"
    for row in _list(db, "pragma foreign_key_check"):
        yield f"a row of {row[0]} points nowhere"


def _extracts(home: Path, db: sqlite3.Connection) -> Iterator[str]:
    """Committed with its whole account, or without a trace."""
    for extract_id, source, status, snapshot_id in _list(
        db, "select extract_id, source, status, snapshot_id from extract"
    ):
        if not (home / "landing" / source / extract_id / "manifest.json").exists():
            yield f"{extract_id} is in records, but not in landing"
        if (status == "committed") != (snapshot_id is not None):
            yield f"{extract_id} is {status}, and its snapshot is {snapshot_id}"
        if status == "committed":
            yield from _account(home / "landing" / source / extract_id, db)
            continue
        for table in ASIDE:
            count = _list(db, f"select count(*) from {table} where extract_id = ?", extract_id)[0][0]
            if count:
                yield f"{extract_id} is not committed, yet {count} rows of {table} are of it"


def _account(folder: Path, db: sqlite3.Connection) -> Iterator[str]:
    sums = "received, mapped + unchanged + out_of_scope + waiting + quarantined, waiting, quarantined"
    rows = _list(db, f"select table_name, {sums} from account where extract_id = ?", folder.name)
    if not rows:
        yield f"{folder.name} is committed without an account"
    for table, received, accounted, waiting, quarantined in rows:
        if received != accounted:
            yield f"{folder.name}: {received} records of {table} came, {accounted} are accounted for"
        sent = sum(_line_count(file) for file in folder.glob(f"{RECORDS_OF.get(table, '-')}*.ndjson*"))
        if table in RECORDS_OF and list(folder.glob("*.ndjson")) and sent != received:
            yield f"{folder.name}: {sent} records of {table} were sent, {received} are in the account"
        for name, count in (("waiting", waiting), ("quarantine", quarantined)):
            kept = _list(
                db,
                f"select count(*) from (select distinct source_file, source_line from {name} "
                "where extract_id = ? and table_name = ?)",
                folder.name,
                table,
            )[0][0]
            if kept != count:
                yield f"{folder.name}: the account has {count} of {table} in {name}, {kept} are kept"


def _lake(home: Path, db: sqlite3.Connection) -> Iterator[str]:
    """What the newest snapshot shows of an extract is what its account says: all rows of it, or none."""
    shown: Counter[str] = Counter()
    for table, version in _versions(db).items():
        for path, stated in _files_at(home / "lake" / table, version).items():
            if not path.exists():
                yield f"the snapshot names {path.name}, which is not there"
                continue
            count = pq.read_metadata(path).num_rows
            if stated not in (None, count):
                yield f"{path.name} holds {count} rows, the log says {stated}"
            shown[path.name[: path.name.rindex("Z-") + 10]] += count  # <source>-<instant>Z-<8 of the digest>
    written = dict(
        _list(
            db,
            "select extract_id, sum(rows_written) from account join extract using (extract_id) "
            "where status = 'committed' group by extract_id",
        )
    )
    for extract_id in sorted(shown.keys() | written.keys()):
        if shown[extract_id] != written.get(extract_id, 0):
            yield f"readers see {shown[extract_id]} rows of {extract_id}, its account says {written.get(extract_id, 0)}"


def _scores(_home: Path, db: sqlite3.Connection) -> Iterator[str]:
    """No score twice, none without its outbox row, none that no run accounts for."""
    twice = (
        "select count(*) from (select 1 from score group by site_id, use_case, encounter_id, prediction_time, version, "
        "purpose having count(*) > 1)"
    )
    if count := _list(db, twice)[0][0]:
        yield f"{count} scores are there twice"
    unqueued = (
        "select count(*) from score left join outbox using (score_id) "
        "where score.purpose = 'live' and score.status = 'scored' and outbox.score_id is null"
    )
    if count := _list(db, unqueued)[0][0]:
        yield f"{count} live scores have no outbox row"
    if count := _list(db, "select count(*) from outbox left join score using (score_id) where score.status is null")[0][
        0
    ]:
        yield f"{count} outbox rows have no score"
    runs = (
        "with made as (select run_id, score_id from score union all select run_id, score_id from superseded_score) "
        "select run.run_id, due, coalesce(scored + held + excluded, 0), count(score_id) "
        "from run left join made using (run_id) where kind = 'score' group by run.run_id"
    )
    for run_id, due, accounted, made in _list(db, runs):
        if made != accounted:
            yield f"{run_id} keeps {made} rows, its account says {accounted}"
        if due is not None and due != accounted:
            yield f"{run_id}: {due} were due, {accounted} are accounted for"


def _sent(home: Path, db: sqlite3.Connection) -> Iterator[str]:
    """One RiskAssessment per score that was acknowledged, in the file that the outbox names; none of anything else."""
    files = {name: _identifiers(bundle) for name, bundle in _bundles(home)}
    times = Counter(identifier for identifiers in files.values() for identifier in identifiers)
    for identifier, count in times.items():
        if count > 1:
            yield f"RiskAssessment {identifier} was written {count} times"
    rows = _list(db, "select identifier, status, location from outbox")
    for identifier in times.keys() - {row[0] for row in rows}:
        yield f"RiskAssessment {identifier} belongs to no score"
    for identifier, status, location in rows:
        if status == "acknowledged" and identifier not in files.get(location, ()):
            yield f"score {identifier} is acknowledged, but not in {location}"
        if status == "queued" and times[identifier]:
            yield f"score {identifier} was written, but is still queued"


def _write_back_files(home: Path) -> Iterator[str]:
    """Whatever bears the name that an interface engine looks for is a whole Bundle with the hash in its name."""
    for path in sorted((home / "write_back").glob("[!.]*")):
        if path.suffix != ".json" or not _has_its_hash(path):
            yield f"write_back/{path.name} is not what was to be written"


def _features(home: Path) -> Iterator[str]:
    for path in sorted((home / "features" / "offline").rglob("*.parquet")):
        try:
            pq.read_metadata(path)
        except (pa.ArrowInvalid, OSError):
            yield f"features: {path.name} is not whole"


def _chain(_home: Path, db: sqlite3.Connection) -> Iterator[str]:
    """Each entry follows the one before, and its hash is that of what it says."""
    before, expected = "0" * 64, 1
    columns = "seq, at, kind, body, signer, signature, previous_hash, hash"
    for seq, at, kind, body, signer, signature, previous, own in _list(db, f"select {columns} from audit order by seq"):
        moment = _instant(at).isoformat(timespec="microseconds")
        sealed = json.dumps([seq, moment, kind, body, signer, signature], separators=(",", ":"), ensure_ascii=False)
        if seq != expected or previous != before or hashlib.sha256((previous + sealed).encode()).hexdigest() != own:
            yield f"the chain does not hold at entry {seq}"
        before, expected = own, seq + 1


def state(home: Path) -> dict[str, Rows]:
    """What a home holds, as ordered rows, without what may differ between two lives: run ids, clock times, tries."""
    with sqlite3.connect(home / "records.db") as db:
        tables = {
            "extract": _columns(db, "extract", ()),
            "snapshot": _columns(db, "snapshot", ("versions",)),
            "account": _columns(db, "account", ()),
            "out_of_scope": _columns(db, "out_of_scope", ()),
            "quarantine": _columns(db, "quarantine", ("quarantine_id",)),
            "waiting": _columns(db, "waiting", ("waiting_id",)),
            "model_version": _columns(db, "model_version", ()),
            "score": _columns(db, "score", ("run_id",)),
            "outbox": _list(db, "select score_id, purpose, identifier, status, queued_at from outbox"),
            "run": _list(
                db,
                "select use_case, as_of, sum(scored), sum(held) from run "  # who is excluded is due again each time
                "where kind = 'score' and due is not null group by use_case, as_of",
            ),
            "audit": _list(db, "select at, kind, body, signer, signature from audit where kind <> 'write_back'"),
            "sent": [
                (status, score_id)
                for (body,) in _list(db, "select body from audit where kind = 'write_back'")
                for status, ids in json.loads(body)["scores"].items()
                for score_id in ids
            ],
        }
        for table, version in _versions(db).items():
            tables[f"lake {table}"] = _content(list(_files_at(home / "lake" / table, version)))
    db.close()
    tables["landing"] = [
        (path.relative_to(home).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in (home / "landing").rglob("*")
        if path.is_file() and path.suffix != ".parquet"
    ]
    for folder in (home / "features" / "offline").glob("*/*"):
        tables[f"features {folder.name}"] = _content(list(folder.rglob("*.parquet")))
    tables["RiskAssessment"] = [
        (json.dumps(entry["resource"], sort_keys=True),) for _, bundle in _bundles(home) for entry in bundle["entry"]
    ]
    return {name: sorted(rows, key=repr) for name, rows in tables.items()}


def differences(home: Path, reference: dict[str, Rows]) -> list[str]:
    """In what a home differs from one whose process was never killed."""
    found = state(home)
    return [
        f"{name}: {len(found.get(name, []))} rows, {len(reference.get(name, []))} without a crash; "
        f"{len(set(map(repr, found.get(name, []))) ^ set(map(repr, reference.get(name, []))))} differ"
        for name in sorted(found.keys() | reference.keys())
        if found.get(name) != reference.get(name)
    ]


def _list(db: sqlite3.Connection, sql: str, *values: object) -> Rows:
    return db.execute(sql, values).fetchall()


def _columns(db: sqlite3.Connection, table: str, without: tuple[str, ...]) -> Rows:
    names = [name for _, name, *_ in _list(db, f"pragma table_info({table})") if name not in without]
    return _list(db, f"select {', '.join(names)} from {table}")


def _versions(db: sqlite3.Connection) -> dict[str, int]:
    rows = _list(db, "select versions from snapshot order by snapshot_id desc limit 1")
    return json.loads(rows[0][0]) if rows else {}


def _files_at(folder: Path, version: int) -> dict[Path, int | None]:
    """The files of one version of a Delta table, with the rows that its log states: the log read entry by entry."""
    files: dict[Path, int | None] = {}
    for number in range(version + 1):
        for line in (folder / "_delta_log" / f"{number:020}.json").read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if "add" in entry:
                stats = json.loads(entry["add"].get("stats") or "{}")
                files[folder / unquote(entry["add"]["path"])] = stats.get("numRecords")
            if "remove" in entry:
                files.pop(folder / unquote(entry["remove"]["path"]), None)
    return files


def _content(files: list[Path]) -> Rows:
    """How many rows these Parquet files hold together, and a hash of the rows in order."""
    if not files:
        return []
    table = pa.concat_tables([pq.ParquetFile(path).read() for path in files])
    rows = table.sort_by([(name, "ascending") for name in table.column_names]).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return [(rows.num_rows, hashlib.sha256(sink.getvalue()).hexdigest())]


def _bundles(home: Path) -> list[tuple[str, dict[str, Any]]]:
    """What an interface engine would find, as far as it is whole."""
    files = [path for path in sorted((home / "write_back").glob("[!.]*.json")) if _has_its_hash(path)]
    return [(path.name, json.loads(path.read_bytes())) for path in files]


def _has_its_hash(path: Path) -> bool:
    return path.stem.endswith(f"-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}")


def _identifiers(bundle: dict[str, Any]) -> list[str]:
    return [entry["resource"]["identifier"][0]["value"] for entry in bundle["entry"]]


def _line_count(path: Path) -> int:
    sent = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return sum(1 for line in sent.splitlines() if line.strip())


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
