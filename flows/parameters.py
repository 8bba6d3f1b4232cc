"""Parameters as the Prefect form shows them: choices instead of free text, and what each one means."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from integrations.contract import known_sources
from models.catalog import use_case_names

UseCaseName = Annotated[
    str,
    Field(description="Which question is asked of the patients.", json_schema_extra={"enum": list(use_case_names())}),
]
SourceName = Annotated[
    str, Field(description="Which feed the extract comes from.", json_schema_extra={"enum": list(known_sources())})
]
AsOf = Annotated[
    datetime | None, Field(description="The instant to run for, with offset. Empty: now. Rows after it are not seen.")
]
Version = Annotated[int | None, Field(description="A registered version. Empty: the champion.", ge=1)]
