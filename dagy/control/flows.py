"""Artifacts and flows: a flow's version, once registered, stands for the same code for ever.

A version that the author named takes no other code, unless a new revision is asked for. `latest`, the version of a flow
that was given none, gets a new revision whenever its code is another.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection

from dagy.control import tables
from dagy.control.names import checked_name, checked_namespace, split_reference
from dagy.control.pages import Page, checked_limit
from dagy.control.records import ArtifactInfo, FlowVersion, reference_of
from dagy.control.signatures import signature
from dagy.errors import ArtifactError, ConflictError, ParameterError, UnknownFlowError, shown
from dagy.spec import Json

if TYPE_CHECKING:
    from dagy.artifact import Manifest
    from dagy.control.artifacts import KeptFile
    from dagy.control.store import AnyRow, AnySelect


LATEST = "latest"  # the version of a flow whose author gave it none

_FLOWS = tables.flows.c
_COLUMNS = [
    _FLOWS.id,
    _FLOWS.namespace,
    _FLOWS.name,
    _FLOWS.version,
    _FLOWS.revision,
    _FLOWS.code_hash,
    _FLOWS.artifact,
    _FLOWS.description,
    _FLOWS.tasks,
    _FLOWS.created_at,
]


def keep_artifact(db: Connection, now: datetime, kept: KeptFile) -> ArtifactInfo:
    """Write down an artifact whose file is there; one that is known already stays as it is."""
    manifest = kept.manifest
    info = ArtifactInfo(
        kept.sha256,
        kept.size,
        checked_name("flow's name", manifest.flow_name),
        checked_name("flow's version", manifest.flow_version),
        manifest.code_hash,
    )
    if _artifact(db, kept.sha256) is None:
        db.execute(
            sa.insert(tables.artifacts).values(
                sha256=info.sha256,
                size=info.size,
                flow_name=info.flow_name,
                flow_version=info.flow_version,
                code_hash=info.code_hash,
                created_at=now,
            )
        )
    return info


def artifact(db: Connection, sha256: str) -> ArtifactInfo:
    """The artifact of that digest, which is well formed. Raises `ArtifactError` when there is none."""
    row = _artifact(db, sha256)
    if row is None:
        raise ArtifactError(f"there is no artifact {sha256[:12]}; put it into the store first")
    return ArtifactInfo(row.sha256, row.size, row.flow_name, row.flow_version, row.code_hash)


def register(
    db: Connection, now: datetime, sha256: str, manifest: Manifest, namespace: str, *, new_revision: bool
) -> FlowVersion:
    """The flow's version that this artifact is, made if it is new.

    Raises `ArtifactError` when nobody has written the artifact down, and `ConflictError` when the author's version
    stands for other code already.
    """
    checked_namespace(namespace)
    artifact(db, sha256)
    spec = manifest.spec
    newest = db.execute(_newest_first(_of(spec.name, namespace, spec.version)).limit(1)).first()
    if newest is not None:
        if newest.code_hash == manifest.code_hash and (newest.artifact == sha256 or not new_revision):
            return _flow(newest)
        if spec.version != LATEST and not new_revision:
            raise ConflictError(
                f"version {spec.version!r} of flow {spec.name!r} is registered with other code; raise the version in "
                f"@flow(version=...), or give force=True, which registers revision {newest.revision + 1} of it"
            )
    values = {
        "namespace": namespace,
        "name": spec.name,
        "version": spec.version,
        "revision": 1 if newest is None else newest.revision + 1,
        "code_hash": manifest.code_hash,
        "artifact": sha256,
        "description": spec.description,
        "tasks": len(spec.tasks),
        "signature": signature(spec),
        "spec": json.dumps(spec.model_dump(), separators=(",", ":")),
        "created_at": now,
    }
    number = db.execute(sa.insert(tables.flows).values(values).returning(_FLOWS.id)).scalar_one()
    return _flow(db.execute(sa.select(*_COLUMNS).where(_FLOWS.id == number)).one())


def flow_row(
    db: Connection, name: str, *, namespace: str | None = None, version: str | None = None, revision: int | None = None
) -> AnyRow:
    """The row of the newest flow that fits.

    Raises `UnknownFlowError`, and `ConflictError` when several namespaces have one and none is given.
    """
    _check_asked(name, namespace, version, revision)
    found = db.execute(_newest_first(_of(name, namespace, version, revision)).limit(1)).first()
    if found is None:
        raise UnknownFlowError(_called(name, namespace, version, revision), _known(db, name, namespace, version))
    if namespace is None:
        spaces = db.execute(_of(name, None).with_only_columns(_FLOWS.namespace).distinct()).scalars().all()
        if len(spaces) > 1:
            raise ConflictError(
                f"there is a flow {name!r} in several namespaces: {', '.join(map(repr, sorted(spaces)))}; "
                "say which with namespace=..."
            )
    return found


def flow(
    db: Connection, name: str, *, namespace: str | None = None, version: str | None = None, revision: int | None = None
) -> FlowVersion:
    """The newest flow that fits. Errors as `flow_row`."""
    return _flow(flow_row(db, name, namespace=namespace, version=version, revision=revision))


def spec(
    db: Connection, name: str, *, namespace: str | None = None, version: str | None = None, revision: int | None = None
) -> dict[str, Json]:
    """The spec of the newest flow that fits, as JSON. Errors as `flow_row`."""
    row = flow_row(db, name, namespace=namespace, version=version, revision=revision)
    found: dict[str, Json] = json.loads(db.execute(sa.select(_FLOWS.spec).where(_FLOWS.id == row.id)).scalar_one())
    return found


def flows(db: Connection, *, namespace: str | None, limit: int, after: str | None) -> Page[FlowVersion]:
    """The newest version of each flow, by namespace and name."""
    newest = sa.select(sa.func.max(_FLOWS.id)).group_by(_FLOWS.namespace, _FLOWS.name)
    wanted = sa.select(*_COLUMNS).where(_FLOWS.id.in_(newest)).order_by(_FLOWS.namespace, _FLOWS.name)
    if namespace is not None:
        wanted = wanted.where(_FLOWS.namespace == checked_namespace(namespace))
    if after is not None:
        space, name = split_reference(after, "flow")
        last = sa.tuple_(sa.literal(space or ""), sa.literal(name))
        wanted = wanted.where(sa.tuple_(_FLOWS.namespace, _FLOWS.name) > last)
    found = [_flow(row) for row in db.execute(wanted.limit(checked_limit(limit) + 1))]
    following = reference_of(found[limit - 1].namespace, found[limit - 1].name) if len(found) > limit else None
    return Page(tuple(found[:limit]), following)


def flow_versions(
    db: Connection, name: str, *, namespace: str | None, limit: int, after: str | None
) -> Page[FlowVersion]:
    """The versions of a flow, the newest first. Errors as `flow_row`."""
    space = str(flow_row(db, name, namespace=namespace).namespace)
    wanted = _newest_first(_of(name, space))
    if after is not None:
        if not (isinstance(after, str) and after.isascii() and after.isdigit() and len(after) < 18):
            raise ParameterError(f"after is what a page gave as its `next`, not {shown(after)}")
        wanted = wanted.where(_FLOWS.id < int(after))
    rows = db.execute(wanted.limit(checked_limit(limit) + 1)).all()
    return Page(tuple(map(_flow, rows[:limit])), str(rows[limit - 1].id) if len(rows) > limit else None)


def _artifact(db: Connection, sha256: str) -> AnyRow | None:
    return db.execute(sa.select(tables.artifacts).where(tables.artifacts.c.sha256 == sha256)).first()


def _of(name: str, namespace: str | None, version: str | None = None, revision: int | None = None) -> AnySelect:
    wanted: AnySelect = sa.select(*_COLUMNS).where(_FLOWS.name == name)
    for column, value in ((_FLOWS.namespace, namespace), (_FLOWS.version, version), (_FLOWS.revision, revision)):
        if value is not None:
            wanted = wanted.where(column == value)
    return wanted


def _newest_first(wanted: AnySelect) -> AnySelect:
    return wanted.order_by(_FLOWS.id.desc())


def _flow(row: AnyRow) -> FlowVersion:
    return FlowVersion(*row[1:])


def _check_asked(name: str, namespace: str | None, version: str | None, revision: int | None) -> None:
    checked_name("flow", name)
    if namespace is not None:
        checked_namespace(namespace)
    if version is not None:
        checked_name("version", version)
    if revision is not None and (type(revision) is not int or not 0 < revision < 2**31):
        raise ParameterError(f"a revision is a number from 1 on, not {shown(revision)}")


def _called(name: str, namespace: str | None, version: str | None, revision: int | None) -> str:
    label = reference_of(namespace or "", name)
    label += f" {version}" if version else ""
    return f"{label} (revision {revision})" if revision else label


def _known(db: Connection, name: str, namespace: str | None, version: str | None) -> list[str]:
    """What a message offers instead: the flow's versions, or else the flows there are."""
    versions = db.execute(_newest_first(_of(name, namespace)).limit(20)).all() if version else []
    if versions:
        return sorted({f"{name} {row.version}" for row in versions})
    names = sa.select(_FLOWS.namespace, _FLOWS.name).distinct().order_by(_FLOWS.name).limit(200)
    return [reference_of(*row) for row in db.execute(names)]
