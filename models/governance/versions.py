"""The registered versions of a use case's model."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from integrations.errors import Refused
from integrations.records.schema import model_version

SERVICE = "service:train"  # who trains in a scheduled run; nobody can be registered by this name
UNNAMED = "unnamed"  # who trained by hand and gave no name; nor by this one


@dataclass(frozen=True, kw_only=True)
class Version:
    """One trained model as it was registered."""

    use_case: str
    version: int
    trained_at: datetime
    trained_by: str
    manifest_hash: str
    report_hash: str
    gate: str
    reasons: Sequence[str]

    @property
    def is_trainer_known(self) -> bool:
        """False when somebody trained it by hand and gave no name."""
        return self.trained_by != UNNAMED


_COLUMNS = [model_version.c[name] for name in Version.__dataclass_fields__]


def all_versions(connection: Connection, use_case: str) -> list[Version]:
    """Every version of a use case, oldest first."""
    query = select(*_COLUMNS).where(model_version.c.use_case == use_case).order_by(model_version.c.version)
    return [Version(**row._asdict()) for row in connection.execute(query)]


def find_version(connection: Connection, use_case: str, version: int) -> Version:
    """One version, or Refused with those that there are."""
    known = {found.version: found for found in all_versions(connection, use_case)}
    if version not in known:
        there_are = ", ".join(str(number) for number in known) or "none"
        raise Refused(f"{use_case} has no version {version}", to_do=f"choose among: {there_are}")
    return known[version]
