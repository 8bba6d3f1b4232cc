"""What a listener has heard and an ingest takes: the sealed files of an inbox, each until it is committed."""

from pathlib import Path

from integrations.hl7v2.inbox import sealed_files
from integrations.ingest import ledger
from integrations.landing import read_landed, sha256_of
from integrations.records import Records


def heard(source: str, landing: Path, records: Records) -> Path | None:
    """The folder of what was heard and waits to be taken in; null when there is nothing.

    What is committed already is dropped first: a crash came between that commit and this.
    """
    drop_taken_in(source, landing, records)
    files = sealed_files(source, landing)
    return files[0].parent if files else None


def drop_taken_in(source: str, landing: Path, records: Records) -> None:
    """Remove from the inbox what lies in landing as part of the newest committed extract."""
    with records.read() as connection:
        extract_id = ledger.newest_extract(connection, source)
    files = sealed_files(source, landing)
    if extract_id is None or not files:
        return
    landed = {file.name: file.sha256 for file in read_landed(landing / source / extract_id).files}
    for path in files:
        if landed.get(path.name) == sha256_of(path):
            path.unlink()
