"""A run of a deployment on AWS: started once, followed from anywhere, stopped.

What happens in a run its functions write to the run's store, and its answer too. A service (Lambda, Step Functions,
ECS) is asked for two things only: to start it, and, when the store has nothing new, whether it has ended without an
answer. So whoever follows may go away at any time, and another goes on from the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from dagy.artifact.run_store import RunStore
from dagy.aws.failures import is_transient, of_refusal
from dagy.backends.container_runs import ContainerRun
from dagy.backends.event_feed import EventFeed
from dagy.backends.lambda_runs import FunctionRun
from dagy.backends.state_machine_runs import ExecutionRun
from dagy.client.on_aws import values_at
from dagy.control.records import RunInfo
from dagy.errors import AuthError, BackendError, CloudError, ConflictError, did_you_mean
from dagy.spec import Json
from dagy.states import State, StateType, cancelled, crashed

if TYPE_CHECKING:
    from dagy.aws import Aws

START_SECONDS = 300.0  # for which AWS is asked again when it is too busy to start a run
STOP_SECONDS = 10.0  # that a run has to end by itself once it was asked to stop
FIRST_PAUSE, LONGEST_PAUSE = 0.3, 5.0  # seconds between two looks
_SHARE = 0.05  # of a run's age: so much later than it happened something is seen, at most
_SILENT = "it ended on AWS without leaving an answer in its store; what ran may have had effects"

Connect: TypeAlias = "Callable[[Mapping[str, Json]], Aws]"
"""From a deployment's resources to the account and region where they are."""


def pause_at(age: float) -> float:
    """Seconds until the next look at a run that has gone on for `age` seconds: a twentieth of it, within bounds."""
    return min(max(age * _SHARE, FIRST_PAUSE), LONGEST_PAUSE)


@dataclass(frozen=True, slots=True)
class News:
    """What is new of a run since the last look."""

    events: tuple[Mapping[str, Json], ...] = ()  # as `dagy.runs.event_json` has them, without `seq`
    state: State | None = None  # how it has ended; None: it goes on
    result: tuple[Json] | None = None  # what the flow returned, when it completed and that is small enough to be told

    @property
    def is_final(self) -> bool:
        """Whether the run has ended, and nothing more is to come."""
        return self.state is not None


class Service(Protocol):
    """What differs between the services."""

    @property
    def name(self) -> str:
        """What runs there, for messages."""

    def start(self) -> None:
        """Begin the run, which may have been done already, by somebody who could not tell."""

    def adopt(self, begun: Mapping[str, Json]) -> None:
        """Go on with a run that has begun; `begun` is what its store says of that."""

    def verdict(self) -> State | None:
        """How the service says that the run ended; None while it goes on, or may."""

    def stop(self, reason: str) -> None:
        """End it by force, where the service can do that."""


class RemoteRun:
    """A run on AWS, for one thread.

    Each call may raise `AuthError`, `NetworkError`, `CloudError` or `StoreError`, and can be made again then.
    """

    def __init__(
        self, run_id: str, store: RunStore, service: Service, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._run_id = run_id
        self._store = store
        self._service = service
        self._feed = EventFeed(store)
        self._clock = clock
        self._found: list[dict[str, Json]] = []  # news that were not given yet
        self._verdict: State | None = None
        self._give_up: float | None = None
        self._refused: State | None = None
        self._stop: str | None = None
        self._stop_at = 0.0
        self._is_stopped = False

    def know(self, told: Iterable[Mapping[str, Json]]) -> None:
        """What the control plane has of its events already, all of them and in order: they are not told again."""
        self._feed.know(told)

    def has_begun(self) -> bool:
        """Whether it has, as far as its store knows."""
        return self._store.begun() is not None

    def start(self) -> None:
        """Begin it, unless it has begun. Any number of workers may do so, any number of times.

        What AWS refuses for good ends the run: `poll` says so. What may be over in a moment is raised.
        """
        begun = self._store.begun()
        if begun is not None:
            self._service.adopt(begun)
            return
        try:
            self._service.start()
        except (AuthError, BackendError, CloudError, ConflictError) as error:
            if self._give_up is None:
                self._give_up = self._clock() + START_SECONDS
            if is_transient(error) and self._clock() < self._give_up:
                raise
            self._refused = of_refusal(error, self._service.name, self._run_id)

    def poll(self) -> News:
        """What is new. It costs one call while the store has news, and one more, of the service, when it has none."""
        if self._refused is not None:
            return self._ended(self._refused, None)
        self._stop_by_force()
        self._found += self._feed.news()
        if self._found and not self._feed.is_ended:
            return self._going_on()
        if self._verdict is None:  # it is final, and may be given only once
            self._verdict = self._service.verdict()
        if self._verdict is None and not self._feed.is_ended:
            return self._going_on()
        answer = self._store.answer()
        if answer is None and self._verdict is None:  # it is being written
            return self._going_on()
        while late := self._feed.news(from_the_start=True):
            self._found += late
        return self._ended(self._verdict, answer)

    def cancel(self, reason: str) -> None:
        """Ask it to end; what does not within some seconds is stopped by force, where the service can."""
        if self._stop is None:
            self._store.ask_to_stop(reason)
            self._stop, self._stop_at = reason, self._clock() + STOP_SECONDS

    def _stop_by_force(self) -> None:
        if self._stop is not None and not self._is_stopped and self._clock() >= self._stop_at:
            self._service.stop(self._stop)
            self._is_stopped = True

    def _going_on(self) -> News:
        found, self._found = self._found, []
        return News(tuple(found))

    def _ended(self, verdict: State | None, answer: Mapping[str, Json] | None) -> News:
        """The last news: how it ended, and the events that tell so where nobody did."""
        result: tuple[Json] | None = None
        if answer is not None:
            state = State(StateType(answer["state"]), answer.get("message", ""))
            carried = answer.get("result")
            if state.is_completed and isinstance(carried, Mapping) and carried.keys() == {"value"}:
                result = (carried["value"],)
        elif self._is_stopped:
            state = cancelled(self._stop or "")
        else:
            assert verdict is not None
            state = crashed(_SILENT) if verdict.is_completed else verdict
        why = state if state.type is StateType.CANCELLED else crashed(state.message)
        self._found += self._feed.endings(state, int(self._clock() * 1e9), why)
        return News(tuple(self._found), state, result)


def remote_run(info: RunInfo, connect: Connect) -> RemoteRun:
    """The run that the control plane knows as `info`, on AWS.

    Raises `BackendError` for an executor that this version does not know, and for resources that lack something.
    """
    makers: Mapping[str, Callable[[RunInfo, Aws, RunStore], Service]] = {
        "lambda": FunctionRun,
        "step-functions": ExecutionRun,
        "ecs": ContainerRun,
    }
    if info.executor not in makers:
        raise BackendError(
            f"run {info.run_id!r} is for the executor {info.executor!r}, which this version of dagy does not know"
            f"{did_you_mean(info.executor, makers)}; upgrade dagy where its worker runs"
        )
    try:
        aws = connect(info.resources)
        store = RunStore(values_at(info.resources, aws), info.run_id)
        return RemoteRun(info.run_id, store, makers[info.executor](info, aws, store))
    except KeyError as error:
        raise BackendError(
            f"the deployment {info.reference!r} does not say its {error.args[0]!r} on AWS; deploy it again"
        ) from error
