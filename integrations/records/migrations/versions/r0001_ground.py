"""The first tables of the records, and the rule that the audit chain only grows."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table, then what guards the audit chain."""
    create_audit()
    create_breach()
    create_report()
    create_run()
    create_snapshot()
    create_extract()
    create_model_version()
    create_person()
    create_score()
    create_verdict()
    create_account()
    create_out_of_scope()
    create_outbox()
    create_quarantine()
    create_waiting()
    guard_audit()


def guard_audit() -> None:
    """Refuse every change but a next entry at the end of the chain."""
    for statement in SQLITE_GUARDS if op.get_bind().dialect.name == "sqlite" else POSTGRES_GUARDS:
        op.execute(statement)


SQLITE_GUARDS = (
    """
    create trigger audit_no_update before update on audit
    begin select raise(abort, 'audit only grows'); end
    """,
    """
    create trigger audit_no_delete before delete on audit
    begin select raise(abort, 'audit only grows'); end
    """,
    # "insert or replace" deletes without asking the trigger above
    """
    create trigger audit_no_replace before insert on audit
    when new.seq <= (select coalesce(max(seq), 0) from audit)
    begin select raise(abort, 'audit only grows'); end
    """,
)

POSTGRES_GUARDS = (
    """
    create function audit_only_grows() returns trigger language plpgsql
    as $$ begin raise exception 'audit only grows'; end $$
    """,
    """
    create trigger audit_no_change before update or delete or truncate on audit
    for each statement execute function audit_only_grows()
    """,
)


def create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("signer", sa.String(), nullable=True),
        sa.Column("signature", sa.String(), nullable=True),
        sa.Column("previous_hash", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="audit_key"),
        sa.UniqueConstraint("hash", name="audit_hash_once"),
    )
    op.create_index("audit_kind_index", "audit", ["kind"], unique=False)


