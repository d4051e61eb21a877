"""What a run leaves: its state, its value, and a line for each task."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagy import drawing
from dagy.errors import ResultGoneError, TaskFailedError, UnknownTaskError, shown
from dagy.spec import FlowSpec
from dagy.states import State, StateType

_OURS = f"{Path(__file__).absolute().parents[1]}{os.sep}"  # where frames are that are not the user's
_MOST_FRAMES = 30  # of an error that is shown


class Gone:
    """Stands where a value was that no task needed any more."""

    def __repr__(self) -> str:
        return "<gone>"


GONE = Gone()


@dataclass(frozen=True, slots=True)
class TaskRun:
    """How one task of a run went. Times are seconds since the epoch, and None where the task never started."""

    id: str
    name: str
    state: State
    attempt: int = 0  # the number of the last attempt; 0: it never started
    started_at: float | None = None
    ended_at: float | None = None
    error: BaseException | None = None
    value: Any = field(default=None, repr=False)  # `GONE` when it was let go
    output: str = field(default="", repr=False)  # what it wrote, when the run captured it
    item_count: int | None = None  # of a mapped task, how many items it has, once that is known
    failed_items: Mapping[int, BaseException] = field(default_factory=dict, repr=False)  # of a mapped task, by index
    # Of a mapped task that did not complete, what those of its items returned that did; only with `keep_results`.
    completed_items: Mapping[int, Any] = field(default_factory=dict, repr=False)

    @property
    def seconds(self) -> float | None:
        """How long it took, all attempts and waits included; None when it never started."""
        return None if self.started_at is None or self.ended_at is None else self.ended_at - self.started_at


class TaskRuns(Mapping[str, TaskRun]):
    """The tasks of a run by id, each put together when it is asked for."""

    def __init__(
        self, ids: tuple[str, ...], task_run: Callable[[str, str], TaskRun], outputs: Mapping[str, str]
    ) -> None:
        self._ids = ids
        self._task_run = task_run
        self._outputs = outputs

    def __getitem__(self, task_id: str) -> TaskRun:
        return self._task_run(task_id, self._outputs.get(task_id, ""))

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


@dataclass(frozen=True)
class RunResult:
    """How a run went. `print(result)` sums it up.

    `still_running` names the tasks that were given up but whose threads are still at work: a thread can't be killed.
    """

    run_id: str
    spec: FlowSpec
    state: State
    value: Any = field(repr=False)
    task_runs: Mapping[str, TaskRun] = field(repr=False)
    parameters: Mapping[str, Any] = field(repr=False, default_factory=dict)
    started_at: float = 0.0
    ended_at: float = 0.0
    still_running: tuple[str, ...] = ()
    error: BaseException | None = None  # why the run failed although its tasks did not

    @property
    def flow_name(self) -> str:
        """The name of the flow."""
        return self.spec.name

    @property
    def status(self) -> StateType:
        """The type of the state the run ended in."""
        return self.state.type

    @property
    def seconds(self) -> float:
        """How long the run took."""
        return self.ended_at - self.started_at

    def task_run(self, name: str) -> TaskRun:
        """The task with that id, or with that name if just one has it; `UnknownTaskError` otherwise."""
        if name in self.task_runs:
            return self.task_runs[name]
        named = [each for each in self.task_runs.values() if each.name == name]
        if len(named) != 1:
            raise UnknownTaskError(name, self.task_runs, where=f"flow {self.flow_name!r}")
        return named[0]

    def result_of(self, name: str) -> Any:
        """What the task returned; `TaskFailedError` when it did not complete.

        `ResultGoneError` when it was let go once the last task that needs it had it: results are, unless they are next
        to nothing or `keep_results` is asked for.
        """
        found = self.task_run(name)
        if not found.state.is_completed:
            raise TaskFailedError(f"task {found.id!r} has no result: it is {found.state}", self) from found.error
        if found.value is GONE:
            raise ResultGoneError(
                f"the result of task {found.id!r} was let go once the last task that needs it had it; "
                "run with keep_results=True to keep it, or return it from the flow"
            )
        return found.value

    def __getitem__(self, name: str) -> Any:
        return self.result_of(name)

    def __str__(self) -> str:
        lines = [f"{self.flow_name}: {self.state} in {drawing.duration(self.seconds)} (run {self.run_id})"]
        states = {each.id: each.state for each in self.task_runs.values()}
        lines += _first_lines(drawing.text_tree(self.spec, states, details=self._details()))
        lines += [f"{each.id}: {each.state.message}" for each in self.task_runs.values() if each.error is not None]
        if self.still_running:
            lines.append(f"still at work, because a thread can't be killed: {', '.join(self.still_running)}")
        if self.state.is_completed and self.spec.result is not None:
            lines += _value_lines(self.value)
        return drawing.plain_lines("\n".join(lines))

    def still(
        self,
        previews: Mapping[str, str] | None = None,
        *,
        error: Callable[[BaseException | None], str] | None = None,
    ) -> drawing.RunStill:
        """What a still picture of the run shows; `previews` holds HTML by task id, `error` makes text of an error."""
        previews = previews or {}
        error = error or error_text
        return drawing.RunStill(
            spec=self.spec,
            run_id=self.run_id,
            state=self.state,
            seconds=self.seconds,
            tasks=tuple(
                drawing.TaskStill(
                    id=each.id,
                    name=each.name,
                    state=each.state,
                    attempt=each.attempt,
                    seconds=each.seconds,
                    output=each.output,
                    error=error(each.error),
                    preview_html=previews.get(each.id, ""),
                    items=each.item_count,
                )
                for each in self.task_runs.values()
            ),
            note=f"Still at work: {', '.join(self.still_running)}" if self.still_running else "",
        )

    def _details(self) -> dict[str, str]:
        details = {}
        for each in self.task_runs.values():
            words = [] if each.item_count is None else [drawing.counted(each.item_count, "item")]
            words += [] if each.seconds is None else [drawing.duration(each.seconds)]
            details[each.id] = " · ".join(words)
        return details

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": drawing.run_html(self.still()), "text/plain": str(self)}


def _value_lines(value: object) -> list[str]:
    """What the flow returned: in a line, or in one for each of a few names."""
    if type(value) is dict and 1 < len(value) <= 20 and all(type(key) is str for key in value):
        return ["value:", *(f"  {key}: {_in_a_line(each)}" for key, each in value.items())]
    return [f"value: {_in_a_line(value)}"]


def _in_a_line(value: object) -> str:
    return " ".join(shown(value).split())


def _first_lines(text: str) -> list[str]:
    """What of a tree is printed: a page or two, and how much there is beyond."""
    lines = text.splitlines()
    return lines if len(lines) <= 300 else [*lines[:300], f"... and {len(lines) - 300:,} lines more"]


def error_text(error: BaseException | None) -> str:
    """The traceback of `error` through the user's own frames; empty for None."""
    if error is None:
        return ""
    try:
        told = traceback.TracebackException.from_exception(error, limit=-2 * _MOST_FRAMES)
        _leave_out_our_frames(told)
        text = "".join(told.format())
    except Exception:  # noqa: BLE001 (the exception's own __str__)
        return f"{type(error).__name__} (its message can't be shown)"
    return text if len(text) <= 20_000 else f"{text[:2_000]}\n...\n{text[-18_000:]}"


def _leave_out_our_frames(told: traceback.TracebackException) -> None:
    """Keep the newest of the user's own frames, of the error and of all that belong to it."""
    todo: list[traceback.TracebackException | None] = [told]
    for each in todo:  # it grows meanwhile
        if each is not None:
            frames = [frame for frame in each.stack if not frame.filename.startswith(_OURS)]
            each.stack = traceback.StackSummary.from_list(frames[-_MOST_FRAMES:])
            todo += [each.__cause__, each.__context__, *(each.exceptions or ())]
