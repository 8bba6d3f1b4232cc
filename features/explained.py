"""Why a feature has its value: the facts that it came from, and what was known only later.

By counterfactual, so that it works for any feature view: a fact counts for a feature if the value changes once that
fact alone is taken away. Where no single one does, because several each suffice, all facts of one code are taken away
together, then all of one table, and those are listed that make a difference by themselves once the others are gone.
A fact of which the value would be the same with and without it is not listed, though the SQL may have read it.

What was known only later: facts true at prediction_time or before that came, were corrected or were withdrawn after it,
in the state of today; what ended after prediction_time counts as not ended. `today` is the value with all of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from features.definitions import Feature, View
from features.known_facts import KnownFacts, known_facts
from features.worlds import State, Values, World, Worlds

MOST_FACTS = 300  # of one view that are taken away one by one: the newest


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One version of one fact, where it came from, and how it counts: alone, or with others of its kind."""

    table: str
    fact_id: str
    code: str | None
    content: Mapping[str, object]
    effective_at: datetime | None
    available_at: datetime
    is_retracted: bool
    extract_id: str | None
    source_file: str | None
    source_line: int | None
    is_alone: bool


@dataclass(frozen=True, kw_only=True)
class ExplainedFeature:
    """A feature, its value with the facts known then, and its value with what is known today."""

    view: str
    feature: Feature
    value: float | None
    facts: tuple[Fact, ...]
    value_today: float | None
    later: tuple[Fact, ...]  # known only later, and of consequence for this feature
    uncounted: int  # facts of the view that were not taken away one by one, being too many

    @property
    def is_other_today(self) -> bool:
        """Whether what is known today gives another value."""
        return self.value != self.value_today


def explain_view(
    connection: duckdb.DuckDBPyConnection, view: View, spine: pa.Table, temp: Path
) -> list[ExplainedFeature]:
    """Explain every feature of a view for the one row of the spine, over the snapshot that is open."""
    known = known_facts(connection, view, spine)
    worlds = Worlds(known.tables, known.feed, spine, temp)
    try:
        return list(_explained(view, known, lambda asked: worlds.ask(view, asked)))
    finally:
        worlds.close()


Ask = Callable[[Sequence[World]], list[Values]]


@dataclass(frozen=True, kw_only=True)
class _Effects:
    """The values of a view as known then, and in the worlds without a set of facts, or with one later fact."""

    then: Values
    today: Values
    without: Mapping[tuple[int, ...], Values]  # sets of one code or of one table
    single: Mapping[int, Values]
    only: Mapping[tuple[int, tuple[int, ...]], Values]  # the set without all of it but one fact
    later: Mapping[int, Values]


def _explained(view: View, known: KnownFacts, ask: Ask) -> Iterator[ExplainedFeature]:
    effects, uncounted = _effects(known, ask)
    for feature in view.features:
        name = feature.name
        value, today = effects.then[name], effects.today[name]
        alone = [number for number, values in effects.single.items() if values[name] != value]
        together = _together(name, known, effects, alone)
        later = [number for number, values in effects.later.items() if values[name] != value]
        yield ExplainedFeature(
            view=view.name,
            feature=feature,
            value=value,
            facts=_facts(known, "then", alone, together),
            value_today=today,
            later=_facts(known, "today", later, () if later or value == today else known.later),
            uncounted=uncounted,
        )


def _effects(known: KnownFacts, ask: Ask) -> tuple[_Effects, int]:
    """Ask without whole sets, then without single facts of the sets that matter, then with what came later."""
    sets = tuple(dict.fromkeys(each for by in (known.of_code, known.of_table) for each in by))
    then, today, *without = ask([World(), World(default="today"), *(_without(each) for each in sets)])
    mattering = {each: values for each, values in zip(sets, without, strict=True) if values != then}
    newest_first = [number for number in known.newest_first if any(number in each for each in mattering)]
    looked_at = newest_first[:MOST_FACTS]
    single = ask([_without((number,)) for number in looked_at])
    pairs = [(number, each) for each in mattering for number in looked_at if number in each and len(each) > 1]
    only = ask([_without(tuple(n for n in each if n != number)) for number, each in pairs])
    later = ask([World(states={number: "today" if known.has(number, "today") else "none"}) for number in known.later])
    found = _Effects(
        then=then,
        today=today,
        without=mattering,
        single=dict(zip(looked_at, single, strict=True)),
        only=dict(zip(pairs, only, strict=True)),
        later=dict(zip(known.later, later, strict=True)),
    )
    return found, len(newest_first) - len(looked_at)


def _together(name: str, known: KnownFacts, effects: _Effects, alone: Sequence[int]) -> list[int]:
    """The facts that count for a feature only together: of a code or table of which no single one does."""
    found: list[int] = []
    for by in (known.of_code, known.of_table):
        for each in by:
            values = effects.without.get(each)
            if values is None or values[name] == effects.then[name] or {*alone, *found} & {*each}:
                continue
            sufficing = [n for n in each if (n, each) in effects.only and effects.only[n, each][name] != values[name]]
            found += sufficing or each
    return found


def _without(numbers: Sequence[int]) -> World:
    return World(states=dict.fromkeys(numbers, "none"))


def _facts(known: KnownFacts, state: State, alone: Sequence[int], together: Sequence[int]) -> tuple[Fact, ...]:
    counted = sorted({*alone, *together}, key=known.place)
    return tuple(_fact(known.row(number, state), is_alone=number in alone) for number in counted)


def _fact(row: Mapping[str, Any], *, is_alone: bool) -> Fact:
    return Fact(is_alone=is_alone, **row)
