"""SQL on FHIR v2: ViewDefinitions compiled to DuckDB SQL."""

from integrations.fhir.sql_on_fhir.compiler import CompiledView, compile_view
from integrations.fhir.sql_on_fhir.errors import InvalidView
from integrations.fhir.sql_on_fhir.runner import run_view

__all__ = ["CompiledView", "InvalidView", "compile_view", "run_view"]
