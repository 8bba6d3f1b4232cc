"""The end of the audit chain, written beside the records: an older database put in their place does not reach it.

Who can write to the database but not to ROUNDS_HOME cannot cut the chain unnoticed. Who can write to both can; against
that, people write the head down elsewhere (`rounds audit verify` prints it) and compare it with `--anchor`.
"""

from pathlib import Path

from sqlalchemy import Connection, select

from integrations.durable import write_whole
from integrations.records.audit import GENESIS, Anchor
from integrations.records.schema import audit

FILE_NAME = "audit_head"


def kept_head(file: Path) -> Anchor | None:
    """The head that was kept, or None before the first entry. What cannot be read is a head that no chain has."""
    return Anchor.read(file.read_text(encoding="utf-8", errors="replace")) if file.exists() else None


def keep_head(file: Path, head: Anchor) -> None:
    """Keep the new head, for the owner alone."""
    write_whole(file, f"{head}\n".encode())


def is_in_chain(connection: Connection, anchor: Anchor | None) -> bool:
    """Whether the chain still has this end, so that a newer one may take its place. One that is lost stays as proof."""
    if anchor is None or anchor.hash == GENESIS:
        return True
    kept = connection.execute(select(audit.c.hash).where(audit.c.seq == anchor.seq)).scalar_one_or_none()
    return bool(kept == anchor.hash)
