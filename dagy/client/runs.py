"""`Run`: one run of a deployment, in the hands of whoever asked for it."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Literal, overload

from dagy import client, drawing
from dagy.client.lines import Lines
from dagy.control.records import LOCAL, RunInfo, TaskRunInfo
from dagy.errors import ResultGoneError, RunCancelledError, RunError, RunTimeoutError, TaskFailedError, shown
from dagy.spec import Json
from dagy.states import State, StateType

if TYPE_CHECKING:
    from dagy.client.async_client import AsyncDagyClient
    from dagy.client.client import DagyClient

LOCAL_PAUSE = 0.05  # seconds between two looks at a run of this machine
LONGEST_PAUSE = 2.0  # seconds between two looks over the network
_WAKING = 1.0  # seconds after which a worker is looked for again, for a run that waits for one

_ERRORS: dict[StateType, type[RunError]] = {
    StateType.FAILED: TaskFailedError,
    StateType.CANCELLED: RunCancelledError,
    StateType.TIMED_OUT: RunTimeoutError,
}


def pauses(*, is_local: bool) -> Iterator[float]:
    """Seconds to wait before each next look at a run, without end."""
    seconds = LOCAL_PAUSE if is_local else 0.2
    while True:
        yield seconds
        if not is_local:
            seconds = min(seconds * 1.5, LONGEST_PAUSE)


def request_key(given: str | None) -> str | None:
    """The idempotency key that is given, else one of its own for this one call: its answer may be lost on the way."""
    return f"call:{os.urandom(16).hex()}" if given is None else given


class KnownRun:
    """What was known of a run when it was last looked at."""

    def __init__(self, info: RunInfo) -> None:
        self.info = info

    @property
    def run_id(self) -> str:
        """What names the run anywhere."""
        return self.info.run_id

    @property
    def status(self) -> StateType:
        """The type of its state."""
        return self.info.status

    @property
    def state(self) -> State:
        """Its state, and why it is in it."""
        return State(self.info.status, self.info.message)

    @property
    def result(self) -> Any:
        """What the flow returned; of a run on AWS it is fetched now when it is large or more than JSON, which may take.

        `RunError` when the run did not complete: see `check`. `ResultGoneError` when what it returned is not kept,
        because JSON can't hold it or it is large, or is kept as a pickle: see `trusted_result`.
        """
        return self._returned(trusted=False)

    def trusted_result(self) -> Any:
        """As `result`, and a pickle is read too: who may write to the run's store chooses the code that runs then."""
        return self._returned(trusted=True)

    def _returned(self, *, trusted: bool) -> Any:
        self.check()
        if self.info.has_result:
            return self.info.result
        if self.info.executor != LOCAL:
            return client.stored_result(self.info, trusted=trusted)
        raise ResultGoneError(
            f"what run {self.run_id!r} returned is not kept with it, because it is large or more than JSON; "
            "return something smaller, or have a task keep it where it belongs"
        )

    def check(self) -> None:
        """Raise unless the run completed.

        `TaskFailedError`, `RunCancelledError`, `RunTimeoutError`, or `RunError` for one that crashed or has not ended
        yet; `error.result` is this run.
        """
        if self.state.is_completed:
            return
        if not self.status.is_final:
            raise RunError(f"run {self.run_id!r} has not ended yet: it is {self.state}; wait for it: run.wait()", self)
        error = _ERRORS.get(self.status, RunError)
        raise error(f"run {self.run_id!r} of flow {self.info.flow_name!r}: {self.state}", self)

    def __str__(self) -> str:
        info = self.info
        lines = [f"run {info.run_id} of {info.reference} ({info.flow_name} {info.label}): {self.state}"]
        if info.tasks:
            lines.append("tasks: " + ", ".join(f"{number} {state}" for state, number in info.tasks.items()))
        if info.has_result and info.result is not None:
            lines.append(f"result: {' '.join(shown(info.result).split())}")
        return drawing.plain_lines("\n".join(lines))

    def __repr__(self) -> str:
        return drawing.plain_line(f"<{type(self).__name__} {self.run_id} {self.status}>")

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        text = str(self)
        return {"text/html": f"<pre>{drawing.markup_lines(text)}</pre>", "text/plain": text}

    def _not_in_time(self, timeout: float) -> TimeoutError:
        return TimeoutError(f"run {self.run_id!r} has not ended within {timeout:g} s: it is {self.state}")


class _Watch:
    """When to look again at a run that is waited for."""

    def __init__(self, *, is_local: bool, timeout: float | None) -> None:
        self._pauses = pauses(is_local=is_local)
        self._ends = None if timeout is None else time.monotonic() + timeout
        self._waited = 0.0

    def next(self) -> float | None:
        """Seconds until the next look; None when the time is up."""
        seconds = next(self._pauses)
        if self._ends is not None:
            seconds = min(seconds, self._ends - time.monotonic())
        self._waited += seconds
        return seconds if seconds > 0 else None

    def wakes(self, run: RunInfo) -> bool:
        """Whether it is time to look for a worker once more: one may have been killed before it took the run.

        What runs on AWS goes on without a worker, and needs one to be heard of.
        """
        needs_one = run.status is StateType.QUEUED or (run.executor != LOCAL and not run.status.is_final)
        if not needs_one or self._waited < _WAKING:
            return False
        self._waited = 0.0
        return True


