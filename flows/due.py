"""Who is due: the rows of one round, by the version that will score them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, literal, select

from flows.house import House, Snapshot
from flows.standing import ROUND_PURPOSES, Anew, FindAnew, scored, standing_scores
from flows.step import step
from integrations.errors import Refused
from integrations.records import schema as s
from models.catalog import use_case
from models.cohort import Due, cohort, due, eligible, excluded, in_order, query
from models.governance.promotion import champion
from models.governance.stages import stage_of
from models.release import RELEASED_TOO_LATE, due_after_release, released_too_late
from models.rows import RowKey, row_keys
from models.score_records import PURPOSES
from models.superseded import StandingScore
from models.use_case import UseCase

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


Window = tuple[datetime, datetime]  # from the first instant on, up to before the second
LOWERED = "though their inputs have changed: their purpose is more than this run would score them for"
A_WEEK = timedelta(days=7)  # what came in late may still make somebody due whom the last round did not see


@dataclass(frozen=True, kw_only=True)
class Before:
    """The rounds that were made before this one: when the last was, and the first prediction time that any scored."""

    last_at: datetime | None = None
    first_time: datetime | None = None

    @classmethod
    def of(cls, connection: Connection, use_case: str) -> "Before":
        """Look once, before any part of this round is written: its own rows must not count for its later parts."""
        last_at = select(func.max(s.run.c.as_of)).where(
            s.run.c.kind == "score",
            s.run.c.use_case == use_case,
            s.run.c.status == "done",
            s.run.c.purpose.in_(ROUND_PURPOSES),
        )
        firsts = [  # of those that gave way, too: what stands in their place may have another purpose
            connection.execute(
                select(func.min(its.prediction_time)).where(its.use_case == use_case, its.purpose.in_(ROUND_PURPOSES))
            ).scalar()
            for its in (s.score.c, s.superseded_score.c)
        ]
        first_time = min((first for first in firsts if first is not None), default=None)
        return cls(last_at=connection.execute(last_at).scalar(), first_time=first_time)


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round of one use case: for when, by which version, over which snapshot."""

    case: UseCase
    as_of: datetime
    snapshot: Snapshot
    version: int | None
    is_champion: bool
    all_due: bool
    before: Before = field(default_factory=Before)
    window: Window | None = None  # only the past between two instants, silently; nobody is due live

    @classmethod
    def of(
        cls,
        house: House,
        name: str,
        *,
        as_of: datetime,
        version: int | None = None,
        all_due: bool = False,
        window: Window | None = None,
    ) -> "Round":
        """Name the round. `version` None is the champion, if there is one."""
        with house.records.read() as connection:
            current, before = champion(connection, name), Before.of(connection, name)
        return cls(
            case=use_case(name),
            as_of=as_of,
            snapshot=house.newest_snapshot(),
            version=current if version is None else version,
            is_champion=version is None or version == current,
            all_due=all_due,
            before=before,
            window=window,
        )

    def scoring_version(self) -> int:
        """The version that scores. Raises Refused where none is approved."""
        if self.version is None:
            raise Refused(
                f"{self.case.name} has no approved version, so nobody is scored",
                where=f"rounds versions {self.case.name}",
                to_do="have two people approve one, or score the past silently with --all-due --version N",
            )
        return self.version


@dataclass(frozen=True, kw_only=True)
class DueRows:
    """live: the newest row of each stay. backfill: older rows without a score. Of those due anew excluded ones, too."""

    live: "pa.Table"
    backfill: "pa.Table"
    stages: Mapping[str, str]  # by site
    # those due anew, with what they supersede
    anew: Mapping[RowKey, tuple[StandingScore, ...]] = field(default_factory=dict)
    left: Mapping[str, int] = field(default_factory=dict)  # scores that stay as they are, by reason

    @property
    def live_spine(self) -> "pa.Table":
        """The live rows that are predicted for."""
        return eligible(self.live)

    @property
    def spine(self) -> "pa.Table":
        """Every row that is predicted for, live ones first."""
        import pyarrow as pa

        return pa.concat_tables([self.live_spine, eligible(self.backfill)])

    @property
    def count(self) -> int:
        """How many a run must account for."""
        return int(self.live.num_rows + self.backfill.num_rows)


@step
def due_rows(
    house: House, lake: "duckdb.DuckDBPyConnection", this: Round, find_anew: FindAnew | None = None
) -> DueRows:
    """Find who is due. A site whose stage is off has nobody due; a version that is not champion scores beside it.

    With `find_anew` those are due, too, whose inputs have changed since they were scored.
    """
    import pyarrow.compute as pc

    with house.records.read() as connection:
        rows = cohort(lake, this.case, this.as_of, since=_looked_back(this))
        rows = _within(rows, this.window) if this.window else rows
        released = released_rows(connection, lake, this, rows)
        too_late = released_too_late(lake, rows, this.case, released)
        rows = rows if this.window else with_released(lake, this, rows, released)
        standing = standing_scores(connection, this, rows)
        stages = {site: stage_of(connection, site, this.case.name) for site in pc.unique(rows["site_id"]).to_pylist()}
    anew = find_anew(rows, standing) if find_anew else Anew()
    found = due(lake, rows, this.case, scored(this, standing, anew), this.as_of)
    live, backfill = _of_round(this, found, _excluded_anew(lake, rows, found, anew), stages, anew)
    lowered = _lowered(live, lambda site: live_purpose(this, stages[site]), anew)
    lowered |= _lowered(backfill, lambda _: "backfill", anew)
    live, backfill, anew = _without(live, lowered), _without(backfill, lowered), anew.without(lowered, LOWERED)
    left = {**anew.left, RELEASED_TOO_LATE: too_late}
    return DueRows(
        live=live,
        backfill=backfill,
        stages=stages,
        anew=anew.scores,
        left={reason: count for reason, count in left.items() if count},
    )


