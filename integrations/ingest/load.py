"""One table of one extract: from staged rows to versions in the lake, with every record accounted for."""

from collections import Counter
from dataclasses import dataclass, replace

import duckdb

from integrations.codes import CodeMeaning
from integrations.errors import NotInOrder
from integrations.full_disk import full_disk_is_a_fault
from integrations.ingest.batches import suspect_batches
from integrations.ingest.judge import judge, make_code_meaning
from integrations.ingest.judgement import Judgement
from integrations.ingest.known import find_encounter_end, find_unknown, remember
from integrations.ingest.outcomes import find_outcomes, keep_aside
from integrations.ingest.places import TableAccount
from integrations.ingest.releases import find_superseded
from integrations.ingest.retried import keep_retried
from integrations.ingest.versions import find_chains, find_set_aside, make_fresh
from integrations.ingest.withdrawals import withdraw_known
from integrations.lake import Lake


@dataclass(frozen=True, kw_only=True)
class Writing:
    """Where versions go: the lake, under the name of the extract that runs now; or nowhere, in a dry run."""

    lake: Lake
    run_extract_id: str
    dry_run: bool


def load_table(
    connection: duckdb.DuckDBPyConnection,
    staged: str,
    judgement: Judgement,
    codes: tuple[CodeMeaning, ...],
    extract_id: str,
    writing: Writing,
    expected: int | None = None,
    sound: str | None = None,
) -> TableAccount:
    """Judge the staged rows, write what is new, and give the account; `expected` is how many records there must be.

    `sound`: a cheaper form of `staged`, see doors.stage_sound.

    Raises NotInOrder, before anything of the table is written, when the account does not balance.
    """
    forget_last(connection)
    judge_rows(connection, staged, judgement, codes, sound)
    find_set_aside(connection)
    find_chains(connection, judgement, extract_id)
    counts = find_outcomes(connection)
    account = _account(counts, judgement, extract_id, expected)
    keep_aside(connection, judgement, extract_id)
    make_fresh(connection, judgement, extract_id)
    written = _write(connection, judgement, writing)
    remember(connection, judgement.table, "fresh")
    find_superseded(connection, judgement, extract_id)
    return replace(account, rows_written=written)


def forget_last(connection: duckdb.DuckDBPyConnection) -> None:
    """Give back the room of what was loaded before: DuckDB reuses that of a file only after a checkpoint."""
    for name in ("judged", "chain", "outcome"):
        connection.execute(f"drop table if exists {name}")
    connection.execute("checkpoint")


def judge_rows(
    connection: duckdb.DuckDBPyConnection,
    staged: str,
    judgement: Judgement,
    codes: tuple[CodeMeaning, ...],
    sound: str | None,
) -> None:
    """Make `judged`, complete: each row with what speaks against it, what it waits for, and when it was known."""
    if judgement.table == "observation":
        make_code_meaning(connection, codes)
    judge(connection, staged, judgement, sound)
    if judgement.table == "observation":
        suspect_batches(connection)
    if judgement.released_at:
        keep_retried(connection, judgement)
    if judgement.is_history and "encounter_ended_at" in judgement.rule.history.instants:
        find_encounter_end(connection, judgement)
    find_unknown(connection, judgement.table, judgement.contract)
    withdraw_known(connection, judgement)


def _account(counts: Counter[str], judgement: Judgement, extract_id: str, expected: int | None) -> TableAccount:
    lost = counts.pop("lost", 0)
    received = sum(counts.values()) if expected is None else expected
    account = TableAccount(received=received, **counts)
    if lost or not account.balances:
        raise NotInOrder(
            f"the account of {judgement.table} does not balance: of {received} records {sum(counts.values())} found",
            where=extract_id,
            to_do="nothing was committed; report this with the extract id",
        )
    return account


def _write(connection: duckdb.DuckDBPyConnection, judgement: Judgement, writing: Writing) -> int:
    if writing.dry_run:
        [(count,)] = connection.execute("select count(*) from fresh").fetchall()
        return int(count)
    lake, name = writing.lake, writing.run_extract_id
    with full_disk_is_a_fault(lake.root):
        return lake.write(connection, judgement.table, "select * from fresh", extract_id=name)
