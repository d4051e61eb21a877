"""CloudWatch Logs: what functions and containers wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dagy.aws.clients import Clients
from dagy.aws.refusals import NotThereError

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that was logged."""

    at: datetime
    text: str
    """Without a newline at its end."""
    id: str
    """No two lines have the same."""


class Logs:
    """The log groups of the account in the region.

    All raise `AuthError`, `NetworkError` and `CloudError`.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def read(
        self,
        group: str,
        *,
        streams: str | None = None,
        containing: str | None = None,
        since: datetime | None = None,
    ) -> Iterator[LogLine]:
        """The lines of a group, in order of time; none when there is no such group.

        Of streams whose names begin with `streams`, with the text `containing` in them, from `since` on.
        """
        wanted: dict[str, Any] = {"logGroupName": group}
        if streams is not None:
            wanted["logStreamNamePrefix"] = streams
        if containing is not None:
            quoted = containing.replace("\\", "\\\\").replace('"', '\\"')
            wanted["filterPattern"] = f'"{quoted}"'
        if since is not None:
            wanted["startTime"] = int(since.timestamp() * 1000)
        try:
            for page in self._logs.get_paginator("filter_log_events").paginate(**wanted):
                for each in page["events"]:
                    at = datetime.fromtimestamp(each.get("timestamp", 0) / 1000, UTC)
                    text = each.get("message", "").removesuffix("\n")
                    yield LogLine(at, text, each.get("eventId", ""))
        except NotThereError:
            return

    @property
    def _logs(self) -> CloudWatchLogsClient:
        return self._clients.of("logs")
