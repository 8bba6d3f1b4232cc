"""The patient stories of a use case for readers: facts in, and what must come out. Every one is a test as well."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from integrations.comments import Place, comments
from integrations.markdown import bullets, code, link, plain, table
from models.case_runner import expanded
from models.cases import DEFAULTS, Case, Cases
from models.story_facts import facts_table

CHAPTER = re.compile(r"--- (.+?) -*")
Units = Mapping[str, str]  # feature -> unit


def story_sections(path: Path, cases: Cases, units: Units) -> Iterator[str]:
    """Give the part of a page that tells the stories of the file at `path`. `units`: the unit of each feature."""
    said = comments(path)
    yield "## Stories"
    yield f"{len(cases.cases)} stories of {link(path.name, path.name)}. Each is a test: it must come out as it is told."
    yield _how_to_read(cases.time_zone, cases.as_of)
    for number, case in enumerate(cases.cases):
        place = ("cases", number)
        if chapter := CHAPTER.fullmatch(said.get(place, "")):
            yield f"### {plain(chapter[1]).capitalize()}"
        yield f'<a id="story-{number + 1}"></a>**{number + 1}. {plain(case.story)}**'
        yield f"As of {case.as_of}." if case.as_of else ""
        yield facts_table(case, place, said)
        yield _expected(number, case, said) or "Nobody is predicted for."
        yield _features(case, units)


def told_in(cases: Cases) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Return the stories, by number from 1, that tell of each state of the cohort and of each label with its reason."""
    states: dict[str, list[int]] = {}
    labels: dict[str, list[int]] = {}
    for number, case in enumerate(cases.cases, 1):
        for found, expected in ((states, case.expect.cohort), (labels, case.expect.label)):
            for text in {text.split(" at ")[0] for by_time in expected.values() for text in by_time.values()}:
                found.setdefault(text, []).append(number)
    return dict(sorted(states.items())), dict(sorted(labels.items(), reverse=True))


def story_links(numbers: list[int]) -> str:
    return ", ".join(link(str(number), f"#story-{number}") for number in numbers)


def _how_to_read(time_zone: str, as_of: str) -> str:
    return bullets(
        (
            f"Times are UTC; the hospital is in {plain(time_zone)}.",
            f"Told as of {as_of}, where a story names no time of its own.",
            "*Known at* is empty where a fact was known once it was true, or always; of a stay, at its start and end.",
            "The same fact twice is two versions: the later one replaces the first from when it is known.",
            "*Prediction time* from one to another is every six hours. A stay that is not named has no row; "
            "an empty label is not told.",
            f"Where a story says nothing else: {plain('; '.join(_usual()))}.",
        )
    )


def _usual() -> Iterator[str]:
    for name, values in DEFAULTS.items():
        said = [f"{column.replace('_', ' ')} {value}" for column, value in values.items() if value is not False]
        yield f"{name} of {', '.join(said)}"


def _expected(number: int, case: Case, said: Mapping[Place, str]) -> str:
    """Return cohort and label of a story; stays that come out alike share a row."""
    states = dict(expanded(number, case.expect.cohort))
    rows: dict[tuple[str, ...], list[str]] = {}
    for stay in {**case.expect.cohort, **case.expect.label}:
        labels = case.expect.label.get(stay, {})
        note = said.get(("cases", number, "expect", "label", stay), "")
        for at in {**case.expect.cohort.get(stay, {}), **labels}:
            first = next(expanded(number, {stay: {at: ""}}))[0]
            told = (*_label(labels[at]), plain(note)) if at in labels else ("",) * 4
            rows.setdefault((at.replace(" .. ", " to "), _state(states.get(first, "no row")), *told), []).append(stay)
    head = ("Stay", "Prediction time", "Cohort", "Label", "Why", "Event at", "Note")
    return table(head, [(", ".join(stays), *cells) for cells, stays in rows.items()])


def _state(text: str) -> str:
    return text if text == "eligible" else f"excluded: {code(text)}"


def _label(text: str) -> tuple[str, str, str]:
    """Split `1 aki at 2024-02-02 09:00` into label, reason and event."""
    said, _, event_at = text.partition(" at ")
    label, _, reason = said.partition(" ")
    return ("none" if label == "-" else f"**{label}**"), code(reason), event_at


def _features(case: Case, units: Units) -> str:
    rows = [
        (stay, at.replace(" .. ", " to "), code(name), _value(value, units.get(name, "")))
        for stay, by_time in case.expect.features.items()
        for at, values in by_time.items()
        for name, value in values.items()
    ]
    return table(("Stay", "Prediction time", "Feature", "Value"), rows)


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "not known"
    if unit == "flag":
        return "yes" if value else "no"
    return plain(f"{value:g} {unit}" if unit not in ("count", "ratio", "score") else f"{value:g}")
