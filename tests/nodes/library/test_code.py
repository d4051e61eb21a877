"""Python code in a field: its value, and where it is wrong."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from dagy import flow, task
from dagy.errors import CodeFailedError, NodeConfigError, SkipTask
from dagy.nodes.library.code import PythonCode


def test_an_expression_is_the_value() -> None:
    assert PythonCode(code="value * 2")(21) == 42
    assert PythonCode(code="[each for each in value if each > limit]", arguments={"limit": 1})([1, 2, 3]) == [2, 3]


def test_a_body_returns_its_value_or_that_of_its_last_line() -> None:
    assert PythonCode(code="total = 0\nfor each in value:\n    total += each\nreturn total")([1, 2]) == 3
    assert PythonCode(code="import math\nmath.floor(value)")(2.7) == 2
    assert PythonCode(code="value = value + 1\nvalue")(1) == 2
    assert PythonCode(code="value = 3")(1) is None
    assert PythonCode(code="# nothing")(1) is None


def test_text_over_several_lines_stays_as_it_is() -> None:
    assert PythonCode(code="return '''a\n  b\nc'''")() == "a\n  b\nc"


def test_the_code_sees_what_came_in_and_nothing_of_the_node() -> None:
    assert PythonCode(code="(value, values)")() == (None, [])
    assert PythonCode(code="(value, values)")(1, [2, 3]) == (1, [2, 3])
    assert PythonCode(code="sorted(globals().keys() - {'__builtins__'})")() == ["__name__", "code"]


def test_code_that_is_written_wrong_is_refused_when_it_is_configured() -> None:
    with pytest.raises(NodeConfigError, match=r"line 2 of the code: '\(' was never closed") as caught:
        PythonCode(code="x = 1\nreturn (x")
    assert set(caught.value.problems) == {"code"}
    with pytest.raises(NodeConfigError, match="line 1 of the code: 'break' outside loop"):
        PythonCode(code="break")
    with pytest.raises(NodeConfigError, match="line 3 of the code: unexpected indent"):
        PythonCode(code="\nx = 1\n  y = 2")


def test_an_error_names_the_line_in_the_users_code() -> None:
    code = "def part(x):\n    return 1 / x\n\nreturn part(value)"
    with pytest.raises(CodeFailedError, match="line 2 of the code, 'return 1 / x': ZeroDivisionError") as caught:
        PythonCode(code=code)(0)
    cause = caught.value.__cause__
    assert isinstance(cause, ZeroDivisionError)
    shown = "".join(traceback.format_exception(cause))
    assert "line 4, in code\n    return part(value)" in shown
    assert "line 2, in part\n    return 1 / x" in shown


def test_two_codes_keep_their_own_lines() -> None:
    one, two = PythonCode(code="value['one']"), PythonCode(code="1\nvalue['two']")
    for node, line in ((one, 'line 1 of the code, "value'), (two, "line 2 of the code"), (one, "line 1 of the code")):
        with pytest.raises(CodeFailedError, match=line):
            node({})


def test_an_argument_must_be_a_name() -> None:
    for arguments in ({"a b": 1}, {"class": 1}, [1]):
        with pytest.raises(NodeConfigError, match=r"arguments|can't be a name"):
            PythonCode(code="1", arguments=arguments)()


def test_code_may_skip() -> None:
    with pytest.raises(SkipTask, match="no rows"):
        PythonCode(code="from dagy.errors import SkipTask\nraise SkipTask('no rows')")()


def test_outputs_and_parameters_of_a_flow_are_values_in_the_code() -> None:
    @task
    def numbers(count: int) -> list[int]:
        return list(range(count))

    @flow
    def total(count: int, factor: int = 10) -> Any:
        code = "sum(value) * factor + parameters['count']"
        return PythonCode(code=code, arguments={"factor": factor})(numbers(count))

    assert total.run_local(count=4).value == 64


def test_code_that_yields_is_refused() -> None:
    with pytest.raises(NodeConfigError, match="the code has a 'yield', and so no value; return a list"):
        PythonCode(code="yield 1")
