"""The measured graphs as a user writes them.

The tasks are not annotated, so nothing is checked where a row does not say it.
"""

from __future__ import annotations

from typing import Any

from dagy import Flow, RunContext, State, Static, Task, flow, task

from .shapes import layered_needs


@task
def step(given):
    """Do nothing."""
    return given


@task(retries=3)
def step_with_retries(given):
    """Do nothing, and would be tried again."""
    return given


@task(timeout_seconds=600, isolation="thread")
def step_with_timeout(given):
    """Do nothing, in time."""
    return given


@task
def step_of_int(given: int) -> int:
    """Do nothing, on what is checked to be a number."""
    return given


@task
def step_of_object(given: object) -> object:
    """Do nothing, on what may be anything and says so."""
    return given


def noted(_context: RunContext, _state: State) -> None:
    """Take note of nothing."""


@task(on_completion=[noted])
def step_with_hook(given):
    """Do nothing, and somebody is told."""
    return given


def nothing(given):
    """Do nothing; a plain function, which travels to a process by its name."""
    return given


step_in_process = task(isolation="process")(nothing)


def chain_of(step: Task[..., Any]) -> Flow[..., None]:
    """A task after a task, each given the result of the one before."""

    @flow
    def chain(size: Static[int]) -> None:
        given: Any = 0
        for _ in range(size):
            given = step(given)

    return chain


def fan_out_of(step: Task[..., Any]) -> Flow[..., None]:
    """Tasks that need nothing."""

    @flow
    def fan_out(size: Static[int]) -> None:
        for _ in range(size):
            step(0)

    return fan_out


@flow
def layers(size: Static[int]) -> None:
    """Layers of 20 tasks, each given a list of the results of 3 to 5 tasks of the layer above."""
    made: list[Any] = []
    for needs in layered_needs(size):
        made.append(step([made[each] for each in needs]))


chain = chain_of(step)
fan_out = fan_out_of(step)