def create_breach() -> None:
    op.create_table(
        "breach",
        sa.Column("breach_id", sa.Integer(), nullable=False),
        sa.Column("use_case", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.CheckConstraint("kind in ('drift', 'data fault')", name="breach_kind"),
        sa.CheckConstraint("status in ('open', 'emitted', 'closed')", name="breach_status"),
        sa.PrimaryKeyConstraint("breach_id", name="breach_key"),
    )
    op.create_index("breach_use_case_index", "breach", ["use_case"], unique=False)


def create_report() -> None:
    op.create_table(
        "report",
        sa.Column("report_id", sa.Integer(), nullable=False),
        sa.Column("use_case", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("report_id", name="report_key"),
    )
    op.create_index("report_use_case_index", "report", ["use_case"], unique=False)


def create_run() -> None:
    op.create_table(
        "run",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("use_case", sa.String(), nullable=True),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("snapshot_id", sa.Integer(), nullable=True),
        sa.Column("due", sa.Integer(), nullable=True),
        sa.Column("scored", sa.Integer(), nullable=True),
        sa.Column("held", sa.Integer(), nullable=True),
        sa.Column("excluded", sa.Integer(), nullable=True),
        sa.Column("reasons", sa.JSON(), nullable=True),
        sa.CheckConstraint("due is null or due = scored + held + excluded", name="run_balances"),
        sa.PrimaryKeyConstraint("run_id", name="run_key"),
    )
    op.create_index("run_kind_index", "run", ["kind"], unique=False)
    op.create_index("run_use_case_index", "run", ["use_case"], unique=False)


def create_snapshot() -> None:
    op.create_table(
        "snapshot",
        sa.Column("snapshot_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("snapshot_id", name="snapshot_key"),
    )


def create_extract() -> None:
    op.create_table(
        "extract",
        sa.Column("extract_id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("is_history", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("snapshot_id", sa.Integer(), nullable=True),
        sa.CheckConstraint("status in ('landed', 'committed')", name="extract_status"),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshot.snapshot_id"], name="extract_snapshot_id_points"),
        sa.PrimaryKeyConstraint("extract_id", name="extract_key"),
    )
    op.create_index("extract_source_index", "extract", ["source"], unique=False)


def create_model_version() -> None:
    op.create_table(
        "model_version",
        sa.Column("use_case", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("trained_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("trained_by", sa.String(), nullable=False),
        sa.Column("snapshot_id", sa.Integer(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("manifest_hash", sa.String(), nullable=False),
        sa.Column("report_hash", sa.String(), nullable=False),
        sa.Column("gate", sa.String(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("evaluation", sa.JSON(), nullable=False),
        sa.CheckConstraint("gate in ('pass', 'fail', 'not enough data')", name="model_version_gate"),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshot.snapshot_id"], name="model_version_snapshot_id_points"),
        sa.PrimaryKeyConstraint("use_case", "version", name="model_version_key"),
    )


def create_person() -> None:
    op.create_table(
        "person",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("public_key", sa.String(), nullable=False),
        sa.Column("added_seq", sa.Integer(), nullable=False),
        sa.Column("removed_seq", sa.Integer(), nullable=True),
        sa.CheckConstraint("role in ('engineer', 'governance', 'clinician')", name="person_role"),
        sa.ForeignKeyConstraint(["added_seq"], ["audit.seq"], name="person_added_seq_points"),
        sa.ForeignKeyConstraint(["removed_seq"], ["audit.seq"], name="person_removed_seq_points"),
        sa.PrimaryKeyConstraint("name", name="person_key"),
        sa.UniqueConstraint("public_key", name="person_public_key_once"),
    )


def create_score() -> None:
    op.create_table(
        "score",
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
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("explanation", sa.JSON(), nullable=True),
        sa.Column("manifest_hash", sa.String(), nullable=False),
        sa.Column("view_versions", sa.JSON(), nullable=False),
        sa.Column("snapshot_id", sa.Integer(), nullable=False),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(status = 'scored') = (probability is not null)", name="score_has_probability"),
        sa.CheckConstraint("purpose in ('live', 'silent', 'shadow', 'backfill')", name="score_purpose_is_known"),
        sa.CheckConstraint("status in ('scored', 'held', 'excluded')", name="score_status"),
        sa.CheckConstraint("probability is null or (probability >= 0 and probability <= 1)", name="score_probability"),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name="score_run_id_points"),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshot.snapshot_id"], name="score_snapshot_id_points"),
        sa.PrimaryKeyConstraint("score_id", name="score_key"),
        sa.UniqueConstraint("score_id", "purpose", name="score_purpose"),
        sa.UniqueConstraint(
            "site_id", "use_case", "encounter_id", "prediction_time", "version", "purpose", name="score_is_unique"
        ),
    )
    op.create_index("score_by_time", "score", ["use_case", "prediction_time"], unique=False)
    op.create_index("score_patient_id_index", "score", ["patient_id"], unique=False)
    op.create_index("score_run_id_index", "score", ["run_id"], unique=False)


def create_verdict() -> None:
    op.create_table(
        "verdict",
        sa.Column("verdict_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("use_case", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("window_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("figure", sa.Float(), nullable=True),
        sa.Column("threshold", sa.Float(), nullable=True),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.CheckConstraint("verdict in ('in order', 'breach', 'not enough data')", name="verdict_word"),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name="verdict_run_id_points"),
        sa.PrimaryKeyConstraint("verdict_id", name="verdict_key"),
    )
    op.create_index("verdict_run_id_index", "verdict", ["run_id"], unique=False)
    op.create_index("verdict_use_case_index", "verdict", ["use_case"], unique=False)


def create_account() -> None:
    op.create_table(
        "account",
        sa.Column("extract_id", sa.String(), nullable=False),
        sa.Column("table_name", sa.String(), nullable=False),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("mapped", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.Column("out_of_scope", sa.Integer(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("quarantined", sa.Integer(), nullable=False),
        sa.Column("rows_written", sa.Integer(), nullable=False),
        sa.Column("taken_up", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "received = mapped + unchanged + out_of_scope + waiting + quarantined", name="account_balances"
        ),
        sa.ForeignKeyConstraint(["extract_id"], ["extract.extract_id"], name="account_extract_id_points"),
        sa.PrimaryKeyConstraint("extract_id", "table_name", name="account_key"),
    )


def create_out_of_scope() -> None:
    op.create_table(
        "out_of_scope",
        sa.Column("extract_id", sa.String(), nullable=False),
        sa.Column("table_name", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("record_count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["extract_id"], ["extract.extract_id"], name="out_of_scope_extract_id_points"),
        sa.PrimaryKeyConstraint("extract_id", "table_name", "code", name="out_of_scope_key"),
    )


def create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("score_id", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("identifier", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failure_count", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("location", sa.String(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("purpose = 'live'", name="only_live_is_written_back"),
        sa.CheckConstraint(
            "status in ('queued', 'sent', 'acknowledged', 'failed', 'dead', 'void')", name="outbox_status"
        ),
        sa.ForeignKeyConstraint(
            ["score_id", "purpose"], ["score.score_id", "score.purpose"], name="outbox_score_id_points"
        ),
        sa.PrimaryKeyConstraint("score_id", name="outbox_key"),
    )
    op.create_index("outbox_status_index", "outbox", ["status"], unique=False)
    op.create_index(
        "outbox_identifier_once",
        "outbox",
        ["identifier"],
        unique=True,
        sqlite_where=sa.text("status <> 'void'"),
        postgresql_where=sa.text("status <> 'void'"),
    )


def create_quarantine() -> None:
    op.create_table(
        "quarantine",
        sa.Column("quarantine_id", sa.Integer(), nullable=False),
        sa.Column("extract_id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("table_name", sa.String(), nullable=False),
        sa.Column("source_file", sa.String(), nullable=False),
        sa.Column("source_line", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("record_hash", sa.String(), nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=True),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("fact_key", sa.String(), nullable=True),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("quarantined_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_by", sa.String(), nullable=True),
        sa.CheckConstraint("released_by in ('superseded', 'sent_again', 'retry')", name="quarantine_released_by"),
        sa.CheckConstraint("(released_at is null) = (released_by is null)", name="quarantine_release"),
        sa.ForeignKeyConstraint(["extract_id"], ["extract.extract_id"], name="quarantine_extract_id_points"),
        sa.PrimaryKeyConstraint("quarantine_id", name="quarantine_key"),
    )
    op.create_index("quarantine_extract_id_index", "quarantine", ["extract_id"], unique=False)
    op.create_index("quarantine_patient_id_index", "quarantine", ["patient_id"], unique=False)
    op.create_index("quarantine_source_index", "quarantine", ["source"], unique=False)


def create_waiting() -> None:
    op.create_table(
        "waiting",
        sa.Column("waiting_id", sa.Integer(), nullable=False),
        sa.Column("extract_id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("table_name", sa.String(), nullable=False),
        sa.Column("source_file", sa.String(), nullable=False),
        sa.Column("source_line", sa.Integer(), nullable=False),
        sa.Column("record_hash", sa.String(), nullable=False),
        sa.Column("waits_for_table", sa.String(), nullable=False),
        sa.Column("waits_for", sa.String(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_up_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("taken_up_by", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["extract_id"], ["extract.extract_id"], name="waiting_extract_id_points"),
        sa.PrimaryKeyConstraint("waiting_id", name="waiting_key"),
    )
    op.create_index("waiting_extract_id_index", "waiting", ["extract_id"], unique=False)
    op.create_index("waiting_source_index", "waiting", ["source"], unique=False)
    op.create_index("waiting_waits_for_index", "waiting", ["waits_for"], unique=False)
