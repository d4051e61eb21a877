"""`dagy run`: a flow runs here, or a deployment where it is: task by task on stderr, its result on stdout."""

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
from dagy.cli.completing import deployment_names_and_files, run_ids
from dagy.cli.load import load
from dagy.cli.options import profile_option, refuse_options
from dagy.cli.targets import names_file, opened_flow
from dagy.cli.watching import show_progress
from dagy.engine import RunHandle, RunResult, checked_result
from dagy.errors import ParameterError
from dagy.flows import Flow

TERMINATED = "terminated"  # why a run was cancelled
_OF_FILES = ("max_workers", "fail_fast", "isolation", "record", "resume")  # options that a deployment has not
_OF_DEPLOYMENTS = ("detach", "idempotency_key", "profile")  # and those that a file has not


@click.command("run", short_help="Run a flow here, or a deployment.")
@click.argument("target", shell_complete=deployment_names_and_files)
@click.option("--param", "given", metavar="NAME=VALUE", multiple=True, help="A parameter of the flow. Once for each.")
@click.option("--max-workers", type=click.IntRange(min=1), help="How many tasks run at once.")
@click.option(
    "--fail-fast/--no-fail-fast",
    default=None,
    help="Stop at the first task that fails, or go on. [default: as the flow says; to stop]",
)
@click.option(
    "--isolation", type=click.Choice(["thread", "process"]), help="Where tasks run that do not say it themselves."
)
@click.option("--record/--no-record", default=True, show_default=True, help="Keep the run in the history: dagy runs.")
@click.option(
    "--resume",
    metavar="RUN",
    shell_complete=run_ids,
    help="Go on where that run ended: what completed there is not run again.",
)
@click.option("--detach", is_flag=True, help="Of a deployment: print the run's id, and don't wait.")
@click.option("--idempotency-key", metavar="KEY", help="Of a deployment: asked again with it, there is still one run.")
@profile_option
def command(
    target: str,
    given: Sequence[str],
    max_workers: int | None,
    fail_fast: bool | None,
    isolation: Literal["thread", "process"] | None,
    record: bool,
    resume: str | None,
    detach: bool,
    idempotency_key: str | None,
    profile: str | None,
) -> None:
    """Run a flow and print how it went.

    A file's flow runs here, a notebook's in the notebook's folder. Ctrl-C cancels the run, and a second Ctrl-C leaves
    at once.

    A deployment's name has its control plane run it, and shows how that goes. Ctrl-C stops the watching, and leaves the
    run going.

    \b
    Examples:
      dagy run my_flows.py:web_scraper --param url=https://example.com
      dagy run scraper.ipynb --param pages=3 --max-workers 4
      dagy run dist/web_scraper/0123456789ab/artifact.zip --param url=https://example.com
      dagy run my_flows.py --resume latest
      dagy run web-scraper --param url=https://example.com
      dagy run web-scraper --param url=https://example.com --detach
    """
    if not names_file(target):
        refuse_options(_OF_FILES, "a flow that runs here", "the deployment", target)
        load("run_deployment").run_deployment(
            target, given, profile=profile, detach=detach, idempotency_key=idempotency_key
        )
        return
    refuse_options(_OF_DEPLOYMENTS, "a deployment", "the file", target)
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
        threads = [Thread(target=show_progress, args=(handle.events(),)), Thread(target=_obey, args=(signals, handle))]
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
