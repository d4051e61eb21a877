"""`@flow`: a function that draws a graph by calling tasks.

The function runs each time the graph is needed, to draw it, and never to do the work: its parameters are then
references, and the tasks it calls are recorded. What comes out is a `Program`, which the engine runs.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypedDict, TypeVar, Unpack, overload

from dagy import drawing, engine, runs
from dagy.errors import DagyError, DefinitionError, DrawingError, GraphError, ParameterError, shown
from dagy.executors import Executor, wished
from dagy.hooks import Hook, hooks_by_state
from dagy.lazy import later
from dagy.parameters import Parameters
from dagy.program import Program
from dagy.retry import RetryDelay, retry_policy
from dagy.settings import Settings
from dagy.spec import FlowOptions, FlowSpec, FromParameter, Json
from dagy.tasks import TRACE, FlowParameter, Reference, Trace, check_options, checked_name, is_positive
from dagy.values import is_json

if TYPE_CHECKING:
    from pathlib import Path

    from dagy.client import DagyClient, Run
    from dagy.deploy import DeployResult
    from dagy.engine import RunHandle, RunOptions, RunResult

P = ParamSpec("P")
R = TypeVar("R")

# What a flow's methods take themselves, so that no parameter can have the name.
_RESERVED = {
    **dict.fromkeys(("fail_fast", "isolation", "keep_results", "max_workers", "record", "resume"), "run_local"),
    **dict.fromkeys(("deployment", "idempotency_key"), "run"),
}


class LocalOptions(TypedDict, total=False):
    """How a run here is made: the options of `run_local`, and `capture`, which gives what tasks print to the events."""

    max_workers: int | None
    fail_fast: bool | None
    isolation: Literal["thread", "process"] | None
    keep_results: bool
    record: bool
    resume: str | None
    capture: bool


class Flow(Generic[P, R]):
    """A function that draws a graph of tasks. Made by `@flow`.

    Called outside a flow it runs locally and returns its value. Called inside another flow its tasks become a named
    group of that flow.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        version: str = "latest",
        description: str | None = None,
        validate_parameters: bool = True,
        retries: int = 0,
        retry_delay_seconds: RetryDelay | None = None,
        timeout_seconds: float | None = None,
        fail_fast: bool = True,
        executor: str | Executor | None = None,
        memory_mb: int | None = None,
        on_running: Sequence[Hook] | None = None,
        on_completion: Sequence[Hook] | None = None,
        on_failure: Sequence[Hook] | None = None,
    ) -> None:
        if not callable(function):
            raise DefinitionError(f"@flow goes above a function, not above {shown(function)}")
        self.name = checked_name("flow", name, function)
        of = f"flow {self.name!r}"
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise DefinitionError(
                f"{of}: its function only draws the graph, so it can't be async or a generator; "
                "write it with a plain def (its tasks may be async)"
            )
        if not isinstance(version, str) or not version.strip():
            raise DefinitionError(f"{of}: version must be a text, not {version!r}")
        self.retry = retry_policy(retries, retry_delay_seconds, None, None, of=of)
        if timeout_seconds is not None and not is_positive(timeout_seconds):
            raise DefinitionError(f"{of}: timeout_seconds must be more than 0 seconds, not {timeout_seconds!r}")
        if not isinstance(fail_fast, bool):
            raise DefinitionError(f"{of}: fail_fast must be True or False, not {fail_fast!r}")
        executor, memory_mb = wished(of, executor, memory_mb)
        self.options = FlowOptions(
            retries=self.retry.retries,
            retry_delays=self.retry.delays,
            timeout_seconds=None if timeout_seconds is None else float(timeout_seconds),
            executor=executor,
            memory_mb=memory_mb,
            fail_fast=None if fail_fast else False,
        )
        self.version = version
        self.function = function
        self.description = inspect.cleandoc(description or inspect.getdoc(function) or "")
        self.validate_parameters = validate_parameters
        self.parameters = Parameters(function, of=of)
        for each in self.parameters.signature.parameters.values():
            if each.name in _RESERVED:
                taker = _RESERVED[each.name]
                raise DefinitionError(f"{of}: {taker} takes {each.name!r} itself; rename the parameter")
            if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD, each.POSITIONAL_ONLY):
                raise DefinitionError(f"{of}: its parameters are given by name, so {str(each)!r} can't be one of them")
        self.hooks = hooks_by_state(of=of, on_running=on_running, on_completion=on_completion, on_failure=on_failure)
        self.deployed_as: str | None = None  # the deployment that this object was deployed as last
        functools.update_wrapper(self, function, updated=())

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The flow's value, once it has run here; while another flow is drawn, what stands for it."""
        trace = TRACE.get()
        values = self.parameters.bind(args, kwargs)
        if trace is not None:
            return self._as_group(trace, values)
        value: R = self.run_local(**values).value
        return value

    @property
    def spec(self) -> FlowSpec:
        """The flow as data. Draws the graph anew and runs no task.

        `ParameterError` when a `Static` parameter has no default: then ask `program(...)`, with a value for it.
        """
        return self.program().spec

    def program(self, /, **static: Any) -> Program:
        """The flow, ready for the engine. `static` gives the values of its `Static` parameters; others are ignored.

        Raises `GraphError` when the flow's function can't be drawn; `DrawingError` when it raised an error of its own.
        """
        self._refuse_inside_a_flow()
        trace = Trace(self.name)
        arguments: dict[str, Any] = {}
        shaping: dict[str, Any] = {}
        for name in self.parameters:
            if self.parameters.is_static(name):
                arguments[name] = shaping[name] = self._static_value(name, static)
            else:
                arguments[name] = FlowParameter(trace, FromParameter(name))
        token = TRACE.set(trace)
        try:
            returned = self.function(**arguments)  # type: ignore[call-arg]  # bound by name
            result, source = (None, None) if returned is None else trace.bind(returned)
        except RecursionError as error:
            raise GraphError(
                f"flow {self.name!r} has no end: it calls itself, or a task is given a list or a dict that is nested "
                "without end"
            ) from error
        except DagyError:
            raise
        except Exception as error:
            raise DrawingError(self.name, error, *_place(error)) from error
        finally:
            TRACE.reset(token)
        spec = FlowSpec(
            name=self.name,
            version=self.version,
            description=self.description,
            parameters=self.parameters.specs(),
            tasks=tuple(trace.tasks),
            result=result,
            static=shaping,
            options=self.options,
        )
        return Program(spec, trace.code, trace.inputs, source, self.hooks, self.retry, trace.needs)

    def prepare(self, /, **parameters: Any) -> tuple[Program, dict[str, Any]]:
        """The program and all its parameters' values, checked, for the engine's `start` and `run`.

        Raises `ParameterError` for a value that is missing, unknown or of the wrong type.
        """
        self._refuse_inside_a_flow()
        values = self.parameters.bind((), parameters)
        if self.validate_parameters:
            values = self.parameters.check(values)
        for name in self.parameters:
            if name not in values:
                values[name] = self.parameters.default(name)
        return self.program(**values), values

    def run_local(
        self,
        /,
        *,
        max_workers: int | None = None,
        fail_fast: bool | None = None,
        isolation: Literal["thread", "process"] | None = None,
        keep_results: bool = False,
        record: bool = False,
        resume: str | None = None,
        **parameters: Any,
    ) -> RunResult:
        """Run the flow here and wait for it; parameters of the flow are given by name.

        At most `max_workers` tasks run at once (default 16); with 1 they run in the calling thread. With `fail_fast`
        the first failure stops the run and raises `TaskFailedError`; without it everything independent still runs and
        the result says FAILED. None is what the flow says itself, which is True unless it was made with
        `fail_fast=False`. `isolation` is where tasks run that do not say it. A result is let go once the last task that
        needs it had it, unless it is next to nothing or `keep_results` is asked for; what no task needs is kept.

        With `record` the run, its output and its results are kept in the history (`dagy runs`). `resume` goes on where
        the run of that id ended: what completed there is not run again, and parameters that are not given are those of
        that run; such a run is always recorded. `ResumeError` shows what changed since, if something did.

        `ParameterError` names a parameter that is missing, unknown or of the wrong type. `StoreError`: the history
        can't be written.
        """
        prepared = self.prepare_local(
            parameters,
            max_workers=max_workers,
            fail_fast=fail_fast,
            isolation=isolation,
            keep_results=keep_results,
            record=record,
            resume=resume,
        )
        return engine.run(*prepared)

    def start_local(
        self,
        /,
        *,
        max_workers: int | None = None,
        fail_fast: bool | None = None,
        isolation: Literal["thread", "process"] | None = None,
        keep_results: bool = False,
        record: bool = False,
        resume: str | None = None,
        **parameters: Any,
    ) -> RunHandle:
        """Begin to run the flow in threads of its own and return at once; the options are those of `run_local`.

        `handle.wait()` or `await handle` for the end.
        """
        prepared = self.prepare_local(
            parameters,
            max_workers=max_workers,
            fail_fast=fail_fast,
            isolation=isolation,
            keep_results=keep_results,
            record=record,
            resume=resume,
        )
        return engine.start(*prepared)

    def fails_fast(self, asked: bool | None = None) -> bool:
        """Whether the first failure ends a run: as is asked for, else as the flow says."""
        return asked if asked is not None else self.options.fail_fast is not False

    def prepare_local(
        self, parameters: Mapping[str, Any], **options: Unpack[LocalOptions]
    ) -> tuple[Program, dict[str, Any], RunOptions]:
        """What the engine's `start` and `run` take, for a run here with these options; raises what `run_local` does."""
        record, resume = options.get("record", False), options.get("resume")
        resumable = None
        if resume is None:
            program, values = self.prepare(**parameters)
        else:
            program, values = self.prepare(**{**runs.recorded_parameters(_local_dir(), resume), **parameters})
            resumable = runs.load_for_resume(_local_dir(), resume, program, values)
        recorder = None
        if record or resumable is not None:
            recorder = runs.RunRecorder(_local_dir(), resumed_from=resumable.run_id if resumable else None)
        is_cached = any(task.options.cache is not False for task in program.spec.tasks)
        run_options = engine.RunOptions(
            engine.new_run_id(self.name),
            max_workers=options.get("max_workers"),
            fail_fast=self.fails_fast(options.get("fail_fast")),
            capture=options.get("capture", False),
            isolation=options.get("isolation"),
            keep_results=options.get("keep_results", False),
            recorder=recorder,
            cache=runs.LocalCache(_local_dir()) if is_cached else None,
            reused=resumable.results if resumable else {},
            reused_items=resumable.items if resumable else {},
        )
        return program, values, run_options

    def deploy(
        self,
        name: str | None = None,
        *,
        namespace: str | None = None,
        tags: Mapping[str, str] | None = None,
        schedule: str | None = None,
        timezone: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        force: bool = False,
        target: str = "local",
        output_dir: str | Path | None = None,
        include: Iterable[str] = (),
        requirements: str | Path | None = None,
        api_url: str | None = None,
        profile: str | None = None,
        client: DagyClient | None = None,
        executor: str | Executor | None = None,
        image: str | None = None,
        dry_run: bool = False,
    ) -> DeployResult:
        """Build the flow's artifact, put it into the store, and let the deployment `name` stand for it.

        The name is the flow's unless given; the `namespace` is the folder of the flow's file below the working
        directory. The deployment is described whole: without a `schedule` (five fields of cron, in a `timezone` such as
        "Europe/Berlin"; UTC unless given) it has none, and the `tags`, and the `parameters` that its runs are given
        unless they say otherwise, are these and no others. When this code is deployed with these settings nothing is
        done and the result is `skipped`, unless `force`. With `dry_run` nothing is changed, and the result's `plan`
        says what would be. `target`, `include` and `requirements` are those of `build_artifact`; where to is said as
        for `DagyClient`.

        `executor` is where its runs are made: "local" by workers of yours, "lambda", "step-functions" or "ecs" on AWS,
        a tier ("nano" to "xlarge") or an `Executor` for a size, and "auto" for whatever suits. Unless given it is
        "auto" where the profile says which AWS, and else "local". `image` is a container image of your own for "ecs".

        Raises `ArtifactError` for what can't be built, `ConflictError` when the flow's version is deployed with other
        code: raise it, or `force` a new revision of it; `BackendError` and `LimitError` when it can't run there.
        """
        self._refuse_inside_a_flow()
        deployed: DeployResult = later("dagy.deploy").deploy_flow(
            self,
            name,
            namespace=namespace,
            tags=tags,
            schedule=schedule,
            timezone=timezone,
            parameters=None if parameters is None else self._given_as_json(parameters),
            force=force,
            target=target,
            output_dir=output_dir,
            include=include,
            requirements=requirements,
            api_url=api_url,
            profile=profile,
            client=client,
            executor=executor,
            image=image,
            dry_run=dry_run,
        )
        return deployed

    def run(
        self,
        /,
        *,
        deployment: str | None = None,
        idempotency_key: str | None = None,
        **parameters: Any,
    ) -> Run:
        """Ask for a run of the flow as it is deployed, and return at once; parameters of the flow are given by name.

        `run.wait()` waits for its end. The deployment is the one that `deployment` names, such as "etl" or "team/etl";
        else the one of this flow, and of several the one that this object was deployed as. Where it is looked for
        follows from the profile, as for `DagyClient`.
        Asked again with the same `idempotency_key`, it gives the run that was made then. The parameters travel as JSON:
        they are JSON, or what their annotations make of it, such as a date. What is not given is the deployment's own,
        or the flow's default.

        What runs is what is deployed; a warning is logged when that is known to be other code than the flow's here.

        `UnknownDeploymentError` when the flow is not deployed, `ConflictError` when it is so several times and none is
        named, `ParameterError` for a parameter that is unknown or of the wrong type.
        """
        self._refuse_inside_a_flow()
        given = self._given_as_json(parameters)
        run: Run = later("dagy.deploy").run_deployed(
            self, given, deployment=deployment, idempotency_key=idempotency_key
        )
        return run

    def to_svg(self) -> str:
        """The graph as an SVG picture."""
        return drawing.svg(self.spec)

    def to_text(self) -> str:
        """The graph as a tree of text."""
        return drawing.text_tree(self.spec)

    def to_dot(self) -> str:
        """The graph as source for Graphviz."""
        return drawing.dot(self.spec)

    def _refuse_inside_a_flow(self) -> None:
        if TRACE.get() is not None:
            raise GraphError(f"flow {self.name!r} can't be drawn or run while another flow is drawn; call it instead")

    def _given_as_json(self, given: Mapping[str, Any]) -> dict[str, Json]:
        """What a run of a deployment is given, checked; `ParameterError` for what it can't be."""
        for name in given:
            if name not in self.parameters:
                raise self.parameters.unknown(name)
        written = {name: self.parameters.as_json(name, value) for name, value in given.items()}
        if self.validate_parameters:
            self.parameters.check(written)
        return written

    def _static_value(self, name: str, given: dict[str, Any]) -> Any:
        try:
            value = given[name] if name in given else self.parameters.default(name)
        except KeyError:
            raise ParameterError(
                f"flow {self.name!r}: {name!r} shapes the graph and has no default; "
                f"give it a value: program({name}=...), or run_local({name}=...)"
            ) from None
        if not is_json(value):
            raise ParameterError(
                f"flow {self.name!r}: {name!r} shapes the graph and is part of what the flow is, so it must be text, a "
                f"number, or a list or dict of these, not {shown(value)}"
            )
        return value

    def _as_group(self, trace: Trace, values: dict[str, Any]) -> R:
        for name in self.parameters:
            if self.parameters.is_static(name) and isinstance(values.get(name), Reference):
                raise GraphError(
                    f"flow {self.name!r}: {name!r} shapes the graph, so it can't be the output of a task; "
                    "give it a plain value or a Static parameter"
                )
        before, trace.group = trace.group, trace.new_group(self.name)
        try:
            return self.function(**values)  # type: ignore[call-arg]  # bound by name
        finally:
            trace.group = before

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        try:
            spec = self.spec
        except DagyError as error:  # it can't be drawn, or not without a value: what is shown says so
            told = f"{self!r}: {error}"
            return {"text/html": f"<div>{drawing.markup_line(told)}</div>", "text/plain": told}
        return {"text/html": drawing.flow_html(spec), "text/plain": drawing.text_tree(spec)}

    def __repr__(self) -> str:
        return f"<Flow {self.name!r} {self.parameters.signature}>"


