"""The tables of the operational database: what happened, what was decided, what was concluded. Instants are UTC."""

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from integrations.records.instant import Instant

# One name per key, index and rule in every database, so that a migration can name what it changes.
metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_key",
        "fk": "%(table_name)s_%(column_0_name)s_points",
        "uq": "%(table_name)s_%(column_0_name)s_once",
        "ix": "%(table_name)s_%(column_0_name)s_index",
    }
)
INSTANT = Instant()
DOCUMENT = JSON(none_as_null=True)

# --- what came in -----------------------------------------------------------------------------------------------------

extract = Table(
    "extract",
    metadata,
    Column("extract_id", String, primary_key=True),
    Column("source", String, nullable=False, index=True),
    Column("site_id", String, nullable=False),
    Column("received_at", INSTANT, nullable=False),
    Column("digest", String, nullable=False),  # sha256 over the names and sha256 of its files
    Column("is_history", Integer, nullable=False),
    Column("status", String, nullable=False),  # landed, committed
    Column("snapshot_id", Integer, ForeignKey("snapshot.snapshot_id")),
    CheckConstraint("status in ('landed', 'committed')", name="extract_status"),
)

# A snapshot is a set of versions of Delta tables; the newest one is what readers see.
snapshot = Table(
    "snapshot",
    metadata,
    Column("snapshot_id", Integer, primary_key=True),
    Column("created_at", INSTANT, nullable=False),
    Column("versions", DOCUMENT, nullable=False),  # {table: Delta version}
)

# received = mapped + unchanged + out_of_scope + waiting + quarantined, in source records.
account = Table(
    "account",
    metadata,
    Column("extract_id", String, ForeignKey("extract.extract_id"), primary_key=True),
    Column("table_name", String, primary_key=True),
    Column("received", Integer, nullable=False),
    Column("mapped", Integer, nullable=False),
    Column("unchanged", Integer, nullable=False),
    Column("out_of_scope", Integer, nullable=False),
    Column("waiting", Integer, nullable=False),
    Column("quarantined", Integer, nullable=False),
    Column("rows_written", Integer, nullable=False),
    Column(
        "taken_up", Integer, nullable=False
    ),  # records of earlier extracts that waited, or were released, and came in now
    CheckConstraint("received = mapped + unchanged + out_of_scope + waiting + quarantined", name="account_balances"),
)

