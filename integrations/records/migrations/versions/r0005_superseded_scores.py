"""What scores were before their inputs changed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table, empty: until now a score stood as it was first made."""
    op.create_table(
        "superseded_score",
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
        sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("superseded_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["superseded_by"], ["run.run_id"], name="superseded_score_superseded_by_points"),
        sa.PrimaryKeyConstraint("score_id", "run_id", name="superseded_score_key"),
    )
    op.create_index("superseded_score_by_time", "superseded_score", ["use_case", "prediction_time"], unique=False)