@overload
def flow(function: Callable[P, R], /) -> Flow[P, R]: ...
@overload
def flow(
    *,
    name: str | None = None,
    version: str = "latest",
    description: str | None = None,
    validate_parameters: bool = True,
    retries: int = 0,
    retry_delay_seconds: RetryDelay | None = None,
    timeout_seconds: float | None = None,
    fail_fast: bool = True,
    executor: str | Executor | None = None,
    memory_mb: int | None = None,
    on_running: Sequence[Hook] | None = None,
    on_completion: Sequence[Hook] | None = None,
    on_failure: Sequence[Hook] | None = None,
) -> Callable[[Callable[P, R]], Flow[P, R]]: ...
def flow(
    function: Callable[P, R] | None = None, /, **options: Any
) -> Flow[P, R] | Callable[[Callable[P, R]], Flow[P, R]]:
    """Make a function a flow: `@flow`, or `@flow(name="etl", version="1.0.0")`.

    `name` defaults to the function's name, `description` to its docstring. `validate_parameters` checks what a run is
    given against the annotations. A run that fails is tried `retries` times more, after `retry_delay_seconds` (as for a
    task): what completed is not run again. `timeout_seconds` bounds the whole run. With `fail_fast=False` a failure
    does not end a run: what does not need the task that failed still runs, here and wherever the flow is deployed.
    `executor` is where it runs once it is deployed to AWS: a backend ("lambda", "step-functions", "ecs") or a tier
    ("nano" to "xlarge"); `memory_mb` is how much memory its tasks need together. The hooks `on_running`,
    `on_completion` and `on_failure` are called once a run, with a `RunContext` and a `State`. Raises `DefinitionError`
    when an option or the function has no meaning as a flow.

    Called inside another flow it is a group of that flow's tasks: hooks, retries and time limit are then the other's.
    """
    check_options("flow", options, Flow)
    if function is not None:
        return Flow(function, **options)

    def decorate(function: Callable[P, R]) -> Flow[P, R]:
        return Flow(function, **options)

    return decorate


def _local_dir() -> Path:
    return Settings.read().local_dir


def _place(error: BaseException) -> tuple[str, int]:
    """The file and the line of the flow's function at which `error` was raised, there or in what it called."""
    frames = traceback.extract_tb(error.__traceback__)
    own = frames[1:] if len(frames) > 1 else frames  # the first is the call of the flow's function
    return (own[0].filename, own[0].lineno or 0) if own else ("the flow", 0)
