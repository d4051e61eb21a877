"""The control plane as requests and answers: every operation is a value in one table, read by both ends.

A client asks an `Operation` for its `Request` and for what a `Response` means; `answer` does on a `ControlPlane` what a
request asks for. Everything is JSON but the bytes of artifacts, which travel as files. A server only adapts: it makes a
`Request` of what it received, checks who asks, and sends the `Response`. Where nothing has to travel, `perform` does
the same with the values as they are.

An error is `{"error": {"type", "message", "data"}}`; the one who asked gets the very same error of `dagy.errors`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeAlias, TypeVar
from urllib.parse import quote, unquote

from dagy import errors
from dagy.control.pages import Page
from dagy.control.record_json import from_json, to_json
from dagy.control.records import (
    ArtifactInfo,
    Claim,
    Deployment,
    FlowVersion,
    KeyInfo,
    NewKey,
    Renewal,
    Report,
    RunInfo,
    Schedule,
    TaskRunInfo,
    Timing,
)
from dagy.errors import ArtifactError, AuthError, DagyError, NetworkError, ParameterError, did_you_mean, shown
from dagy.spec import Json
from dagy.states import StateType
from dagy.values import is_json
from dagy.version import __version__

if TYPE_CHECKING:
    from dagy.control.plane import ControlPlane

T = TypeVar("T")

Method: TypeAlias = Literal["GET", "POST", "PUT", "DELETE"]

_Values: TypeAlias = Mapping[str, Json]  # must be JSON just as they are
_Tags: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the control plane."""

    method: Method
    path: str  # "/runs/etl-3fa9c1": each part percent-encoded, so that a name may hold a slash
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)  # JSON
    file: Path | None = None  # sent instead of a body
    save_as: Path | None = None  # where a file that is answered is to be written, when it has to travel
    is_repeatable: bool = False  # asked twice, it does what it does once


@dataclass(frozen=True, slots=True)
class Response:
    """What the control plane answers."""

    status: int
    body: bytes = field(default=b"", repr=False)  # JSON
    file: Path | None = None  # answered instead of a body
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.removeprefix("/").split("/"))


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """One thing that the control plane does: how it is asked for, and what it answers."""

    name: str  # of the `ControlPlane`'s method
    method: Method
    path: str  # "/runs/{run_id}"
    scope: str | None  # what a key must allow; None: anybody may
    returns: object  # the type of the answer
    takes: Mapping[str, object] = field(default_factory=dict)  # name and type of what the path does not hold
    needs: tuple[str, ...] = ()  # what of these must be given
    is_repeatable: bool = False  # a client that got no answer may ask again
    repeatable_with: str | None = None  # the argument that makes it so

    def parted(self, arguments: Mapping[str, object]) -> tuple[tuple[str, ...], dict[str, object]]:
        """What of the arguments the path holds, in order, and the others by name; None is what is not given.

        `ParameterError`: an empty name, or a value for a run that is not JSON.
        """
        named = tuple(str(arguments[part[1:-1]]) for part in _parts(self.path) if part.startswith("{"))
        if not all(named):
            raise ParameterError("a name or an id is empty")
        given = {name: arguments[name] for name in self.takes if arguments.get(name) is not None}
        return named, {
            name: _checked_values(name, value) if self.takes[name] is _Values else value
            for name, value in given.items()
        }

    def request(self, **arguments: object) -> Request:
        """The request with these arguments; errors as of `parted`."""
        named, given = self.parted(arguments)
        rest = iter(named)
        path = "/" + "/".join(_quoted(next(rest)) if part.startswith("{") else part for part in _parts(self.path))
        repeatable = self.is_repeatable or self.method in ("GET", "PUT") or bool(given.get(self.repeatable_with or ""))
        written = {name: to_json(value) for name, value in given.items()}
        if self.method in ("GET", "DELETE"):
            query = {name: value if isinstance(value, str) else json.dumps(value) for name, value in written.items()}
            return Request(self.method, path, query, is_repeatable=repeatable)
        return Request(self.method, path, body=_encoded(written), is_repeatable=repeatable)

    def read(self, response: Response) -> T:
        """What the response says; raises the error that it holds, or `NetworkError` when it makes no sense."""
        if response.status >= 400:
            raise error_of(response)
        try:
            data = _parsed(response.body) if response.body else None
        except ValueError as error:
            raise NetworkError(
                f"the answer to {self.method} {self.path} is not whole JSON ({len(response.body):,} bytes): {error}"
            ) from error
        kind: Any = self.returns
        try:
            found: T = from_json(kind, data)
        except ParameterError as error:
            raise NetworkError(
                f"the answer to {self.method} {self.path} is not what it should be: {error}; the server may be of "
                f"another version than this Dagy {__version__}"
            ) from error
        return found

    def arguments(self, request: Request) -> dict[str, Any]:
        """What `request` gives by name; `ParameterError` for what is unknown, missing or of the wrong type."""
        try:
            given = request.query if self.method in ("GET", "DELETE") else _parsed(request.body or b"{}")
        except ValueError as error:
            raise ParameterError(f"the body of {self.method} {self.path} is not JSON: {error}") from None
        if not isinstance(given, Mapping):
            raise ParameterError(f"{self.method} {self.path} takes a JSON object, not {shown(given)}")
        for name in given:
            if name not in self.takes:
                raise ParameterError(
                    f"{self.method} {self.path} takes no {name!r}{did_you_mean(str(name), self.takes)}"
                )
        missing = [name for name in self.needs if given.get(name) is None]
        if missing:
            raise ParameterError(f"{self.method} {self.path} needs {', '.join(map(repr, missing))}")
        return {name: _read(name, self.takes[name], value) for name, value in given.items() if value is not None}


