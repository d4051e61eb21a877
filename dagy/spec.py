"""The flow as data: which tasks there are, where each takes its inputs from, and JSON out and in.

A `FlowSpec` is frozen and knows no function, so it can be drawn, compared, sent and kept. Its classes are plain
dataclasses that cost little to make by the ten thousand; pydantic reads and writes their JSON, under pydantic's own
method names (`model_dump_json`, `model_validate_json`, ...), and is loaded on the first such call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, Union

from dagy.errors import SpecError, shown
from dagy.graph import ordered

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA_VERSION = 1
_LATER = {"later": True}  # of a field that is not written while it is None: flows from before it stay the same

Json: TypeAlias = Any  # None, bool, int, float, str, or lists and string-keyed dicts of these
Path: TypeAlias = tuple[str | int, ...]  # ("rows", 0): the keys and indices that lead to a part of a value


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal that JSON can hold."""

    value: Json
    kind: Literal["constant"] = "constant"


@dataclass(frozen=True, slots=True)
class Held:
    """A literal that only this process holds, such as a data frame; the spec knows its type alone."""

    type: str
    kind: Literal["held"] = "held"


@dataclass(frozen=True, slots=True)
class FromParameter:
    """What the run is given for the flow's parameter `name`, or the part of it at `path`."""

    name: str
    path: Path = ()
    kind: Literal["parameter"] = "parameter"


@dataclass(frozen=True, slots=True)
class FromTask:
    """What the task with the id `task` returns, or the part of it at `path`."""

    task: str
    path: Path = ()
    kind: Literal["task"] = "task"


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list, a tuple or a set with a reference somewhere inside."""

    items: tuple[Binding, ...]
    form: Literal["list", "tuple", "set"] = "list"
    kind: Literal["list"] = "list"


@dataclass(frozen=True, slots=True)
class DictOf:
    """A dict with a reference somewhere inside; `items` are pairs, because a key may be any literal."""

    items: tuple[tuple[Json, Binding], ...]
    kind: Literal["dict"] = "dict"


# Where one input of a task comes from.
Binding: TypeAlias = Union[Constant, Held, FromParameter, FromTask, ListOf, DictOf]  # noqa: UP007 (forward names)


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How a task wishes to be run. Times are in seconds."""

    retries: int = 0
    retry_delays: tuple[float, ...] = ()  # the last one repeats; empty: no wait
    retry_jitter_factor: float = 0.0  # each wait grows by up to this share of itself, at random
    timeout_seconds: float | None = None
    concurrency_limit: int | None = None  # how many instances of the task may run at once
    executor: str | None = None  # one of `dagy.executors.EXECUTORS`; None: whatever suits
    validate_parameters: bool = True
    isolation: Literal["thread", "process"] | None = None  # None: a process when there is a timeout, else a thread
    cache: bool | float = False  # whether its results are kept for later runs, or for how many seconds
    memory_mb: int | None = field(default=None, metadata=_LATER)  # how much it needs; None: whatever suits


@dataclass(frozen=True, slots=True)
class PortSpec:
    """One connector of a node: what may come in, or go out, there."""

    id: str
    types: tuple[str, ...]  # names of data types, such as "dataframe"
    label: str = ""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What kind of node a task is; the tasks of one kind share it."""

    type: str  # the name it is registered under, such as "read_csv"
    category: str
    inbound: tuple[PortSpec, ...] = ()
    outbound: tuple[PortSpec, ...] = ()
    requires: tuple[str, ...] = ()  # the distributions it needs, such as "pandas"


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One node of the graph: one call of a task in the flow."""

    id: str  # unique in the flow: "fetch", and "fetch-2" for a second call
    name: str  # the task's name
    function: str  # where its code is: "module:qualified.name"
    inputs: dict[str, Annotated[Binding, "kind"]] = field(default_factory=dict)
    after: tuple[str, ...] = ()  # ids it waits for without taking their values
    group: tuple[str, ...] = ()  # the sub-flows that it is part of, outermost first
    description: str = ""
    options: TaskOptions = TaskOptions()
    mapped: tuple[str, ...] = ()  # the inputs that are lists, with one call for each item; empty: one call
    node: NodeSpec | None = field(default=None, metadata=_LATER)  # None: a plain task
    optional: tuple[str, ...] | None = field(default=None, metadata=_LATER)  # the inputs that may be absent

    @property
    def needs(self) -> tuple[str, ...]:
        """The ids of the tasks that must complete first, each once, in order of appearance."""
        found: dict[str, None] = {}
        for binding in self.inputs.values():
            if type(binding) is FromTask:
                found[binding.task] = None
            elif type(binding) is ListOf or type(binding) is DictOf:
                for each in references(binding):
                    if type(each) is FromTask:
                        found[each.task] = None
        for each_id in self.after:
            found[each_id] = None
        return tuple(found)


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """One parameter of a flow."""

    name: str
    annotation: str = ""  # as written, such as "int | None"; empty when there is none
    required: bool = True
    default: Json = None  # None too when the default is not JSON
    static: bool = False  # known while the graph is drawn: annotated Static[...]


