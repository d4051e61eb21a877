"""The lines that the tasks of a run wrote, put together from the pieces in which they came."""

from __future__ import annotations

from collections.abc import Mapping

from dagy.spec import Json

_LONGEST = 65_536  # characters of a line that are held back for its end


class Lines:
    """Whole lines, each task's own, in the order of their ends; a very long one comes in pieces.

    Each begins with the task that wrote it, unless it is the lines of one `task` that are wanted.
    """

    def __init__(self, task: str | None = None) -> None:
        self._task = task
        self._begun: dict[tuple[str, int, str], str] = {}

    def of(self, event: Mapping[str, Json]) -> list[str]:
        """The lines that `event`, one of the run's, brings to their end."""
        if event.get("kind") != "output" or (self._task is not None and event["task"] != self._task):
            return []
        return self.added(event["task"], event.get("attempt", 1), event.get("stream", "stdout"), event["text"])

    def added(self, task: str, attempt: int, stream: str, text: str) -> list[str]:
        """The lines that this piece brings to their end."""
        key = (task, attempt, stream)
        *whole, rest = (self._begun.pop(key, "") + text).split("\n")
        if len(rest) > _LONGEST:
            whole, rest = [*whole, rest], ""
        if rest:
            self._begun[key] = rest
        return [self._named(task, line) for line in whole]

    def unfinished(self) -> list[str]:
        """What has no end yet, once no more is to come."""
        begun, self._begun = self._begun, {}
        return [self._named(task, rest) for (task, _, _), rest in begun.items()]

    def _named(self, task: str, line: str) -> str:
        return line if self._task is not None else f"{task} | {line}"