# ---- the table

_PAGE: Mapping[str, object] = {"limit": int, "after": str}
_RENEWING: Mapping[str, object] = {"lease_seconds": float}

HEALTH: Operation[dict[str, str]] = Operation("health", "GET", "/health", None, dict[str, str])

PUT_ARTIFACT: Operation[ArtifactInfo] = Operation(
    "put_artifact", "PUT", "/artifacts/{sha256}", "artifacts.write", ArtifactInfo
)
ARTIFACT: Operation[ArtifactInfo] = Operation("artifact", "GET", "/artifacts/{sha256}", "artifacts.read", ArtifactInfo)
ARTIFACT_CONTENT: Operation[None] = Operation(
    "artifact_path", "GET", "/artifacts/{sha256}/content", "artifacts.read", None
)

REGISTER_FLOW: Operation[FlowVersion] = Operation(
    "register_flow",
    "POST",
    "/flows",
    "flows.write",
    FlowVersion,
    {"artifact": str, "namespace": str, "new_revision": bool},
    needs=("artifact",),
    is_repeatable=True,
)
FLOWS: Operation[Page[FlowVersion]] = Operation(
    "flows", "GET", "/flows", "flows.read", Page[FlowVersion], {"namespace": str, **_PAGE}
)
FLOW: Operation[FlowVersion] = Operation(
    "flow",
    "GET",
    "/flows/{name}",
    "flows.read",
    FlowVersion,
    {"namespace": str, "version": str, "revision": int},
)
FLOW_SPEC: Operation[dict[str, Json]] = Operation(
    "flow_spec", "GET", "/flows/{name}/spec", "flows.read", dict[str, Json], FLOW.takes
)
FLOW_VERSIONS: Operation[Page[FlowVersion]] = Operation(
    "flow_versions",
    "GET",
    "/flows/{name}/versions",
    "flows.read",
    Page[FlowVersion],
    {"namespace": str, **_PAGE},
)

PUT_DEPLOYMENT: Operation[Deployment] = Operation(
    "put_deployment",
    "PUT",
    "/deployments/{name}",
    "deployments.write",
    Deployment,
    {
        "namespace": str,
        "flow_name": str,
        "flow_version": str,
        "revision": int,
        "tags": _Tags,
        "parameters": _Values,
        "executor": str,
        "resources": _Values,
    },
    needs=("flow_name", "flow_version", "revision"),
)
DEPLOYMENTS: Operation[Page[Deployment]] = Operation(
    "deployments",
    "GET",
    "/deployments",
    "deployments.read",
    Page[Deployment],
    {"namespace": str, "flow": str, "tags": _Tags, **_PAGE},
)
DEPLOYMENT: Operation[Deployment] = Operation(
    "deployment", "GET", "/deployments/{reference}", "deployments.read", Deployment
)
DELETE_DEPLOYMENT: Operation[None] = Operation(
    "delete_deployment", "DELETE", "/deployments/{reference}", "deployments.write", None
)

