"""Run the stories of a view: the spine is what they ask for, the view's SQL answers.

What a view's SQL says once for every analyte, a story tells once: a story that expects such features of one analyte
alone is told again of each other code of the header, so a new analyte needs no story of its own.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from features.definitions import View, view
from features.parquet_files import view_rows
from features.repeated import Word
from features.spine import KEYS
from models.case_runner import expanded, is_same, keyed
from models.cases import SITE, Case, Cases, Expected, encounter_key, load_cases

STORIES = Path(__file__).parent / "stories"


def stories_of(name: str) -> Cases:
    """Read the stories of one view, those of one analyte told of every other one too."""
    cases = load_cases(STORIES / f"{name}.yaml")
    again = [each for case in cases.cases for each in _told_again(view(name), case)]
    return cases.model_copy(update={"cases": [*cases.cases, *again]})


def _told_again(each: View, case: Case) -> Iterator[Case]:
    """Tell a story of one analyte of every other code: the two change places in facts and features."""
    expected = {name for by_time in case.expect.features.values() for values in by_time.values() for name in values}
    told = [word for word in each.words if expected & set(_names(each, word))]
    if len(told) != 1 or "observation" not in case.facts:
        return
    others = [(word, code) for word in each.words for code in word.codes if word != told[0]]
    for word, code in others:
        renamed = dict(zip(_names(each, told[0]), _names(each, word), strict=True))
        places = {code: told[0].codes[0], **dict.fromkeys(told[0].codes, code)}
        yield Case(
            story=f"{case.story}: {word.word}, {code}",
            facts={**case.facts, "observation": [_in_place(fact, places) for fact in case.facts["observation"]]},
            as_of=case.as_of,
            expect=Expected(
                features={
                    stay: {
                        at: {renamed[n]: v for n, v in values.items() if n in renamed} for at, values in times.items()
                    }
                    for stay, times in case.expect.features.items()
                }
            ),
        )


def _names(each: View, word: Word) -> list[str]:
    return [name.format(word=word.word, unit=word.unit) for name, _ in each.patterns]


def _in_place(fact: dict[str, Any], places: dict[str, str]) -> dict[str, Any]:
    return {**fact, "code": places.get(fact["code"], fact["code"])}


def spine_of(cases: Cases) -> pa.Table:
    """Ask for every stay and time that a story expects something of."""
    rows = []
    for number, case in enumerate(cases.cases):
        stays = {str(fact["id"]): fact for fact in case.facts["encounter"]}
        for name in case.expect.features:
            for (encounter_id, at), _ in expanded(number, {name: case.expect.features[name]}):
                patient_id = encounter_key(number, str(stays[name]["patient"]))
                site_id = stays[name].get("site_id", SITE)
                rows.append(dict(zip(KEYS, (site_id, patient_id, encounter_id, at), strict=True)))
    kinds = (pa.string(), pa.string(), pa.string(), pa.timestamp("us", "UTC"))
    return pa.Table.from_pylist(rows, schema=pa.schema(zip(KEYS, kinds, strict=True)))


def differences(connection: duckdb.DuckDBPyConnection, each: View, cases: Cases) -> dict[str, list[str]]:
    """Return for each story where the view answers otherwise; the facts are open in the connection."""
    rows = keyed(view_rows(connection, each, spine_of(cases)))
    found: dict[str, list[str]] = {}
    for number, case in enumerate(cases.cases):
        found[case.story] = [
            f"{name} of {key}: expected {value}, found {rows[key].get(name, 'no such feature')}"
            for key, values in expanded(number, case.expect.features)
            for name, value in values.items()
            if not is_same(value, rows[key].get(name, "no such feature"))
        ]
    return found
