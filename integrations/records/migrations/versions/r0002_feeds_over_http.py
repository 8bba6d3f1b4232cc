"""What feeds over HTTP need: up to when each has been fetched, and which server is down."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create both tables, empty: the next export of each feed asks for everything."""
    op.create_table(
        "watermark",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("fetched_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked", sa.String(), nullable=False),
        sa.Column("extract_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["extract_id"], ["extract.extract_id"], name="watermark_extract_id_points"),
        sa.PrimaryKeyConstraint("source", name="watermark_key"),
    )
    op.create_table(
        "breaker",
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("failure_count", sa.Integer(), nullable=False),
        sa.Column("open_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("endpoint", name="breaker_key"),
    )
