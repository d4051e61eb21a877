"""Every exception that Dagy raises on purpose.

    DagyError
    ├── DefinitionError (ValueError)      a task, a flow or an option is written wrong
    │   ├── GraphError                    the graph can't be drawn as the code stands
    │   │   ├── ValueNeededError          code needs a task's value while the graph is drawn
    │   │   ├── CycleError                the graph goes in a circle
    │   │   └── DrawingError              the flow's own function raised while the graph was drawn
    │   ├── SpecError                     a flow's JSON is not one this version can read
    │   └── NodeGraphError                a graph of nodes has faults
    ├── ParameterError (TypeError)        a value given to a flow or a task does not fit
    │   ├── ConnectorError                a value, or a connection, does not fit a node's connector
    │   └── NodeConfigError               a node's configuration does not fit its fields
    ├── SkipTask                          a task says that there is nothing for it to do
    ├── UnknownNodeError (LookupError)    there is no node type of that name
    ├── MissingSecretError (LookupError)  a secret is not there
    ├── UnknownFlowError (LookupError)    there is no flow of that name
    ├── UnknownTaskError (LookupError)    there is no task of that name
    ├── IllegalTransitionError            a state can't follow another (a defect in Dagy)
    ├── RunError                          a run did not complete
    │   ├── TaskFailedError               a task failed, and with it the run
    │   ├── RunCancelledError             somebody cancelled the run
    │   └── RunTimeoutError               the run ran out of time
    ├── TaskTimeoutError (TimeoutError)   an attempt of a task ran out of time
    ├── WorkerDiedError (RuntimeError)    the process that ran an attempt died by itself
    ├── TravelError (TypeError)           a value can't go into or out of a process
    ├── ResultGoneError (LookupError)     a result was let go once the last task that needs it had it
    ├── StoreError (OSError)              what lasts of runs can't be read or written
    ├── UnknownRunError (LookupError)     there is no run of that id
    ├── UnknownDeploymentError (LookupError)  there is no deployment of that name
    ├── UnknownScheduleError (LookupError)    there is no schedule of that id
    ├── ConflictError                     what is asked for contradicts what is there
    ├── AuthError (PermissionError)       not signed in, or not allowed
    ├── NetworkError (ConnectionError)    a server can't be reached, or does not answer as it should
    ├── CloudError (RuntimeError)         a cloud service refused something, or failed
    ├── BackendError (ValueError)         a backend can't run the flow as it stands
    │   └── LimitError                    something is larger than the service takes
    ├── SettingsError (ValueError)        a setting or a profile is wrong
    ├── ResumeError                       a run can't be resumed as things stand
    ├── SourceError                       a file does not hold code that can be read
    │   ├── CodeFailedError               a file's code raised while it was loaded
    │   └── NotebookError                 a notebook does not hold cells that can be read
    ├── ExportError                       a notebook can't become a module as it stands
    ├── ArtifactError                     an artifact can't be built, or is not to be trusted
    └── MissingExtraError (ImportError)   an optional package is not installed

A message states the fact, shows the value, and gives the remedy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagy.client.runs import KnownRun
    from dagy.engine.result import RunResult


class DagyError(Exception):
    """The root of every exception that Dagy raises on purpose."""


class DefinitionError(DagyError, ValueError):
    """A task, a flow or an option is written wrong."""


class GraphError(DefinitionError):
    """The graph can't be drawn as the code stands."""


class ValueNeededError(GraphError, TypeError, AttributeError):
    """Code needs a task's value while the graph is drawn, before anything ran.

    It is a `TypeError` and an `AttributeError` too, because that is what Python's own protocols
    (`copy`, `hasattr`, displays) expect of an object that lacks an operation.
    """


class CycleError(GraphError):
    """The graph goes in a circle; `cycle` holds its names, the first one again at the end."""

    def __init__(self, flow: str, cycle: Sequence[str]) -> None:
        self.flow = flow
        self.cycle = tuple(cycle)
        super().__init__(f"flow {flow!r} goes in a circle: {' -> '.join(self.cycle)}")


class DrawingError(GraphError):
    """The flow's own function raised while the graph was drawn; what it raised is the `__cause__`.

    `filename` and `line` say where in the user's code.
    """

    def __init__(self, flow: str, error: BaseException, filename: str, line: int) -> None:
        self.flow = flow
        self.filename = filename
        self.line = line
        super().__init__(f"flow {flow!r} can't be drawn: {sentence(error)} (line {line} of {filename})")


class SpecError(DefinitionError):
    """A flow's JSON is not one that this version of Dagy can read."""


class ParameterError(DagyError, TypeError):
    """A value given to a flow or a task does not fit its parameter."""


