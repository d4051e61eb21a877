"""Waiting: for some seconds, or until a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dagy.errors import NodeConfigError
from dagy.nodes.execution import ExecutionContext
from dagy.nodes.library.descriptions import LibraryNode, fault, field, inbound, outbound
from dagy.nodes.metadata import ConfigFieldType, NodeCategory, NodeMetadata

_LONGEST_SLEEP = 60.0  # seconds; then the clock is read again, for a computer may have slept as well


class Wait(LibraryNode):
    """What came in, later."""

    about = NodeMetadata(
        "wait",
        "Wait",
        "Waits for some seconds, or until a moment, and gives what came in. It can be cancelled. Where "
        "it runs in a cloud, the time it waits is paid for.",
        NodeCategory.CONTROL,
        tags=("sleep", "delay", "pause", "until"),
    )
    ports = (
        inbound("value", description="What goes on once the time has come."),
        outbound("result", description="What came in; None when nothing did.", name="Value"),
    )
    fields = (
        field("seconds", "How long to wait, unless 'until' is set.", ConfigFieldType.NUMBER, minimum=0),
        field(
            "until",
            "When to go on, in ISO 8601 with its offset: 2026-01-31T08:00:00+01:00. A moment that is over is "
            "not waited for.",
            default="",
            placeholder="2026-01-31T08:00:00Z",
        ),
    )

    async def execute(self, context: ExecutionContext) -> object:
        """What came in, once the time has come."""
        import asyncio

        moment = _moment(context.config["seconds"], context.config["until"])
        while (left := (moment - datetime.now(UTC)).total_seconds()) > 0:
            await asyncio.sleep(min(left, _LONGEST_SLEEP))
        return context.get_upstream_data("value", default=None)


def _moment(seconds: float | None, until: str) -> datetime:
    """When it is time. `NodeConfigError` unless one of the two says so."""
    if (seconds is None) is (not until):
        message = "'wait' takes either 'seconds' or 'until'"
        raise NodeConfigError(message, {"seconds": message, "until": message})
    if seconds is not None:
        try:
            return datetime.now(UTC) + timedelta(seconds=seconds)
        except OverflowError:
            raise fault("seconds", f"'seconds' is {seconds!r}, more than a calendar has") from None
    try:
        moment = datetime.fromisoformat(until)
    except ValueError:
        told = f"'until' is {until!r}, which is no moment such as '2026-01-31T08:00:00+01:00'"
        raise fault("until", told) from None
    if moment.tzinfo is None:
        told = f"'until' is {until!r}, which does not say where: end it with Z for UTC, or with an offset as +01:00"
        raise fault("until", told)
    return moment