class Run(KnownRun):
    """One run of a deployment. It goes on whether or not anybody waits for it.

    What it says of itself is what was known when it was last looked at: `refresh` and `wait` look again.
    """

    def __init__(self, info: RunInfo, client: DagyClient) -> None:
        super().__init__(info)
        self._client = client

    def refresh(self) -> Run:
        """Look again."""
        self.info = self._client.run_info(self.run_id)
        return self

    def wait(self, timeout: float | None = None) -> Run:
        """This run, once it has ended, however it did. `TimeoutError` after `timeout` seconds without an end.

        Whatever ends the waiting, such as Ctrl-C, leaves the run alone.
        """
        watch = _Watch(is_local=self._client.is_local, timeout=timeout)
        while not self.status.is_final and not self.refresh().status.is_final:
            if watch.wakes(self.info):
                self._client.keep_awake()
            seconds = watch.next()
            if seconds is None:
                raise self._not_in_time(timeout or 0)
            self._client.sleep(seconds)
        return self

    def resume(self) -> Run:
        """A new run on AWS that goes on with what this one, which did not complete, has got done; returns at once.

        Raises `ResumeError` when that can't be, such as when the deployment stands for other code by now.
        """
        return self._client.create_run(self.info.reference, resume=self.run_id)

    def cancel(self, reason: str = "cancelled") -> Run:
        """Ask that the run be cancelled; returns at once. Of a run that has ended, nothing."""
        self.info = self._client.cancel_run(self.run_id, reason)
        return self

    def task_runs(self) -> list[TaskRunInfo]:
        """How each of its tasks stands now."""
        return self._client.task_runs(self.run_id)

    def events(
        self, *, since: int = 0, follow: bool = False, on_wait: Callable[[], None] | None = None
    ) -> Iterator[dict[str, Json]]:
        """Its events from number `since` on, in order, as JSON; with `follow` until the run has ended.

        `on_wait` is called each time that there is nothing new to give yet; the run knows how it stands then.
        """
        watch = _Watch(is_local=self._client.is_local, timeout=None)
        while True:
            is_last = not follow or self.status.is_final or self.refresh().status.is_final  # asked before the events
            while found := self._client.events(self.run_id, since=since):
                watch = _Watch(is_local=self._client.is_local, timeout=None)
                since = found[-1]["seq"] + 1
                yield from found
            if is_last:
                return
            if on_wait is not None:
                on_wait()
            if watch.wakes(self.info):
                self._client.keep_awake()
            self._client.sleep(watch.next() or 0)

    @overload
    def logs(self, task: str | None = None, *, follow: Literal[False] = False) -> str: ...
    @overload
    def logs(self, task: str | None = None, *, follow: Literal[True]) -> Iterator[str]: ...
    def logs(self, task: str | None = None, *, follow: bool = False) -> str | Iterator[str]:
        """What its tasks wrote, or what one of them wrote: lines such as `fetch | 200 rows`.

        With `follow` the lines one by one, as they come, until the run has ended.
        """
        lines = self._lines(task, follow=follow)
        return lines if follow else "".join(f"{each}\n" for each in lines)

    def _lines(self, task: str | None, *, follow: bool) -> Iterator[str]:
        lines = Lines(task)
        for event in self.events(follow=follow):
            yield from lines.of(event)
        yield from lines.unfinished()


class AsyncRun(KnownRun):
    """A `Run` for code in an event loop; `await run` waits for its end."""

    def __init__(self, info: RunInfo, client: AsyncDagyClient) -> None:
        super().__init__(info)
        self._client = client

    async def refresh(self) -> AsyncRun:
        """Look again."""
        self.info = await self._client.run_info(self.run_id)
        return self

    async def wait(self, timeout: float | None = None) -> AsyncRun:
        """As of `Run`."""
        watch = _Watch(is_local=self._client.is_local, timeout=timeout)
        while not self.status.is_final and not (await self.refresh()).status.is_final:
            if watch.wakes(self.info):
                await self._client.keep_awake()
            seconds = watch.next()
            if seconds is None:
                raise self._not_in_time(timeout or 0)
            await self._client.sleep(seconds)
        return self

    def __await__(self) -> Generator[Any, None, AsyncRun]:
        return self.wait().__await__()

    async def resume(self) -> AsyncRun:
        """As of `Run`."""
        return await self._client.create_run(self.info.reference, resume=self.run_id)

    async def cancel(self, reason: str = "cancelled") -> AsyncRun:
        """As of `Run`."""
        self.info = await self._client.cancel_run(self.run_id, reason)
        return self

    async def task_runs(self) -> list[TaskRunInfo]:
        """As of `Run`."""
        return await self._client.task_runs(self.run_id)

    async def events(
        self, *, since: int = 0, follow: bool = False, on_wait: Callable[[], None] | None = None
    ) -> AsyncIterator[dict[str, Json]]:
        """As of `Run`."""
        watch = _Watch(is_local=self._client.is_local, timeout=None)
        while True:
            is_last = not follow or self.status.is_final or (await self.refresh()).status.is_final
            while found := await self._client.events(self.run_id, since=since):
                watch = _Watch(is_local=self._client.is_local, timeout=None)
                since = found[-1]["seq"] + 1
                for event in found:
                    yield event
            if is_last:
                return
            if on_wait is not None:
                on_wait()
            if watch.wakes(self.info):
                await self._client.keep_awake()
            await self._client.sleep(watch.next() or 0)

    async def logs(self, task: str | None = None) -> str:
        """What its tasks wrote, or what one of them wrote: lines such as `fetch | 200 rows`."""
        return "".join([f"{each}\n" async for each in self._lines(task, follow=False)])

    def follow_logs(self, task: str | None = None) -> AsyncIterator[str]:
        """The lines of `logs` one by one, as they come, until the run has ended."""
        return self._lines(task, follow=True)

    async def _lines(self, task: str | None, *, follow: bool) -> AsyncIterator[str]:
        lines = Lines(task)
        async for event in self.events(follow=follow):
            for each in lines.of(event):
                yield each
        for each in lines.unfinished():
            yield each
