"""How a run went, as the handler answers it, and what its tasks write, as it comes."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping

from dagy.engine import RunHandle, RunResult, TaskWrote, error_text
from dagy.errors import DagyError, sentence
from dagy.spec import Json
from dagy.states import State, StateType
from dagy.values import type_name

MOST_TASKS = 500  # that are told of one by one
MOST_OUTPUT = 16_384  # characters of output in the answer


def told_run(result: RunResult, output: str) -> dict[str, Json]:
    """The answer of a run, but for its result."""
    runs = list(result.task_runs.values())
    error = next((each.error for each in runs if each.state.is_failure), None) or result.error
    told = told_tasks(result.run_id, result.state, {each.id: (each.state, each.attempt) for each in runs})
    return told | {"output": output} | ({} if error is None else {"error": told_error(error)})


def told_tasks(run_id: str, state: State, tasks: Mapping[str, tuple[State, int]]) -> dict[str, Json]:
    """The answer of a run whose tasks ended so, each with its number of attempts."""
    failures_first = sorted(tasks.items(), key=lambda each: not each[1][0].is_failure)
    return {
        "run_id": run_id,
        "state": state.type.value,
        "message": state.message,
        "tasks": {task: _told_task(*end) for task, end in failures_first[:MOST_TASKS]},
        "counts": dict(Counter(state.type.value for state, _ in tasks.values())),
    }


def told_result(carried: Callable[[], Mapping[str, Json]]) -> dict[str, Json]:
    """The result as a part of the answer; when it can't be handed on, the run has failed after all."""
    try:
        return {"result": carried()}
    except DagyError as error:
        return told_failure(error)


def told_failure(error: BaseException, cause: BaseException | None = None) -> dict[str, Json]:
    """The state, the message and the error of what failed as a whole, because of `cause` if there is one."""
    return {"state": StateType.FAILED.value, "message": sentence(error), "error": told_error(cause or error)}


def told_error(error: BaseException) -> dict[str, Json]:
    """An error by its type, what it says, and its traceback through the user's code."""
    return {
        "type": type_name(type(error)),
        "message": sentence(error).partition(": ")[2],
        "traceback": error_text(error),
    }


def _told_task(state: State, attempt: int) -> dict[str, Json]:
    told: dict[str, Json] = {"state": state.type.value, "attempt": attempt}
    return told | {"message": state.message} if state.message else told


class Echo:
    """Prints what tasks write, line by line as it comes, and keeps the end of it.

    A line begins with the run and the task, `etl-1 load | reading`, so that a log of many runs can be searched.
    """

    def __init__(self, handle: RunHandle) -> None:
        self._handle = handle
        self._open: dict[str, str] = {}  # by task, a line that is not complete yet
        self._pieces: deque[str] = deque()
        self._size = 0
        self._thread = threading.Thread(target=self._follow, name="dagy-echo", daemon=True)
        self._thread.start()

    def tail(self) -> str:
        """The end of the output, as it was written, once the run has ended."""
        self._thread.join()
        return "".join(self._pieces)[-MOST_OUTPUT:]

    def _follow(self) -> None:
        for event in self._handle.events():
            if isinstance(event, TaskWrote):
                *lines, rest = f"{self._open.get(event.task, '')}{event.text}".split("\n")
                self._print(event.task, lines)
                self._open[event.task] = rest
                self._keep(event.text)
        for task, rest in self._open.items():
            self._print(task, [rest] if rest else [])

    def _print(self, task: str, lines: list[str]) -> None:
        stream = sys.__stderr__
        if stream is None:  # a process without one
            return
        with contextlib.suppress(OSError, ValueError):  # nobody reads it
            for line in lines:
                stream.write(f"{self._handle.run_id} {task} | {line}\n")
            stream.flush()

    def _keep(self, text: str) -> None:
        self._pieces.append(text)
        self._size += len(text)
        while self._size - len(self._pieces[0]) > MOST_OUTPUT:
            self._size -= len(self._pieces.popleft())
