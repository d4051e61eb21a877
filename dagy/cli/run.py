"""`dagy run`: a flow runs here, task by task on stderr, its result on stdout."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal

import click

from dagy.cli import output
from dagy.cli.targets import opened_flow
from dagy.drawing import PALETTE, duration
from dagy.engine import RunHandle, RunResult, TaskChanged, checked_result
from dagy.errors import ParameterError
from dagy.flows import Flow
from dagy.states import StateType

_ASCII = {StateType.RUNNING: ">", StateType.COMPLETED: "+", StateType.RETRYING: "~", StateType.SKIPPED: "-"}
_COLORS = {StateType.COMPLETED: "green", StateType.RETRYING: "yellow", StateType.RUNNING: None, StateType.SKIPPED: None}
TERMINATED = "terminated"  # why a run was cancelled
_SILENT = {StateType.PENDING, StateType.QUEUED}


@click.command("run", short_help="Run a flow here.")
@click.argument("target")
@click.option("--param", "given", metavar="NAME=VALUE", multiple=True, help="A parameter of the flow. Once for each.")
@click.option("--max-workers", type=click.IntRange(min=1), help="How many tasks run at once.")
@click.option(
    "--fail-fast/--no-fail-fast", default=True, show_default=True, help="Stop at the first task that fails, or go on."
)
@click.option(
    "--isolation", type=click.Choice(["thread", "process"]), help="Where tasks run that do not say it themselves."
)
@click.option("--record/--no-record", default=True, show_default=True, help="Keep the run in the history: dagy runs.")
@click.option("--resume", metavar="RUN", help="Go on where that run ended: what completed there is not run again.")
def command(
    target: str,
    given: Sequence[str],
    max_workers: int | None,
    fail_fast: bool,
    isolation: Literal["thread", "process"] | None,
    record: bool,
    resume: str | None,
) -> None:
    """Run a flow here and print how it went. A notebook's flow runs in the notebook's folder.

    Ctrl-C cancels the run, and a second Ctrl-C leaves at once.

    \b
    Examples:
      dagy run my_flows.py:web_scraper --param url=https://example.com
      dagy run scraper.ipynb --param pages=3 --max-workers 4
      dagy run dist/web_scraper/0123456789ab/artifact.zip --no-fail-fast
      dagy run my_flows.py --resume latest
    """
    if resume is not None and not record:
        raise click.UsageError("a run that is resumed is recorded too; leave --no-record out")
    with opened_flow(target) as flow:
        values = _values(flow, flow.parameters.named_texts(given), are_all=resume is None)
        result = _watched(
            lambda: flow.start_local(
                max_workers=max_workers,
                fail_fast=fail_fast,
                isolation=isolation,
                record=record,
                resume=resume,
                **values,
            )
        )
        output.say(str(result))
        if result.state.message == TERMINATED:
            sys.exit(128 + signal.SIGTERM)  # as shells count it
        checked_result(result)


def _values(flow: Flow[..., Any], texts: Mapping[str, str], *, are_all: bool) -> dict[str, Any]:
    values = {name: flow.parameters.parse_text(name, text) for name, text in texts.items()}
    missing = [each.name for each in flow.parameters.specs() if each.required and each.name not in values]
    if missing and are_all:
        options = " ".join(f"--param {name}=..." for name in missing)
        raise ParameterError(f"flow {flow.name!r} needs {', '.join(map(repr, missing))}; add {options}")
    return values


def _watched(start: Callable[[], RunHandle]) -> RunResult:
    """The result of what `start` starts, after a line for each change.

    Ctrl-C, or a polite kill, cancels it; a second one leaves at once.
    """
    signals: SimpleQueue[int] = SimpleQueue()  # each that came, and 0 at the end
    with _signals_go_to(signals):
        handle = start()
        threads = [Thread(target=_show_progress, args=(handle,)), Thread(target=_obey, args=(signals, handle))]
        for each in threads:
            each.start()
        try:
            return handle.wait()
        finally:
            signals.put(0)
            for each in threads:
                each.join()


@contextmanager
def _signals_go_to(signals: SimpleQueue[int]) -> Iterator[None]:
    """Count each Ctrl-C and each polite kill, instead of ending the program wherever it happens to be.

    Where whoever started the program has said otherwise (as `nohup` does), that stays.
    """
    usual: dict[signal.Signals, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    taken = [each for each, handler in usual.items() if signal.getsignal(each) is handler]
    for each in taken:
        signal.signal(each, lambda number, _frame: signals.put(number))
    try:
        yield
    finally:
        for each in taken:
            signal.signal(each, usual[each])


_REASONS = {signal.SIGINT: "interrupted", signal.SIGTERM: TERMINATED, signal.SIGHUP: TERMINATED}


def _obey(signals: SimpleQueue[int], handle: RunHandle) -> None:
    first = signals.get()
    if first:
        output.note("cancelling; a second Ctrl-C leaves without waiting", color="yellow")
        handle.cancel(_REASONS[signal.Signals(first)])
        second = signals.get()
        if second:
            output.note("left without waiting; the history will show the run as crashed", color="yellow")
            os._exit(128 + second)  # what does not stop would hold up a polite exit


def _show_progress(handle: RunHandle) -> None:
    started: dict[str, int] = {}
    for event in handle.events():
        if isinstance(event, TaskChanged) and event.state.type not in _SILENT:
            begin = started.setdefault(event.task, event.at)
            took = duration((event.at - begin) / 1e9) if event.state.is_final and event.attempt else ""
            output.note(_line(event, took), color=_COLORS.get(event.state.type, "red"))


def _line(event: TaskChanged, took: str) -> str:
    state = event.state.type
    sign = PALETTE[state].sign
    if not output.can_show(sign):
        sign = _ASCII.get(state, "x")
    words = [sign, event.task]
    if state is StateType.RUNNING and event.attempt > 1:
        words.append(f"attempt {event.attempt}")
    if state not in {StateType.RUNNING, StateType.COMPLETED}:
        words.append(str(event.state))
    elif event.state.message:
        words.append(f"({event.state.message})")
    return " ".join([*words, took]).rstrip()
