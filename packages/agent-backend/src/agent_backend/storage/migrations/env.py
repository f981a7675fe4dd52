"""What Alembic runs: the connection and its transaction come from ``migrate``, which holds the lock."""

from alembic import context

_attributes = context.config.attributes
context.configure(
    connection=_attributes["connection"], target_metadata=None, version_table=_attributes["version_table"]
)
context.run_migrations()
