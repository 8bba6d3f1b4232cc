"""Which door reads which files of an extract, by the kind of the feed."""

import json
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import Connection

from integrations.contract import ANY_FILE, Contract, matches
from integrations.errors import Refused, WrongUsage
from integrations.full_disk import full_disk_is_a_fault
from integrations.ingest import ledger
from integrations.landing import Landed, LandedFile
from integrations.names import litter_count
from integrations.sent import SentRecord, Unpacking, sent_record

NO_TABLE = "none"  # the account of files that feed no table
OF_LINES = ("fhir", "dicomweb")  # kinds of which a record is a line of JSON
LOOKED_UP = "looked up by a mapping"
# What a bulk export brings beside resources, by the names that integrations/fhir/export gives.
DELETED = "deleted.*.ndjson"
ERRORS = "error.*.ndjson"
BESIDE = {ERRORS: "what the server says of its export"}


def files_of(contract: Contract, table: str, files: Sequence[LandedFile]) -> list[LandedFile]:
    """The files that feed a table, by the globs of the contract; deletions of a FHIR server may concern any table."""
    globs = contract.tables[table].files
    if contract.kind != "fhir":
        return [file for file in files if matches(file.name, globs)]
    return [
        file for file in files if is_deleted(file.name) or (matches(file.name, globs) and not _is_beside(file.name))
    ]


def is_deleted(name: str) -> bool:
    """Whether a file of a FHIR feed tells of deletions."""
    return matches(name, [DELETED])


def _is_beside(name: str) -> bool:
    return matches(name, list(BESIDE))


def files_out_of_scope(contract: Contract, files: Sequence[LandedFile]) -> dict[str, list[LandedFile]]:
    """The files that the contract leaves out, by the glob that says so.

    Raises Refused when a file is neither named for a table nor declared out of scope: nothing vanishes.
    """
    left_out: dict[str, list[LandedFile]] = {}
    fed = {file.name for table in contract.tables for file in files_of(contract, table, files)}
    for file in files:
        if file.name in fed:
            continue
        globs = [glob for glob in BESIDE if contract.kind == "fhir" and matches(file.name, [glob])]
        globs += [glob for glob in contract.files_out_of_scope if matches(file.name, [glob])]
        globs += [glob for source in contract.inputs.values() for glob in source.files if matches(file.name, [glob])]
        if not globs:
            raise Refused(
                f"the contract of {contract.source} does not know the file {file.name}",
                where="integrations/sources",
                to_do="name it under a table, or under files_out_of_scope with a reason",
            )
        globs.sort(key=lambda glob: glob == ANY_FILE)
        left_out.setdefault(globs[0], []).append(file)
    return left_out


def counts_left_out(contract: Contract, files: Sequence[LandedFile]) -> dict[str, int]:
    """How many files feed no table, by why."""
    why = {**BESIDE, **contract.files_out_of_scope}
    counts: Counter[str] = Counter()
    for glob, left_out in files_out_of_scope(contract, files).items():
        counts[why.get(glob, LOOKED_UP)] += len(left_out)
    return dict(counts)


def needed_part(contract: Contract, path: Path, temp: Path) -> tuple[Path, int]:
    """What may be landed of an extract that is brought: all of it, or of a PACS what the tables need, made in `temp`.

    Tables that come in a zip land as the files that are in it. Also returns how many files were left aside, since an
    operating system had put them there by itself.

    Raises Refused for a file that the door cannot read, or what is more than the contract allows.
    """
    litter = litter_count(path, contract.limits.most_files)
    if contract.kind == "tabular":
        from integrations.tabular.brought import without_envelopes

        with full_disk_is_a_fault(temp):
            root, more = without_envelopes(path, temp / "needed", contract.limits, any_name=contract.takes_any_file)
            return root, litter + more
    if contract.kind != "dicomweb":
        return path, litter
    from integrations.dicomweb.brought import keep_needed
    from integrations.dicomweb.tags import study_tags

    with full_disk_is_a_fault(temp):
        return keep_needed(path, temp / "needed", study_tags(contract), contract.limits), litter


