"""What the watch needs: figures of each extract, and the findings that come of comparing them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables, empty: the watch begins to learn what is usual with the next extract of each feed."""
    create_watch_figure()
    create_finding()
    create_finding_extract()


def create_watch_figure() -> None:
    """Figures per extract, day, kind and subject."""
    op.create_table(
        "watch_figure",
        sa.Column("extract_id", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("value_count", sa.Integer(), nullable=False),
        sa.Column("patient_count", sa.Integer(), nullable=False),
        sa.Column("part_count", sa.Integer(), nullable=False),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("middle", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("hours", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["extract_id"], ["extract.extract_id"], name="watch_figure_extract_id_points"),
        sa.PrimaryKeyConstraint("extract_id", "day", "kind", "subject", name="watch_figure_key"),
    )
    op.create_index("watch_figure_source_index", "watch_figure", ["source"])


def create_finding() -> None:
    """Findings; what is open is not opened again."""
    op.create_table(
        "finding",
        sa.Column("finding_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("extract_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("codes", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("since_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("evidence", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("to_do", sa.Text(), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_seq", sa.Integer(), nullable=True),
        sa.CheckConstraint("severity in ('note', 'warning', 'blocking')", name="finding_severity"),
        sa.CheckConstraint("(released_at is null) = (released_seq is null)", name="finding_release"),
        sa.ForeignKeyConstraint(["extract_id"], ["extract.extract_id"], name="finding_extract_id_points"),
        sa.ForeignKeyConstraint(["released_seq"], ["audit.seq"], name="finding_released_seq_points"),
        sa.PrimaryKeyConstraint("finding_id", name="finding_key"),
    )
    op.create_index("finding_source_index", "finding", ["source"])
    op.create_index(
        "finding_open_once",
        "finding",
        ["source", "kind", "subject", "severity"],
        unique=True,
        sqlite_where=sa.text("released_at is null"),
        postgresql_where=sa.text("released_at is null"),
    )


def create_finding_extract() -> None:
    """The extracts in which a finding was seen."""
    op.create_table(
        "finding_extract",
        sa.Column("finding_id", sa.Integer(), nullable=False),
        sa.Column("extract_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["extract_id"], ["extract.extract_id"], name="finding_extract_extract_id_points"),
        sa.ForeignKeyConstraint(["finding_id"], ["finding.finding_id"], name="finding_extract_finding_id_points"),
        sa.PrimaryKeyConstraint("finding_id", "extract_id", name="finding_extract_key"),
    )
