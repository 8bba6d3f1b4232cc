"""What is asked of a server: whose resources, which types, and since when."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from integrations.asking import Export
from integrations.errors import WrongUsage


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One export of a feed. `since`: only what has changed from then on; null for everything."""

    export: Export
    group_id: str = ""
    since: datetime | None = None

    def digest(self, base: httpx.URL) -> str:
        """A hash of what is asked for, but for the time: another server, scope, type or filter is another question."""
        export = self.export
        asked = (str(base), export.scope, self.group_id, sorted(export.types), sorted(export.type_filters))
        return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]

    def kick_off(self, base: httpx.URL) -> httpx.URL:
        """The address that starts a bulk export. Raises WrongUsage when a group is to be exported and none is named."""
        if self.export.scope == "group" and not self.group_id:
            raise WrongUsage(
                "the contract exports a group, and the endpoint names none", to_do="set group_id of the endpoint"
            )
        path = {"system": "$export", "patient": "Patient/$export", "group": f"Group/{self.group_id}/$export"}
        asked = {"_type": ",".join(self.export.types)}
        if self.since:
            asked["_since"] = instant(self.since)
        if self.export.type_filters:
            asked["_typeFilter"] = ",".join(self.export.type_filters)
        return base.join(path[self.export.scope]).copy_merge_params(asked)


def instant(moment: datetime) -> str:
    """A FHIR instant in UTC; of a fraction no more than is there."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
