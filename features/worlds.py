"""Worlds: what a feature view would say of one patient, had a fact been missing, or been known as it is known today.

The patient's facts are copied into as many patients as there are worlds, each with its own ids, and the view runs once
over all of them. So it is asked as it is, whatever its SQL; nothing here knows any view.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa

from features.definitions import View
from features.parquet_files import view_rows
from integrations.duck import connect
from integrations.tables import TABLES

# As known at prediction_time; as known today; missing; as known then, but its number a millionth higher or lower.
State = Literal["then", "today", "none", "higher", "lower"]
Values = Mapping[str, float | None]
FACT, STATE, STATE_THERE = "fact_number", "fact_state", "exception.state"
MOST_ROWS = 300_000  # that lie in memory at once: worlds times facts
# What parts the id of a copy from its world sorts before every other character, so ids keep their order.
_ID = "chr(1) || world"


@dataclass(frozen=True, kw_only=True)
class World:
    """All facts as known `then` or `today`, but for those that are named."""

    default: State = "then"
    states: Mapping[int, State] = field(default_factory=dict)


class Worlds:
    """The facts of one patient, each as known then and as known today, to be asked in many worlds."""

    def __init__(self, facts: Mapping[str, pa.Table], feed: pa.Table, spine: pa.Table, temp: Path) -> None:
        self.facts, self.spine = facts, spine
        self.lake = connect(temp, threads=1)
        self.lake.execute("create table world (world varchar, default_state varchar)")
        self.lake.execute(f"create table exception (world varchar, {FACT} integer, state varchar)")
        self.lake.register("given_feed", feed)
        self.lake.execute("create table feed as from given_feed")
        for name, rows in facts.items():
            self.lake.register("given_facts", rows)
            self.lake.execute(f"create table fact_of_{name} as from given_facts")
            self.lake.execute(_relation(name))

    def close(self) -> None:
        """Let go of what is held in memory."""
        self.lake.close()

    def ask(self, view: View, worlds: Sequence[World]) -> list[Values]:
        """Return the features of the view in each world."""
        row_count = max(1, sum(rows.num_rows for rows in self.facts.values()))
        step = max(1, MOST_ROWS // row_count)
        return [
            values for start in range(0, len(worlds), step) for values in self._ask(view, worlds[start : start + step])
        ]

    def _ask(self, view: View, worlds: Sequence[World]) -> list[Values]:
        names = [f"{number:06}" for number in range(len(worlds))]
        self._fill("world", zip(names, (world.default for world in worlds), strict=True))
        self._fill(
            "exception",
            ((name, *each) for name, world in zip(names, worlds, strict=True) for each in world.states.items()),
        )
        self.lake.register("one_spine", self.spine)
        spine = self.lake.sql(
            f"select * replace (patient_id || {_ID} as patient_id, encounter_id || {_ID} as encounter_id) "
            "from one_spine cross join world"
        ).to_arrow_table()
        rows = view_rows(self.lake, view, spine).sort_by("encounter_id").drop_columns(["prediction_time"]).to_pylist()
        return [{feature.name: row[feature.name] for feature in view.features} for row in rows]

    def _fill(self, table: str, rows: Iterable[Sequence[object]]) -> None:
        self.lake.execute(f"delete from {table}")
        columns = list(zip(*rows, strict=True))
        if columns:
            marks = ", ".join("unnest(?)" for _ in columns)
            self.lake.execute(f"insert into {table} select {marks}", [list(column) for column in columns])


def _relation(name: str) -> str:
    """Return the SQL of a relation as a view reads it: in each world, each fact as it stands there."""
    ids = ["patient_id", "other_patient_id"]
    if name in TABLES:
        named = {column.name for column in TABLES[name].columns}
        ids = list(dict.fromkeys(["patient_id", TABLES[name].key, *({"encounter_id"} & named)]))
    copied = ", ".join(f"{each} || {_ID} as {each}" for each in ids)
    nudged = f"case {STATE_THERE} when 'higher' then 1 when 'lower' then -1 else 0 end"
    if name in TABLES:
        for column in (column.name for column in TABLES[name].columns if column.kind == "number"):
            copied += f", {column} + {nudged} * (1e-9 + abs({column}) * 1e-6) as {column}"
    known = "timestamptz 'infinity' as superseded_at"
    if name not in TABLES:
        known += ", timestamptz '-infinity' as available_at"
    return f"""
    create view {name} as
    select f.* exclude ({FACT}, {STATE}) replace ({copied}), {known}
    from fact_of_{name} as f
    cross join world
    left join exception using (world, {FACT})
    where f.{STATE} = case
        when {STATE_THERE} in ('higher', 'lower') then 'then' else coalesce({STATE_THERE}, world.default_state)
    end
    """
