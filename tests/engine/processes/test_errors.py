"""Exceptions that travel: as themselves where that is safe, else as stand-ins, and never without bounds."""

from __future__ import annotations

import os
import pickle
import threading
import traceback

import pytest

from dagy.engine.processes.errors import StandIn, pack_error, unpack_error
from dagy.errors import TaskTimeoutError, WorkerDiedError


def raised(error: BaseException) -> BaseException:
    try:
        raise error  # noqa: TRY301
    except BaseException as caught:  # noqa: BLE001
        return caught


def travelled(error: BaseException) -> BaseException:
    return unpack_error(pack_error(error))


class PlainError(ValueError):
    """One with data of its own."""

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row

    def __reduce__(self):
        return PlainError, (str(self), self.row)


class LockedError(LookupError):
    """One that can't be pickled."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


class NeedsMoreError(Exception):
    """One that is pickled but not unpickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


class Odd(BaseException):
    """No `Exception`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    "error",
    [ValueError("no rows"), KeyError("a"), OSError(2, "gone", "file"), SystemExit(3), StopIteration(1),
     UnicodeDecodeError("utf-8", b"a", 0, 1, "bad"), WorkerDiedError("died", -9), TaskTimeoutError("late")],
    ids=lambda each: type(each).__name__,
)  # fmt: skip
def test_an_exception_arrives_as_itself(error):
    found = travelled(error)
    assert (type(found), found.args, str(found)) == (type(error), error.args, str(error))


def test_data_of_its_own_arrives():
    found = travelled(PlainError("bad", 3))
    assert type(found) is PlainError
    assert found.row == 3


def test_the_traceback_shows_files_lines_and_functions():
    error = raised(ValueError("no rows"))
    assert (
        traceback.format_tb(travelled(error).__traceback__)[0].splitlines()[:2]
        == (traceback.format_tb(error.__traceback__)[0].splitlines()[:2])
    )


def test_notes_cause_and_context_arrive():
    error = ValueError("outer")
    error.__cause__ = raised(KeyError("cause"))
    error.__context__ = LockedError("context")
    error.add_note("in row 3")
    found = travelled(error)
    assert found.__notes__ == ["in row 3"]
    assert isinstance(found.__cause__, KeyError)
    assert found.__cause__.__traceback__ is not None
    assert isinstance(found.__context__, LookupError)
    assert found.__suppress_context__


def test_a_circle_of_causes_arrives():
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    found = travelled(first)
    assert found.__cause__ is not None
    assert found.__cause__.__cause__ is found


def test_the_parts_of_a_group_arrive_with_their_tracebacks():
    group = ExceptionGroup("several", [raised(ValueError("a")), ExceptionGroup("inner", [raised(KeyError("b"))])])
    found = travelled(group)
    assert isinstance(found, ExceptionGroup)
    assert [type(each) for each in found.exceptions] == [ValueError, ExceptionGroup]
    assert found.exceptions[0].__traceback__ is not None


def test_a_group_with_a_part_that_cannot_travel_keeps_the_others():
    found = travelled(ExceptionGroup("several", [ValueError("a"), LockedError("b")]))
    assert isinstance(found, ExceptionGroup)
    assert [(type(each).__name__, str(each)) for each in found.exceptions] == [
        ("ValueError", "a"),
        ("LockedError", "b"),
    ]


@pytest.mark.parametrize("error", [LockedError("the text"), NeedsMoreError("the text", "more")])
def test_one_that_cannot_travel_is_stood_in_for_with_its_name_and_text(error):
    found = travelled(raised(error))
    assert isinstance(found, StandIn)
    assert (type(found).__name__, str(found)) == (type(error).__name__, "the text")
    assert found.__traceback__ is not None


def test_a_stand_in_is_caught_where_its_nearest_base_in_python_is():
    assert isinstance(travelled(LockedError("a")), LookupError)
    assert not isinstance(travelled(Odd()), Exception)


def test_a_stand_in_travels_on():
    found = pickle.loads(pickle.dumps(travelled(LockedError("a"))))
    assert (type(found).__name__, str(found), isinstance(found, LookupError)) == ("LockedError", "a", True)


def misbehaving(**methods: object) -> Exception:
    made = type("Misbehaving", (Exception,), methods)()
    assert isinstance(made, Exception)
    return made


def fail(self: object) -> str:
    raise RuntimeError("no text")


@pytest.mark.parametrize(
    "error",
    [misbehaving(__str__=fail), misbehaving(__str__=lambda self: 3), misbehaving(__str__=lambda self: "x" * 1_000_000),
     misbehaving(__repr__=fail), ValueError("x" * 20_000_000)],
    ids=["raises", "no-text", "endless", "repr-raises", "large"],
)  # fmt: skip
def test_text_that_misbehaves_is_bounded(error):
    found = travelled(error)
    assert type(found).__name__ == type(error).__name__
    assert len(str(found)) < 11_000


def test_putting_one_together_calls_nothing_foreign(tmp_path):
    trace = tmp_path / "called"
    found = travelled(misbehaving(__reduce__=lambda self: (os.mkdir, (str(trace),))))
    assert isinstance(found, StandIn)
    assert not trace.exists()


def test_a_long_traceback_is_cut_in_the_middle():
    def deeper(depth: int) -> None:
        if depth == 0:
            raise ValueError("deep")
        deeper(depth - 1)

    try:
        deeper(800)
    except ValueError as error:
        found = travelled(error)
    assert 150 <= len(traceback.extract_tb(found.__traceback__)) <= 210


def test_deep_groups_and_long_chains_are_bounded():
    group: Exception = ValueError("a")
    chain: Exception | None = None
    for _ in range(500):
        group = ExceptionGroup("deeper", [group])
        longer = ValueError("b")
        longer.__cause__, chain = chain, longer
    assert isinstance(travelled(group), ExceptionGroup)
    found: BaseException | None = travelled(chain)
    length = 0
    while found is not None:
        found, length = found.__cause__, length + 1
    assert length == 50


def test_a_traceback_that_travelled_marks_no_part_of_a_line():
    def divide() -> float:
        return 1 / 0

    try:
        divide()
    except ZeroDivisionError as error:
        text = "".join(traceback.format_exception(travelled(error)))
    assert "return 1 / 0" in text
    assert "^" not in text