def readable_root(landed: Landed, contract: Contract, temp: Path) -> Path:
    """The folder that a door reads: landing itself, or a stand-in in `temp` where packed files lie unpacked.

    Raises Refused when they come to more than the contract allows.
    """
    if contract.kind == "tabular" or not any(file.name.endswith(".gz") for file in landed.files):
        return landed.folder
    root = temp / f"unpacked-{landed.extract_id}"
    shutil.rmtree(root, ignore_errors=True)
    left = contract.limits.largest_unpacked
    for file in landed.files:
        place = root / file.name
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if file.name.endswith(".gz"):
            reading = Unpacking(file.name, left)
            with full_disk_is_a_fault(temp), place.open("wb") as writer:
                writer.writelines(reading.chunks(landed.folder / file.name))
            left = reading.left
        else:
            place.symlink_to(landed.folder / file.name)
    return root


def stage(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    table: str,
    *,
    files: Sequence[LandedFile],
    extract_id: str,
    root: Path,
    sources: Path,
    records: Connection,
) -> str:
    """Open the files as staged rows of a table; return the relation as it stands after FROM: a name or a subquery."""
    if contract.kind == "fhir":
        from integrations.fhir.staging import stage as stage_fhir

        sent, deleted = _sent_and_deleted(files, root)
        view = _view(contract, table, sources)
        return stage_fhir(connection, table, sent, view, root=root, deleted=deleted, limits=contract.limits)
    paths = [root / file.name for file in files]
    if contract.kind == "dicomweb":
        from integrations.dicomweb.staging import stage_studies

        return stage_studies(connection, contract, table, paths, root)
    if contract.kind == "hl7v2":
        from integrations.hl7v2.stage import stage_messages

        known = partial(ledger.known_messages, records, contract.source, extract_id)
        return stage_messages(connection, paths, contract, root=root, extract_id=extract_id, known=known)[table]
    from integrations.tabular.staging import stage_tabular

    return stage_tabular(connection, contract, table, folder=sources / contract.source, root=root)


def stage_sound(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    table: str,
    *,
    files: Sequence[LandedFile],
    root: Path,
    sources: Path,
) -> str | None:
    """Return a cheaper form of the relation that `stage` has opened, where the door has one for files that look sound.

    Reading it raises InvalidInputException where they are not: then the other one is to be read.
    """
    if contract.kind != "fhir":
        return None
    from integrations.fhir.staging import stage_sound as stage_sound_fhir

    sent, deleted = _sent_and_deleted(files, root)
    view = _view(contract, table, sources)
    return stage_sound_fhir(connection, table, sent, view, root=root, deleted=deleted, limits=contract.limits)


def _sent_and_deleted(files: Sequence[LandedFile], root: Path) -> tuple[list[Path], list[Path]]:
    sent = [root / file.name for file in files if not is_deleted(file.name)]
    return sent, [root / file.name for file in files if is_deleted(file.name)]


def sent_records(
    kind: str, path: Path, numbers: Collection[int], *, is_named_by_file: bool = False
) -> Iterator[SentRecord]:
    """The records of one file with these numbers, in their order.

    is_named_by_file: whose record it is stands in the name of the file alone, so that is a part of its identity.
    """
    if kind in OF_LINES:
        from integrations.fhir.lines import sent_lines

        yield from sent_lines(path, numbers)
        return
    if kind == "hl7v2":
        from integrations.hl7v2.segments import sent_segments

        yield from sent_segments(path, numbers)
        return
    from integrations.tabular.lines import record_bytes

    owner = f"{path.name.split('.')[0]}\0".encode() if is_named_by_file else b""
    for number, raw in sorted(record_bytes(path, numbers).items()):
        yield sent_record(number, raw, owner + raw)


def record_count(file: LandedFile) -> int:
    """How many records a file that feeds no table is counted as: its lines, or one when it has none, as Parquet."""
    return file.lines or int(file.bytes > 0)


def line_count(kind: str, files: Sequence[LandedFile]) -> int | None:
    """How many records landing counted, where a record is a line; null where only the door can tell."""
    return sum(file.lines for file in files) if kind in OF_LINES else None


def _view(contract: Contract, table: str, sources: Path) -> dict[str, Any] | None:
    name = contract.tables[table].view
    if name is None:
        return None
    path = sources / contract.source / f"{name}.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise WrongUsage(
            f"view {name} cannot be read", where=str(path), to_do="name a ViewDefinition of the source"
        ) from error
