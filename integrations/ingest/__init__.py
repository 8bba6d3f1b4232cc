"""From what arrived to canonical tables: every record is mapped, unchanged, out of scope, waiting or quarantined."""

from integrations.ingest.places import IngestPlaces, IngestResult, SetAside, TableAccount, UndecidedCode
from integrations.ingest.reasons import REASONS
from integrations.ingest.report import quarantine_report, tables_report
from integrations.ingest.retry import RetryResult, retry
from integrations.ingest.run import ingest

__all__ = [
    "REASONS",
    "IngestPlaces",
    "IngestResult",
    "RetryResult",
    "SetAside",
    "TableAccount",
    "UndecidedCode",
    "ingest",
    "quarantine_report",
    "retry",
    "tables_report",
]
