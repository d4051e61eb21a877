"""How a part of moto is replaced."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

MOTO = "5.2.5"  # the one version whose inner parts are known here


class MotoChangedError(Exception):
    """moto is not the one that this was written for."""


def replace(owner: Any, name: str, made: Callable[[Any], Any]) -> None:
    """Let `owner.name` be what `made` makes of what it was. Raises `MotoChangedError` when there is no such name."""
    if not hasattr(owner, name):
        raise MotoChangedError(f"moto {MOTO} was expected: {getattr(owner, '__name__', owner)} has no {name!r}")
    setattr(owner, name, made(getattr(owner, name)))


def replace_everywhere(package: str, name: str, value: Any) -> None:
    """Let every module of `package` that is loaded and has `name` have `value` for it."""
    modules = [module for path, module in list(sys.modules.items()) if path.startswith(package)]
    found = [module for module in modules if name in vars(module)]
    if not found:
        raise MotoChangedError(f"moto {MOTO} was expected: no module of {package} has {name!r}")
    for module in found:
        setattr(module, name, value)
