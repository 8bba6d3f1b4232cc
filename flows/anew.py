"""Who is due anew: what counted for a row has changed since it was scored.

A live feed changes no row of the past: what comes is known from its coming on. An extract of history does, and so does
a feed whose dates are moved, which sends a stay again or whose quarantine is read again. First the log of the lake says
of whom anything came at all; then the features that were kept are compared with those of now, and what is held with
what was held. Nothing is computed but what the round would compute for these rows.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, and_, cast, not_, or_, select

from flows.build_features import compute, views_of
from flows.due import Round
from flows.house import House, Part
from flows.standing import Anew
from integrations.records import in_slices
from integrations.records import schema as s
from models.cohort import STAY_NOW, eligible, query
from models.rows import RowKey, row_keys
from models.superseded import StandingScore

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

HANDED_OVER = "though their inputs have changed: they were handed over to the EHR"
OF_ANOTHER = "though their stay turned out to be another patient's: they were handed over to the EHR"
SPINE = ("site_id", "patient_id", "encounter_id", "prediction_time")

# A void or dead score of another version is nobody's any more; a queued one that no try was made of is still ours.
# Of several scores of a row, such as one of a round and one of the past, the newest says what is thought of it, and
# the oldest since when: if anything changed since, the oldest is wrong, and all give way to one. What this run has
# written, or a round that knew more, is not for this run to make anew.
NEWEST = """
with mine as (
    select
        * replace (coalesce(attempts, 0) as attempts),
        outbox_status is not null and not (outbox_status = 'queued' and coalesce(attempts, 0) = 0) as is_handed_over
    from standing
    where outbox_status is null
    or outbox_status not in ('void', 'dead')
    or version = $version
),

newest as (
    select
        encounter_id,
        prediction_time,
        min(snapshot_id) as snapshot_id,
        arg_max(score_id, row(snapshot_id, score_id)) as score_id,
        arg_max(status, row(snapshot_id, score_id)) as status,
        list(
            {
                'score_id': score_id,
                'run_id': run_id,
                'snapshot_id': snapshot_id,
                'purpose': purpose,
                'status': status
            }
            order by score_id
        ) as scores,
        list(distinct patient_id) as patient_ids,
        bool_or(is_handed_over) as is_handed_over
    from mine
    group by encounter_id, prediction_time
    having max(snapshot_id) <= $newest
    and not bool_or(run_id = $run_id)
)

select
    rows.*,
    newest.snapshot_id,
    newest.score_id,
    newest.status,
    newest.scores,
    newest.patient_ids <> [rows.patient_id] as is_of_another,
    newest.is_handed_over,
    feed.is_date_shifted or coalesce(rows.prediction_time < feed.go_live_at, true) as is_of_the_past
