"""Open the operational database so that what it has acknowledged survives a power cut."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

from integrations.errors import EnvironmentFault, NotInOrder, WrongUsage
from integrations.full_disk import full_disk_is_a_fault
from integrations.records.audit import NEW_HEAD, Anchor
from integrations.records.kept_head import is_in_chain, keep_head, kept_head

CURRENT_REVISION = "0006"  # the newest file of migrations/versions
BUSY_TIMEOUT_MS = 30_000


@dataclass(frozen=True)
class Records:
    """The open database. In SQLite one writes at a time; a reader sees one moment."""

    engine: Engine
    head_file: Path | None = None  # where the end of the audit chain is kept as well; see kept_head.py

    @contextmanager
    def begin(self, *, dry_run: bool = False) -> Iterator[Connection]:
        """Write in one transaction: all of it or, on an exception or in a dry run, nothing.

        Raises EnvironmentFault when the disk is full.
        """
        with (
            full_disk_is_a_fault(Path(self.engine.url.database or "")),
            self.engine.connect() as connection,
            connection.begin() as transaction,
        ):
            connection.info.pop(NEW_HEAD, None)
            yield connection
            if dry_run:
                transaction.rollback()
                return
            head: Anchor | None = connection.info.pop(NEW_HEAD, None)
            is_to_be_kept = head is not None and is_in_chain(connection, self.kept_head())
        if self.head_file and head and is_to_be_kept:
            keep_head(self.head_file, head)

    def kept_head(self) -> Anchor | None:
        """The end of the audit chain as it is kept beside the records, if it is."""
        return kept_head(self.head_file) if self.head_file else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read one consistent state; a write is refused by the database."""
        with self.engine.connect() as connection:
            if self.is_sqlite:
                connection = connection.execution_options(only_reads=True)
            else:
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection

    @property
    def is_sqlite(self) -> bool:
        """SQLite is a file of ours; Postgres has its own keeper."""
        return self.engine.dialect.name == "sqlite"

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()


def open_records(url: str, head_file: Path | None = None) -> Records:
    """Open the records at a SQLAlchemy URL; a new or older database is brought to the current tables first.

    Raises WrongUsage for another kind of database, EnvironmentFault when it cannot be reached, NotInOrder when a newer
    Rounds has changed it.
    """
    address = _address(url)
    where = address.render_as_string(hide_password=True)
    engine = create_engine(address, json_serializer=_json, hide_parameters=True)
    try:
        if engine.dialect.name == "sqlite":
            _prepare_sqlite(engine, Path(address.database or ""))
        if _needs_migration(engine, where):
            migrate(engine)
    except NotInOrder:
        engine.dispose()
        raise
    except (DatabaseError, OSError) as error:
        engine.dispose()
        reason = str(error.orig).strip() if isinstance(error, DatabaseError) else str(error)
        to_do = "check ROUNDS_RECORDS_URL, the server and the rights on the file"
        raise EnvironmentFault(f"the records cannot be opened: {reason}", where=where, to_do=to_do) from error
    return Records(engine, head_file)


def migrate(engine: Engine) -> None:
    """Bring the tables to the current revision in one transaction; two that start at once do it once."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("select pg_advisory_xact_lock(hashtext('rounds migrate'))"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_wal_safe(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite is free of the WAL-reset bug, by which two connections can lose a commit."""
    backports = {(3, 44): 6, (3, 50): 7}
    return version >= (3, 51, 3) or version[2] >= backports.get(version[:2], 10_000)


def _address(url: str) -> URL:
    to_do = "give sqlite:///FILE or postgresql://USER@HOST/NAME"
    try:
        address = make_url(url)
    except ArgumentError:
        raise WrongUsage("records_url is not a database URL", to_do=to_do) from None
    backend = address.get_backend_name()
    if backend == "postgresql":
        return address.set(drivername="postgresql+psycopg")
    if backend != "sqlite" or not address.database or address.database == ":memory:":
        raise WrongUsage(f"records cannot rest in {backend} {address.database or 'memory'}", to_do=to_do)
    return address


def _prepare_sqlite(engine: Engine, file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    file.chmod(0o600)
    journal = "wal" if is_wal_safe(sqlite3.sqlite_version_info[:3]) else "delete"

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are opened below, not guessed by the driver
        for setting in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "page_size=8192",  # of a new file: an index of many scores has half as many pages to write anew
            f"journal_mode={journal}",
            "synchronous=full",
            "cache_size=-64000",  # KiB a connection at most: ids of scores are spread over all pages of their index
            "foreign_keys=on",
        ):
            connection.execute(f"pragma {setting}")

    def open_transaction(connection: Connection) -> None:
        only_reads = connection.get_execution_options().get("only_reads", False)
        connection.exec_driver_sql(f"pragma query_only={'on' if only_reads else 'off'}")
        # "immediate": what a writer reads stays true until it commits
        connection.exec_driver_sql("begin" if only_reads else "begin immediate")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", open_transaction)


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def _needs_migration(engine: Engine, where: str) -> bool:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return True
        revision = connection.execute(text("select version_num from alembic_version")).scalar() or ""
    if revision > CURRENT_REVISION:
        what = f"the records are at revision {revision}, this Rounds knows {CURRENT_REVISION}"
        raise NotInOrder(what, where=where, to_do="run the newer Rounds that changed them")
    return bool(revision != CURRENT_REVISION)
