"""Deployments: names that runs are asked for by, each bound to one version of a flow until the next deploy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection

from dagy.control import tables
from dagy.control.flows import flow_row
from dagy.control.names import checked_json, checked_name, checked_namespace, checked_tags, split_reference
from dagy.control.pages import Page, checked_limit
from dagy.control.records import LOCAL, Deployment, reference_of
from dagy.control.signatures import checked_parameters
from dagy.errors import ConflictError, ParameterError, UnknownDeploymentError, shown
from dagy.spec import Json

if TYPE_CHECKING:
    from dagy.control.store import AnyRow


_DEPLOYMENTS = tables.deployments.c
_FLOWS = tables.flows.c
_COLUMNS = [
    _DEPLOYMENTS.namespace,
    _DEPLOYMENTS.name,
    _FLOWS.name.label("flow_name"),
    _FLOWS.version,
    _FLOWS.revision,
    _FLOWS.code_hash,
    _FLOWS.artifact,
    _DEPLOYMENTS.tags,
    _DEPLOYMENTS.parameters,
    _DEPLOYMENTS.created_at,
    _DEPLOYMENTS.updated_at,
    _DEPLOYMENTS.executor,
    _DEPLOYMENTS.resources,
    _DEPLOYMENTS.id,
    _DEPLOYMENTS.flow,
    _FLOWS.signature,
    _FLOWS.tasks,
]
_ALL = sa.select(*_COLUMNS).join(tables.flows, _FLOWS.id == _DEPLOYMENTS.flow)


def put(
    db: Connection,
    now: datetime,
    name: str,
    *,
    namespace: str,
    flow_name: str,
    flow_version: str,
    revision: int,
    tags: Mapping[str, str],
    parameters: Mapping[str, Json],
    executor: str,
    resources: Mapping[str, Json],
) -> Deployment:
    """Make the deployment, or bind the one there is to this version of the flow, which is in the same namespace.

    Raises `UnknownFlowError`, and `ParameterError` for a name, tags or parameters that do not fit.
    """
    checked_name("deployment", name)
    checked_namespace(namespace)
    flow = flow_row(db, flow_name, namespace=namespace, version=flow_version, revision=revision)
    signature = db.execute(sa.select(_FLOWS.signature).where(_FLOWS.id == flow.id)).scalar_one()
    values = {
        "flow": flow.id,
        "tags": checked_tags(tags),
        "parameters": checked_parameters(f"flow {flow_name!r}", signature, parameters, all_given=False),
        "updated_at": now,
        "executor": checked_name("executor", executor),
        "resources": checked_resources(executor, resources),
    }
    is_it = sa.and_(_DEPLOYMENTS.namespace == namespace, _DEPLOYMENTS.name == name)
    if not db.execute(sa.update(tables.deployments).where(is_it).values(values)).rowcount:
        db.execute(
            sa.insert(tables.deployments).values(values | {"namespace": namespace, "name": name, "created_at": now})
        )
    return _deployment(db.execute(_ALL.where(is_it)).one())


def deployment_row(db: Connection, wanted: str) -> AnyRow:
    """The row of the deployment; a name without its namespace will do where that is the only one of that name.

    Raises `UnknownDeploymentError`, and `ConflictError` when the name alone does not tell.
    """
    namespace, name = split_reference(wanted)
    named = _ALL.where(_DEPLOYMENTS.name == name)
    if namespace is not None:
        named = named.where(_DEPLOYMENTS.namespace == namespace)
    rows = db.execute(named.order_by(_DEPLOYMENTS.namespace)).all()
    if not rows:
        every = sa.select(_DEPLOYMENTS.namespace, _DEPLOYMENTS.name).order_by(_DEPLOYMENTS.name).limit(200)
        raise UnknownDeploymentError(wanted, [reference_of(*row) for row in db.execute(every)])
    if len(rows) > 1 and rows[0].namespace != "":
        known = ", ".join(repr(reference_of(row.namespace, row.name)) for row in rows)
        raise ConflictError(f"there are several deployments {name!r}: {known}; give the namespace too")
    return rows[0]


def deployment(db: Connection, wanted: str) -> Deployment:
    """The deployment. Errors as `deployment_row`."""
    return _deployment(deployment_row(db, wanted))


def deployments(
    db: Connection,
    *,
    namespace: str | None,
    flow: str | None,
    tags: Mapping[str, str] | None,
    limit: int,
    after: str | None,
) -> Page[Deployment]:
    """The deployments that have all these tags, by namespace and name."""
    wanted = _ALL.order_by(_DEPLOYMENTS.namespace, _DEPLOYMENTS.name)
    if namespace is not None:
        wanted = wanted.where(_DEPLOYMENTS.namespace == checked_namespace(namespace))
    if flow is not None:
        wanted = wanted.where(_FLOWS.name == checked_name("flow", flow))
    for tag, value in checked_tags(tags or {}).items():
        # In JSON without spaces a name and its value stand nowhere else in this form: a quote in a text has a
        # backslash before it. LIKE is no help: SQLite's does not tell capital letters from small ones.
        written = f"{json.dumps(tag)}:{json.dumps(value)}"
        text = sa.type_coerce(_DEPLOYMENTS.tags, sa.Text)
        wanted = wanted.where(sa.func.replace(text, written, "") != text)
    if after is not None:
        space, name = split_reference(after)
        last = sa.tuple_(sa.literal(space or ""), sa.literal(name))
        wanted = wanted.where(sa.tuple_(_DEPLOYMENTS.namespace, _DEPLOYMENTS.name) > last)
    found = [_deployment(row) for row in db.execute(wanted.limit(checked_limit(limit) + 1))]
    return Page(tuple(found[:limit]), found[limit - 1].reference if len(found) > limit else None)


def delete(db: Connection, wanted: str) -> None:
    """Take the deployment away, and its schedules with it. Its runs stay, and those that wait are still run.

    Errors as `deployment_row`.
    """
    row = deployment_row(db, wanted)
    db.execute(sa.delete(tables.deployments).where(_DEPLOYMENTS.id == row.id))


def checked_resources(executor: str, resources: Mapping[str, Json]) -> Mapping[str, Json]:
    """`resources`, JSON by name, which what is run by a worker has none of. Raises `ParameterError`."""
    if not isinstance(resources, Mapping) or (executor == LOCAL and resources):
        raise ParameterError(f"the resources of executor {executor!r} can't be {shown(resources)}")
    checked_json("the resources", dict(resources))
    return dict(resources)


def _deployment(row: AnyRow) -> Deployment:
    return Deployment(*row[:13])
