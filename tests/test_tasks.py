"""`@task`, and what a call of one stands for while a flow is drawn."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import json
import math
from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from dagy import Executor, FlowSpec, Static, Task, TaskOutput, flow, task
from dagy.errors import DefinitionError, DrawingError, GraphError, ValueNeededError
from dagy.spec import Constant, DictOf, FromTask, Held, ListOf, TaskOptions


@task
def one() -> int:
    """The first number."""
    return 1


@task
def same(value: Any) -> Any:
    return value


def drawn(function: Callable[[], Any]) -> FlowSpec:
    """The spec of a flow that `function` draws."""
    return flow(name="etl")(function).spec


def input_of(value: Callable[[], Any]) -> Any:
    """What the spec says of the input of a task that is given `value()`."""
    return drawn(lambda: same(value())).task("same").inputs["value"]


# The decorator


def test_a_task_is_its_plain_function_outside_a_flow():
    assert one() == 1
    assert same(value=3) == 3


def test_an_async_task_is_its_plain_coroutine_function_outside_a_flow():
    @task
    async def later() -> int:
        return 5

    assert asyncio.run(later()) == 5


def test_bare_and_called_make_the_same_task():
    def load() -> None: ...

    bare, called = task(load), task()(load)
    assert isinstance(bare, Task)
    assert isinstance(called, Task)
    assert (bare.name, bare.options) == (called.name, called.options) == ("load", TaskOptions())


def test_a_task_looks_like_its_function():
    assert one.__name__ == "one"
    assert one.__doc__ == "The first number."
    assert inspect.signature(one) == inspect.signature(one.function)
    assert repr(one) == "<Task 'one' () -> 'int'>"


def test_name_and_description_come_from_the_function_or_from_the_options():
    assert (one.name, one.description) == ("one", "The first number.")
    named = task(name="first", description="Number 1.")(one.function)
    assert (named.name, named.description) == ("first", "Number 1.")


def test_every_option_is_kept():
    def note(*_: object) -> None: ...

    full = task(
        name="load",
        description="Loads.",
        executor="ecs",
        memory_mb=4_096,
        retries=3,
        retry_delay_seconds=[1, 2],
        retry_jitter_factor=0.5,
        timeout_seconds=60,
        concurrency_limit=2,
        validate_parameters=False,
        on_running=[note],
        on_completion=[note],
        on_failure=[note],
        on_retry=[note],
        retry_condition_fn=lambda error: True,
    )(one.function)
    assert full.options == TaskOptions(3, (1.0, 2.0), 0.5, 60.0, 2, "ecs", False, memory_mb=4_096)
    assert len(full.code.hooks) == 6
    assert full.code.retry.condition is not None


def test_an_executor_with_memory_says_both():
    options = task(executor=Executor("ecs", memory_mb=4_096))(one.function).options
    assert (options.executor, options.memory_mb) == ("ecs", 4_096)
    assert task(executor="large")(one.function).options.executor == "large"


def test_a_function_without_a_name_needs_one():
    partial = functools.partial(same.function, 1)
    with pytest.raises(DefinitionError, match=r"a task needs a name, and '' is none; write @task\(name='...'\)"):
        task(partial)
    assert task(name="first")(partial)() == 1


@pytest.mark.parametrize("name", ["", "  ", 3])
def test_a_name_must_be_a_text(name: Any):
    with pytest.raises(DefinitionError, match="a task needs a name"):
        task(name=name)(one.function)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout_seconds": 0}, "timeout_seconds must be more than 0 seconds, not 0"),
        ({"timeout_seconds": -1}, "timeout_seconds must be more than 0 seconds, not -1"),
        ({"timeout_seconds": math.nan}, "timeout_seconds must be more than 0 seconds, not nan"),
        ({"timeout_seconds": math.inf}, "timeout_seconds must be more than 0 seconds, not inf"),
        ({"timeout_seconds": True}, "timeout_seconds must be more than 0 seconds, not True"),
        ({"timeout_seconds": "5"}, "timeout_seconds must be more than 0 seconds, not '5'"),
        ({"concurrency_limit": 0}, "concurrency_limit must be a whole number, 1 or more, not 0"),
        ({"concurrency_limit": True}, "concurrency_limit must be a whole number, 1 or more, not True"),
        (
            {"executor": "Lambda"},
            "executor must be one of 'lambda', 'step-functions', 'ecs', 'nano', 'micro', 'small', ",
        ),
        ({"executor": "local"}, "executor must be one of 'lambda', 'step-functions', 'ecs'"),
        ({"memory_mb": "1 GB"}, "memory_mb must be a whole number of megabytes, 1 or more, not '1 GB'"),
        ({"retries": -1}, "retries must be a whole number, 0 or more, not -1"),
        ({"retry_jitter_factor": 2}, "retry_jitter_factor must lie between 0.0 and 1.0, not 2"),
        ({"on_failure": len}, "on_failure must be a list of functions"),
    ],
)
def test_an_option_without_a_meaning_is_refused_and_the_task_is_named(options: dict[str, Any], message: str):
    with pytest.raises(DefinitionError) as caught:
        task(**options)(one.function)
    assert str(caught.value).startswith(f"task 'one': {message}")


def test_an_unknown_option_is_named_with_the_one_that_was_meant():
    with pytest.raises(DefinitionError, match="@task has no option 'retrys'; did you mean 'retries'"):
        task(retrys=3)(one.function)  # type: ignore[call-overload]


def test_what_is_no_function_can_not_be_a_task():
    with pytest.raises(DefinitionError, match="@task goes above a function, not above 3"):
        task(3)  # type: ignore[call-overload]


def test_an_async_generator_can_not_be_a_task():
    async def pages():
        yield 1

    with pytest.raises(DefinitionError, match=r"task 'pages' is an async generator.*return a list instead"):
        task(pages)


def test_a_parameter_may_have_any_name():
    @task
    def odd(self: int, name: int, function: int) -> int:
        return self + name + function

    assert odd(self=1, name=2, function=3) == 6
    result = flow(name="etl")(lambda: odd(self=1, name=2, function=3)).run_local()
    assert result.value == 6


# What a call records


def test_a_call_in_a_flow_records_a_node_and_returns_an_output():
    outputs: list[Any] = []
    spec = drawn(lambda: outputs.append(one()))
    assert isinstance(outputs[0], TaskOutput)
    assert repr(outputs[0]) == "<TaskOutput of task 'one'>"
    assert spec.tasks[0].function.endswith(":one")
    assert spec.tasks[0].description == "The first number."


def test_the_same_task_called_five_times_makes_five_nodes():
    spec = drawn(lambda: [same(each) for each in range(5)])
    assert [each.id for each in spec.tasks] == ["same", "same-2", "same-3", "same-4", "same-5"]
    assert {each.name for each in spec.tasks} == {"same"}


def test_the_id_of_a_second_call_makes_way_for_a_task_of_that_name():
    other = task(name="one-2")(one.function)

    def draw() -> None:
        one()
        other()
        one()
        other()

    assert [each.id for each in drawn(draw).tasks] == ["one", "one-2", "one-3", "one-2-2"]


def test_drawing_runs_no_task():
    @task
    def runs() -> None:
        raise AssertionError("it ran")

    assert len(drawn(lambda: runs()).tasks) == 1


@pytest.mark.parametrize(
    ("value", "binding"),
    [
        (5, Constant(5)),
        ("x", Constant("x")),
        (None, Constant(None)),
        (2.5, Constant(2.5)),
        ([1, {"a": [2]}], Constant([1, {"a": [2]}])),
        ((1, 2), ListOf((Constant(1), Constant(2)), "tuple")),
        ({"b", "a"}, ListOf((Constant("a"), Constant("b")), "set")),
        ({1: "x"}, DictOf(((1, Constant("x")),))),
        (math.nan, Held("float")),
        (b"x", Held("bytes")),
        ({1.5: "x"}, Held("dict")),
        (OrderedDict(), Held("collections.OrderedDict")),
    ],
)
def test_a_literal_is_kept_as_data_or_by_its_type(value: Any, binding: Any):
    assert input_of(lambda: value) == binding


def test_outputs_inside_lists_tuples_sets_and_dicts_make_edges():
    assert input_of(lambda: [one(), 2]) == ListOf((FromTask("one"), Constant(2)))
    assert input_of(lambda: (one(),)) == ListOf((FromTask("one"),), "tuple")
    assert input_of(lambda: {one()}) == ListOf((FromTask("one"),), "set")
    assert input_of(lambda: {"a": [one()]}) == DictOf((("a", ListOf((FromTask("one"),))),))


def test_a_part_of_an_output_is_a_reference_with_a_path():
    assert input_of(lambda: one()["rows"][0]) == FromTask("one", ("rows", 0))


def test_what_a_flow_changes_after_the_call_does_not_change_the_graph():
    def draw() -> None:
        items = [1]
        same(items)
        items.append(2)

    assert drawn(draw).tasks[0].inputs["value"] == Constant([1])


def test_after_makes_an_edge_without_a_value():
    def draw() -> None:
        first, second = one(), one()
        same.after(first).after(second, first)(5)

    assert drawn(draw).task("same").after == ("one", "one-2")
    assert drawn(draw).edges == (("one", "same"), ("one-2", "same"))


def test_after_leaves_the_task_itself_alone():
    def draw() -> None:
        same.after(one())(5)
        same(6)

    assert drawn(draw).task("same-2").after == ()


def test_a_task_with_options_is_another_that_keeps_the_rest():
    @task(name="fetch", retries=2, retry_delay_seconds=5)
    def fetch(url):
        return url

    changed = fetch.with_options(name="rows", retries=3, timeout_seconds=60)
    assert (changed.name, changed.function, changed.description) == ("rows", fetch.function, fetch.description)
    assert changed.options == TaskOptions(retries=3, retry_delays=(5.0,), timeout_seconds=60.0)
    assert changed.code.retry.retries == 3
    assert (fetch.name, fetch.options.retries) == ("fetch", 2)


def test_a_task_of_another_name_is_the_same_in_all_else():
    renamed = same.with_options(name="rows")
    assert (renamed.name, renamed.code, renamed.options) == ("rows", same.code, same.options)
    assert renamed.with_options(retries=1).name == "rows"
    assert same.name == "same"


def test_a_task_with_options_waits_for_what_it_waited_for():
    def draw() -> None:
        first = one()
        same.after(first).with_options(name="renamed")(5)
        same.after(first).with_options(retries=1)(5)

    assert [drawn(draw).task(each).after for each in ("renamed", "same")] == [("one",), ("one",)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retrys": 2}, r"@task has no option 'retrys'; did you mean 'retries'\?"),
        ({"retries": -1}, "task 'same': retries must be"),
        ({"name": " "}, "a task needs a name"),
    ],
)
def test_options_without_a_meaning_are_refused_of_a_task_that_is_there(options: dict[str, Any], message: str):
    with pytest.raises(DefinitionError, match=message):
        same.with_options(**options)


@pytest.mark.parametrize("thing", [5, "one", None])
def test_after_takes_only_outputs(thing: Any):
    with pytest.raises(GraphError, match=r"same\.after\(\.\.\.\) takes outputs of tasks, not "):
        drawn(lambda: same.after(thing)(1))


# What can't be drawn

Pair = namedtuple("Pair", "first second")


@dataclass
class Box:
    content: Any


class Slots:
    __slots__ = ("content",)

    def __init__(self, content: Any) -> None:
        self.content = content


@pytest.mark.parametrize(
    "wrap",
    [
        lambda output: Pair(output, 1),
        lambda output: frozenset({output}),
        lambda output: OrderedDict(a=output),
        lambda output: defaultdict(list, {"a": [output]}),
        lambda output: deque([output]),
        Box,
        Slots,
        lambda output: SimpleNamespace(a=[output]),
    ],
    ids=["namedtuple", "frozenset", "OrderedDict", "defaultdict", "deque", "dataclass", "slots", "namespace"],
)
def test_an_output_that_hides_in_another_object_is_refused(wrap: Callable[[Any], Any]):
    with pytest.raises(GraphError, match=r"line \d+ of test_tasks.py gives a task an output inside an object of type"):
        drawn(lambda: same(wrap(one())))


def test_objects_without_an_output_inside_are_passed_on():
    pair = Pair(1, [2])
    assert flow(name="etl")(lambda: same(pair)).run_local().value is pair


def test_a_generator_is_refused():
    with pytest.raises(GraphError, match=r"gives a task a generator, which runs only once; give it a list instead"):
        drawn(lambda: same(one() for _ in range(3)))


def test_a_list_that_holds_itself_is_refused():
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(GraphError, match="nested without end"):
        drawn(lambda: same(endless))


def test_an_output_as_a_key_is_refused():
    with pytest.raises(GraphError, match="a key of a dict can't be the output of a task"):
        drawn(lambda: same({one(): 1}))


def test_an_odd_key_beside_an_output_is_refused():
    with pytest.raises(
        GraphError, match=r"a dict with the key 1.5; beside outputs of tasks, keys must be texts or whole"
    ):
        drawn(lambda: same({1.5: one()}))


def test_an_output_of_another_drawing_is_refused():
    kept: list[Any] = []
    drawn(lambda: kept.append(one()))
    with pytest.raises(GraphError, match=r"line \d+ of test_tasks.py uses task 'one' of another drawing of a flow"):
        drawn(lambda: same(kept[0]))


NEEDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "if": (lambda out: 1 if out else 2, "its truth"),
    "not": (lambda out: not out, "its truth"),
    "len": (len, "its length"),
    "for": (list, "its items"),
    "unpack": (lambda out: [*out], "its items"),
    "in": (lambda out: 1 in out, "its items"),
    "str": (str, "its text"),
    "f-string": (lambda out: f"{out}", "its text"),
    "format": (lambda out: f"{out:10s}", "its text"),
    "==": (lambda out: out == 1, "a comparison with it"),
    "!=": (lambda out: out != 1, "a comparison with it"),
    "<": (lambda out: out < 1, "a comparison with it"),
    "1 >=": (lambda out: out <= 1, "a comparison with it"),
    "int": (int, "its number"),
    "float": (float, "its number"),
    "range": (range, "its number"),
    "round": (round, "its number"),
    "+": (lambda out: out + 1, "a calculation with it"),
    "1 +": (lambda out: 1 + out, "a calculation with it"),
    "text +": (lambda out: "a" + out, "a calculation with it"),
    "*": (lambda out: out * 2, "a calculation with it"),
    "-x": (lambda out: -out, "a calculation with it"),
    "@": (lambda out: out @ out, "a calculation with it"),
    "|": (lambda out: out | 1, "a calculation with it"),
    "divmod": (lambda out: divmod(out, 2), "a calculation with it"),
    "x[0] =": (lambda out: out.__setitem__(0, 1), "a change of it"),
    "call": (lambda out: out(), "a call of it"),
    "with": (lambda out: out.__enter__(), "its context"),
    "attribute": (lambda out: out.columns, "its attribute 'columns'"),
}


@pytest.mark.parametrize("need", NEEDS)
def test_code_that_needs_the_value_is_refused_with_the_task_the_line_and_the_way_out(need: str):
    use, what = NEEDS[need]
    with pytest.raises(ValueNeededError) as caught:
        drawn(lambda: use(one()))
    text = str(caught.value)
    assert text.startswith("task 'one' has no value yet, and line ")
    assert f" of test_tasks.py asks for {what}: " in text
    assert text.endswith("the flow is only being drawn, and its tasks run later; move what needs it into a task")


@pytest.mark.parametrize("need", NEEDS)
def test_the_same_is_refused_of_a_parameter_and_the_way_out_names_static(need: str):
    use, what = NEEDS[need]

    def etl(limit: int):
        use(limit)

    with pytest.raises(ValueNeededError) as caught:
        assert flow(etl).spec
    assert str(caught.value).startswith("parameter 'limit' has no value yet")
    assert what in str(caught.value)
    assert str(caught.value).endswith(
        "or annotate the parameter Static[...] if it shapes the graph: limit: Static[int]"
    )


def test_the_line_named_is_the_users():
    def draw() -> None:
        out = one()
        assert out["rows"] > 3

    line = inspect.getsourcelines(draw)[1] + 2
    with pytest.raises(ValueNeededError, match=rf"task 'one'\['rows'\] has no value yet, and line {line} of"):
        drawn(draw)


@pytest.mark.parametrize("key", [slice(1), None, 1.5, (1, 2)])
def test_only_texts_and_whole_numbers_name_a_part(key: Any):
    with pytest.raises(ValueNeededError, match=r"takes task 'one' apart by .*take it apart inside a task"):
        drawn(lambda: one()[key])


def test_an_output_can_be_asked_for_what_python_looks_for_in_any_object():
    def draw() -> None:
        out = one()
        assert not hasattr(out, "__array__")
        assert not hasattr(out, "_repr_html_")
        assert hash(out) == hash(out)
        assert isinstance(out, TaskOutput)
        assert "one" in repr(out)

    drawn(draw)


def test_an_output_can_not_be_written_as_json():
    with pytest.raises(DrawingError, match="TaskOutput is not JSON serializable"):
        drawn(lambda: json.dumps(one()))


def test_a_copy_of_an_output_stands_for_the_same_value():
    assert input_of(lambda: copy.copy(one())) == FromTask("one")


def test_a_static_parameter_is_a_plain_value():
    @flow
    def etl(count: Static[int] = 2):
        return [same(each) for each in range(count)]

    assert len(etl.spec.tasks) == 2
    assert len(etl.program(count=3).spec.tasks) == 3
