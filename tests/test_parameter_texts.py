from __future__ import annotations

import pytest

from dagy.errors import ParameterError
from dagy.parameter_texts import check_values, values_of
from dagy.spec import FlowSpec, Json, ParameterSpec


def value(annotation: str, text: str) -> object:
    """What `--param x=<text>` gives a flow whose parameter `x` is annotated so."""
    return values_of(FlowSpec("etl", parameters=(ParameterSpec("x", annotation),)), [f"x={text}"])["x"]


@pytest.mark.parametrize(
    ("annotation", "text", "expected"),
    [
        ("str", "5", "5"),
        ("str", '{"a": 1}', '{"a": 1}'),
        ("int", "5", 5),
        ("float", "5", 5),
        ("bool", "yes", True),
        ("int | None", "null", None),
        ("str | None", "null", "null"),
        ("Optional[int]", "7", 7),
        ("typing.Optional[int]", "7", 7),
        ("list[int]", "[1, 2]", [1, 2]),
        ("list[str]", '["a"]', ["a"]),
        ("dict[str, list[float]]", '{"a": [1.5]}', {"a": [1.5]}),
        ("Literal['1', '2']", "1", "1"),
        ("Literal[1, -2]", "-2", -2),
        ("Static[int]", "3", 3),
        ("datetime.date", "2026-01-31", "2026-01-31"),
        ("Path", "5", "5"),
        ("", "5", 5),
        ("", "a", "a"),
        ("Any", "[1]", [1]),
        ("MyModel", '{"a": 1}', {"a": 1}),
        ("MyModel", "text", "text"),
    ],
)
def test_a_text_means_what_the_annotation_says(annotation: str, text: str, expected: object) -> None:
    found = value(annotation, text)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("annotation", "text"), [("int", "many"), ("list[int]", "[1, 'a']"), ("Literal['a']", "b"), ("date", "soon")]
)
def test_a_text_that_does_not_fit_is_refused(annotation: str, text: str) -> None:
    with pytest.raises(ParameterError, match="flow 'etl': 'x' can't be"):
        value(annotation, text)


@pytest.mark.parametrize(
    "annotation",
    ["__import__('os').system('true')", "().__class__", "list[", "[x for x in (1,)]", "int" + "[int]" * 200,
     "x" * 10_000,
     "(" * 300 + ")" * 300, "os.system", "str.upper", "1 << 9", "int[int]"],
)  # fmt: skip
def test_an_annotation_that_is_more_than_names_is_never_evaluated(annotation: str) -> None:
    assert value(annotation, "5") == 5


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["x"], "--param 'x' is not of the form NAME=VALUE"),
        (["x=1", "x=2"], "--param 'x' is given twice"),
        (["limt=1"], "flow 'etl' has no input 'limt'; did you mean 'limit'"),
    ],
)
def test_what_the_flow_does_not_take_is_refused(pairs: list[str], message: str) -> None:
    spec = FlowSpec("etl", parameters=(ParameterSpec("x", "int"), ParameterSpec("limit", "int", required=False)))
    with pytest.raises(ParameterError, match=message):
        values_of(spec, pairs)


def test_what_is_not_given_is_not_made_up() -> None:
    spec = FlowSpec("etl", parameters=(ParameterSpec("x", "int"), ParameterSpec("limit", "int", required=False)))
    assert values_of(spec, []) == {}


@pytest.mark.parametrize(
    ("annotation", "value"),
    [("int", "x"), ("int | None", [1]), ("list[int]", ["a"]), ("Literal['a', \"b c\"]", "c"), ("dict[str, float]", 1)],
)
def test_a_value_that_a_plain_annotation_does_not_take_is_refused(annotation: str, value: Json) -> None:
    with pytest.raises(ParameterError, match=r"deployment 'etl'.*'x'"):
        check_values("deployment 'etl'", {"x": annotation, "y": "int"}, {"x": value})


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("int", "5"),
        ("int", 5),
        ("float", 5),
        ("Optional[int]", None),
        ("list[int]", [1]),
        ("", []),
        ("Any", []),
        ("MyModel", []),
        ("list[MyModel]", 1),
        ("Path", 1),  # may be another one there
        ("Annotated[int, Gt(0)]", "x"),
        ("list[", 1),
    ],
)
def test_a_value_that_an_annotation_may_take_is_let_through(annotation: str, value: Json) -> None:
    check_values("deployment 'etl'", {"x": annotation}, {"x": value})
