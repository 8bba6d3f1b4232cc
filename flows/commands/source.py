"""Commands on feeds: source new, source check."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.options import AsJson
from flows.screen import print_json, say, show_table
from integrations.errors import WrongUsage

if TYPE_CHECKING:
    from integrations.codes_file import CodeAnswer
    from integrations.source_check import SourceCheck

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
        str | None, typer.Option(help="fhir, hl7v2 or tabular; without it, one of each that know the same patients.")
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
        Path | None, typer.Option("--from", help="The sample: a folder or file, as for rounds ingest.")
    ] = None,
    codes: Annotated[
        Path | None,
        typer.Option("--codes", help="A new file for the rows that codes.csv lacks; without it, the screen."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a sample would come to, and which codes nobody has decided about; nothing is taken in."""
    from flows.house import clock, open_house, places
    from integrations.codes_file import refuse_existing, write_codes_file
    from integrations.source_check import check_source

    if codes:
        refuse_existing(codes)
    sample = _sample(source, path)
    house = open_house()
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
        print_json(_document(source, found))
        return
    _show(source, found)
    _show_codes(source, found.answers, codes)


def _sample(source: str, path: Path | None) -> Path:
    """The folder or file to check. Raises WrongUsage when there is none."""
    if path is None:
        raise WrongUsage(
            f"there is no sample of {source} to check",
            where="--from",
            to_do="give a folder or file as the source sends it: --from PATH",
        )
    return path.resolve()


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
