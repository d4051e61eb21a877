"""What a node is given when it is executed, and what it gives back."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from dagy.engine import current_context
from dagy.errors import ConnectorError, DagyError, DefinitionError, SkipTask, sentence
from dagy.hooks import RunContext
from dagy.states import StateType

if TYPE_CHECKING:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from dagy.nodes.definitions import NodeDefinition

NodeState = StateType  # one vocabulary for runs, tasks and nodes

T = TypeVar("T")
_NONE: Mapping[str, Any] = MappingProxyType({})
_NOT_GIVEN: Any = object()
_OUTSIDE = RunContext(name="", run_id="", flow_name="")  # of what is executed outside of a run
_MASK = "***"


class ExecutionContext:
    """What one execution of a node has at hand.

    `inputs` are the values that came in, by connector id; `config` is the node's configuration by field id, checked,
    with defaults; `secrets` are the texts of its SECRET fields by field id. `node_id` is the id of its task, `attempt`
    counts from 1, `item` says, from 0, which item of a mapped node this is (None for any other), and `parameters` are
    the flow's; in a run all these are the run's.

    To try a node by hand: `await node.run(ExecutionContext({"data_in": rows}))`.
    """

    __slots__ = ("_definition", "_folder", "_logger", "_run", "config", "inputs", "secrets")

    def __init__(
        self,
        inputs: Mapping[str, Any] = _NONE,
        *,
        config: Mapping[str, Any] = _NONE,
        node_id: str | None = None,
        run_id: str | None = None,
        flow_name: str | None = None,
        attempt: int | None = None,
        item: int | None = None,
        parameters: Mapping[str, Any] | None = None,
        secrets: Mapping[str, str] = _NONE,
        logger: logging.Logger | None = None,
    ) -> None:
        self.inputs = inputs
        self.config = config
        self.secrets = secrets
        self._logger = logger
        self._folder: TemporaryDirectory[str] | None = None
        self._definition: NodeDefinition | None = None
        self._run: RunContext | None = None
        if node_id or run_id or flow_name or attempt or parameters or item is not None:
            name = node_id or ""
            self._run = RunContext(name, run_id or "", flow_name or "", attempt or 1, parameters or {}, name, item)

    def get_upstream_data(self, connector_id: str, default: Any = _NOT_GIVEN) -> Any:
        """What came in at an inbound connector: its value, or a list of values where there may be many.

        Where nothing came in: `default` if it is given, else None, or an empty list where there may be many.
        Raises `ConnectorError` when there is no such connector.
        """
        try:
            return self.inputs[connector_id]
        except KeyError:
            return self._without_value(connector_id, default)

    def _without_value(self, connector_id: str, default: Any) -> Any:
        definition = self._definition
        if definition is not None:
            connector = definition.inbound_connector(connector_id)
            if default is _NOT_GIVEN:
                return [] if connector.is_many else None
        elif default is _NOT_GIVEN:
            told = ", ".join(map(repr, self.inputs)) or "nothing"
            raise ConnectorError(f"nothing came in at {connector_id!r}; what came in: {told}")
        return default

    def describe(self, definition: NodeDefinition) -> None:
        """From here on this is the context of a node of that definition."""
        self._definition = definition

    @property
    def node_id(self) -> str:
        """The id of the node's task; "" outside of a run."""
        return self._running.task_id or ""

    @property
    def run_id(self) -> str:
        """The id of the run; "" outside of one."""
        return self._running.run_id

    @property
    def flow_name(self) -> str:
        """The name of the flow that runs; "" outside of a run."""
        return self._running.flow_name

    @property
    def attempt(self) -> int:
        """Which try this is, from 1."""
        return self._running.attempt

    @property
    def item(self) -> int | None:
        """Which item of a mapped node this is, from 0; None for any other."""
        return self._running.item

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the run of the flow was given, by name."""
        return self._running.parameters

    @property
    def _running(self) -> RunContext:
        if self._run is None:
            self._run = current_context() or _OUTSIDE
        return self._run

    @property
    def logger(self) -> logging.Logger:
        """Where the node logs to; what it logs is kept with the run. Texts of secrets are masked in it."""
        if self._logger is None:
            node_type = "" if self._definition is None else self._definition.node_type
            self._logger = logging.getLogger(f"dagy.nodes.{node_type}".rstrip("."))
            if self.secrets:
                self._logger = _masking(self._logger, self.secrets.values())
        return self._logger

    @property
    def temp_dir(self) -> Path:
        """A folder of this execution's own, made on first use and removed once the node's `cleanup` is over."""
        from pathlib import Path
        from tempfile import TemporaryDirectory

        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="dagy-node-", ignore_cleanup_errors=True)
        return Path(self._folder.name)

    def close(self) -> None:
        """Remove the folder, if there is one."""
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()


class ExecutionResult(NamedTuple):
    """How an execution ended: COMPLETED with `outputs` by connector id; SKIPPED or FAILED with an `error`."""

    state: StateType
    outputs: Mapping[str, Any] = _NONE
    error: BaseException | None = None

    @classmethod
    def from_success(cls, outputs: Mapping[str, Any] = _NONE) -> ExecutionResult:
        """It did its work; `outputs` are the values by outbound connector."""
        return tuple.__new__(cls, (StateType.COMPLETED, outputs, None))  # each execution makes one: half the time

    @classmethod
    def from_error(cls, error: BaseException | str) -> ExecutionResult:
        """It failed. While retries are left it is tried again, the same as when the error is raised."""
        return cls(StateType.FAILED, error=error if isinstance(error, BaseException) else RuntimeError(error))

    @classmethod
    def from_skip(cls, reason: str = "") -> ExecutionResult:
        """There was nothing to do: the node ends SKIPPED, and so does what needs it."""
        return cls(StateType.SKIPPED, error=SkipTask(reason))

    @property
    def is_success(self) -> bool:
        """Whether it did its work."""
        return self.state is StateType.COMPLETED


def by_hand(coroutine: Coroutine[Any, Any, T], node_type: str) -> T:
    """What `coroutine` returns, run to its end without an event loop: it must not wait for anything.

    Raises `DefinitionError` when it does, although the node's `execute` and hooks are plain functions.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    coroutine.close()
    raise DefinitionError(
        f"node {node_type!r}: a plain function of it returned something to wait for; write that function as 'async def'"
    )


