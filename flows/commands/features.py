"""Commands on features: explain those of one patient."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.options import AsJson, AsOf, UseCaseName, instant
from flows.screen import print_json, say

if TYPE_CHECKING:
    from features.explained import ExplainedFeature, Fact
    from flows.explained import Explained

features_app = typer.Typer(help="What the models are told of a patient: why each feature has its value.")
SHOWN = 8  # facts of one feature on a screen; --json gives all


def add_to(app: typer.Typer) -> None:
    """Put these commands into `rounds`."""
    app.add_typer(features_app, name="features")


@features_app.callback()
def features() -> None:
    """What the models are told of a patient."""


@features_app.command("explain")
def explain(
    use_case: UseCaseName,
    patient_id: Annotated[str, typer.Argument(help="The patient with their source, as scores show it: demo_ehr/...")],
    as_of: AsOf = None,
    encounter: Annotated[
        str | None, typer.Option("--encounter", help="A row of this stay; default: the newest of any.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show each feature of a patient with the facts it came from, and what was known only later.

    Of the newest cohort row at the instant or before. A fact is listed if the value is another one without it.
    """
    from flows.explained import explain as explain_features
    from flows.house import at, open_house

    found = explain_features(open_house(), use_case, patient_id, at(instant(as_of)), encounter)
    if as_json:
        print_json(_document(use_case, found))
        return
    for line in _lines(use_case, found):
        say(line)


def _document(use_case: str, found: "Explained") -> dict[str, Any]:
    features = [
        {
            "view": each.view,
            **asdict(each.feature),
            **{name: value for name, value in asdict(each).items() if name not in ("view", "feature")},
        }
        for each in found.features
    ]
    return {"use_case": use_case, "snapshot_id": found.snapshot_id, **found.row, "features": features}


def _lines(use_case: str, found: "Explained") -> Iterator[str]:
    row = found.row
    yield f"{use_case}: patient {row['patient_id']}, stay {row['encounter_id']}"
    state = f"excluded, {row['excluded_reason']}" if row["excluded_reason"] else "eligible"
    yield f"prediction time {row['prediction_time']:%Y-%m-%d %H:%M} UTC, {state}; snapshot {found.snapshot_id}"
    for each in found.features:
        yield ""
        feature = each.feature
        yield f"{each.view}:{feature.name} = {_value(each.value)} ({feature.unit}; {feature.description})"
        yield from _facts_of(each)
        if each.is_other_today:
            yield f"  with what is known today: {_value(each.value_today)}, for later came"
        elif each.later:
            yield "  known only later, the value is the same today:"
        yield from _listed(each.later)
    changed = sum(each.is_other_today for each in found.features)
    yield ""
    yield f"{len(found.features)} features, {changed} of them would be others with what is known today"


def _facts_of(each: "ExplainedFeature") -> Iterator[str]:
    alone = [fact for fact in each.facts if fact.is_alone]
    together = [fact for fact in each.facts if not fact.is_alone]
    if not each.facts:
        yield "  no fact that was known makes a difference"
    yield from _listed(alone)
    if together:
        yield "  no single one of these makes a difference, all of them together do:"
        yield from _listed(together)
    if each.uncounted:
        yield f"  {each.uncounted:,} older facts of the view were not looked at one by one"


def _listed(facts: "list[Fact] | tuple[Fact, ...]") -> Iterator[str]:
    for fact in facts[:SHOWN]:
        yield f"    {_sentence(fact)}"
    if len(facts) > SHOWN:
        yield f"    and {len(facts) - SHOWN:,} more: --json"


def _sentence(fact: "Fact") -> str:
    content = ", ".join(f"{name} {_value(value)}" for name, value in fact.content.items() if value is not False)
    what = " ".join(part for part in (fact.table, fact.code, fact.fact_id) if part)
    true_at = f"true {fact.effective_at:%Y-%m-%d %H:%M}, " if fact.effective_at else ""
    place = f"; {fact.extract_id}, {fact.source_file} line {fact.source_line}" if fact.extract_id else ""
    withdrawn = "withdrawn; " if fact.is_retracted else ""
    return (
        f"{what}: {withdrawn}{content}{'; ' if content else ''}{true_at}known {fact.available_at:%Y-%m-%d %H:%M}{place}"
    )


def _value(value: object) -> str:
    if value is None:
        return "not known"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:%Y-%m-%d %H:%M}" if hasattr(value, "hour") else str(value)
