"""The scores that stand for rows of a round: who has one already, and which of them give way to a new one."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, select

from integrations.records import in_slices
from integrations.records import schema as s
from models.rows import RowKey, row_keys
from models.superseded import StandingScore

if TYPE_CHECKING:
    import pyarrow as pa

    from flows.due import Round

ROUND_PURPOSES = ("live", "silent")  # what a round of the champion scores the newest rows for
OF_SCORE = (
    *("score_id", "run_id", "patient_id", "encounter_id", "prediction_time"),
    *("purpose", "version", "status", "snapshot_id"),
)


@dataclass(frozen=True, kw_only=True)
class Anew:
    """The rows that are due anew, each with the scores that give way; and how many are left as they are, by reason."""

    scores: Mapping[RowKey, tuple[StandingScore, ...]] = field(default_factory=dict)
    left: Mapping[str, int] = field(default_factory=dict)

    def among(self, rows: "pa.Table") -> "pa.Array":
        """Say which of these rows are due anew."""
        import pyarrow as pa

        return pa.array(
            [key in self.scores for key in row_keys(rows)] if self.scores else [False] * len(rows), pa.bool_()
        )

    def without(self, keys: Collection[RowKey], reason: str) -> "Anew":
        """Leave these rows as they are, for this reason."""
        scores = {key: each for key, each in self.scores.items() if key not in keys}
        return Anew(scores=scores, left={**self.left, reason: len(keys)})


# cohort rows, and the scores that stand for them -> those that are due anew
FindAnew = Callable[["pa.Table", "pa.Table"], Anew]


def standing_scores(connection: Connection, this: "Round", rows: "pa.Table") -> "pa.Table":
    """Which of these rows, or of their stays, have a score already, and how it stands with the EHR.

    The champion takes a row up where no version has scored it, or where another's live score was not let out to the
    EHR; another version, and any over a window, where it has not done so itself.
    """
    import pyarrow as pa

    mine = s.score.c.use_case == this.case.name
    if this.is_champion and not this.window:
        mine &= (s.score.c.purpose != "shadow") & ~_is_withdrawn(this)
    else:
        mine &= s.score.c.version == this.version
    both = s.score.outerjoin(s.outbox, s.outbox.c.score_id == s.score.c.score_id)
    sent = (s.outbox.c.status.label("outbox_status"), s.outbox.c.attempts)
    wanted = select(*(s.score.c[name] for name in OF_SCORE), *sent).select_from(both).where(mine)
    sites, stays = (sorted(set(rows[name].to_pylist())) for name in ("site_id", "encounter_id"))
    found: list[Any] = []
    for some in in_slices(stays):
        asked = s.score.c.site_id.in_(sites) & s.score.c.encounter_id.in_(some)
        found += connection.execute(wanted.where(asked)).all()
    kinds = {name: pa.string() for name in (*OF_SCORE, "outbox_status", "attempts")}
    kinds |= {"prediction_time": pa.timestamp("us", "UTC")}
    kinds |= dict.fromkeys(("version", "snapshot_id", "attempts"), pa.int64())
    columns = zip(*found, strict=True) if found else iter([()] * len(kinds))
    return pa.table([pa.array(values, kind) for values, kind in zip(columns, kinds.values(), strict=True)], [*kinds])


def scored(this: "Round", standing: "pa.Table", anew: Anew) -> "pa.Table":
    """Return the rows that count as scored, without those that are due anew, and whether they were so by a round.

    A row that is still new enough for a round has its score by a round only: a silent look at the past, made before the
    use case went live, keeps nobody from it.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    counting = standing.filter(pc.invert(anew.among(standing)))
    is_by_round = pc.is_in(counting["purpose"], pa.array(ROUND_PURPOSES))
    if not this.is_champion or this.window:
        is_by_round = pa.array([True] * counting.num_rows, pa.bool_())
    return counting.select(["encounter_id", "prediction_time"]).append_column("is_by_round", is_by_round)


def _is_withdrawn(this: "Round") -> ColumnElement[bool]:
    """A score of another version that is void, while it is early enough for the champion to give one in its place."""
    void = select(s.outbox.c.score_id).where(s.outbox.c.status == "void")
    return and_(
        s.score.c.score_id.in_(void),
        s.score.c.version != this.version,
        s.score.c.prediction_time >= this.as_of - this.case.max_age,
    )
