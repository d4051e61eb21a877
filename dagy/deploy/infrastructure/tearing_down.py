"""Listing and removing what belongs to a stack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagy.profiles import DEFAULT_STACK

if TYPE_CHECKING:
    from dagy.aws import Aws


@dataclass(frozen=True, slots=True)
class Remains:
    """What deployments added to the stack's account: the names, by kind."""

    stack: str
    functions: tuple[str, ...] = ()
    state_machines: tuple[str, ...] = ()
    task_families: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    bucket: str | None = None


def remains(aws: Aws, stack: str = DEFAULT_STACK) -> Remains:
    """What there is that belongs to the stack. Looks, and changes nothing."""
    raise NotImplementedError


def tear_down(
    aws: Aws, stack: str = DEFAULT_STACK, *, with_data: bool = False, tell: Callable[[str], None] = lambda _: None
) -> Remains:
    """Remove what `remains` lists, then the stack."""
    raise NotImplementedError
