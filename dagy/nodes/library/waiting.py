"""Waiting: for some seconds, or until a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dagy.errors import NodeConfigError
from dagy.nodes.base import FlowNode
from dagy.nodes.connectors import ConnectorDef, ConnectorDirection
from dagy.nodes.execution import ExecutionContext, ExecutionResult
from dagy.nodes.metadata import ConfigFieldType, NodeCategory, NodeConfigField, NodeMetadata

_LONGEST_SLEEP = 60.0  # seconds; then the clock is read again, for a computer may have slept as well


class Wait(FlowNode):
    """What came in, later."""

    @classmethod
    def metadata(cls) -> NodeMetadata:
        return NodeMetadata(
            node_type="wait",
            label="Wait",
            description="Waits for some seconds, or until a moment, and gives what came in. It can be cancelled. "
            "Where it runs in a cloud, the time it waits is paid for.",
            category=NodeCategory.CONTROL,
            tags=("sleep", "delay", "pause", "until"),
        )

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        return [
            ConnectorDef(
                "value", "Value", ConnectorDirection.INBOUND, description="What goes on once the time has come."
            ),
            ConnectorDef(
                "result", "Value", ConnectorDirection.OUTBOUND, description="What came in; None when nothing did."
            ),
        ]

    @classmethod
    def config_fields(cls) -> list[NodeConfigField]:
        return [
            NodeConfigField(
                "seconds",
                "Seconds",
                ConfigFieldType.NUMBER,
                minimum=0,
                description="How long to wait, unless 'until' is set.",
            ),
            NodeConfigField(
                "until",
                "Until",
                default="",
                description="When to go on, in ISO 8601 with its offset: 2026-01-31T08:00:00+01:00. "
                "A moment that is over is not waited for.",
                placeholder="2026-01-31T08:00:00Z",
            ),
        ]

    async def execute(self, context: ExecutionContext) -> ExecutionResult:
        """What came in, once the time has come."""
        import asyncio

        moment = _moment(context.config["seconds"], context.config["until"])
        while (left := (moment - datetime.now(UTC)).total_seconds()) > 0:
            await asyncio.sleep(min(left, _LONGEST_SLEEP))
        return ExecutionResult.from_success({"result": context.get_upstream_data("value", default=None)})


def _moment(seconds: float | None, until: str) -> datetime:
    """When it is time. `NodeConfigError` unless one of the two says so."""
    if (seconds is None) is (not until):
        message = "'wait' takes either 'seconds' or 'until'"
        raise NodeConfigError(message, {"seconds": message, "until": message})
    if seconds is not None:
        return datetime.now(UTC) + timedelta(seconds=seconds)
    try:
        moment = datetime.fromisoformat(until)
    except ValueError:
        message = f"'until' is {until!r}, which is no moment such as '2026-01-31T08:00:00+01:00'"
        raise NodeConfigError(message, {"until": message}) from None
    if moment.tzinfo is None:
        message = f"'until' is {until!r}, which does not say where: end it with Z for UTC, or with an offset as +01:00"
        raise NodeConfigError(message, {"until": message})
    return moment
