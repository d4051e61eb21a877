"""Deployments and runs know what runs them; all that there were till now are run by workers."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns, which say of what is there that it is local."""
    for table in ("deployments", "runs"):
        op.add_column(table, sa.Column("executor", _name(), nullable=False, server_default="local"))
        op.add_column(table, sa.Column("resources", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("runs", sa.Column("resumes", _name(), nullable=True))


def _name() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
