"""Why a feature has its value: the facts that it came from, and what was known only later.

By counterfactual, so that it works for any feature view: a fact counts for a feature if the value is another once that
fact is taken away (`needed`), or once its number is a millionth higher or lower: then the value came from it, and is
the same without it since another fact gives it too (`enough`), as where a lowest value was measured twice. Where no
fact of a code does so, all of that code are taken away together, then all of one table: listed are those by which alone
the value would be the same (`enough`), and where there are none, those that make a difference by themselves
(`together`).
A fact with and without which the value is the same is not listed, though the SQL may have read it.

What was known only later: facts true at prediction_time or before that came, were corrected or were withdrawn after it,
in the state of today; what ended after prediction_time counts as not ended. `today` is the value with all of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa

from features.definitions import View
from features.known_facts import KnownFacts, known_facts
from features.view_words import Feature
from features.worlds import State, Values, World, Worlds

Counts = Literal["needed", "enough", "together"]
NUDGES: tuple[State, State] = ("higher", "lower")
MOST_FACTS = 300  # of one view that are taken away one by one: the newest


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One version of one fact, where it came from, and how it counts. The table same_person holds who a patient is."""

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
    counts: Counts


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
    nudged: Mapping[int, Sequence[Values]]  # with a number a little higher, and a little lower
    only: Mapping[tuple[int, tuple[int, ...]], Values]  # the set without all of it but one fact
    later: Mapping[int, Values]


def _explained(view: View, known: KnownFacts, ask: Ask) -> Iterator[ExplainedFeature]:
    effects, uncounted = _effects(known, ask)
    for feature in view.features:
        name = feature.name
        value, today = effects.then[name], effects.today[name]
        facts = _counted(name, known, effects)
        later: dict[int, Counts] = {
            number: "needed" for number, values in effects.later.items() if values[name] != value
        }
        if value != today and not later:
            later = dict.fromkeys(known.later, "together")
        yield ExplainedFeature(
            view=view.name,
            feature=feature,
            value=value,
            facts=_facts(known, "then", facts),
            value_today=today,
            later=_facts(known, "today", later),
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
    measured = [number for number in looked_at if "value_number" in known.row(number, "then")["content"]]
    higher, lower = (ask([World(states={number: state}) for number in measured]) for state in NUDGES)
    pairs = [(number, each) for each in mattering for number in looked_at if number in each and len(each) > 1]
    only = ask([_without(tuple(n for n in each if n != number)) for number, each in pairs])
    later = ask([World(states={number: "today" if known.has(number, "today") else "none"}) for number in known.later])
    found = _Effects(
        then=then,
        today=today,
        without=mattering,
        single=dict(zip(looked_at, single, strict=True)),
        nudged={number: pair for number, *pair in zip(measured, higher, lower, strict=True)},
        only=dict(zip(pairs, only, strict=True)),
        later=dict(zip(known.later, later, strict=True)),
    )
    return found, len(newest_first) - len(looked_at)


def _counted(name: str, known: KnownFacts, effects: _Effects) -> dict[int, Counts]:
    """The facts that count for a feature: each for itself, else the facts of one code or table together."""
    value = effects.then[name]
    found: dict[int, Counts] = {}
    for number, pair in effects.nudged.items():
        if any(values[name] != value for values in pair):
            found[number] = "enough"
    found |= {number: "needed" for number, values in effects.single.items() if values[name] != value}
    for by in (known.of_code, known.of_table):
        for each in by:
            without = effects.without.get(each)
            if without is None or without[name] == value or found.keys() & {*each}:
                continue
            alone = {n: effects.only[n, each][name] for n in each if (n, each) in effects.only}
            enough = [n for n, given in alone.items() if given == value]
            of_use = [n for n, given in alone.items() if given != without[name]]
            found |= dict.fromkeys(enough, "enough") if enough else dict.fromkeys(of_use or each, "together")
    return found


def _without(numbers: Sequence[int]) -> World:
    return World(states=dict.fromkeys(numbers, "none"))


def _facts(known: KnownFacts, state: State, counted: Mapping[int, Counts]) -> tuple[Fact, ...]:
    return tuple(
        Fact(counts=counted[number], **known.row(number, state)) for number in sorted(counted, key=known.place)
    )
