"""The default target: transaction Bundles in a folder, for an interface engine to pick up."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from integrations.durable import write_whole
from integrations.fhir.risk_assessment import Resource
from integrations.write_back.target import Delivery, Outgoing


@dataclass(frozen=True, kw_only=True)
class FileTarget:
    """Writes each batch as one file that is there whole or not at all, and is never changed."""

    folder: Path
    as_of: datetime  # stands in the file names, so that they sort by time

    @property
    def name(self) -> str:
        return "file"

    def send(self, batch: Sequence[Outgoing]) -> list[Delivery]:
        """Write what is not yet in a file of this folder, and say of each in which file it is."""
        try:
            return self._send(batch)
        except OSError as error:
            reason = f"the folder cannot be used: {error.strerror}"
            return [Delivery(status="failed", reason=reason, is_target_down=True) for _ in batch]

    def _send(self, batch: Sequence[Outgoing]) -> list[Delivery]:
        locations = self._already_there([each for each in batch if each.may_be_there])
        fresh = [each for each in batch if each.identifier not in locations and not each.void_because]
        if fresh:
            name = self._write(bundle(fresh))
            locations |= {each.identifier: name for each in fresh}
        return [_delivery(each, locations.get(each.identifier)) for each in batch]

    def _already_there(self, doubtful: Sequence[Outgoing]) -> dict[str, str]:
        found: dict[str, str] = {}
        for path in sorted(self.folder.glob("*.json")) if doubtful else ():
            content = path.read_bytes()
            found |= {each.identifier: path.name for each in doubtful if each.identifier.encode() in content}
        return found

    def _write(self, content: Resource) -> str:
        data = json.dumps(content, allow_nan=False, indent=1).encode()
        name = f"{self.as_of.astimezone(UTC):%Y%m%dT%H%M%SZ}-{hashlib.sha256(data).hexdigest()[:12]}.json"
        write_whole(self.folder / name, data)
        return name


def _delivery(outgoing: Outgoing, location: str | None) -> Delivery:
    if location is None:
        return Delivery(status="void", reason=outgoing.void_because)
    return Delivery(status="acknowledged", location=location)


def bundle(batch: Sequence[Outgoing]) -> Resource:
    """Return a transaction that creates each RiskAssessment unless one with its identifier is already there."""
    return {"resourceType": "Bundle", "type": "transaction", "entry": [_entry(each) for each in batch]}


def _entry(outgoing: Outgoing) -> Resource:
    return {
        "fullUrl": f"urn:uuid:{outgoing.identifier}",
        "resource": outgoing.resource,
        "request": {"method": "POST", "url": "RiskAssessment", "ifNoneExist": outgoing.query},
    }