@dataclass(frozen=True, slots=True)
class FlowOptions:
    """How a flow wishes to be run, as a whole. Times are in seconds."""

    retries: int = 0
    retry_delays: tuple[float, ...] = ()  # the last one repeats; empty: no wait
    timeout_seconds: float | None = None
    executor: str | None = field(default=None, metadata=_LATER)  # one of EXECUTORS; None: whatever suits
    memory_mb: int | None = field(default=None, metadata=_LATER)  # what its tasks need together
    fail_fast: bool | None = field(default=None, metadata=_LATER)  # None: as True; False: the independent still runs


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """A flow as data. `needs` and `edges` are derived from the tasks' inputs."""

    name: str
    version: str = "latest"
    description: str = ""
    parameters: tuple[ParameterSpec, ...] = ()
    tasks: tuple[TaskSpec, ...] = ()
    result: Annotated[Binding, "kind"] | None = None  # what the flow returns
    static: dict[str, Json] = field(default_factory=dict)  # the values that shaped the graph
    options: FlowOptions = FlowOptions()
    schema_version: int = SCHEMA_VERSION

    @property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """For each task's id the ids of the tasks that must complete first."""
        return {task.id: task.needs for task in self.tasks}

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """Pairs of ids, (upstream, downstream)."""
        return tuple((each, task.id) for task in self.tasks for each in task.needs)

    def task(self, task_id: str) -> TaskSpec:
        """The task with that id; `KeyError` when there is none."""
        for each in self.tasks:
            if each.id == task_id:
                return each
        raise KeyError(task_id)

    def model_dump(self) -> dict[str, Json]:
        """The flow as JSON-ready dicts and lists: what `model_dump_json` writes, made without loading pydantic."""
        return _fields(self)

    def model_dump_json(self, *, indent: int | None = None) -> str:
        """The flow as JSON text; the same flow gives the same text."""
        from pydantic_core import PydanticSerializationError, to_json

        try:
            return to_json(self.model_dump(), indent=indent).decode()
        except PydanticSerializationError as error:  # half of a surrogate pair in a text
            raise SpecError(f"flow {self.name!r} can't be written as JSON: {error}") from error

    @classmethod
    def model_validate(cls, data: Json) -> FlowSpec:
        """The flow that `data` (dicts and lists) describes; `SpecError` says what is wrong with it."""
        from pydantic import ValidationError

        version = data.get("schema_version") if isinstance(data, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise SpecError(
                f"the flow's schema_version is {version}, and this Dagy reads up to {SCHEMA_VERSION}; upgrade dagy"
            )
        if version is not None and version != SCHEMA_VERSION:
            raise SpecError(f"the flow's schema_version is {shown(version)}, which no Dagy has written")
        try:
            spec = _adapter().validate_python(data)
        except ValidationError as error:
            raise SpecError(f"not a flow that Dagy can read: {_first_fault(error)}") from error
        return _checked(spec)

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> FlowSpec:
        """The flow that JSON `text` describes; `SpecError` says what is wrong with it."""
        from pydantic_core import from_json

        try:
            data = from_json(text)
        except ValueError as error:
            raise SpecError(f"not JSON: {error}") from error
        return cls.model_validate(data)

    @classmethod
    def model_json_schema(cls) -> dict[str, Json]:
        """The JSON Schema of a flow's JSON."""
        return _adapter().json_schema()


def references(binding: Binding) -> Iterator[FromParameter | FromTask]:
    """Each reference inside `binding`, however deep, in order."""
    todo = [binding]
    while todo:
        each = todo.pop()
        match each:
            case FromParameter() | FromTask():
                yield each
            case ListOf(items=items):
                todo.extend(reversed(items))
            case DictOf(items=pairs):
                todo.extend(value for _, value in reversed(pairs))
            case _:
                pass


_ADAPTERS: list[TypeAdapter[FlowSpec]] = []  # made once: building it costs milliseconds


def _plain(value: Any) -> Json:
    """A part of a spec as JSON-ready dicts and lists."""
    match value:
        case None | str() | bool() | int() | float():
            return value
        case tuple() | list():
            return [_plain(each) for each in value]
        case Mapping():
            return {name: _plain(each) for name, each in value.items()}
        case _:
            return _fields(value)


def _fields(value: Any) -> dict[str, Json]:
    found = [(each, getattr(value, each.name)) for each in fields(value)]
    return {each.name: _plain(held) for each, held in found if held is not None or not each.metadata}


def _adapter() -> TypeAdapter[FlowSpec]:
    if not _ADAPTERS:
        from pydantic import ConfigDict, TypeAdapter

        for each in (
            Constant,
            Held,
            FromParameter,
            FromTask,
            ListOf,
            DictOf,
            TaskOptions,
            PortSpec,
            NodeSpec,
            TaskSpec,
            ParameterSpec,
            FlowOptions,
        ):
            each.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[union-attr]  # pydantic reads it
        FlowSpec.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]  # pydantic reads it
        _ADAPTERS.append(TypeAdapter(FlowSpec))
    return _ADAPTERS[0]


def _first_fault(error: Any) -> str:
    fault = error.errors()[0]
    where = ".".join(map(str, fault["loc"]))
    return f"{where or 'the document'}: {fault['msg']}"


def _checked(spec: FlowSpec) -> FlowSpec:
    seen: set[str] = set()
    for task in spec.tasks:
        if task.id in seen:
            raise SpecError(f"flow {spec.name!r} has more than one task with the id {task.id!r}")
        seen.add(task.id)
    needs = spec.needs
    for task_id, upstream in needs.items():
        for each in upstream:
            if each not in needs:
                raise SpecError(f"task {task_id!r} of flow {spec.name!r} needs {each!r}, which is not in the flow")
    for reference in references(spec.result) if spec.result is not None else ():
        if type(reference) is FromTask and reference.task not in needs:
            raise SpecError(f"flow {spec.name!r} returns {reference.task!r}, which is not in the flow")
    ordered(needs, flow=spec.name)
    return spec
