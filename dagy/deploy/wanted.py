"""What should exist once a deploy is done, checked as far as that needs nobody else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dagy.artifact import Artifact
from dagy.control.names import LONGEST_NAME, checked_json, checked_name, checked_namespace, checked_tags
from dagy.control.records import LOCAL, Timing, reference_of
from dagy.control.timing import checked_timing
from dagy.errors import ConflictError, ParameterError, did_you_mean
from dagy.spec import FlowSpec, Json

if TYPE_CHECKING:
    from dagy.backends import Route

DEFAULT_TIMEZONE = "UTC"

_UNNAMEABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A deployment as it should be: which code it stands for, and all its settings."""

    name: str
    namespace: str
    flow_name: str
    flow_version: str
    code_hash: str
    artifact: str  # the SHA-256 of its bytes
    path: Path  # of the artifact
    size: int  # of the artifact, in bytes
    tags: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Json] = field(default_factory=dict)
    timing: Timing | None = None  # of the schedule that belongs to it; None: there is none
    route: Route | None = None  # where on AWS it runs, and why; None: workers run it

    @property
    def reference(self) -> str:
        """What names it anywhere: `etl`, or `team/project/etl` in a namespace."""
        return reference_of(self.namespace, self.name)

    @property
    def executor(self) -> str:
        """What runs it: "local", or a backend on AWS."""
        return LOCAL if self.route is None else self.route.backend


def wanted(
    artifact: Artifact,
    name: str | None,
    *,
    flow_name: str | None = None,
    flow_version: str | None = None,
    namespace: str = "",
    tags: Mapping[str, str] | None = None,
    schedule: str | None = None,
    timezone: str | None = None,
    parameters: Mapping[str, Json] | None = None,
) -> Wanted:
    """The deployment that is asked for; its name is the flow's unless there is one.

    `ConflictError` when the artifact holds another flow, or another version of it, than is meant; `ParameterError` for
    a setting that can't be.
    """
    manifest = artifact.manifest
    for what, meant, found in (
        ("the flow", flow_name, manifest.flow_name),
        ("the version", flow_version, manifest.flow_version),
    ):
        if meant is not None and meant != found:
            raise ConflictError(
                f"{str(artifact.path)!r} holds {what} {found!r}, not {meant!r}; build that one, or leave the name out"
            )
    checked_name("flow's name", manifest.flow_name)
    checked_name("flow's version", manifest.flow_version)
    given = dict(parameters or {})
    _check_parameters(manifest.spec, given)
    if schedule is not None:
        _check_all_given(manifest.spec, given)
    return Wanted(
        name=checked_name("deployment", manifest.flow_name if name is None else name),
        namespace=checked_namespace(namespace),
        flow_name=manifest.flow_name,
        flow_version=manifest.flow_version,
        code_hash=manifest.code_hash,
        artifact=artifact.sha256,
        path=artifact.path,
        size=artifact.size,
        tags=checked_tags(tags or {}),
        parameters=given,
        timing=_timing(schedule, timezone),
    )


def default_namespace(file: Path) -> str:
    """The namespace of a flow that `file` defines: its folder below the working directory, such as `team/project`.

    It is empty for a file in the working directory itself, or elsewhere.
    """
    try:
        folder = file.resolve().parent.relative_to(Path.cwd().resolve())
    except (ValueError, OSError):  # elsewhere, or there is no working directory any more
        return ""
    namespace = "/".join(_UNNAMEABLE.sub("_", part).strip() or "_" for part in folder.parts)
    return namespace if len(namespace) <= LONGEST_NAME else ""


def _check_parameters(spec: FlowSpec, given: Mapping[str, Json]) -> None:
    known = [each.name for each in spec.parameters]
    for name, value in given.items():
        if name not in known:
            hint = did_you_mean(name, known) or f"; it takes {', '.join(map(repr, known)) or 'none'}"
            raise ParameterError(f"flow {spec.name!r} has no input {name!r}{hint}")
        checked_json(f"the parameter {name!r}", value)


def _check_all_given(spec: FlowSpec, given: Mapping[str, Json]) -> None:
    missing = [each.name for each in spec.parameters if each.required and each.name not in given]
    if missing:
        raise ParameterError(
            f"flow {spec.name!r} needs a value for {', '.join(map(repr, missing))}, which nobody gives to a run that "
            f"a schedule asks for; deploy with parameters={{{missing[0]!r}: ...}} (--param {missing[0]}=...)"
        )


def _timing(schedule: str | None, timezone: str | None) -> Timing | None:
    if schedule is None:
        if timezone is not None:
            raise ParameterError(f"timezone={timezone!r} says when a schedule is meant, and there is no schedule")
        return None
    if not isinstance(schedule, str):
        raise ParameterError(f"schedule is a cron text such as '0 6 * * *', not {schedule!r}")
    return checked_timing(Timing("cron", cron=schedule, timezone=timezone or DEFAULT_TIMEZONE))