class NodeGraphError(DefinitionError):
    """A graph of nodes has faults; `faults` holds a sentence for each."""

    def __init__(self, message: str, faults: Sequence[str] = ()) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join([message, *(f"  - {each}" for each in self.faults)]))


class ConnectorError(ParameterError):
    """A value, or a connection, does not fit a node's connector."""


class NodeConfigError(ParameterError):
    """A node's configuration does not fit its fields; `problems` holds a sentence for each field by its id."""

    def __init__(self, message: str, problems: Mapping[str, str] | None = None) -> None:
        self.problems = dict(problems or {})
        super().__init__(message)


class SkipTask(DagyError):  # noqa: N818 (no error: it is how a task ends itself)
    """Raised by a task that has nothing to do: it ends SKIPPED with this message, and so does what needs it."""


class UnknownNodeError(DagyError, LookupError):
    """There is no node type of that name; `known` holds the names there are."""

    def __init__(self, node_type: str, known: Iterable[str] = (), *, where: str = "") -> None:
        self.node_type = node_type
        self.known = tuple(known)
        told = self.known if len(self.known) <= _MOST_LISTED or did_you_mean(node_type, self.known) else ()
        hint = "" if told or not self.known else "; dagy nodes list shows those there are"
        super().__init__(_unknown("node type", node_type, told, where or ("the registry" if hint else "")) + hint)

    def __reduce__(self) -> tuple[type[UnknownNodeError], tuple[str, tuple[str, ...]]]:
        return UnknownNodeError, (self.node_type, self.known)


class MissingSecretError(DagyError, LookupError):
    """A secret is not there; `name` is what it was looked for by, and its value is never in a message."""

    def __init__(self, name: str, remedy: str) -> None:
        self.name = name
        self.remedy = remedy
        super().__init__(f"there is no secret {name!r}; {remedy}")

    def __reduce__(self) -> tuple[type[MissingSecretError], tuple[str, str]]:
        return MissingSecretError, (self.name, self.remedy)


class UnknownFlowError(DagyError, LookupError):
    """There is no flow of that name; `known` holds the names there are."""

    def __init__(self, name: str, known: Iterable[str], *, where: str = "") -> None:
        self.name = name
        self.known = tuple(known)
        super().__init__(_unknown("flow", name, self.known, where))


class UnknownTaskError(DagyError, LookupError):
    """There is no task of that name; `known` holds the names there are."""

    def __init__(self, name: str, known: Iterable[str], *, where: str = "") -> None:
        self.name = name
        self.known = tuple(known)
        super().__init__(_unknown("task", name, self.known, where))


class IllegalTransitionError(DagyError):
    """A state can't follow another: a defect in Dagy, never a user's mistake."""


class RunError(DagyError, RuntimeError):
    """A run did not complete; `result` holds all that is known of it, which of a deployed run is its `Run`."""

    def __init__(self, message: str, result: RunResult | KnownRun) -> None:
        self.result = result
        super().__init__(message)


class TaskFailedError(RunError):
    """A task failed, and with it the run. The task's own exception is the `__cause__`."""


class RunCancelledError(RunError):
    """Somebody cancelled the run."""


class RunTimeoutError(RunError, TimeoutError):
    """The run took longer than its flow's `timeout_seconds`."""


class TaskTimeoutError(DagyError, TimeoutError):
    """An attempt of a task ran out of time."""


class WorkerDiedError(DagyError, RuntimeError):
    """The process that ran an attempt died by itself.

    `exit_code` is what it left, or minus the number of the signal that killed it, as `subprocess` counts.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(message)

    def __reduce__(self) -> tuple[type[WorkerDiedError], tuple[str, int]]:
        return WorkerDiedError, (str(self), self.exit_code)


class TravelError(DagyError, TypeError):
    """A value can't go into or out of a process."""


class ResultGoneError(DagyError, LookupError):
    """A result was let go once the last task that needs it had it."""


class StoreError(DagyError, OSError):
    """What lasts of runs can't be read or written."""


class UnknownRunError(DagyError, LookupError):
    """There is no run of that id, or more than one is meant; `known` holds the ids that are nearest."""

    def __init__(self, run_id: str, known: Iterable[str] = ()) -> None:
        self.run_id = run_id
        self.known = tuple(known)
        meant = [each for each in self.known if run_id and (each.startswith(run_id) or each.endswith(f"-{run_id}"))]
        if len(meant) > 1:
            some = ", ".join(map(repr, meant[:_MOST_NAMED])) + (", ..." if len(meant) > _MOST_NAMED else "")
            super().__init__(f"several runs begin or end with {run_id!r}: {some}; name one of them, or say 'latest'")
        else:
            super().__init__(_unknown("run", run_id, self.known, ""))


