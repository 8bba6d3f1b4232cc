"""The page of one source, for those who answer for a feed and those who judge what comes of it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from integrations.asking import Export, Qido
from integrations.code_list import code_sections
from integrations.codes import load_codes
from integrations.comments import Place, comments
from integrations.contract import FILE_NAME, SOURCES, Contract, load_contract
from integrations.contract_parts import History, TableContract
from integrations.markdown import code, codes, facts, link, page, plain, span, table
from integrations.tables import TABLES

NOTES = "notes.md"
KINDS = {
    "fhir": "FHIR R4, a resource a line",
    "hl7v2": "HL7 v2 messages",
    "tabular": "tables, CSV or Parquet",
    "dicomweb": "DICOMweb QIDO-RS, studies of a PACS without their images",
}
KNOWN_FROM = {"always": "always", "encounter_ended_at": "the end of the stay it belongs to"}
DAY_ALONE = {"start_of_day": "the start of that day", "end_of_day": "the end of that day"}


def source_page(source: str, sources: Path = SOURCES) -> str:
    """Return the page of one source. Raises WrongUsage for what its contract or codes may not say."""
    contract = load_contract(source, sources)
    folder = sources / source
    said = comments(folder / FILE_NAME)
    notes = f"What people decided when they read it, and why: {link(NOTES, NOTES)}."
    return page(
        source,
        f"{link(FILE_NAME, FILE_NAME)} and {link('codes.csv', 'codes.csv')}",
        plain(said.get((), "")),
        notes if (folder / NOTES).exists() else "",
        facts(_feed(contract, said)),
        "## What it fills",
        _fills(contract),
        "## What counts as known in the past",
        "What happened before go-live is history: each fact counts as known from the instant given here.",
        _history(contract, said),
        *_files(contract),
        *code_sections(load_codes(folder)),
    )


def _feed(contract: Contract, said: Mapping[Place, str]) -> Iterator[tuple[str, str]]:
    """Say who answers for the feed, how it speaks, and when."""
    live = f"{contract.go_live_at:%Y-%m-%d %H:%M %Z}" if contract.go_live_at else "never: all that it sends is history"
    daily = f"as of extracts at {contract.history_extract_at:%H:%M} each day" if contract.history_extract_at else ""
    yield "Owner", plain(contract.owner)
    yield "Site", code(contract.site_id)
    yield "Kind", KINDS[contract.kind]
    yield "Time zone", plain(contract.time_zone)
    yield "Go-live", live
    yield "Lateness", f"{span(contract.lateness)}: how late it may still report"
    yield "History", f"{daily}: a fact counts from the one that would have brought it" if daily else ""
    yield "Fetched", _fetched(contract.export) if contract.export else _asked(contract.qido) if contract.qido else ""
    yield "Dates", "shifted per patient, so none is judged by today's date" if contract.is_date_shifted else ""
    yield "Authoritative for", codes(contract.is_authoritative_for)
    if contract.encounters_of != contract.source:
        yield "Stays", f"those of {_other(contract.encounters_of)}{_by_number(contract)}"
    if contract.patients_of:
        system = code(contract.patients_of.system)
        others = f"those whom {_other(contract.patients_of.source)} has linked to an identifier of {system}"
        yield "Patients", f"its own, by their identifier of {system}" if contract.has_own_patients else others
        yield (
            "Their authority",
            f"as that system, or written {_authorities(contract)}" if _authorities(contract) else "",
        )
    yield "One person is", _persons(contract, said)


def _authorities(contract: Contract) -> str:
    named = contract.patients_of.assigning_authorities if contract.patients_of else ()
    return ", ".join(code(name) if name else "as nothing" for name in named)


def _persons(contract: Contract, said: Mapping[Place, str]) -> str:
    """Say by which identifier systems patients are linked, and why by these."""
    why = plain(said.get(("person_systems",), ""))
    systems = codes(contract.person_systems)
    return f"who shares an identifier of {systems}{f' ({why})' if why else ''}" if systems else ""


def _other(source: str) -> str:
    return link(source, f"../{source}/README.md")


def _fills(contract: Contract) -> str:
    """Say for each canonical table where its rows come from."""
    rows = [
        (
            link(name, f"../../README.md#{name}"),
            plain(TABLES[name].grain),
            codes(each.files),
            code(TABLES[name].key),
            _mapping(contract, name, each),
        )
        for name, each in contract.tables.items()
    ]
    return table(("Table", "One fact is", "Files", "Key", "Mapping"), rows)


def _mapping(contract: Contract, name: str, each: TableContract) -> str:
    if each.mapping:
        return link(each.mapping, each.mapping)
    if each.view:
        return link(f"{each.view}.json", f"{each.view}.json")
    if contract.kind == "fhir":
        return link(f"{name}.json", f"../../fhir/views/{name}.json")
    if contract.kind == "dicomweb":
        return link(f"{name}.sql", f"../../dicomweb/staged/{name}.sql")
    return link("hl7v2", "../../hl7v2")


def _fetched(export: Export) -> str:
    """Say what is asked of the feed's server."""
    how = f"bulk export of the {export.scope}" if export.method == "bulk" else "paged search by `_lastUpdated`"
    overlap = f", from {span(export.overlap)} before the last one ended" if export.overlap else ""
    filters = f", only {codes(export.type_filters)}" if export.type_filters else ""
    return f"{how}: {codes(export.types)}{filters}{overlap}"


def _asked(qido: Qido) -> str:
    """Say what is asked of a PACS."""
    series = "with their series" if qido.asks_series else "without their series"
    first = f", none before {qido.first_date}" if qido.first_date else ""
    return f"studies by `StudyDate`, {series}, from {span(qido.overlap)} before the last time{first}"


def _by_number(contract: Contract) -> str:
    """Say how a study names its stay."""
    if contract.kind != "dicomweb":
        return ""
    return ", by `AccessionNumber`" if contract.is_accession_number_of_stay else "; a study names none"


def _history(contract: Contract, said: Mapping[Place, str]) -> str:
    """Give the history rule of each table, with the reason that stands above it in the contract."""
    rows = [
        (
            link(name, f"../../README.md#{name}"),
            _known_from(each.history),
            code(each.history.ended) if each.history.ended else "",
            "; ".join(f"{code(column)}: {DAY_ALONE[day]}" for column, day in each.dates_alone.items()),
            plain(said.get(("tables", name, "history"), "")),
            codes(each.not_told),
        )
        for name, each in contract.tables.items()
    ]
    return table(("Table", "Known from", "Its end known from", "A date alone stands for", "Why", "Not told"), rows)


def _known_from(history: History) -> str:
    first = ", else ".join(KNOWN_FROM.get(instant, code(instant)) for instant in history.instants)
    return f"{first} + {span(history.plus)}" if history.plus else first


def _files(contract: Contract) -> Iterator[str]:
    """Say by which name the mapping sees each file, and which files fill no table."""
    if contract.inputs:
        yield "## What the mapping sees"
        yield "Each of these as one relation of texts; a null is nothing sent."
        yield table(("Relation", "Files", "Form", "Null is also written"), _inputs(contract))
    if contract.files_out_of_scope:
        yield "## Files that fill no table"
        yield table(("Files", "Why"), [(code(name), plain(why)) for name, why in contract.files_out_of_scope.items()])


def _inputs(contract: Contract) -> Iterator[tuple[str, ...]]:
    for name, each in contract.inputs.items():
        usual = (each.delimiter, each.encoding) == (",", "utf-8")
        form = "" if usual else f"{code(each.delimiter)}, {each.encoding}"
        yield code(name), codes(each.files), form, codes(word for word in each.null_words if word)
