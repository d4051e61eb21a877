"""The names that tasks must have for a flow to give them the ids that their nodes have in the document.

A flow calls the first task of a name by the name itself and the second one "name-2", so a node `fetch-2` after a node
`fetch` is a task called "fetch".
"""

from __future__ import annotations

from collections import Counter


class TaskNames:
    """The names of tasks that are called one after the other, given their ids."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._calls: Counter[str] = Counter()  # by name: the number of the last call

    def name_for(self, task_id: str, own: str) -> str:
        """The name that gives the next task this id: its `own`, which it has anyway, if that does; `task_id` always."""
        if self._next_id(own) == task_id:
            return own
        base, _, number = task_id.rpartition("-")
        return base if number.isdecimal() and self._next_id(base) == task_id else task_id

    def gives(self, task_id: str, name: str) -> bool:
        """Whether the next task gets this id when it has that name."""
        return self._next_id(name) == task_id

    def add(self, task_id: str, name: str) -> None:
        """Note that the next task has this name, and so this id."""
        self._calls[name] = 1 if task_id == name else int(task_id.rpartition("-")[2])
        self._ids.add(task_id)

    def _next_id(self, name: str) -> str:
        count = self._calls[name] + 1
        if count == 1:
            if name not in self._ids:
                return name
            count = 2
        while f"{name}-{count}" in self._ids:
            count += 1
        return f"{name}-{count}"
