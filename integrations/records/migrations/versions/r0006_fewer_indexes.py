"""What a score costs to write: each index is one more place in a file that grows with every round."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Let go of the indexes that nothing asks or that say a thing twice; held scores, which are few, get one."""
    if op.get_bind().dialect.name == "sqlite":
        rebuild_score()
    else:
        alter_score()
    op.create_index("score_by_stay", "score", ["use_case", "encounter_id"], unique=False)
    is_held = sa.text("status = 'held'")
    op.create_index("score_held", "score", ["use_case"], unique=False, sqlite_where=is_held, postgresql_where=is_held)


def alter_score() -> None:
    """Postgres changes the rules of a table where it stands, once nobody uses it: score first, as a round does."""
    op.execute("lock table score, outbox in access exclusive mode")
    op.drop_constraint("outbox_score_id_points", "outbox", type_="foreignkey")
    for name in ("score_is_unique", "score_purpose", "score_key"):
        op.drop_constraint(name, "score")
    op.drop_index("score_patient_id_index", "score")
    op.create_primary_key("score_key", "score", ["score_id", "purpose"])
    op.create_foreign_key("outbox_score_id_points", "outbox", "score", ["score_id", "purpose"], ["score_id", "purpose"])


def rebuild_score() -> None:
    """SQLite cannot: the rows move to a new table, and those of outbox, which point at them, stand aside meanwhile."""
    op.execute("create temporary table outbox_aside as select * from outbox")
    op.execute("delete from outbox")
    create_score("score_anew")
    op.execute("insert into score_anew select * from score")
    op.drop_table("score")
    op.rename_table("score_anew", "score")
    op.create_index("score_by_time", "score", ["use_case", "prediction_time"], unique=False)
    op.create_index("score_run_id_index", "score", ["run_id"], unique=False)
    op.execute("insert into outbox select * from outbox_aside")
    op.execute("drop table outbox_aside")


def create_score(name: str) -> None:
    op.create_table(
        name,
        sa.Column("score_id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("use_case", sa.String(), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.Column("encounter_id", sa.String(), nullable=False),
        sa.Column("source_encounter_id", sa.String(), nullable=False),
        sa.Column("prediction_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("horizon_starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("probability", sa.Float(), nullable=True),
        sa.Column("band", sa.String(), nullable=True),
        sa.Column("is_at_or_above_threshold", sa.Integer(), nullable=True),
        sa.Column("reasons", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("explanation", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("manifest_hash", sa.String(), nullable=False),
        sa.Column("view_versions", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("snapshot_id", sa.Integer(), nullable=False),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(status = 'scored') = (probability is not null)", name="score_has_probability"),
        sa.CheckConstraint("purpose in ('live', 'silent', 'shadow', 'backfill')", name="score_purpose_is_known"),
        sa.CheckConstraint("status in ('scored', 'held', 'excluded')", name="score_status"),
        sa.CheckConstraint("probability is null or (probability >= 0 and probability <= 1)", name="score_probability"),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name="score_run_id_points"),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshot.snapshot_id"], name="score_snapshot_id_points"),
        sa.PrimaryKeyConstraint("score_id", "purpose", name="score_key"),
    )
