"""From one row per resource to one row per item: the loops of a view as DuckDB steps.

Only places in lists are unnested, and the item is looked up afterwards: to unnest the items themselves costs more than
all the rest of a view.
"""

from integrations.fhir.sql_on_fhir.expressions import place_of
from integrations.fhir.sql_on_fhir.selection import Alternative, Loop


def is_spread(rows: list[Alternative]) -> bool:
    """Tell whether a resource may give another number of rows than one."""
    return len(rows) > 1 or bool(rows[0].loops)


def spread_steps(rows: list[Alternative], is_kept: str) -> list[str]:
    """Return the steps that turn `settled` into `spread`; a resource without rows keeps one, marked `is_rowless`."""
    places = _placed(rows, is_kept)
    steps = [f"placed as (\n    select * exclude (place), place.*, place is null as is_rowless\n    from {places}\n)"]
    depth = max(len(row.loops) for row in rows)
    for level in range(depth):
        loops = [row.loops[level] for row in rows if len(row.loops) > level]
        name, source = (
            ("spread" if level == depth - 1 else f"spread_{level + 1}"),
            (f"spread_{level}" if level else "placed"),
        )
        items = ",\n        ".join(
            f"{loop.items}[{place_of(loop.variable)}] as {loop.variable}" for loop in _once(loops)
        )
        steps.append(f"{name} as (\n    select *,\n        {items}\n    from {source}\n)")
    return steps


def last_step(rows: list[Alternative]) -> str:
    """Return the step that the columns are selected from."""
    if not is_spread(rows):
        return "judged"
    return "spread" if any(row.loops for row in rows) else "placed"


def _placed(rows: list[Alternative], is_kept: str) -> str:
    lists = [_places(row, number, rows) for number, row in enumerate(rows, 1)]
    listed = _joined(lists)
    alone = [places for places, row in zip(lists, rows, strict=True) if not row.loops]
    if 0 < len(alone) < len(rows):  # seldom is there anything to loop over: then no lists are put together
        is_absent = " and ".join(f"{loop.items} is null" for loop in _once([row.loops[0] for row in rows if row.loops]))
        listed = f"case when {is_absent} then {_joined(alone)} else {listed} end"
    is_read = "problem is distinct from 'not_json' and problem is distinct from 'wrong_type'"
    kept = f"case when {is_read}{f' and {is_kept}' if is_kept else ''} then {listed} end"
    return f"(\n        select *, unnest(coalesce(nullif({kept}, []), [null])) as place\n        from settled\n    )"


def _joined(lists: list[str]) -> str:
    joined = ",\n            ".join(lists)
    return joined if len(lists) == 1 else f"list_concat(\n            {joined}\n        )"


def _places(row: Alternative, number: int, rows: list[Alternative]) -> str:
    """The places that the loops of one alternative go through, as a list of one struct per row."""
    own = {loop.variable for loop in row.loops}
    fields = [f"branch: {number}"] if len(rows) > 1 else []
    for loop in _once([loop for one in rows for loop in one.loops]):
        place = place_of(loop.variable)
        fields.append(f"{place}: {place if loop.variable in own else 'null::bigint'}")
    sql = "{" + ", ".join(fields) + "}"
    if not row.loops:
        return f"[{sql}]"
    for depth, loop in enumerate(reversed(row.loops)):
        sql = f"[{sql} for {loop.variable}, {place_of(loop.variable)} in {loop.items}]"
        sql = f"flatten({sql})" if depth else sql
    return sql


def _once(loops: list[Loop]) -> list[Loop]:
    return list(dict.fromkeys(loops))