def _of_round(
    this: Round, found: Due, excluded_anew: "pa.Table", stages: Mapping[str, str], anew: Anew
) -> tuple["pa.Table", "pa.Table"]:
    """Keep what this round is for, live and older: nobody live over a window, no site that is off, nothing too old."""
    import pyarrow as pa
    import pyarrow.compute as pc

    live, backfill = found.live, in_order(pa.concat_tables([found.backfill, excluded_anew]))
    if this.window:
        return live.slice(0, 0), in_order(pa.concat_tables([eligible(live), backfill]))
    if this.is_champion:
        on = pa.array([site for site, stage in stages.items() if stage != "off"], pa.string())
        live = live.filter(pc.is_in(live["site_id"], on))
        backfill = backfill.filter(pc.is_in(backfill["site_id"], on))
    if not this.all_due:
        # rows missed since rounds are made are caught up; before that, nobody was to be scored
        since = pa.scalar(this.before.first_time, backfill["prediction_time"].type)
        is_caught_up = pc.fill_null(pc.greater_equal(backfill["prediction_time"], since), False)
        backfill = backfill.filter(pc.or_(is_caught_up, anew.among(backfill)))
    return live, backfill


def live_purpose(this: Round, stage: str) -> str:
    """What the newest rows of a site are scored for: its stage, when the champion scores; beside it, never live."""
    if this.window:
        return "backfill"
    if this.is_champion:
        return stage
    return "backfill" if this.all_due else "shadow"


def _lowered(rows: "pa.Table", purpose_of: Callable[[str], str], anew: Anew) -> set[RowKey]:
    """The rows whose score was made for more than this run would make it for.

    Any live one; of others those that say a number: a silent round's hold that has ended gives way to a score.
    """
    among = rows.filter(anew.among(rows))
    sites = among["site_id"].to_pylist()
    return {
        key
        for key, site in zip(row_keys(among), sites, strict=True)
        if any(
            PURPOSES.index(each.purpose) > PURPOSES.index(purpose_of(site))
            for each in anew.scores[key]
            if each.purpose == "live" or each.status == "scored"
        )
    }


def _without(rows: "pa.Table", keys: Collection[RowKey]) -> "pa.Table":
    import pyarrow as pa

    return rows.filter(pa.array([key not in keys for key in row_keys(rows)], pa.bool_())) if keys else rows


def _excluded_anew(lake: "duckdb.DuckDBPyConnection", rows: "pa.Table", found: Due, anew: Anew) -> "pa.Table":
    """The rows that have a score, and for whom no prediction would be made with what has come in since."""
    older = excluded(rows.filter(anew.among(rows)))
    sql = "select older.* from older anti join live using (encounter_id, prediction_time)"
    return query(lake, sql, older=older, live=found.live).cast(rows.schema)


def _looked_back(this: Round) -> datetime | None:
    """How far back somebody may still be due: a week before the last round, or max_age. None: all the past."""
    if this.window:
        return this.window[0] - timedelta(microseconds=1)
    if this.all_due or not this.is_champion:
        return None
    return min(this.before.last_at or this.as_of, this.as_of) - max(A_WEEK, this.case.max_age)


def with_released(lake: "duckdb.DuckDBPyConnection", this: Round, rows: "pa.Table", released: "pa.Table") -> "pa.Table":
    """Add the stays whose hold has ended: their held score is final, so they are due once more, at the release."""
    import pyarrow as pa

    return pa.concat_tables([rows, due_after_release(lake, rows, this.case, released)]) if released.num_rows else rows


def released_rows(
    connection: Connection, lake: "duckdb.DuckDBPyConnection", this: Round, rows: "pa.Table"
) -> "pa.Table":
    """Return the rows that have a held score and whose hold has ended after their time, and when."""
    import pyarrow as pa

    from features.held import released_holds

    wanted = select(s.score.c.encounter_id, s.score.c.prediction_time).where(
        s.score.c.use_case == this.case.name,
        s.score.c.status == literal("held", literal_execute=True),  # as the index of held scores says it
    )
    held = set(map(tuple, connection.execute(wanted).all()))
    spine = rows.slice(0, 0)
    if held:
        keys = zip(rows["encounter_id"].to_pylist(), rows["prediction_time"].to_pylist(), strict=True)
        spine = rows.filter(pa.array([key in held for key in keys], pa.bool_()))
    if not spine.num_rows:
        return spine.select(["encounter_id", "prediction_time"])
    views = tuple(dict.fromkeys(feature.split(":")[0] for feature in this.case.features))
    return released_holds(connection, lake, spine, views, this.as_of)


def _within(rows: "pa.Table", window: Window) -> "pa.Table":
    """The rows of a window, as they were then: what has lapsed since was not known."""
    import pyarrow as pa
    import pyarrow.compute as pc

    first, last = (pa.scalar(each, pa.timestamp("us", "UTC")) for each in window)
    at = rows["prediction_time"]
    found = rows.filter(pc.and_(pc.greater_equal(at, first), pc.less(at, last)))
    position = found.column_names.index("lapsed_reason")
    return found.set_column(position, "lapsed_reason", pa.nulls(found.num_rows, pa.string()))
