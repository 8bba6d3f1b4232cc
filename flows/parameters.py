"""Parameters as the Prefect form shows them: choices instead of free text, and what each one means."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from integrations.contract import known_sources
from models.catalog import use_case_names


def described(what: str, **more: Any) -> Any:
    """Say what a parameter is for: Prefect keeps the schema of a field, but not its description."""
    return Field(json_schema_extra={"description": what, **more})


UseCaseName = Annotated[
    str,
    described("Which question is asked of the patients.", enum=list(use_case_names())),
]
SourceName = Annotated[str, described("Which feed the extract comes from.", enum=list(known_sources()))]
AsOf = Annotated[
    datetime | None, described("The instant to run for, with offset. Empty: now. Rows after it are not seen.")
]
Version = Annotated[int | None, described("A registered version. Empty: the champion.", minimum=1)]
