"""Flows as data, for tests of what becomes of them on AWS."""

from __future__ import annotations

from typing import Any

from dagy.spec import Constant, FlowOptions, FlowSpec, FromTask, ListOf, TaskOptions, TaskSpec


def a_task(task_id: str, *needs: str, items: int | str | None = None, **options: Any) -> TaskSpec:
    """A task that takes the values of `needs`; mapped over so many `items`, or over what a task of that name gives."""
    inputs: dict[str, Any] = {"values": ListOf(tuple(map(FromTask, needs)))} if needs else {}
    if items is not None:
        inputs["item"] = FromTask(items) if isinstance(items, str) else Constant(list(range(items)))
    mapped = () if items is None else ("item",)
    return TaskSpec(task_id, task_id, f"flows:{task_id}", inputs, options=TaskOptions(**options), mapped=mapped)


def a_flow(*tasks: TaskSpec, **options: Any) -> FlowSpec:
    """A flow of these tasks."""
    return FlowSpec("etl", tasks=tasks, options=FlowOptions(**options))
