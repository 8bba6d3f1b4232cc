"""The operational database: what happened, what was decided, what was concluded. SQLite or Postgres."""

from integrations.records.database import Records, open_records
from integrations.records.rows import Every, in_slices, insert_new, insert_rows

__all__ = ["Every", "Records", "in_slices", "insert_new", "insert_rows", "open_records"]
