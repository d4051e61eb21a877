"""`dagy schedules`: deployments that run by themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import click

import dagy.control  # its names are loaded when they are asked for
from dagy.cli import output
from dagy.cli.completing import deployment_names, schedule_ids
from dagy.cli.formats import Form, format_option, plain, profile_option, show, table
from dagy.cli.kept_schedules import KeptSchedule, kept_schedules
from dagy.cli.options import confirm
from dagy.cli.planes import connected_if_any, spec_of_deployment
from dagy.cli.timings import seconds_of, time_of, timing_text, zone_of
from dagy.drawing import ago, counted, duration
from dagy.errors import ConflictError, UnknownDeploymentError, UnknownScheduleError
from dagy.parameter_texts import values_of

if TYPE_CHECKING:
    from datetime import datetime

    from dagy.client import DagyClient
    from dagy.control import Schedule


@click.group("schedules", short_help="Let deployments run by themselves.")
def command() -> None:
    """Let deployments run by themselves: by a cron text, at an interval, or once.

    Somebody has to look at the clock: `dagy worker` does, and runs what is due. A schedule that came with a deploy to
    AWS (`dagy deploy --schedule`) is kept there, by EventBridge Scheduler; the next deploy changes it or takes it away.

    \b
    Examples:
      dagy schedules create web-scraper --cron "0 6 * * 1-5" --timezone Europe/Berlin
      dagy schedules list
      dagy schedules next
    """


@command.command("create", short_help="Let a deployment run by itself.")
@click.argument("deployment", shell_complete=deployment_names)
@click.option("--cron", help='Five fields: minute, hour, day, month, weekday. "0 6 * * 1-5" is 6:00 on workdays.')
@click.option("--interval", metavar="TIME", help="So long from one to the next: 90s, 15m, 2h, 1d.")
@click.option("--at", metavar="TIME", help="Once, then: 2026-01-31T06:00.")
@click.option("--manual", is_flag=True, help="Only when triggered.")
@click.option("--timezone", default="UTC", show_default=True, help="An IANA name: cron, and times without a zone.")
@click.option("--catchup", type=click.Choice(["none", "all"]), default="none", show_default=True,
              help="Of what was due while nobody looked: nothing, or all.")  # fmt: skip
@click.option("--start", metavar="TIME", help="Never before.")
@click.option("--end", metavar="TIME", help="Never after.")
@click.option("--param", "given", metavar="NAME=VALUE", multiple=True, help="A parameter of its runs. Once for each.")
@click.option("--paused", is_flag=True, help="It rests until `dagy schedules resume`.")
@profile_option
@format_option
def create(
    deployment: str,
    cron: str | None,
    interval: str | None,
    at: str | None,
    manual: bool,
    timezone: str,
    catchup: Literal["none", "all"],
    start: str | None,
    end: str | None,
    given: Sequence[str],
    paused: bool,
    profile: str | None,
    form: Form,
) -> None:
    """Let DEPLOYMENT run by itself, with the parameters that are given.

    \b
    Examples:
      dagy schedules create web-scraper --cron "0 6 * * 1-5" --timezone Europe/Berlin
      dagy schedules create web-scraper --interval 15m --catchup all --param url=https://example.com
      dagy schedules create web-scraper --at 2036-01-31T06:00 --timezone America/New_York
    """
    if sum((cron is not None, interval is not None, at is not None, manual)) != 1:
        raise click.UsageError("say when: one of --cron, --interval, --at and --manual")
    zone_of(timezone)
    timing = dagy.control.Timing(
        mode="cron" if cron is not None else "interval" if interval is not None else "one_time" if at else "manual",
        cron=cron,
        interval_seconds=None if interval is None else seconds_of(interval),
        at=_time(at, timezone, "--at"),
        timezone=timezone,
        start_at=_time(start, timezone, "--start"),
        end_at=_time(end, timezone, "--end"),
        catchup=catchup,
    )
    with connected_if_any(profile) as client:
        if client is None:
            raise UnknownDeploymentError(deployment)
        found = client.deployment(deployment)
        values = values_of(spec_of_deployment(client, found), given) if given else {}
        made = client.put_schedule(found.reference, timing, parameters=values, enabled=not paused)
        is_local = client.is_local
    show(form, made, lambda: f"{made.schedule_id}: {made.reference} {timing_text(made.timing)}; next: {_next(made)}")
    if is_local and made.next_run_at is not None:
        output.note("note: schedules are kept while `dagy worker` runs", color="yellow")


@command.command("list", short_help="List schedules.")
@click.option("--deployment", shell_complete=deployment_names, help="Only those of this deployment.")
@profile_option
@format_option
def list_schedules(deployment: str | None, profile: str | None, form: Form) -> None:
    """List the schedules, those of deploys too.

    \b
    Examples:
      dagy schedules list
      dagy schedules list --deployment web-scraper --format json
    """
    with connected_if_any(profile) as client:
        found = [] if client is None else kept_schedules(client, deployment)
    if not found and form == "table":
        output.note("there is no schedule yet; dagy schedules create makes one")
    data = [{**plain(each.schedule), "kept_by": each.keeper} for each in found]
    show(form, data, lambda: _listed(found, profile))


@command.command("next", short_help="Say what is due next.")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, help="At most so many.")
@profile_option
@format_option
def next_runs(limit: int, profile: str | None, form: Form) -> None:
    """Say which schedules are due next, the first one first.

    \b
    Examples:
      dagy schedules next
      dagy schedules next --limit 1 --format json
    """
    with connected_if_any(profile) as client:
        known = [] if client is None else [each.schedule for each in kept_schedules(client)]
    due = [(each.next_run_at, each) for each in known if each.enabled and each.next_run_at is not None]
    coming = [each for _, each in sorted(due, key=lambda pair: pair[0])[:limit]]
    if not coming and form == "table":
        output.note("no schedule is due")

    def as_text() -> str:
        rows = [(_at(each.next_run_at), _in(each.next_run_at), each.reference, each.schedule_id) for each in coming]
        return table(("DUE", "IN", "DEPLOYMENT", "SCHEDULE"), rows, profile=profile) if rows else ""

    data = [
        {"next_run_at": each.next_run_at, "deployment": each.reference, "schedule_id": each.schedule_id}
        for each in coming
    ]
    show(form, data, as_text)


@command.command("pause", short_help="Let a schedule rest.")
@click.argument("schedule", shell_complete=schedule_ids)
@profile_option
def pause(schedule: str, profile: str | None) -> None:
    """Let SCHEDULE rest until it is resumed. It is an id, or the start or the end of one.

    \b
    Examples:
      dagy schedules pause SCHEDULE
    """
    with _opened(schedule, profile) as (client, found):
        now = client.set_schedule_enabled(found.schedule_id, False)
    output.say(f"{now.schedule_id}: paused")


@command.command("resume", short_help="Let a schedule go on.")
@click.argument("schedule", shell_complete=schedule_ids)
@profile_option
def resume(schedule: str, profile: str | None) -> None:
    """Let SCHEDULE go on. It is an id, or the start or the end of one.

    \b
    Examples:
      dagy schedules resume SCHEDULE
    """
    with _opened(schedule, profile) as (client, found):
        now = client.set_schedule_enabled(found.schedule_id, True)
    output.say(f"{now.schedule_id}: goes on; next: {_next(now)}")


@command.command("trigger", short_help="Run what a schedule runs, now.")
@click.argument("schedule", shell_complete=schedule_ids)
@profile_option
def trigger(schedule: str, profile: str | None) -> None:
    """Ask for a run as SCHEDULE would, now, and print the run's id.

    \b
    Examples:
      dagy schedules trigger SCHEDULE
    """
    with _opened(schedule, profile) as (client, found):
        run = client.trigger_schedule(found.schedule_id)
    output.say(run.run_id)


@command.command("delete", short_help="Delete a schedule.")
@click.argument("schedule", shell_complete=schedule_ids)
@click.option("--yes", is_flag=True, help="Don't ask.")
@profile_option
def delete(schedule: str, yes: bool, profile: str | None) -> None:
    """Delete SCHEDULE; the runs that it made stay.

    \b
    Examples:
      dagy schedules delete SCHEDULE --yes
    """
    with _opened(schedule, profile) as (client, found):
        confirm(f"Delete schedule {found.schedule_id!r} of {found.reference}?", yes=yes)
        client.delete_schedule(found.schedule_id)
    output.say(f"deleted schedule {found.schedule_id}")


@contextmanager
def _opened(reference: str, profile: str | None) -> Iterator[tuple[DagyClient, Schedule]]:
    """The schedule whose id is, or alone begins or ends with, `reference`. Raises `UnknownScheduleError`."""
    with connected_if_any(profile) as client:
        if client is None:
            raise UnknownScheduleError(reference)
        for each in kept_schedules(client):
            if each.schedule.schedule_id == reference and each.keeper == "EventBridge":
                raise ConflictError(
                    f"the schedule {reference!r} is kept by EventBridge; deploy {each.schedule.reference} with another "
                    "--schedule, or without one, and it is changed or gone"
                )
        known = client.schedules()
        exact = [each for each in known if each.schedule_id == reference]
        near = exact or [
            each
            for each in known
            if reference and (each.schedule_id.startswith(reference) or each.schedule_id.endswith(reference))
        ]
        if len(near) != 1:
            raise UnknownScheduleError(reference, [each.schedule_id for each in near or known])
        yield client, near[0]


def _listed(schedules: Sequence[KeptSchedule], profile: str | None) -> str:
    rows = [
        (each.schedule_id, each.reference, timing_text(each.timing), _next(each), _last(each), keeper)
        for each, keeper in schedules
    ]
    return table(("SCHEDULE", "DEPLOYMENT", "DUE", "NEXT", "LAST", "KEPT BY"), rows, profile=profile) if rows else ""


def _next(schedule: Schedule) -> str:
    if not schedule.enabled:
        return "paused"
    if schedule.next_run_at is None:
        return "when triggered" if schedule.timing.mode == "manual" else "never again"
    return _at(schedule.next_run_at)


def _last(schedule: Schedule) -> str:
    if schedule.last_error is not None:
        return f"failed: {schedule.last_error}"
    if schedule.last_triggered_at is None:
        return ""
    return ago(max(0.0, time.time() - schedule.last_triggered_at.timestamp()))


def _at(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _in(moment: datetime | None) -> str:
    left = 0.0 if moment is None else moment.timestamp() - time.time()
    if left > 2 * 86_400:
        return counted(int(left // 86_400), "day")
    return duration(left) if left > 0 else "now"


def _time(text: str | None, timezone: str, option: str) -> datetime | None:
    return None if text is None else time_of(text, timezone, option)