out_of_scope = Table(
    "out_of_scope",
    metadata,
    Column("extract_id", String, ForeignKey("extract.extract_id"), primary_key=True),
    Column("table_name", String, primary_key=True),
    Column("code", String, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("record_count", Integer, nullable=False),
)

# HL7 v2 messages by control id, as long as one is unique (the contract says how long).
message = Table(
    "message",
    metadata,
    Column("source", String, primary_key=True),
    Column("control_key", String, primary_key=True),  # hash of sender and control id
    Column("digest", String, primary_key=True),  # hash of the body
    Column("sent_day", String),  # of MSH-7, as sent
    Column("is_conflict", Integer, nullable=False),  # another body had the control id before
    Column("extract_id", String, ForeignKey("extract.extract_id"), nullable=False),
    Column("received_at", INSTANT, nullable=False, index=True),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("quarantine_id", Integer, primary_key=True),
    Column("extract_id", String, ForeignKey("extract.extract_id"), nullable=False, index=True),
    Column("source", String, nullable=False, index=True),
    Column("table_name", String, nullable=False),
    Column("source_file", String, nullable=False),
    Column("source_line", Integer, nullable=False),
    Column("reason", String, nullable=False),  # one word of a closed list: see integrations/ingest
    Column("detail", Text, nullable=False),  # a sentence without a value of a patient
    Column("record_hash", String, nullable=False),
    Column("bytes", LargeBinary, nullable=False),  # of a record of more than 1 MB its begin; all of it lies in landing
    Column("patient_id", String, index=True),
    Column("code", String),
    Column("fact_key", String),  # of the fact that it is a version of, where readable: a later good one releases it
    Column("issued_at", INSTANT),
    Column("effective_at", INSTANT),
    Column("quarantined_at", INSTANT, nullable=False),
    Column("released_at", INSTANT),
    Column("released_by", String),
    CheckConstraint("released_by in ('superseded', 'sent_again', 'retry')", name="quarantine_released_by"),
    CheckConstraint("(released_at is null) = (released_by is null)", name="quarantine_release"),
)

waiting = Table(
    "waiting",
    metadata,
    Column("waiting_id", Integer, primary_key=True),
    Column("extract_id", String, ForeignKey("extract.extract_id"), nullable=False, index=True),
    Column("source", String, nullable=False, index=True),
    Column("table_name", String, nullable=False),
    Column("source_file", String, nullable=False),
    Column("source_line", Integer, nullable=False),
    Column("record_hash", String, nullable=False),
    Column("waits_for_table", String, nullable=False),
    Column("waits_for", String, nullable=False, index=True),
    Column("since", INSTANT, nullable=False),
    Column("taken_up_at", INSTANT),
    Column("taken_up_by", String),  # extract_id
)

# Up to when a feed has been fetched from its server, by the server's own clock: the next export asks from there.
watermark = Table(
    "watermark",
    metadata,
    Column("source", String, primary_key=True),
    Column("fetched_until", INSTANT, nullable=False),
    Column("asked", String, nullable=False),  # a hash of what was asked for; empty for files that were brought
    Column("extract_id", String, ForeignKey("extract.extract_id"), nullable=False),
)

# Servers that failed, with how often in a row; see integrations/web/breaker.py.
breaker = Table(
    "breaker",
    metadata,
    Column("endpoint", String, primary_key=True),  # scheme://host:port
    Column("failure_count", Integer, nullable=False),
    Column("open_until", INSTANT),
)

# --- what was decided -------------------------------------------------------------------------------------------------

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),  # from 1, no gaps
    Column("at", INSTANT, nullable=False),
    Column("kind", String, nullable=False, index=True),
    Column("body", Text, nullable=False),  # canonical JSON
    Column("signer", String),
    Column("signature", String),
    Column("previous_hash", String, nullable=False),
    Column("hash", String, nullable=False, unique=True),
)

