"""A new source: its folder in integrations/sources, made from integrations/source_templates, whole or not at all.

It is made beside its place, under a name that starts with a dot, and moved there once its contract, its codes and its
page have been read as those of any other source are.
"""

import csv
import io
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from string import Template
from zoneinfo import available_timezones

import yaml

from integrations.codes import CODE_COLUMNS, load_analytes
from integrations.contract import Contract, is_time_zone, known_sources, load_contract
from integrations.durable import sync_folder, write_whole
from integrations.errors import Refused, WrongUsage, did_you_mean
from integrations.source_page import source_page
from integrations.tables import TABLES

TEMPLATES = Path(__file__).resolve().parent / "source_templates"
LOINC_SYSTEM = {"fhir": "http://loinc.org", "hl7v2": "LN", "tabular": "http://loinc.org"}
KINDS = (*LOINC_SYSTEM, "dicomweb")
OF_OTHERS = {"hl7v2": ("observation",), "dicomweb": ("imaging_study",)}  # kinds that bring facts of another's patients


@dataclass(frozen=True, kw_only=True)
class Feed:
    """One feed to be made. `others`: the feed whose patients and stays it speaks of."""

    source: str
    kind: str
    system: str  # by which its patients are one person
    others: str
    authoritative: tuple[str, ...]


def new_sources(
    name: str, *, sources: Path, kind: str | None, owner: str | None, site: str | None, time_zone: str
) -> list[Contract]:
    """Make the folder of one feed in `sources`, or without `kind` one of each kind that know the same patients.

    Raises WrongUsage for what may not stand in a contract, Refused where a folder exists; then nothing has changed.
    """
    owner = f"data owner of {name}" if owner is None else owner
    site = name if site is None else site
    _refuse_wrong(name, kind, owner, site, time_zone)
    feeds = [_single(name, kind, site, sources)] if kind else _one_of_each_kind(name)
    for feed in feeds:
        if os.path.lexists(sources / feed.source):
            raise Refused(
                f"{feed.source} exists already",
                where=str(sources / feed.source),
                to_do="choose another name, or go on with what is there",
            )
    with _beside(sources, {feed.others for feed in feeds}) as staged:
        for feed in feeds:
            texts = {"owner": _scalar(owner), "site": _scalar(site), "time_zone": _scalar(time_zone)}
            _fill(staged / feed.source, feed, texts, _codes(feed.kind, owner))
        for feed in feeds:
            write_whole(staged / feed.source / "README.md", source_page(feed.source, staged).encode())
        contracts = [load_contract(feed.source, staged) for feed in feeds]
        _move([feed.source for feed in feeds], staged, sources)
    return contracts


def _refuse_wrong(name: str, kind: str | None, owner: str, site: str, time_zone: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        what, how = "the name is no plain identifier", "begin with a small letter; small letters, digits and _ follow"
        raise WrongUsage(what, where="NAME", to_do=f"{how}, such as north_lis")
    if kind is not None and kind not in KINDS:
        raise WrongUsage(f"{kind} is no kind of feed", where="--kind", to_do=did_you_mean(kind, KINDS))
    if not is_time_zone(time_zone):
        near = get_close_matches(time_zone, available_timezones(), 1)
        to_do = f"did you mean {near[0]}?" if near else "name one of the tz database, such as America/Chicago"
        raise WrongUsage(f"{time_zone} is no time zone", where="--time-zone", to_do=to_do)
    for option, text in (("--owner", owner), ("--site", site)):
        if not text.strip() or not text.isprintable():
            raise WrongUsage(f"{option} is no line of text", where=option, to_do="give a few words on one line")


def _single(name: str, kind: str, site: str, sources: Path) -> Feed:
    """A feed alone is believed in all that it sends."""
    if kind in OF_OTHERS:
        known = _feed_of_patients(site, sources, kind)
        system = known.person_systems[0]
        return Feed(source=name, kind=kind, system=system, others=known.source, authoritative=OF_OTHERS[kind])
    return Feed(source=name, kind=kind, system=_example_system(name), others=name, authoritative=tuple(TABLES))


def _one_of_each_kind(name: str) -> list[Feed]:
    """The laboratory is believed in results, the PACS in studies, the EHR in all else, the warehouse in nothing."""
    of_others = {table for tables in OF_OTHERS.values() for table in tables}
    believed = {"fhir": tuple(table for table in TABLES if table not in of_others), **OF_OTHERS}
    ehr, system = f"{name}_fhir", _example_system(name)
    return [
        Feed(
            source=f"{name}_{kind}",
            kind=kind,
            system=system,
            others=ehr if kind in OF_OTHERS else f"{name}_{kind}",
            authoritative=believed.get(kind, ()),
        )
        for kind in KINDS
    ]


def _example_system(name: str) -> str:
    return f"http://example.org/{name}/mrn"


def _feed_of_patients(site: str, sources: Path, kind: str) -> Contract:
    """The feed that links the patients of the site, else the first one that links any."""
    contracts = [load_contract(source, sources) for source in known_sources(sources)]
    linking = [each for each in contracts if {"patient", "patient_link"} <= each.tables.keys()]
    if not linking:
        raise Refused(
            f"a feed of {kind} brings facts of patients whom another feed knows, and there is none yet",
            where=str(sources),
            to_do="make that one first, with --kind fhir or tabular; or one of each, without --kind",
        )
    return next((each for each in linking if each.site_id == site), linking[0])


@contextmanager
def _beside(sources: Path, others: Iterable[str]) -> Iterator[Path]:
    """A folder of sources that is none of `sources` and gone afterwards; it sees the feeds that new ones speak of."""
    staged = sources / f".new-{uuid.uuid4().hex}"
    staged.mkdir()
    try:
        for other in others:
            if (sources / other).exists():
                (staged / other).symlink_to(sources / other)
        yield staged
    finally:
        shutil.rmtree(staged)


def _fill(folder: Path, feed: Feed, texts: Mapping[str, str], codes: str) -> None:
    """Write the files of one feed, its page apart."""
    values = {**vars(feed), **texts, "authoritative": ", ".join(feed.authoritative)}
    for template in sorted((TEMPLATES / feed.kind).iterdir()):
        text = Template(template.read_text(encoding="utf-8")).substitute(values)
        write_whole(folder / template.name, text.encode())
    write_whole(folder / "codes.csv", codes.encode())
    write_whole(folder / "__init__.py", b"")


def _codes(kind: str, owner: str) -> str:
    """Every analyte under its LOINC code, in its own unit; of a feed that has no results, the head alone."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CODE_COLUMNS)
    for analyte in load_analytes().values() if kind in LOINC_SYSTEM else ():
        writer.writerow([LOINC_SYSTEM[kind], analyte.loinc, analyte.loinc, analyte.unit, "", owner])
    return text.getvalue()


def _scalar(text: str) -> str:
    """A text as YAML writes it after a colon."""
    return yaml.safe_dump({"is": text}, allow_unicode=True, width=10_000).removeprefix("is: ").rstrip("\n")


def _move(names: list[str], staged: Path, sources: Path) -> None:
    """Give each folder its place; when one of them cannot have it, none has."""
    for name in names:
        (staged / name).chmod(0o755)  # a source is code of the project, for whoever runs it
        for file in (staged / name).iterdir():
            file.chmod(0o644)
    placed: list[Path] = []
    try:
        for name in names:
            placed.append((staged / name).rename(sources / name))
        sync_folder(sources)
    except OSError:
        for folder in placed:
            shutil.rmtree(folder)
        raise
