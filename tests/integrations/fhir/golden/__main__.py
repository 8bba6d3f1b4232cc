"""Write the SQL of our views anew; what changed is then reviewed in the difference."""

from pathlib import Path

from integrations.fhir.staging import staged_sql
from integrations.tables import LOAD_ORDER

for table in LOAD_ORDER:
    (Path(__file__).parent / f"{table}.sql").write_text(staged_sql(table), encoding="utf-8")
