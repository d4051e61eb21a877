"""What Alembic runs: the migrations, inside the transaction that `dagy.control.migrating` has begun."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
