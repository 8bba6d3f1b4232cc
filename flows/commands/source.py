"""Commands on feeds: source new, source check, source jwks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.options import AsJson
from flows.screen import print_json, say, show_table
from integrations.errors import WrongUsage

if TYPE_CHECKING:
    from flows.house import House
    from integrations.codes_file import CodeAnswer
    from integrations.contract import Contract
    from integrations.source_check import SourceCheck
    from integrations.web.ask import Server

SHOWN = 30  # rows of a table on a screen
ACCOUNT = ("received", "mapped", "unchanged", "out_of_scope", "waiting", "quarantined")

source_app = typer.Typer(
    help="Feeds: make the folder of a new one, or say what a sample of one would come to.", no_args_is_help=True
)


def add_to(app: typer.Typer) -> None:
    """Put these commands into `rounds`."""
    app.add_typer(source_app, name="source")


@source_app.command()
def new(
    name: Annotated[str, typer.Argument(help="What the source is to be called, such as north_ehr.")],
    kind: Annotated[
        str | None,
        typer.Option(help="fhir, hl7v2, tabular or dicomweb; without it, one of each that know the same patients."),
    ] = None,
    owner: Annotated[
        str | None, typer.Option(help="Who answers for it; default: data owner of NAME.", show_default=False)
    ] = None,
    site: Annotated[
        str | None, typer.Option(help="The hospital it belongs to; default: NAME.", show_default=False)
    ] = None,
    time_zone: Annotated[
        str, typer.Option(help="Where its clock runs, a name of the tz database such as America/Chicago.")
    ] = "UTC",
) -> None:
    """Make the folder of a new source, ready for a first sample: contract, codes, mapping and page."""
    from integrations.contract import SOURCES
    from integrations.new_source import new_sources

    made = new_sources(name, sources=SOURCES, kind=kind, owner=owner, site=site, time_zone=time_zone)
    show_table(
        "new sources" if len(made) > 1 else "new source",
        ("source", "kind", "patients of", "folder"),
        (
            [each.source, each.kind, each.patients_of.source if each.patients_of else each.source, _place(each.source)]
            for each in made
        ),
    )
    say()
    say("What only people can settle stands in these folders after the word DECIDE: grep -rn DECIDE FOLDER")
    for each in made:
        if each.patients_of:
            of = each.patients_of
            say(
                f"{each.source} speaks of the patients of {of.source}, by {of.system}: decide both in its contract.yaml"
            )
    say(f"See what a sample would come to: rounds source check {made[0].source} --from PATH")
    say("After each change of contract, codes or mapping: make docs")


def _place(source: str) -> str:
    return f"integrations/sources/{source}"


@source_app.command()
def check(
    source: Annotated[str, typer.Argument(help="A folder of integrations/sources, such as synthea_bulk.")],
    path: Annotated[
        Path | None,
        typer.Option("--from", help="The sample: a folder or file, as for rounds ingest; without it, ask the server."),
    ] = None,
    codes: Annotated[
        Path | None,
        typer.Option("--codes", help="A new file for the rows that codes.csv lacks; without it, the screen."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a sample would come to, and which codes nobody has decided about; nothing is taken in.

    Without a sample the feed's server is asked what it can do, and for a first page of each type.
    """
    from flows.house import clock, open_house, places
    from integrations.codes_file import refuse_existing, write_codes_file
    from integrations.source_check import check_source

    if codes:
        refuse_existing(codes)
    house = open_house()
    with _sample(house, source, path) as (sample, look):
        found = check_source(
            source,
            sample,
            as_of=clock(),
            places=places(house),
            records=house.records,
            memory_limit_mb=house.settings.memory_limit_mb,
        )
    if codes and _rows(found.answers):
        write_codes_file(codes, found.answers)
    if as_json:
        print_json(_document(source, found) | ({"server": look} if look else {}))
        return
    _show_server(look)
    _show(source, found)
    _show_codes(source, found.answers, codes)


@source_app.command()
def jwks(source: Annotated[str, typer.Argument(help="A feed that is fetched from a server.")]) -> None:
    """Print the public key by which the feed's server knows us, to be registered there; made at first use."""
    from flows.fetch import endpoint_of, own_key
    from flows.house import open_house
    from integrations.web.smart import load_key, public_keys

    house = open_house()
    print_json(public_keys(load_key(endpoint_of(house, source), own_key(house, source))))