person = Table(
    "person",
    metadata,
    Column("name", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("public_key", String, nullable=False, unique=True),
    Column("added_seq", Integer, ForeignKey("audit.seq"), nullable=False),
    Column("removed_seq", Integer, ForeignKey("audit.seq")),
    CheckConstraint("role in ('engineer', 'governance', 'clinician')", name="person_role"),
)

model_version = Table(
    "model_version",
    metadata,
    Column("use_case", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("trained_at", INSTANT, nullable=False),
    Column("trained_by", String, nullable=False),
    Column("snapshot_id", Integer, ForeignKey("snapshot.snapshot_id"), nullable=False),
    Column("manifest", DOCUMENT, nullable=False),  # {path: sha256}
    Column("manifest_hash", String, nullable=False),
    Column("report_hash", String, nullable=False),
    Column("gate", String, nullable=False),
    Column("reasons", DOCUMENT, nullable=False),  # list of sentences
    Column("evaluation", DOCUMENT, nullable=False),
    CheckConstraint("gate in ('pass', 'fail', 'not enough data')", name="model_version_gate"),
)

# --- what was noticed -------------------------------------------------------------------------------------------------

# What one extract of a feed was like, small enough to compare many nights with: see integrations/watch.
watch_figure = Table(
    "watch_figure",
    metadata,
    Column("extract_id", String, ForeignKey("extract.extract_id"), primary_key=True),
    Column("day", Date, primary_key=True),  # of history the local day of issue; else that of the middle of the extract
    Column("kind", String, primary_key=True),  # code, unit, junk, delay, corrected, duplicates, ward, sender, volume
    Column("subject", String, primary_key=True),  # a code, a ward, a sender: what the figures are of
    Column("source", String, nullable=False, index=True),
    Column("code", String),  # LOINC where the code as sent is mapped
    Column("value_count", Integer, nullable=False),
    Column("patient_count", Integer, nullable=False),
    Column("part_count", Integer, nullable=False),  # of the values, by kind: passed, junk, late, corrected, repeated
    Column("low", Float),  # tenth percentile, on the decimal logarithm
    Column("middle", Float),
    Column("high", Float),
    Column("hours", DOCUMENT),  # of a ward: [[hour since 1970 local, results, patient hours], ...]
)

finding = Table(
    "finding",
    metadata,
    Column("finding_id", Integer, primary_key=True),
    Column("source", String, nullable=False, index=True),
    Column("site_id", String, nullable=False),
    Column("extract_id", String, ForeignKey("extract.extract_id"), nullable=False),  # in which it was seen first
    Column("kind", String, nullable=False),  # one word of a closed list: see integrations/watch/finding.py
    Column("subject", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("codes", DOCUMENT, nullable=False),  # LOINC codes that it touches
    Column("since_at", INSTANT, nullable=False),  # from when on the feed's results are not what they were
    Column("opened_at", INSTANT, nullable=False),  # when it could be known: the extract was received
    Column("evidence", DOCUMENT, nullable=False),  # figures, nothing of a patient
    Column("sentence", Text, nullable=False),
    Column("to_do", Text, nullable=False),
    Column("released_at", INSTANT),
    Column("released_seq", Integer, ForeignKey("audit.seq")),
    CheckConstraint("severity in ('note', 'warning', 'blocking')", name="finding_severity"),
    CheckConstraint("(released_at is null) = (released_seq is null)", name="finding_release"),
    # what is open is not opened again, unless it becomes more severe
    Index(
        "finding_open_once",
        "source",
        "kind",
        "subject",
        "severity",
        unique=True,
        sqlite_where=text("released_at is null"),
        postgresql_where=text("released_at is null"),
    ),
)

# The extracts in which a finding was seen.
finding_extract = Table(
    "finding_extract",
    metadata,
    Column("finding_id", Integer, ForeignKey("finding.finding_id"), primary_key=True),
    Column("extract_id", String, ForeignKey("extract.extract_id"), primary_key=True),
)

# --- what was concluded -----------------------------------------------------------------------------------------------

run = Table(
    "run",
    metadata,
    Column("run_id", String, primary_key=True),
    Column(
        "kind", String, nullable=False, index=True
    ),  # ingest, retry, build_features, train, promote, score, write_back, monitor
    Column("use_case", String, index=True),
    Column("as_of", INSTANT, nullable=False),
    Column("started_at", INSTANT, nullable=False),
    Column("finished_at", INSTANT),
    Column("status", String, nullable=False),  # running, done, failed
    Column("purpose", String),
    Column("version", Integer),
    Column("snapshot_id", Integer),
    Column("due", Integer),
    Column("scored", Integer),
    Column("held", Integer),
    Column("excluded", Integer),
    Column("reasons", DOCUMENT),  # {reason: count} of what was held or excluded
    CheckConstraint("due is null or due = scored + held + excluded", name="run_balances"),
)

score = Table(
    "score",
    metadata,
    Column("score_id", String, primary_key=True),  # a hash of what makes a score one: score_records.py
    Column("run_id", String, ForeignKey("run.run_id"), nullable=False, index=True),
    Column("site_id", String, nullable=False),
    Column("use_case", String, nullable=False),
    Column("patient_id", String, nullable=False),
    Column("encounter_id", String, nullable=False),
    Column("source_encounter_id", String, nullable=False),
    Column("prediction_time", INSTANT, nullable=False),
    Column("horizon_starts_at", INSTANT),  # null: at prediction_time
    Column("version", Integer, nullable=False),
    Column("purpose", String, primary_key=True),  # so that outbox can say: live ones only
    Column("stage", String, nullable=False),
    Column("status", String, nullable=False),
    Column("probability", Float),
    Column("band", String),
    Column("is_at_or_above_threshold", Integer),
    Column("reasons", DOCUMENT, nullable=False),  # why held, excluded or flagged
    Column("explanation", DOCUMENT),  # [{feature, value, contribution}], on the uncalibrated margin
    Column("manifest_hash", String, nullable=False),
    Column("view_versions", DOCUMENT, nullable=False),  # {feature view: sha256 of its SQL, shortened}
    Column("snapshot_id", Integer, ForeignKey("snapshot.snapshot_id"), nullable=False),
    Column("scored_at", INSTANT, nullable=False),
    CheckConstraint("purpose in ('live', 'silent', 'shadow', 'backfill')", name="score_purpose_is_known"),
    CheckConstraint("status in ('scored', 'held', 'excluded')", name="score_status"),
    CheckConstraint("(status = 'scored') = (probability is not null)", name="score_has_probability"),
    CheckConstraint("probability is null or (probability >= 0 and probability <= 1)", name="score_probability"),
    Index("score_by_time", "use_case", "prediction_time"),
    Index("score_by_stay", "use_case", "encounter_id"),
    Index("score_held", "use_case", sqlite_where=text("status = 'held'"), postgresql_where=text("status = 'held'")),
)

# Scores whose inputs have changed since, as they were: the new one stands in `score`, under the same id if its version
# and purpose are the same.
superseded_score = Table(
    "superseded_score",
    metadata,
    *(
        Column(its.name, its.type, primary_key=its.name in ("score_id", "run_id"), nullable=its.nullable)
        for its in score.c
    ),
    Column("superseded_at", INSTANT, nullable=False),
    Column("superseded_by", String, ForeignKey("run.run_id"), nullable=False),
    Index("superseded_score_by_time", "use_case", "prediction_time"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("score_id", String, primary_key=True),
    Column("purpose", String, nullable=False),
    Column("identifier", String, nullable=False),  # UUIDv5 in the site's secret namespace
    Column("status", String, nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("failure_count", Integer, nullable=False, server_default="0"),  # by itself, not because the target was down
    Column("queued_at", INSTANT, nullable=False),
    Column("next_attempt_at", INSTANT),
    Column("sent_at", INSTANT),
    Column("acknowledged_at", INSTANT),
    Column("location", String),  # where the target put it: file name or Type/id
    Column("last_error", Text),
    ForeignKeyConstraint(["score_id", "purpose"], ["score.score_id", "score.purpose"]),
    CheckConstraint("purpose = 'live'", name="only_live_is_written_back"),
    CheckConstraint("status in ('queued', 'sent', 'acknowledged', 'failed', 'dead', 'void')", name="outbox_status"),
    # a void score leaves its place to one that may go out
    Index(
        "outbox_identifier_once",
        "identifier",
        unique=True,
        sqlite_where=text("status <> 'void'"),
        postgresql_where=text("status <> 'void'"),
    ),
)

# --- what was watched -------------------------------------------------------------------------------------------------

verdict = Table(
    "verdict",
    metadata,
    Column("verdict_id", Integer, primary_key=True),
    Column("run_id", String, ForeignKey("run.run_id"), nullable=False, index=True),
    Column("use_case", String, nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("window_start", INSTANT, nullable=False),
    Column("window_end", INSTANT, nullable=False),
    Column("metric", String, nullable=False),  # psi, missing, prediction_psi, auroc, observed_expected, ...
    Column("subject", String, nullable=False),  # feature name, or "prediction"
    Column("row_count", Integer, nullable=False),
    Column("figure", Float),
    Column("threshold", Float),
    Column("verdict", String, nullable=False),
    CheckConstraint("verdict in ('in order', 'breach', 'not enough data')", name="verdict_word"),
)

breach = Table(
    "breach",
    metadata,
    Column("breach_id", Integer, primary_key=True),
    Column("use_case", String, nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("opened_at", INSTANT, nullable=False),
    Column("kind", String, nullable=False),  # drift, data fault
    Column("subject", String, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("status", String, nullable=False),  # open, emitted, closed
    CheckConstraint("kind in ('drift', 'data fault')", name="breach_kind"),
    CheckConstraint("status in ('open', 'emitted', 'closed')", name="breach_status"),
)

report = Table(
    "report",
    metadata,
    Column("report_id", Integer, primary_key=True),
    Column("use_case", String, nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("kind", String, nullable=False),  # drift, evaluation
    Column("created_at", INSTANT, nullable=False),
    Column("path", String, nullable=False),  # within ROUNDS_HOME/reports
    Column("sha256", String, nullable=False),
)
