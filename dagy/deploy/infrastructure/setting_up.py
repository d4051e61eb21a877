"""Making the stack, changing it, and reading back what it made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from dagy.backends.environment import Environment
from dagy.profiles import DEFAULT_STACK

if TYPE_CHECKING:
    from dagy.aws import Aws


@dataclass(frozen=True, slots=True)
class Change:
    """What an update of the stack does to one of its resources."""

    what: Literal["add", "change", "remove"]
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class SetUp:
    """The stack as it is wanted, and what of it is not there yet."""

    stack: str
    text: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()


def wanted(
    aws: Aws,
    stack: str = DEFAULT_STACK,
    *,
    subnets: Sequence[str] = (),
    make_network: bool = False,
    runs_days: int | None = None,
    log_days: int | None = None,
) -> SetUp:
    """What `set_up` would do. Looks, and changes nothing."""
    raise NotImplementedError


def set_up(
    aws: Aws,
    stack: str = DEFAULT_STACK,
    *,
    subnets: Sequence[str] = (),
    make_network: bool = False,
    runs_days: int | None = None,
    log_days: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Environment:
    """Make the stack, or change it to what is wanted, and wait until it is there."""
    raise NotImplementedError


def environment(aws: Aws, stack: str = DEFAULT_STACK) -> Environment:
    """What the stack made. Raises `CloudError` when there is no such stack, or it is not ready."""
    raise NotImplementedError
