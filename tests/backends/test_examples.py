"""The examples in the docstrings say what happens."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = ("executors", "backends.router", "backends.tiers", "backends.wording")


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_give_what_they_show(name: str):
    found = doctest.testmod(importlib.import_module(f"dagy.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
