"""What a feed of HL7 v2 messages needs: which message came under which control id."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table, empty: what came before it is known by its facts alone."""
    op.create_table(
        "message",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("control_key", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("sent_day", sa.String(), nullable=True),
        sa.Column("is_conflict", sa.Integer(), nullable=False),
        sa.Column("extract_id", sa.String(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["extract_id"], ["extract.extract_id"], name="message_extract_id_points"),
        sa.PrimaryKeyConstraint("source", "control_key", "digest", name="message_key"),
    )
    op.create_index("message_received_at_index", "message", ["received_at"], unique=False)
