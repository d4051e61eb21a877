"""Functions that travel: by name where a worker can import them, else by value."""

from __future__ import annotations

import functools
import sys
import threading
import types

import pytest

from dagy.engine.processes.functions import pack_function, unpack_function
from dagy.errors import TravelError


class Decorated:
    """What a decorator leaves where the function was."""

    def __init__(self, function) -> None:
        self.function = function
        functools.update_wrapper(self, function, updated=())


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """A module of the user's that can be imported."""
    (tmp_path / "rows_of_user.py").write_text(
        "def load():\n    return 'loaded'\n\n\n"
        "class Loader:\n    @staticmethod\n    def load():\n        return 'static'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import rows_of_user

    yield rows_of_user
    del sys.modules["rows_of_user"]


def travelled(function):
    return unpack_function(pack_function(function).packed)


def test_a_function_of_a_module_travels_by_name(rows):
    assert travelled(rows.load) is rows.load
    assert travelled(rows.Loader.load) is rows.Loader.load


def test_the_function_under_a_decorator_travels_by_name(rows):
    function = rows.load
    rows.load = Decorated(function)
    assert travelled(function) is function


def test_a_function_that_its_module_does_not_have_travels_by_value(rows):
    function = rows.load
    del rows.load
    found = travelled(function)
    assert found is not function
    assert found() == "loaded"


def test_a_function_of_a_module_that_nobody_can_import_travels_by_value(monkeypatch):
    module = types.ModuleType("made_up_here")
    monkeypatch.setitem(sys.modules, "made_up_here", module)
    exec("factor = 3\ndef triple(number):\n    return factor * number", vars(module))
    found = travelled(module.triple)
    assert found is not module.triple
    assert found(4) == 12


def test_lambdas_closures_and_partials_travel_by_value():
    base = 10
    functions = [lambda number: number + base, functools.partial(pow, 2), str.upper]
    assert [travelled(function)(each) for function, each in zip(functions, (1, 3, "a"), strict=True)] == [11, 8, "A"]


def test_equal_functions_have_equal_digests_and_others_do_not(rows):
    assert pack_function(rows.load).digest == pack_function(rows.load).digest
    assert pack_function(rows.load).digest != pack_function(rows.Loader.load).digest


def test_what_a_function_holds_that_cannot_travel_is_named():
    guard = threading.Lock()

    def work():
        return guard

    with pytest.raises(TravelError, match=r"the function .*work, its outer name 'guard', is of type _thread\.lock"):
        pack_function(work)


def test_a_module_that_is_gone_says_so(rows, tmp_path):
    packed = pack_function(rows.load).packed
    (tmp_path / "rows_of_user.py").write_text("raise RuntimeError('broken')")
    del sys.modules["rows_of_user"]
    try:
        with pytest.raises(TravelError, match="can't import 'load' from 'rows_of_user': RuntimeError: broken"):
            unpack_function(packed)
    finally:
        sys.modules["rows_of_user"] = rows