@contextmanager
def _sample(house: "House", source: str, path: Path | None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The folder or file to check, and what was seen of the server if it comes from there.

    Raises WrongUsage when there is neither a sample nor a server.
    """
    from flows.fetch import contract_of, feed_server

    if path is not None:
        yield path.resolve(), {}
        return
    contract = contract_of(source)
    if not contract.is_fetched:
        raise WrongUsage(
            f"{source} is not fetched from a server, and there is no sample to check",
            where="--from",
            to_do="give a folder or file as the source sends it: --from PATH",
        )
    house.settings.temp.mkdir(parents=True, exist_ok=True, mode=0o700)
    with TemporaryDirectory(dir=house.settings.temp, prefix="sample-") as temp, feed_server(house, source) as server:
        yield Path(temp), _seen(house, contract, server, Path(temp))


def _seen(house: "House", contract: "Contract", server: "Server", folder: Path) -> dict[str, Any]:
    """What is seen of a feed's server; its sample is left in `folder`."""
    if contract.kind == "dicomweb":
        from flows.fetch import wanted_studies
        from integrations.dicomweb.look import look_at_pacs

        studies = wanted_studies(house, contract, is_whole=True)
        return vars(look_at_pacs(server, studies, contract.limits, folder))
    from flows.fetch import wanted
    from integrations.fhir.export.look import look_at, sample

    export = wanted(house, contract, is_whole=True).export
    return {**vars(look_at(server, export)), "not_searched": sample(server, export, folder)}


def _show_server(look: dict[str, Any]) -> None:
    """Say what was seen of a feed's server."""
    if not look:
        return
    if "way_in" in look:
        say(f"{look['address']}, QIDO-RS by {look['way_in']}: {look['study_count']:,} studies as a sample")
        if look["unasked_count"]:
            say(f"it sends {look['unasked_count']:,} attributes that nobody asked for: they are dropped unread")
    else:
        software = f", {look['software']}" if look["software"] else ""
        token = "it gave us a token" if look["has_token"] else "no token is asked for"
        say(f"{look['address']}{software}, FHIR {look['fhir_version']}: {token}")
    for doubt in look["doubts"]:
        say(f"doubt: {doubt}")
    if look.get("not_searched"):
        say(f"it will not be searched for {', '.join(look['not_searched'])}: these are missing from the sample below")
    say()


def _show(source: str, found: "SourceCheck") -> None:
    title = f"sample of {source}, in source records; nothing was taken in"
    accounts = ([table, *(getattr(one, name) for name in ACCOUNT)] for table, one in found.accounts.items())
    show_table(title, ("table", *ACCOUNT), accounts)
    if found.set_aside:
        say()
        told = [
            [each.outcome.replace("_", " "), each.table, each.records, _why(each.reason)] for each in found.set_aside
        ]
        show_table("why records would not be mapped", ("outcome", "table", "records", "why"), told[:SHOWN])
        _say_more(len(told), f"rounds source check {source} --from PATH --json")
    say()


def _why(reason: str) -> str:
    from integrations.ingest import REASONS

    return f"{reason}: {REASONS[reason]}" if reason in REASONS else reason


def _show_codes(source: str, answers: list["CodeAnswer"], file: Path | None) -> None:
    from integrations.codes_file import LONGEST, codes_file, short, units_in_words

    if not answers:
        say(f"codes.csv names every code and unit of the sample; take it in with: rounds ingest {source} --from PATH")
        return
    columns = ("local_system", "local_code", "records", "units as sent", "in the codes file")
    told = [
        [
            short(each.code.local_system, LONGEST),
            short(each.code.local_code, LONGEST),
            each.code.records,
            units_in_words(each.code),
            _said(each),
        ]
        for each in answers
    ]
    show_table("codes and units that codes.csv does not name", columns, told[:SHOWN])
    _say_more(len(told), "all are in the codes file")
    say()
    if any(each.strange_units for each in answers):
        say("A unit without a factor: ask the sender, or add its factor and source to integrations/unit_factors.csv")
    rows, open_rows = _rows(answers), sum(each.is_to_decide for each in answers)
    if not rows:
        return
    say(f"the codes file, {file or 'below'}, holds {len(rows):,} rows for codes.csv, {open_rows:,} of them TO DECIDE")
    if open_rows:
        say(
            "codes.csv is refused while a row is TO DECIDE: give each its LOINC code and unit, or leave it "
            "out_of_scope and say why (reason) and who says so (owner)"
        )
    say(f"Append them to {_place(source)}/codes.csv, check again, then make docs")
    if not file:
        say()
        say(codes_file(answers).rstrip("\n"))


def _said(answer: "CodeAnswer") -> str:
    """What the codes file says of a code, in a few words."""
    from integrations.codes_file import a_few, short

    words = ["TO DECIDE"] if answer.is_to_decide else [f"{row[2]} in {row[3]}" for row in answer.rows]
    if answer.strange_units:
        words.append(f"no factor for {a_few([short(unit) or 'no unit' for unit in answer.strange_units])}")
    return "; ".join(words) or "nothing: no code that a person can read"


def _say_more(count: int, where: str) -> None:
    if count > SHOWN:
        say(f"{count - SHOWN:,} more: {where}")


def _rows(answers: list["CodeAnswer"]) -> list[tuple[str, ...]]:
    return [row for answer in answers for row in answer.rows]


def _document(source: str, found: "SourceCheck") -> dict[str, Any]:
    from integrations.codes import CODE_COLUMNS

    return {
        "source": source,
        "accounts": {table: {name: getattr(one, name) for name in ACCOUNT} for table, one in found.accounts.items()},
        "set_aside": [vars(each) for each in found.set_aside],
        "codes": [
            {**vars(each.code), "is_to_decide": each.is_to_decide, "units_without_factor": each.strange_units}
            for each in found.answers
        ],
        "codes_file": [dict(zip(CODE_COLUMNS, row, strict=True)) for row in _rows(found.answers)],
    }