CREATE_RUN: Operation[RunInfo] = Operation(
    "create_run",
    "POST",
    "/runs",
    "runs.trigger",
    RunInfo,
    {"reference": str, "parameters": _Values, "idempotency_key": str, "tags": _Tags, "resume": str},
    needs=("reference",),
    repeatable_with="idempotency_key",
)
IMPORT_RUN: Operation[RunInfo] = Operation(
    "import_run",
    "PUT",
    "/deployments/{reference}/runs/{run_id}",
    "runs.work",
    RunInfo,
    {"parameters": _Values, "trigger": str, "started_at": datetime},
    needs=("started_at",),
)
RUNS: Operation[Page[RunInfo]] = Operation(
    "runs",
    "GET",
    "/runs",
    "runs.read",
    Page[RunInfo],
    {"deployment": str, "flow": str, "status": StateType, **_PAGE},
)
RUN: Operation[RunInfo] = Operation("run", "GET", "/runs/{run_id}", "runs.read", RunInfo)
CANCEL_RUN: Operation[RunInfo] = Operation(
    "cancel_run", "POST", "/runs/{run_id}/cancel", "runs.trigger", RunInfo, {"reason": str}, is_repeatable=True
)
TASK_RUNS: Operation[list[TaskRunInfo]] = Operation(
    "task_runs", "GET", "/runs/{run_id}/tasks", "runs.read", list[TaskRunInfo]
)
EVENTS: Operation[list[dict[str, Json]]] = Operation(
    "events",
    "GET",
    "/runs/{run_id}/events",
    "runs.read",
    list[dict[str, Json]],
    {"since": int, "limit": int},
)

CLAIM_RUN: Operation[Claim | None] = Operation(
    "claim_run", "POST", "/claims", "runs.work", Claim | None, {"worker": str, **_RENEWING}, needs=("worker",)
)
RENEW: Operation[Renewal] = Operation(
    "renew",
    "POST",
    "/runs/{run_id}/renewals",
    "runs.work",
    Renewal,
    {"fence": int, **_RENEWING},
    needs=("fence",),
    is_repeatable=True,
)
REPORT: Operation[Renewal] = Operation(
    "report",
    "POST",
    "/runs/{run_id}/reports",
    "runs.work",
    Renewal,
    {"fence": int, "report": Report},
    needs=("fence", "report"),
    is_repeatable=True,
)
RECOVER_RUNS: Operation[list[RunInfo]] = Operation(
    "recover_runs", "POST", "/recoveries", "runs.work", list[RunInfo], is_repeatable=True
)

PUT_SCHEDULE: Operation[Schedule] = Operation(
    "put_schedule",
    "POST",
    "/schedules",
    "schedules.write",
    Schedule,
    {"reference": str, "timing": Timing, "parameters": _Values, "implicit": bool, "enabled": bool},
    needs=("reference", "timing"),
    repeatable_with="implicit",
)
SCHEDULES: Operation[list[Schedule]] = Operation(
    "schedules", "GET", "/schedules", "schedules.read", list[Schedule], {"deployment": str}
)
SCHEDULE: Operation[Schedule] = Operation("schedule", "GET", "/schedules/{schedule_id}", "schedules.read", Schedule)
SET_SCHEDULE_ENABLED: Operation[Schedule] = Operation(
    "set_schedule_enabled",
    "PUT",
    "/schedules/{schedule_id}/enabled",
    "schedules.write",
    Schedule,
    {"enabled": bool},
    needs=("enabled",),
)
DELETE_SCHEDULE: Operation[None] = Operation(
    "delete_schedule", "DELETE", "/schedules/{schedule_id}", "schedules.write", None
)
TRIGGER_SCHEDULE: Operation[RunInfo] = Operation(
    "trigger_schedule", "POST", "/schedules/{schedule_id}/trigger", "runs.trigger", RunInfo
)
TICK_SCHEDULES: Operation[list[RunInfo]] = Operation(
    "tick_schedules", "POST", "/ticks", "runs.work", list[RunInfo], {"limit": int}, is_repeatable=True
)
NEXT_DUE: Operation[datetime | None] = Operation("next_due", "GET", "/ticks/next", "schedules.read", datetime | None)