def masked(error: BaseException, secrets: Iterable[str]) -> BaseException:
    """`error`, or if its text or that of one of its causes shows a secret, an error that tells the same without it."""
    hidden = _hidden(secrets)
    seen: list[BaseException] = []
    each: BaseException | None = error if hidden else None
    while each is not None and each not in seen:
        seen.append(each)
        try:
            told = f"{sentence(each)} {each.args!r} {vars(each)!r}"
        except Exception:  # noqa: BLE001 (the __repr__ of something in it)
            told = hidden[0]
        if any(text in told for text in hidden):
            kind = SkipTask if isinstance(error, SkipTask) else DagyError
            text = str(error) if kind is SkipTask else sentence(error)
            return kind(_mask(text, hidden)).with_traceback(error.__traceback__)
        each = each.__cause__ or each.__context__
    return error


def _hidden(secrets: Iterable[str]) -> list[str]:
    """The secrets, each before those that it holds."""
    return sorted(filter(None, secrets), key=len, reverse=True)


def _mask(text: str, hidden: Iterable[str]) -> str:
    for each in hidden:
        text = text.replace(each, _MASK)
    return text


def _masking(logger: logging.Logger, secrets: Iterable[str]) -> logging.Logger:
    """A logger that logs to `logger`, without the secrets."""
    hidden = _hidden(secrets)

    def mask(record: logging.LogRecord) -> bool:
        record.msg, record.args = _mask(record.getMessage(), hidden), ()
        if record.exc_info:  # the error itself may show a secret: only its text goes on
            record.exc_text = _mask(logging.Formatter().formatException(record.exc_info), hidden)
            record.exc_info = None
        return True

    masking = logging.Logger(logger.name)
    masking.parent = logger
    masking.addFilter(mask)
    return masking
