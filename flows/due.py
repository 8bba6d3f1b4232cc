"""Who is due: the rows of one round, by the version that will score them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, func, select

from flows.house import House, Snapshot
from flows.step import step
from integrations.errors import Refused
from integrations.records import schema as s
from models.catalog import use_case
from models.cohort import cohort, due, eligible, in_order
from models.governance.promotion import champion
from models.governance.stages import stage_of
from models.release import due_after_release
from models.use_case import UseCase

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


Window = tuple[datetime, datetime]  # from the first instant on, up to before the second
A_WEEK = timedelta(days=7)  # what came in late may still make somebody due whom the last round did not see
ASKED_AT_ONCE = 10_000  # stays whose scores are looked up by one question
ROUND_PURPOSES = ("live", "silent")  # what a round of the champion scores the newest rows for


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
        first_time = select(func.min(s.score.c.prediction_time)).where(
            s.score.c.use_case == use_case, s.score.c.purpose.in_(ROUND_PURPOSES)
        )
        return cls(last_at=connection.execute(last_at).scalar(), first_time=connection.execute(first_time).scalar())


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
    """live: the newest row of each stay, excluded ones among them. backfill: older eligible rows without a score."""

    live: "pa.Table"
    backfill: "pa.Table"
    stages: Mapping[str, str]  # by site

    @property
    def live_spine(self) -> "pa.Table":
        """The live rows that are predicted for."""
        return eligible(self.live)

    @property
    def spine(self) -> "pa.Table":
        """Every row that is predicted for, live ones first."""
        import pyarrow as pa

        return pa.concat_tables([self.live_spine, self.backfill])

    @property
    def count(self) -> int:
        """How many a run must account for."""
        return int(self.live.num_rows + self.backfill.num_rows)


@step
def due_rows(house: House, lake: "duckdb.DuckDBPyConnection", this: Round) -> DueRows:
    """Find who is due. A site whose stage is off has nobody due; a version that is not champion scores beside it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    with house.records.read() as connection:
        rows = cohort(lake, this.case, this.as_of, since=_looked_back(this))
        rows = _within(rows, this.window) if this.window else with_released(connection, lake, this, rows)
        scored = _scored(connection, this, rows)
        stages = {site: stage_of(connection, site, this.case.name) for site in pc.unique(rows["site_id"]).to_pylist()}
    found = due(lake, rows, this.case, scored, this.as_of, latest_only=False)
    live, backfill = found.live, found.backfill
    if this.window:
        return DueRows(
            live=live.slice(0, 0), backfill=in_order(pa.concat_tables([eligible(live), backfill])), stages=stages
        )
    if this.is_champion:
        on = pa.array([site for site, stage in stages.items() if stage != "off"], pa.string())
        live = live.filter(pc.is_in(live["site_id"], on))
        backfill = backfill.filter(pc.is_in(backfill["site_id"], on))
    if not this.all_due:
        # rows missed since rounds are made are caught up; before that, nobody was to be scored
        since = pa.scalar(this.before.first_time, backfill["prediction_time"].type)
        backfill = backfill.filter(pc.fill_null(pc.greater_equal(backfill["prediction_time"], since), False))
    return DueRows(live=live, backfill=backfill, stages=stages)


def _looked_back(this: Round) -> datetime | None:
    """How far back somebody may still be due: a week before the last round, or max_age. None: all the past."""
    if this.window:
        return this.window[0] - timedelta(microseconds=1)
    if this.all_due or not this.is_champion:
        return None
    return min(this.before.last_at or this.as_of, this.as_of) - max(A_WEEK, this.case.max_age)


def with_released(
    connection: Connection, lake: "duckdb.DuckDBPyConnection", this: Round, rows: "pa.Table"
) -> "pa.Table":
    """Add the stays whose hold has ended: their held score is final, so they are due once more, at the release."""
    import pyarrow as pa

    from features.held import released_holds

    wanted = select(s.score.c.encounter_id, s.score.c.prediction_time).where(
        s.score.c.use_case == this.case.name, s.score.c.status == "held"
    )
    held = set(map(tuple, connection.execute(wanted).all()))
    if not held:
        return rows
    keys = zip(rows["encounter_id"].to_pylist(), rows["prediction_time"].to_pylist(), strict=True)
    spine = rows.filter(pa.array([key in held for key in keys], pa.bool_()))
    views = tuple(dict.fromkeys(feature.split(":")[0] for feature in this.case.features))
    released = released_holds(connection, lake, spine, views, this.as_of)
    return pa.concat_tables([rows, due_after_release(lake, rows, this.case, released)])


def _within(rows: "pa.Table", window: Window) -> "pa.Table":
    """The rows of a window, as they were then: what has lapsed since was not known."""
    import pyarrow as pa
    import pyarrow.compute as pc

    first, last = (pa.scalar(each, pa.timestamp("us", "UTC")) for each in window)
    at = rows["prediction_time"]
    found = rows.filter(pc.and_(pc.greater_equal(at, first), pc.less(at, last)))
    position = found.column_names.index("lapsed_reason")
    return found.set_column(position, "lapsed_reason", pa.nulls(found.num_rows, pa.string()))


def _scored(connection: Connection, this: Round, rows: "pa.Table") -> "pa.Table":
    """Which of these rows, or of their stays, have a score already.

    The champion takes a row up where no version has scored it, or where another's live score was not let out to the
    EHR; another version, and any over a window, where it has not done so itself. A row that is still new enough for a
    round has its score by a round only: a silent look at the past, made before the use case went live, keeps nobody
    from it.
    """
    import pyarrow as pa

    mine = s.score.c.use_case == this.case.name
    if this.is_champion and not this.window:
        mine &= (s.score.c.purpose != "shadow") & ~_is_withdrawn(this)
    else:
        mine &= s.score.c.version == this.version
    sites, stays = (sorted(set(rows[name].to_pylist())) for name in ("site_id", "encounter_id"))
    keys: list[Any] = []
    for first in range(0, len(stays), ASKED_AT_ONCE):
        asked = mine & s.score.c.site_id.in_(sites) & s.score.c.encounter_id.in_(stays[first : first + ASKED_AT_ONCE])
        wanted = select(s.score.c.encounter_id, s.score.c.prediction_time, s.score.c.purpose).where(asked)
        keys += connection.execute(wanted).all()
    is_by_round = [not this.is_champion or bool(this.window) or key.purpose in ROUND_PURPOSES for key in keys]
    return pa.table(
        {
            "encounter_id": pa.array([key.encounter_id for key in keys], pa.string()),
            "prediction_time": pa.array([key.prediction_time for key in keys], pa.timestamp("us", "UTC")),
            "is_by_round": pa.array(is_by_round, pa.bool_()),
        }
    )


def _is_withdrawn(this: Round) -> ColumnElement[bool]:
    """A score of another version that is void, while it is early enough for the champion to give one in its place."""
    void = select(s.outbox.c.score_id).where(s.outbox.c.status == "void")
    return and_(
        s.score.c.score_id.in_(void),
        s.score.c.version != this.version,
        s.score.c.prediction_time >= this.as_of - this.case.max_age,
    )
