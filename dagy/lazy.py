"""A package whose names are loaded on first use, so that importing it costs next to nothing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType

# What `later` may load: parts of Dagy that most programs never need, or that stand below who needs them.
LATER = (
    "dagy.artifact.choosing",
    "dagy.artifact.layer",
    "dagy.artifact.target_packages",
    "dagy.deploy",
)


def lazily(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The `__getattr__` and the `__dir__` of `package`; `homes` says for each public name which module holds it."""

    def load(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(home), name)
        setattr(sys.modules[package], name, value)  # the next time Python finds it without asking
        return value

    return load, lambda: list(sys.modules[package].__all__)


def later(module: str) -> ModuleType:
    """The module, one of `LATER`, for a function that needs it when it is called.

    `flow.deploy()` is a method of what is built, sent and run by the very parts that are made on it. This is how it
    reaches them, and how a part that is heavy is left out until it is needed: a program that only defines flows loads
    none of these.
    """
    if module not in LATER:
        raise ValueError(f"{module!r} is not one of {LATER}")
    return importlib.import_module(module)
