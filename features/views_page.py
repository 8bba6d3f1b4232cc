"""The page of the feature views, for those who choose features and those who ask where a number comes from."""

from collections.abc import Iterator
from pathlib import Path

from features.definitions import VIEWS, View, view, view_names
from features.repeated import Word
from integrations.codes import Analyte, load_analytes
from integrations.markdown import code, facts, link, page, plain, span, table

STORIES = "../../tests/features/stories"
ABOUT = """
A feature view says what is known of a stay at prediction_time. It gives one row per row of the spine: encounter_id,
prediction_time and one number per feature. A flag is 0 or 1; null is not known, and never stands for zero.

When a record of one of a view's codes, collected in its hold window, lies in quarantine, the features of that code are
held: they are not shown to the model as "not measured".
""".strip()


def views_page(folder: Path = VIEWS) -> str:
    """Return the page of all feature views. Raises WrongUsage for a view whose header or features are not in order."""
    views = [view(name, folder) for name in view_names(folder)]
    analytes = load_analytes()
    return page(
        "The feature views",
        "the SQL files of this folder",
        ABOUT,
        _overview(views),
        *(part for each in views for part in _sections(each, analytes)),
    )


def _overview(views: list[View]) -> str:
    rows = [
        (link(each.name, f"#{each.name}"), str(len(each.features)), plain(each.owner), span(each.freshness))
        for each in views
    ]
    return table(("View", "Features", "Owner", "Freshness"), rows)


def _sections(each: View, analytes: dict[str, Analyte]) -> Iterator[str]:
    yield f"## {each.name}"
    yield plain(each.description)
    yield facts(_about(each))
    repeated = set(each.repeated_features)
    if repeated:
        yield f"Each word of the list below has these features, such as {code(each.features[0].name)}:"
        yield table(("Feature", "What it is"), [(code(name), plain(told)) for name, told in each.patterns])
    rows = [one for one in each.features if one.name not in repeated]
    yield table(
        ("Feature", "Unit", "What it is"), [(code(one.name), plain(one.unit), plain(one.description)) for one in rows]
    )
    if each.codes:
        yield "It draws on these codes (LOINC):"
        yield table(("Word", "Unit", "Codes"), [_codes_of(word, analytes) for word in each.words])


def _codes_of(word: Word, analytes: dict[str, Analyte]) -> tuple[str, str, str]:
    named = (f"{loinc} {plain(analytes[loinc].name if loinc in analytes else '')}" for loinc in word.codes)
    return code(word.word), code(word.unit) if word.unit else "", ", ".join(named)


def _about(each: View) -> Iterator[tuple[str, str]]:
    yield "Owner", plain(each.owner)
    yield "Freshness", span(each.freshness)
    yield "Hold window", f"{span(each.hold_window)} before prediction_time" if each.codes else "none: nothing holds it"
    for window in each.hold_windows[1:]:
        names = (code(name) for name, its in each.longer_hold_windows.items() if its == window)
        yield f"Hold window, {span(window)}", ", ".join(names)
    yield "Lists", ", ".join(link(path.name, path.name) for path in each.reference_tables)
    yield "Read", f"{link('its SQL', f'{each.name}.sql')}, {link('its stories', f'{STORIES}/{each.name}.yaml')}"