CREATE_KEY: Operation[NewKey] = Operation(
    "create_key",
    "POST",
    "/api-keys",
    "keys.write",
    NewKey,
    {"name": str, "scopes": tuple[str, ...], "expires_at": datetime},
    needs=("name",),
)
KEYS: Operation[list[KeyInfo]] = Operation("keys", "GET", "/api-keys", "keys.read", list[KeyInfo])
DELETE_KEY: Operation[None] = Operation("delete_key", "DELETE", "/api-keys/{key_id}", "keys.write", None)

OPERATIONS: tuple[Operation[Any], ...] = (
    HEALTH,
    PUT_ARTIFACT,
    ARTIFACT,
    ARTIFACT_CONTENT,
    REGISTER_FLOW,
    FLOWS,
    FLOW,
    FLOW_SPEC,
    FLOW_VERSIONS,
    PUT_DEPLOYMENT,
    DEPLOYMENTS,
    DEPLOYMENT,
    DELETE_DEPLOYMENT,
    CREATE_RUN,
    IMPORT_RUN,
    RUNS,
    RUN,
    CANCEL_RUN,
    TASK_RUNS,
    EVENTS,
    CLAIM_RUN,
    RENEW,
    REPORT,
    RECOVER_RUNS,
    PUT_SCHEDULE,
    SCHEDULES,
    SCHEDULE,
    SET_SCHEDULE_ENABLED,
    DELETE_SCHEDULE,
    TRIGGER_SCHEDULE,
    TICK_SCHEDULES,
    NEXT_DUE,
    CREATE_KEY,
    KEYS,
    DELETE_KEY,
)

# By method and number of parts of the path.
_ROUTES: dict[tuple[str, int], list[tuple[Operation[Any], tuple[str, ...]]]] = {}
for _each in OPERATIONS:
    _ROUTES.setdefault((_each.method, len(_parts(_each.path))), []).append((_each, _parts(_each.path)))


# ---- answering


def operation_of(request: Request) -> tuple[Operation[Any], tuple[str, ...]]:
    """The operation that `request` asks for, and what its path gives, in order.

    `NetworkError` when there is none: who asks takes this for another server, or for another version of it.
    """
    given = _parts(request.path)
    for operation, parts in _ROUTES.get((request.method, len(given)), ()):
        if all(part == wanted or wanted.startswith("{") for part, wanted in zip(given, parts, strict=True)):
            named = zip(given, parts, strict=True)
            return operation, tuple(unquote(part) for part, wanted in named if wanted.startswith("{"))
    raise NetworkError(f"there is no {request.method} {request.path} in the API of Dagy {__version__}")


def answer(plane: ControlPlane, request: Request, *, scopes: Collection[str] | None = None) -> Response:
    """Do on `plane` what `request` asks for, and say how it went. Raises nothing that the request is to blame for.

    `scopes` is what the one who asks may do; None: everything.
    """
    try:
        operation, named = operation_of(request)
    except NetworkError as error:
        return error_response(error, status=404)
    if scopes is not None and operation.scope is not None and operation.scope not in scopes:
        return error_response(AuthError(f"this key does not allow {operation.scope!r}; it allows {_listed(scopes)}"))
    try:
        arguments = operation.arguments(request)
    except ParameterError as error:
        return error_response(error, status=400)
    try:
        returned = _performed(plane, operation, named, arguments, request.file)
    except DagyError as error:
        return error_response(error)
    if operation is ARTIFACT_CONTENT:
        return Response(200, file=returned)
    if operation.returns is None:
        return Response(204)
    return Response(200, _encoded(to_json(returned)))


def perform(plane: ControlPlane, operation: Operation[T], arguments: Mapping[str, object], file: Path | None) -> T:
    """What `operation` gives on `plane`, without a request and its answer: it costs less, and is the same.

    Raises what `operation.request` and the plane raise.
    """
    named, given = operation.parted(arguments)
    returned: T = _performed(plane, operation, named, given, file)
    return returned


def _performed(
    plane: ControlPlane,
    operation: Operation[Any],
    named: tuple[str, ...],
    arguments: Mapping[str, Any],
    file: Path | None,
) -> Any:
    if operation is HEALTH:
        return {"status": "ok", "version": __version__}
    if operation is PUT_ARTIFACT:
        return _put(plane, file, *named)
    return getattr(plane, operation.name)(*named, **arguments)


