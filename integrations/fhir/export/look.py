"""A first look at a feed's server, before anything is taken in: what it says it can, and a first page of each type."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integrations.asking import Export
from integrations.fhir.export.pages import NoBundle, read_page
from integrations.fhir.export.search import can, capabilities, resources_named, resources_of
from integrations.web.ask import Server, objects
from integrations.web.origin import origin

R4 = ("4.0.", "4.3.")
SAMPLE = 200  # resources of each type
EXPORT_OF = {"system": None, "patient": "Patient", "group": "Group"}


@dataclass(frozen=True, kw_only=True)
class ServerLook:
    """What a server says of itself. `doubts`: what the contract asks for and the server does not say that it can."""

    address: str
    software: str
    fhir_version: str
    has_token: bool
    doubts: tuple[str, ...]


def look_at(server: Server, export: Export) -> ServerLook:
    """Read the CapabilityStatement and get a token. Raises Refused and EnvironmentFault when either cannot be had."""
    said = capabilities(server).json()
    if server.tokens:
        server.tokens.current()
    software = said.get("software")
    return ServerLook(
        address=origin(server.base),
        software=str(software.get("name", "")) if isinstance(software, dict) else "",
        fhir_version=str(said.get("fhirVersion", "")),
        has_token=server.tokens is not None,
        doubts=tuple(doubts(said, export)),
    )


def sample(server: Server, export: Export, folder: Path) -> tuple[str, ...]:
    """Write the first page of each type, one file each, and return the types that the server will not be searched for.

    A sample is no export: patients and stays may be missing of what refers to them.
    """
    left_out = []
    for kind in export.types:
        answer = server.ask("GET", server.base.join(kind).copy_merge_params({"_count": str(SAMPLE)}))
        try:
            lines = resources_of(read_page(answer.content)) if answer.status == 200 else None
        except NoBundle:
            lines = None
        if lines is None:
            left_out.append(kind)
            continue
        (folder / f"{kind}.000.ndjson").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return tuple(left_out)


def doubts(said: dict[str, Any], export: Export) -> list[str]:
    """What the contract asks for and a CapabilityStatement does not name, in sentences."""
    found = []
    if not str(said.get("fhirVersion", "")).startswith(R4):
        found.append("it does not speak FHIR R4: nothing that it sends can be mapped")
    if export.method == "bulk" and not _has_export(said, EXPORT_OF[export.scope]):
        found.append(
            f"it names no bulk export of the {export.scope}: ask for it, or set method: search in the contract"
        )
    if export.method == "search" and not export.overlap:
        found.append("a search shows no one moment: what is written late is missed without an overlap, such as 1h")
    for kind in export.types:
        if not can(said, kind, "search-type") and not can(said, kind, "read"):
            found.append(f"it does not name {kind}: leave it out of types, or ask for the scope")
        elif export.method == "search" and not can(said, kind, "history-type"):
            found.append(f"it keeps no history of {kind}: what is deleted there stays known here")
    return found


def _has_export(said: dict[str, Any], of: str | None) -> bool:
    """Whether an operation by the name of an export is offered by the server, or by a type of resource."""
    places = [each for each in resources_named(said) if each.get("type") == of] if of else objects(said.get("rest"))
    operations = [each for place in places for each in objects(place.get("operation"))]
    return any("export" in str(each.get("name")) or "export" in str(each.get("definition")) for each in operations)
