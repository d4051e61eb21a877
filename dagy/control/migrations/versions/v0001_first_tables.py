"""The tables of the first version."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables of an empty database."""
    op.create_table(
        "artifacts",
        sa.Column("sha256", _name(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("flow_name", _name(), nullable=False),
        sa.Column("flow_version", _name(), nullable=False),
        sa.Column("code_hash", _name(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
    )
    op.create_table(
        "keys",
        sa.Column("key_id", _name(), nullable=False),
        sa.Column("name", _name(), nullable=False),
        sa.Column("prefix", _name(), nullable=False),
        sa.Column("digest", _name(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key_id"),
    )
    op.create_index("keys_prefix", "keys", ["prefix"], unique=False)
    op.create_table(
        "flows",
        sa.Column("id", _number(), nullable=False),
        sa.Column("namespace", _name(), nullable=False),
        sa.Column("name", _name(), nullable=False),
        sa.Column("version", _name(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("code_hash", _name(), nullable=False),
        sa.Column("artifact", _name(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tasks", sa.Integer(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact"],
            ["artifacts.sha256"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("namespace", "name", "version", "revision", name="flows_label"),
    )
    op.create_table(
        "deployments",
        sa.Column("id", _number(), nullable=False),
        sa.Column("namespace", _name(), nullable=False),
        sa.Column("name", _name(), nullable=False),
        sa.Column("flow", _number(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["flow"],
            ["flows.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("namespace", "name", name="deployments_reference"),
    )
    op.create_index("deployments_name", "deployments", ["name"], unique=False)
    op.create_table(
        "runs",
        sa.Column("id", _number(), nullable=False),
        sa.Column("run_id", _name(), nullable=False),
        sa.Column("ending", _name(), nullable=False),
        sa.Column("namespace", _name(), nullable=False),
        sa.Column("deployment", _name(), nullable=False),
        sa.Column("flow", _number(), nullable=False),
        sa.Column("flow_name", _name(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("status", _name(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("trigger", _name(), nullable=False),
        sa.Column("schedule_id", _name(), nullable=True),
        sa.Column("scheduled_for", sa.BigInteger(), nullable=True),
        sa.Column("idempotency_key", _name(), nullable=True),
        sa.Column("request", _name(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("worker", _name(), nullable=True),
        sa.Column("claim", _name(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("cancel_reason", sa.Text(), nullable=True),
        sa.Column("tasks", sa.Text(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("has_result", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["flow"],
            ["flows.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("namespace", "deployment", "idempotency_key", name="runs_idempotency_key"),
        sa.UniqueConstraint("run_id", name="runs_run_id"),
    )
    op.create_index("runs_claim", "runs", ["claim"], unique=False)
    op.create_index("runs_deployment", "runs", ["deployment", "id"], unique=False)
    op.create_index("runs_ending", "runs", ["ending"], unique=False)
    op.create_index("runs_flow_name", "runs", ["flow_name", "id"], unique=False)
    op.create_index("runs_status", "runs", ["status", "id"], unique=False)
    op.create_table(
        "events",
        sa.Column("run", _number(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("batch", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "last"),
    )
    op.create_table(
        "schedules",
        sa.Column("id", _number(), nullable=False),
        sa.Column("schedule_id", _name(), nullable=False),
        sa.Column("deployment", _number(), nullable=False),
        sa.Column("timing", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("is_implicit", sa.Boolean(), nullable=True),
        sa.Column("next_run_at", sa.BigInteger(), nullable=True),
        sa.Column("last_triggered_at", sa.BigInteger(), nullable=True),
        sa.Column("last_run_id", _name(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["deployment"], ["deployments.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("deployment", "is_implicit", name="schedules_implicit"),
        sa.UniqueConstraint("schedule_id", name="schedules_schedule_id"),
    )
    op.create_index("schedules_next_run_at", "schedules", ["next_run_at"], unique=False)
    op.create_table(
        "task_runs",
        sa.Column("run", _number(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("status", _name(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "task"),
    )


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _name() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
