"""What the view of a run costs the run, how far behind it is, and what captured output costs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import comm
from comm.base_comm import BaseComm

from dagy import Flow, RunResult, Static, flow, task
from dagy_nb.notebook import Notebook
from dagy_nb.runs import Runs

from .measuring import Effort, Row, Times, in_unit, row_of_ratio, row_of_time

TASKS, COMPUTING, WAITING = 1_000, 10_000, 0.005
LAG_TASKS, LAG_SECONDS = 1_000, 1.0
WRITERS, LINES = 8, 100_000


class Screen:
    """A page that nobody looks at."""

    moment = 0

    def __init__(self, *, is_live: bool) -> None:
        self.is_live = is_live
        self.kernel_id = "kernel" if is_live else ""

    def show(self, bundle: Mapping[str, object]) -> None:
        """Encode it, as a kernel does."""
        json.dumps(bundle)

    def show_replaceable(self, bundle: Mapping[str, object]) -> str:
        """Encode it."""
        json.dumps(bundle)
        return "display"

    def replace(self, display_id: str, bundle: Mapping[str, object]) -> None:
        """Encode it."""
        json.dumps(bundle)

    def bundle_of(self, value: object) -> Mapping[str, object]:
        """The value's text."""
        return {"text/plain": repr(value)}

    def capture_displays(self) -> Callable[[], None]:
        """Nothing is displayed."""
        return lambda: None


class EncodingComm(BaseComm):
    """The kernel's end of a connection, which encodes what it sends, as a kernel does, and notes when."""

    sent: list[tuple[int, Mapping[str, Any]]] = []  # noqa: RUF012

    def publish_msg(self, msg_type: str, data: Any = None, *_: object, **__: object) -> None:
        """Encode it."""
        json.dumps(data, ensure_ascii=False).encode()
        if data and data.get("method") == "custom":
            EncodingComm.sent.append((time.time_ns(), data["content"]))


@contextmanager
def _encoding() -> Iterator[None]:
    before = comm.create_comm
    comm.create_comm = EncodingComm
    try:
        yield
    finally:
        comm.create_comm = before


@task
def computes(number):
    """Compute for a third of a millisecond."""
    return sum(range(number)) > 0


@task
def waits(seconds):
    """Wait."""
    time.sleep(seconds)
    return True


@flow
def many(size: Static[int], given: float = COMPUTING, is_computing: Static[bool] = True) -> None:
    """Tasks that need nothing."""
    for _ in range(size):
        (computes if is_computing else waits)(given)


@task
def writes(name, lines):
    """Print lines that tell who wrote them."""
    for number in range(lines):
        print(name, number)


@flow
def talk(writers: Static[int], lines: int) -> None:
    """Tasks that print at the same time."""
    for number in range(writers):
        writes(number, lines)


def view_cost(effort: Effort) -> Iterator[Row]:
    """A run with its view, beside the run alone: tasks that compute all the time, and tasks that wait."""
    size = effort.size(TASKS)
    for what, given, is_computing in (("compute", COMPUTING, True), ("wait", WAITING, False)):
        parameters = {"size": size, "given": given, "is_computing": is_computing}
        alone, viewed = _in_turns(
            effort.fine(),
            lambda parameters=parameters: many.start_local(keep_results=True, **parameters).wait(),
            lambda parameters=parameters: _cell(many, parameters),
        )
        yield row_of_ratio(f"{size:,} tasks that {what}: run with its view", viewed, alone, called="alone", target=1.05)


def view_lag(effort: Effort) -> Iterator[Row]:
    """From a task's change to the message that tells the page, at 2,000 changes a second."""
    size = effort.size(LAG_TASKS)
    nap = LAG_SECONDS * 16 / LAG_TASKS
    EncodingComm.sent.clear()
    with _encoding():
        run = Runs(Notebook({}), Screen(is_live=True)).start(many, {"size": size, "given": nap, "is_computing": False})
    told: dict[str, int] = {}
    for at, message in EncodingComm.sent:
        for name, head in message.get("tasks", {}).items() if message["op"] == "delta" else ():
            if head["state"] == "COMPLETED":
                told.setdefault(name, at)
    if len(told) != size:
        raise RuntimeError(f"{size - len(told)} ends of tasks were not told")
    ends = {each.id: each.ended_at or 0.0 for each in run.wait().task_runs.values()}
    lags = sorted(told[name] / 1e9 - ends[name] for name in told)
    found = Times(tuple(lags), tuple(lags))
    what = f"{2 * size:,} changes in {in_unit(run.wait().seconds)}, to the message"
    yield row_of_time(what, found, target=0.15, limit=f"longest {in_unit(lags[-1])}")


def captured(effort: Effort) -> Iterator[Row]:
    """What a task prints: the cost of one write, and many lines of tasks that print at the same time."""
    lines = effort.size(LINES) // WRITERS
    costs: list[float] = []

    @task
    def writes_alone() -> None:
        write = sys.stdout.write
        for _ in range(effort.rounds):
            began = time.thread_time()
            for _ in range(10_000):
                write("a line\n")
            costs.append((time.thread_time() - began) / 10_000)

    @flow
    def one() -> None:
        writes_alone()

    with _encoding():
        runs = Runs(Notebook({}), Screen(is_live=True))
        runs.start(one)
        yield row_of_time("captured write", Times(tuple(costs), tuple(costs)), target=2e-6)
        took = []
        for _ in range(effort.slow().rounds):
            result = runs.start(talk, {"writers": WRITERS, "lines": lines}).wait()
            took.append(result.seconds)
            for number, each in enumerate(result.task_runs.values()):
                if each.output != "".join(f"{number} {line}\n" for line in range(lines)):
                    raise RuntimeError(f"lines of task {number} were lost or crossed")
    yield row_of_time(
        f"{WRITERS * lines:,} lines of {WRITERS} tasks, each where it belongs", Times(tuple(took), tuple(took))
    )


def _cell(flow: Flow[..., Any], parameters: Mapping[str, Any]) -> RunResult:
    with _encoding():
        return Runs(Notebook({}), Screen(is_live=True)).start(flow, parameters).wait()


def _in_turns(effort: Effort, *actions: Callable[[], RunResult]) -> tuple[Times, ...]:
    """What the runs themselves take: rounds in which each action has its turn, after a round to warm up."""
    found: list[list[float]] = [[] for _ in actions]
    for number in range(effort.rounds + 1):
        for times, action in zip(found, actions, strict=True):
            result = action()
            if number:
                times.append(result.seconds)
    return tuple(Times(tuple(each), tuple(each)) for each in found)
