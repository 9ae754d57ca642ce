"""What Alembic runs: on the connection that was handed in, in the transaction that it is in."""

from alembic import context

from relay.journal.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