def _put(plane: ControlPlane, file: Path | None, sha256: str) -> ArtifactInfo:
    if file is None:
        raise ArtifactError("nothing arrived; send the bytes of an artifact")
    info = plane.put_artifact(file)
    if info.sha256 != sha256:
        raise ArtifactError(f"what arrived is the artifact {info.sha256}, and {sha256} was meant; send it again")
    return info


# ---- errors

# Which errors cross, with the status of each and the attributes that go along; others go as the nearest one above them.
_CROSSING: Mapping[type[DagyError], tuple[int, tuple[str, ...]]] = {
    errors.UnknownFlowError: (404, ("name", "known")),
    errors.UnknownTaskError: (404, ("name", "known")),
    errors.UnknownRunError: (404, ("run_id", "known")),
    errors.UnknownDeploymentError: (404, ("name", "known", "remedy")),
    errors.UnknownScheduleError: (404, ("schedule_id", "known")),
    errors.ConflictError: (409, ()),
    errors.IllegalTransitionError: (409, ()),
    errors.AuthError: (403, ()),
    errors.ResumeError: (409, ("differences",)),
    errors.ParameterError: (422, ()),
    errors.SettingsError: (422, ()),
    errors.SpecError: (422, ()),
    errors.DefinitionError: (422, ()),
    errors.ArtifactError: (422, ()),
    errors.NetworkError: (502, ()),
    errors.StoreError: (503, ()),
    errors.DagyError: (500, ()),
}


def error_response(error: DagyError, *, status: int | None = None) -> Response:
    """The response that tells `error`."""
    kind = next(each for each in type(error).__mro__ if each in _CROSSING)
    usual, names = _CROSSING[kind]
    if isinstance(error, FileNotFoundError):  # an artifact that is not there
        usual = 404
    data = {name: getattr(error, name) for name in names}
    return Response(status or usual, _encoded({"error": {"type": kind.__name__, "message": str(error), "data": data}}))


def error_of(response: Response) -> DagyError:
    """The error that a response tells; `AuthError` or `NetworkError` when it is not one that the control plane made."""
    try:
        told = _parsed(response.body)["error"]
        message, data = str(told["message"]), dict(told.get("data") or {})
        found = next((each for each in _CROSSING if each.__name__ == told["type"]), None)
    except (ValueError, LookupError, TypeError, AttributeError):
        found = None
        message = f"the server answered {response.status}: {_beginning(response.body)}"
        data = {}
    if found is None:
        if response.status in (401, 403):
            return AuthError(f"{message}; sign in with `dagy login`, or set DAGY_API_KEY")
        return NetworkError(message)
    error = found.__new__(found, message)
    Exception.__init__(error, message)
    for name in _CROSSING[found][1]:
        value = data.get(name)
        setattr(error, name, tuple(value) if isinstance(value, list) else value)
    return error


def _beginning(body: bytes) -> str:
    return shown(body[:200].decode("utf-8", "replace")) if body else "nothing"


# ---- texts and types


def _quoted(part: str) -> str:
    """A part of a path, percent-encoded; `..`, which on the way would be taken for the part above, too."""
    return quote(part, safe="") if part.strip(".") else "%2E" * len(part)


def _checked_values(name: str, values: object) -> Json:
    """A copy of the values, which are the caller's; `ParameterError` for one that is not JSON."""
    if not isinstance(values, Mapping):
        raise ParameterError(f"{name} are a dict, not {shown(values)}")
    for key, each in values.items():
        if not is_json(each):
            raise ParameterError(
                f"{name}: {key!r} is {shown(each)} ({type(each).__name__}), and what a run is given must be JSON: "
                "text, a number, true or false, None, or a list or dict of these"
            )
    return to_json(values)


def _read(name: str, kind: object, value: Json) -> Any:
    """The argument of this type that a query's text or a JSON value gives."""
    expected: Any = kind
    try:
        if kind is _Tags and isinstance(value, str):  # in a query
            value = _parsed(value.encode())
        return from_json(expected, value)
    except (ParameterError, ValueError) as error:
        raise ParameterError(f"{name} can't be {shown(value)}: {error}") from None


def _parsed(text: bytes) -> Any:
    """The JSON that `text` holds; `ValueError` when it is none."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _encoded(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
