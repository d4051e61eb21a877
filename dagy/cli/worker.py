"""`dagy worker`: what is queued runs here."""

from __future__ import annotations

import click

from dagy.cli import output
from dagy.cli.formats import profile_option
from dagy.client import DagyClient
from dagy.client.waking import WorkerLock
from dagy.settings import Settings
from dagy.states import StateType
from dagy.worker import CONCURRENCY, Worker
from dagy.worker.signals import stopped_by_signals


@click.command("worker", short_help="Run what is queued, and what schedules are due.")
@click.option(
    "--concurrency", type=click.IntRange(min=1), default=CONCURRENCY, show_default=True, help="How many runs at once."
)
@click.option("--until-idle", is_flag=True, help="End when nothing is queued or running.")
@click.option("--no-schedules", is_flag=True, help="Leave schedules to another worker.")
@profile_option
def command(concurrency: int, until_idle: bool, no_schedules: bool, profile: str | None) -> None:
    """Run what is queued, and what schedules are due, each run in a process of its own.

    The first Ctrl-C takes no more runs and waits for those that run; the second cancels them. What is queued then on
    this machine goes on in the background, unless DAGY_AUTO_WORKER is 0. With --until-idle there is one such worker at
    a time: a second one ends at once.

    \b
    Examples:
      dagy worker
      dagy worker --concurrency 4 --no-schedules
      dagy worker --until-idle
    """
    settings = Settings.read()
    local_dir = settings.local_dir
    with DagyClient(profile=profile) as client:
        lock = None
        if client.is_local:
            lock = WorkerLock.alone(local_dir) if until_idle else WorkerLock.beside_others(local_dir)
            if lock is None:
                output.note("a worker is at work already")
                return
        worker = Worker(client, local_dir, concurrency=concurrency, schedules=not no_schedules, said=output.note)
        with stopped_by_signals(worker):
            output.note(f"waiting for runs ({concurrency} at once); Ctrl-C stops")
            worker.run(until_idle=until_idle, lock=lock)
        waiting = client.runs(status=StateType.QUEUED, limit=1).items
        if waiting and client.is_local and settings.auto_worker:
            client.keep_awake()
            output.note("there are runs in the queue, which go on in the background")
        elif waiting:
            output.note("there are runs in the queue, which wait for a worker: dagy worker")