class UnknownDeploymentError(DagyError, LookupError):
    """There is no deployment of that name; `known` holds the names there are."""

    def __init__(self, name: str, known: Iterable[str] = (), *, remedy: str = "") -> None:
        self.name = name
        self.known = tuple(known)
        self.remedy = remedy
        fact = f"there is no deployment {name!r}"
        super().__init__(f"{fact}; {remedy}" if remedy else _unknown("deployment", name, self.known, ""))


class UnknownScheduleError(DagyError, LookupError):
    """There is no schedule of that id; `known` holds the ids there are."""

    def __init__(self, schedule_id: str, known: Iterable[str] = ()) -> None:
        self.schedule_id = schedule_id
        self.known = tuple(known)
        super().__init__(_unknown("schedule", schedule_id, self.known, ""))


class ConflictError(DagyError):
    """What is asked for contradicts what is there: nothing was changed."""


class AuthError(DagyError, PermissionError):
    """Not signed in, or not allowed."""


class NetworkError(DagyError, ConnectionError):
    """A server can't be reached, or does not answer as it should."""


class CloudError(DagyError, RuntimeError):
    """A cloud service refused what was asked of it, or failed; `operation` and `code` are in its own words."""

    def __init__(self, message: str, *, operation: str = "", code: str = "") -> None:
        self.operation = operation
        self.code = code
        super().__init__(message)


class BackendError(DagyError, ValueError):
    """A backend can't run the flow as it stands; `reasons` holds a sentence for each reason."""

    def __init__(self, message: str, reasons: Sequence[str] = ()) -> None:
        self.reasons = tuple(reasons)
        super().__init__("\n".join([message, *(f"  - {each}" for each in self.reasons)]))


class LimitError(BackendError):
    """Something is larger than the service takes; the message has the number and the limit."""


class SettingsError(DagyError, ValueError):
    """A setting or a profile is wrong."""


class ResumeError(DagyError):
    """A run can't be resumed as things stand; `differences` holds what changed since, each with a diff."""

    def __init__(self, message: str, differences: Sequence[str] = ()) -> None:
        self.differences = tuple(differences)
        super().__init__("\n".join([message, *differences]))


class SourceError(DagyError):
    """A file does not hold code that can be read."""


class CodeFailedError(SourceError):
    """A file's code raised while it was loaded; what it raised is the `__cause__`."""


class NotebookError(SourceError):
    """A notebook does not hold cells that can be read."""


class ExportError(DagyError):
    """A notebook can't become a module as it stands; `problems` holds a sentence for each reason."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join([message, *(f"  - {each}" for each in self.problems)]))


class ArtifactError(DagyError):
    """An artifact can't be built, or is not to be trusted."""


class MissingExtraError(DagyError, ImportError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package!r}; install it with: pip install 'dagy[{extra}]'")


def shown(value: object) -> str:
    """`repr(value)` for a message: never longer than about 80 characters, and it never raises."""
    import reprlib

    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 60
    try:
        return short.repr(value)
    except Exception:  # noqa: BLE001 (the value's own __repr__)
        return f"<{type(value).__name__}>"


def sentence(error: BaseException) -> str:
    """`ValueError: no rows`, bounded, and whatever the exception's own `__str__` does."""
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 (user code: the exception's own __str__)
        return f"{name} (its message can't be shown)"
    return f"{name}: {text[:500]}{'...' if len(text) > 500 else ''}" if text else name


def without_our_frames(error: BaseException) -> BaseException:
    """`error` with a traceback that begins in the user's code."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals.get("__name__", "").startswith("dagy."):
        traceback = traceback.tb_next
    return error.with_traceback(traceback)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The tail of a message: `; did you mean 'data'?`, or nothing when no known name is close."""
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def or_what_there_is(name: str, known: Iterable[str]) -> str:
    """The tail of a message: `; did you mean 'data'?`, or when no known name is close: `; it has 'rows', 'total'`."""
    names = list(known)
    return did_you_mean(name, names) or f"; it has {', '.join(map(repr, names)) or 'none'}"


_MOST_NAMED = 5  # in a message
_MOST_LISTED = 12  # names of all there are
_NONE = {
    "run": "no run is recorded yet",
    "deployment": "nothing is deployed yet",
    "schedule": "there is no schedule yet",
}


def _unknown(kind: str, name: str, known: Sequence[str], where: str) -> str:
    hint = did_you_mean(name, known)
    if not hint:
        none = f"; {_NONE.get(kind, f'no {kind} is defined yet')}"
        hint = f"; known: {', '.join(map(repr, known))}" if known else "" if where else none
    return f"there is no {kind} {name!r}{where and f' in {where}'}{hint}"
