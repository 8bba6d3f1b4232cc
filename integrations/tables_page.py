"""The page of the canonical tables, for everyone who reads or writes a row."""

from collections.abc import Iterable

from integrations.markdown import code, link, page, plain, table
from integrations.tables import HEAD, TABLES, TAIL, Column

ABOUT = """
Every outside protocol ends in these tables. A row is one version of one fact; a fact is identified by the table's key.
Ids are scoped to their source, `<source>/<id as the source wrote it>`. Instants are UTC in microseconds.
""".strip()


def tables_page() -> str:
    """Return the page of the canonical tables, as tables.py declares them."""
    sections = [
        part
        for each in TABLES.values()
        for part in (
            f"## {each.name}",
            f"One fact is {plain(each.grain)}. Key: {code(each.key)}.",
            _columns(each.columns),
        )
    ]
    return page(
        "The canonical tables",
        link("tables.py", "tables.py"),
        ABOUT,
        *sections,
        "## In every table",
        "These stand before and after the columns above.",
        _columns((*HEAD, *TAIL)),
    )


def _columns(columns: Iterable[Column]) -> str:
    rows = [(code(each.name), each.kind, "yes" if each.is_required else "", plain(each.meaning)) for each in columns]
    return table(("Column", "Kind", "Required", "Meaning"), rows)
