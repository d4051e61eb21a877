"""The tables of the control plane, as they are now. `migrations` brings a store that is older to this.

A change here comes with a migration: a test compares what the migrations make with these, on both databases.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint

from dagy.control.columns import Document, FreeText, Moment, Name

METADATA = sa.MetaData()

# SQLite counts by itself only in a column that is INTEGER to the letter.
_NUMBER = BigInteger().with_variant(Integer(), "sqlite")


def _numbered() -> Column[int]:
    return Column("id", _NUMBER, primary_key=True)


artifacts = Table(
    "artifacts",
    METADATA,
    Column("sha256", Name(), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("flow_name", Name(), nullable=False),
    Column("flow_version", Name(), nullable=False),
    Column("code_hash", Name(), nullable=False),
    Column("created_at", Moment, nullable=False),
)

flows = Table(
    "flows",
    METADATA,
    _numbered(),
    Column("namespace", Name(), nullable=False),
    Column("name", Name(), nullable=False),
    Column("version", Name(), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("code_hash", Name(), nullable=False),
    Column("artifact", Name(), ForeignKey("artifacts.sha256"), nullable=False),
    Column("description", FreeText, nullable=False),
    Column("tasks", Integer, nullable=False),
    Column("signature", Document, nullable=False),  # its parameters: see `dagy.control.signatures`
    Column("spec", Text, nullable=False),  # the flow's own JSON
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("namespace", "name", "version", "revision", name="flows_label"),
)

deployments = Table(
    "deployments",
    METADATA,
    _numbered(),
    Column("namespace", Name(), nullable=False),
    Column("name", Name(), nullable=False),
    Column("flow", _NUMBER, ForeignKey("flows.id"), nullable=False),
    Column("tags", Document, nullable=False),
    Column("parameters", Document, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("executor", Name(), nullable=False, server_default="local"),
    Column("resources", Document, nullable=False, server_default="{}"),
    UniqueConstraint("namespace", "name", name="deployments_reference"),
    Index("deployments_name", "name"),
)

# A run outlives its deployment, so it holds the deployment's name.
runs = Table(
    "runs",
    METADATA,
    _numbered(),
    Column("run_id", Name(), nullable=False),
    Column("ending", Name(), nullable=False),  # the last part of its id, to find it by
    Column("namespace", Name(), nullable=False),
    Column("deployment", Name(), nullable=False),
    Column("flow", _NUMBER, ForeignKey("flows.id"), nullable=False),
    Column("flow_name", Name(), nullable=False),  # of that flow, to list its runs by
    Column("parameters", Document, nullable=False),
    Column("status", Name(), nullable=False),
    Column("message", FreeText, nullable=False),
    Column("tags", Document, nullable=False),
    Column("trigger", Name(), nullable=False),
    Column("schedule_id", Name()),
    Column("scheduled_for", Moment),
    Column("idempotency_key", Name()),
    Column("request", Name(), nullable=False),  # the digest of what was asked for
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("worker", Name()),
    Column("claim", Name()),  # the token of the claim that took it
    Column("fence", Integer, nullable=False),
    Column("lease_until", Moment),
    Column("tries", Integer, nullable=False),
    Column("cancel_reason", FreeText),
    Column("tasks", Document, nullable=False),  # how many are in each state
    Column("events", BigInteger, nullable=False),  # how many there are
    Column("result", Document),
    Column("has_result", Boolean, nullable=False),
    Column("executor", Name(), nullable=False, server_default="local"),
    Column("resources", Document, nullable=False, server_default="{}"),
    Column("resumes", Name()),  # the id of the run that it goes on with
    UniqueConstraint("run_id", name="runs_run_id"),
    UniqueConstraint("namespace", "deployment", "idempotency_key", name="runs_idempotency_key"),
    Index("runs_ending", "ending"),
    Index("runs_deployment", "deployment", "id"),
    Index("runs_flow_name", "flow_name", "id"),
    Index("runs_status", "status", "id"),
    Index("runs_claim", "claim"),
)

task_runs = Table(
    "task_runs",
    METADATA,
    Column("run", _NUMBER, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("task", FreeText, primary_key=True),  # its id, which may be any text
    Column("status", Name(), nullable=False),
    Column("message", FreeText, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("started_at", Moment),
    Column("ended_at", Moment),
)

# Events are kept as they came, many to a row.
events = Table(
    "events",
    METADATA,
    Column("run", _NUMBER, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("last", BigInteger, primary_key=True),  # the number of the last one in this row
    Column("first", BigInteger, nullable=False),
    Column("batch", Text, nullable=False),  # a JSON array
)

schedules = Table(
    "schedules",
    METADATA,
    _numbered(),
    Column("schedule_id", Name(), nullable=False),
    Column("deployment", _NUMBER, ForeignKey("deployments.id", ondelete="CASCADE"), nullable=False),
    Column("timing", Document, nullable=False),
    Column("parameters", Document, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("is_implicit", Boolean),  # true or NULL, of which there may be many
    Column("next_run_at", Moment),
    Column("last_triggered_at", Moment),
    Column("last_run_id", Name()),
    Column("last_error", FreeText),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("schedule_id", name="schedules_schedule_id"),
    Index("schedules_next_run_at", "next_run_at"),
    UniqueConstraint("deployment", "is_implicit", name="schedules_implicit"),
)

keys = Table(
    "keys",
    METADATA,
    Column("key_id", Name(), primary_key=True),
    Column("name", Name(), nullable=False),
    Column("prefix", Name(), nullable=False),
    Column("digest", Name(), nullable=False),  # SHA-256 of the secret
    Column("scopes", Document, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("last_used_at", Moment),
    Index("keys_prefix", "prefix"),
)
