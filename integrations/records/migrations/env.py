"""Alembic's entry: run the revisions on the connection that migrate() hands over, within its transaction."""

from alembic import context

from integrations.records.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # true of SQLite too, since the transaction is already open
)
with context.begin_transaction():
    context.run_migrations()