from rows
join newest using (encounter_id, prediction_time)
join feed on feed.source = split_part(rows.encounter_id, '/', 1)
order by rows.prediction_time, rows.encounter_id
"""
TOUCHED = """
select scored.*
from scored
where exists (
    from change
    where change.patient_id = scored.patient_id
    and change.snapshot_id > scored.snapshot_id
    and change.available_at <= scored.prediction_time
)
order by scored.prediction_time, scored.encounter_id
"""


@dataclass(frozen=True, kw_only=True)
class AnewIn:
    """Finds who is due anew in one part of a round."""

    house: House
    lake: "duckdb.DuckDBPyConnection"
    this: Round
    part: Part
    run_id: str

    def __call__(self, rows: "pa.Table", standing: "pa.Table") -> Anew:
        """Return the rows whose features, exclusion, holds or patient are others than when they were scored."""
        if not standing.num_rows:
            return Anew()
        run = {"version": self.this.version, "newest": self.this.snapshot.snapshot_id, "run_id": self.run_id}
        known = query(self.lake, NEWEST, rows=rows, standing=standing, **run)
        of_another = known.filter(known["is_of_another"])
        found = {**self._by_facts(known), **self._by_holds(known), **_by_key(of_another)}
        return Anew(
            scores={
                key: tuple(StandingScore(**each) for each in row["scores"])
                for key, row in found.items()
                if not row["is_handed_over"]
            },
            left=Counter(
                OF_ANOTHER if row["is_of_another"] else HANDED_OVER for row in found.values() if row["is_handed_over"]
            ),
        )

    def _by_facts(self, known: "pa.Table") -> dict[RowKey, dict[str, Any]]:
        """Of whom something came that counts: their features, or whether they are predicted for, may be others."""
        import pyarrow.compute as pc

        newest = self.this.snapshot.snapshot_id
        older = known.filter(pc.less(known["snapshot_id"], newest))
        if not older.num_rows:
            return {}
        since = pc.min(older["snapshot_id"]).as_py()
        if not self._may_matter(since, pc.max(older["prediction_time"]).as_py()):
            return {}
        sql = STAY_NOW + self.this.case.cohort_sql
        came = self.house.changes(self.this.snapshot, views_of(self.this.case), since, sql=sql)
        touched = older if came is None else query(self.lake, TOUCHED, scored=older, change=came)
        same, reasons = self._same(eligible(touched)), self._reasons(touched)
        found = {}
        for key, row in zip(row_keys(touched), touched.to_pylist(), strict=True):
            was = reasons.get(row["score_id"], ())
            if row["excluded_reason"] is not None:
                is_same = row["status"] == "excluded" and row["excluded_reason"] in was
            else:
                has_lapsed = row["status"] == "excluded" and row["lapsed_reason"] in was
                is_same = has_lapsed or key in same
            if not is_same:
                found[key] = row
        return found

    def _may_matter(self, since: int, newest: datetime) -> bool:
        """Whether anything came after a snapshot but live extracts that were received after all of these times."""
        both = s.snapshot.outerjoin(s.extract, s.extract.c.snapshot_id == s.snapshot.c.snapshot_id)
        is_live = and_(s.extract.c.is_history == 0, s.extract.c.received_at > newest)
        others = (
            select(s.snapshot.c.snapshot_id)
            .select_from(both)
            .where(s.snapshot.c.snapshot_id > since, or_(s.extract.c.extract_id.is_(None), not_(is_live)))
        )
        with self.house.records.read() as connection:
            return connection.execute(others.limit(1)).first() is not None

    def _same(self, touched: "pa.Table") -> set[RowKey]:
        """The rows of which every view gives what it gave when they were scored; not those that are kept no more."""
        from features.definitions import view, view_folder
        from features.kept_before import same_since

        if not touched.num_rows:
            return set()
        compute(self.house, self.this, self.part, touched.select(SPINE))
        pairs = [reference.split(":") for reference in self.this.case.features]
        with self.house.scratch() as connection:
            for name in views_of(self.this.case):
                folder = view_folder(self.house.store.offline, view(name))
                its = [feature for each, feature in pairs if each == name]
                touched = touched.filter(same_since(connection, folder, its, touched))
        return set(row_keys(touched))

    def _by_holds(self, known: "pa.Table") -> dict[RowKey, dict[str, Any]]:
        """Of whom other results lie in quarantine than when they were scored; of live rows that is known for good."""
        import pyarrow as pa

        past = eligible(known.filter(known["is_of_the_past"]))
        if not past.num_rows:
            return {}
        holds, required = self._holds(past)
        was, keys = self._reasons(past), row_keys(past)
        ids, states = past["score_id"].to_pylist(), past["status"].to_pylist()
        is_other = [
            key in required if status == "excluded" else set(was.get(score_id, ())) != holds.get(key, set())
            for key, score_id, status in zip(keys, ids, states, strict=True)
        ]
        return _by_key(past.filter(pa.array(is_other, pa.bool_())))

    def _holds(self, past: "pa.Table") -> tuple[dict[RowKey, set[str]], set[RowKey]]:
        """The reasons for which rows are held or flagged now, and the rows that are held for a required feature."""
        from features.held import held_features

        case, spine = self.this.case, past.select(SPINE)
        with self.house.records.read() as connection:
            holds = held_features(connection, self.lake, spine, views_of(case), self.this.as_of)
        reasons: dict[RowKey, set[str]] = {}
        required = set()
        for key, hold in zip(row_keys(holds), holds.to_pylist(), strict=True):
            held = {f"{hold['view']}:{name}" for name in hold["features"]}
            if held.intersection(case.features):
                reasons.setdefault(key, set()).add(f"{hold['view']}: {hold['reason']}")
            if held.intersection(case.required):
                required.add(key)
        return reasons, required

    def _reasons(self, known: "pa.Table") -> dict[str, list[str]]:
        """The reasons that the scores of these rows give, of those that give any."""
        ids, found = known["score_id"].to_pylist(), {}
        wanted = select(s.score.c.score_id, s.score.c.reasons).where(cast(s.score.c.reasons, String) != "[]")
        with self.house.records.read() as connection:
            for some in in_slices(ids):
                asked = wanted.where(s.score.c.score_id.in_(some))
                found.update({row.score_id: row.reasons for row in connection.execute(asked)})
        return found


def _by_key(rows: "pa.Table") -> dict[RowKey, dict[str, Any]]:
    return dict(zip(row_keys(rows), rows.to_pylist(), strict=True))
