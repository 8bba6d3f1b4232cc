"""Commands on features: explain those of one patient."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.options import AsJson, AsOf, UseCaseName, instant
from flows.screen import print_json, say

if TYPE_CHECKING:
    from features.explained import ExplainedFeature, Fact
    from flows.explained import Explained

features_app = typer.Typer(help="What the models are told of a patient: why each feature has its value.")
SHOWN = 5  # facts of one kind, of one feature on a screen; --json gives all
LEFT_OUT = ("category", "local_system", "local_code", "order_number", "code_system", "kind", "service")


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
    for each in features:
        newer = found.newer.get(f"{each['view']}:{each['name']}")
        each["is_kept"] = each["view"] not in found.lost_views
        each["is_other_since"] = newer is not None
        each["value_since"] = newer.value if newer else each["value"]
        each["facts_since"] = [asdict(fact) for fact in newer.facts] if newer else []
    about = {"snapshot_id": found.snapshot_id, "score": found.score, "other_views": found.other_views}
    return {"use_case": use_case, **about, **found.row, "features": features}


def _lines(use_case: str, found: "Explained") -> Iterator[str]:
    """The screen: each feature with its facts, numbered; then, once, where each of those came from."""
    row, numbers = found.row, dict[tuple[object, ...], int]()
    yield f"{use_case}: patient {row['patient_id']}, stay {row['encounter_id']}"
    state = f"excluded, {row['excluded_reason']}" if row["excluded_reason"] else "eligible"
    yield f"prediction time {row['prediction_time']:%Y-%m-%d %H:%M} UTC, {state}; snapshot {found.snapshot_id}"
    yield from _of_score(found)
    for each in found.features:
        feature = each.feature
        yield ""
        value = LOST if each.view in found.lost_views else _value(each.value)
        yield f"{each.view}:{feature.name} = {value} ({feature.unit}; {feature.description})"
        yield from _facts_of(each, numbers, is_looked_for=each.view not in found.other_views)
        if newer := found.newer.get(f"{each.view}:{feature.name}"):
            yield f"  with what has come in since the score: {_value(newer.value)}, from:"
            yield from _by_counts(newer.facts, numbers)
    yield ""
    yield "where these facts came from:"
    for (*_, place), number in numbers.items():
        yield f"  [{number}] {place}"
    changed = sum(each.is_other_today for each in found.features if each.view not in found.lost_views)
    yield f"{len(found.features)} features, {changed} of them are others with what is known today"
    if found.score and found.newer:
        yield f"{len(found.newer)} of them are others with what has come in since the score"


def _of_score(found: "Explained") -> Iterator[str]:
    """Which score these values were given to, or that there is none."""
    score = found.score
    if score is None:
        yield "not scored yet: the values are those of the newest snapshot"
        return
    what = score["status"] if score["probability"] is None else f"risk {score['probability']:.6g}"
    made = f"{score['scored_at']:%Y-%m-%d %H:%M} UTC by version {score['version']}, {score['purpose']}"
    yield f"scored {made}: {what}; the values are those it was made of"
    for view in found.other_views:
        lost = "what it gave is not kept any more"
        kept = "its values are those that were kept, their facts cannot be shown"
        yield f"{view} was another SQL then: {lost if view in found.lost_views else kept}"


LOST = "not kept any more"
WORDS = {
    "needed": "",
    "enough": "  the same without any single one of these:",
    "together": "  these together, and no single one:",
}


def _facts_of(
    each: "ExplainedFeature", numbers: dict[tuple[object, ...], int], *, is_looked_for: bool
) -> Iterator[str]:
    if is_looked_for and not each.facts:
        yield "  no fact that was known makes a difference"
    yield from _by_counts(each.facts, numbers)
    if each.uncounted:
        yield f"  {each.uncounted:,} older facts of the view were not looked at one by one"
    if each.is_other_today:
        yield f"  with what is known today: {_value(each.value_today)}; known only later:"
    elif each.later:
        yield "  known only later, and the same in all:"
    yield from _by_counts(each.later, numbers)


def _by_counts(facts: "tuple[Fact, ...]", numbers: dict[tuple[object, ...], int]) -> Iterator[str]:
    for counts, word in WORDS.items():
        listed = [fact for fact in facts if fact.counts == counts]
        if listed and word:
            yield word
        for fact in listed[:SHOWN]:
            yield f"    [{numbers.setdefault(_place(fact), len(numbers) + 1)}] {_sentence(fact)}"
        if len(listed) > SHOWN:
            yield f"    and {len(listed) - SHOWN:,} more: --json"


def _sentence(fact: "Fact") -> str:
    """What a fact says, as short as a clinician wants it; --json has all of its columns."""
    content = {name: value for name, value in fact.content.items() if name not in LEFT_OUT and value is not False}
    if fact.table == "observation":
        said = [" ".join(_value(value) for name, value in content.items() if (name, value) != ("status", "final"))]
    else:
        said = [f"{name.removeprefix('is_')} {_value(value)}" for name, value in content.items()]
    said += ["withdrawn"] if fact.is_retracted else []
    said += [f"true {fact.effective_at:%Y-%m-%d %H:%M}"] if fact.effective_at else []
    what = " ".join(part for part in (fact.table, fact.code) if part)
    return f"{what}: {', '.join([*said, f'known {fact.available_at:%Y-%m-%d %H:%M}'])}"


def _place(fact: "Fact") -> tuple[object, ...]:
    lies = f"; {fact.extract_id}, {fact.source_file} line {fact.source_line}" if fact.extract_id else ""
    return (fact.table, fact.available_at, f"{fact.table} {fact.fact_id}{lies}")


def _value(value: object) -> str:
    if value is None:
        return "not known"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)
