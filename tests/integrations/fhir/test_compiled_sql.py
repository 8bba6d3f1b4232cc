"""The SQL of our views as it was reviewed, in golden/. `python -m tests.integrations.fhir.golden` writes it anew."""

from pathlib import Path

import pytest

from integrations.fhir.staging import staged_sql
from integrations.tables import LOAD_ORDER

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("table", LOAD_ORDER)
def test_a_view_compiles_to_the_sql_that_was_reviewed(table: str) -> None:
    assert staged_sql(table) == (GOLDEN / f"{table}.sql").read_text(encoding="utf-8")
