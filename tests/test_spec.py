"""The flow as data, and its JSON out and in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagy.errors import CycleError, SpecError
from dagy.executors import EXECUTORS
from dagy.spec import (
    SCHEMA_VERSION,
    Binding,
    Constant,
    DictOf,
    FlowOptions,
    FlowSpec,
    FromParameter,
    FromTask,
    Held,
    ListOf,
    NodeSpec,
    ParameterSpec,
    PortSpec,
    TaskOptions,
    TaskSpec,
    references,
)

SPEC = FlowSpec(
    name="etl",
    version="1.0.0",
    description="All of it.",
    parameters=(ParameterSpec("path", "str"), ParameterSpec("limit", "int", required=False, default=3, static=True)),
    tasks=(
        TaskSpec("load", "load", "m:load", {"path": FromParameter("path")}, options=TaskOptions(retries=2)),
        TaskSpec(
            "clean",
            "clean",
            "m:clean",
            {
                "rows": FromTask("load", ("rows", 0)),
                "more": ListOf((Constant(1), FromTask("load"))),
                "table": Held("pandas.DataFrame"),
            },
            group=("inner",),
        ),
        TaskSpec("save", "save", "m:save", {"by": DictOf(((1, FromTask("clean")),))}, after=("load",)),
    ),
    result=FromTask("save"),
    static={"limit": 3},
)


def changed(**fields: Any) -> dict[str, Any]:
    return {**SPEC.model_dump(), **fields}


def test_the_plain_form_is_what_is_written_down():
    assert list(SPEC.model_dump()) == list(json.loads(SPEC.model_dump_json()))
    assert SPEC.model_dump() == json.loads(SPEC.model_dump_json())


def test_needs_and_edges_come_from_inputs_and_from_after():
    assert SPEC.needs == {"load": (), "clean": ("load",), "save": ("clean", "load")}
    assert SPEC.edges == (("load", "clean"), ("clean", "save"), ("load", "save"))


def test_a_task_is_found_by_its_id():
    assert SPEC.task("clean").group == ("inner",)
    with pytest.raises(KeyError):
        SPEC.task("clena")


def test_references_are_found_however_deep_and_in_order():
    binding = ListOf((DictOf((("a", FromTask("x")), ("b", ListOf((FromParameter("p"),))))), FromTask("y"), Constant(1)))
    assert list(references(binding)) == [FromTask("x"), FromParameter("p"), FromTask("y")]


def test_a_spec_comes_back_from_its_json():
    assert FlowSpec.model_validate_json(SPEC.model_dump_json()) == SPEC
    assert FlowSpec.model_validate(SPEC.model_dump()) == SPEC


def test_the_json_of_a_spec_is_plain():
    assert json.loads(SPEC.model_dump_json(indent=2)) == SPEC.model_dump()


def test_what_came_later_is_written_only_where_it_is_said():
    old = SPEC.model_dump()
    assert old["options"] == {"retries": 0, "retry_delays": [], "timeout_seconds": None}
    assert "memory_mb" not in old["tasks"][0]["options"]
    assert old["tasks"][0]["options"]["executor"] is None
    task = TaskSpec("a", "a", "m:a", options=TaskOptions(memory_mb=512))
    new = FlowSpec("etl", tasks=(task,), options=FlowOptions(executor="large", memory_mb=4_096)).model_dump()
    assert (new["options"]["executor"], new["options"]["memory_mb"]) == ("large", 4_096)
    assert new["tasks"][0]["options"]["memory_mb"] == 512


def test_what_kind_of_node_a_task_is_is_written_only_of_nodes():
    assert not {"node", "optional"} & SPEC.model_dump()["tasks"][0].keys()
    port = PortSpec("rows", ("dataframe", "list"), "Rows")
    task = TaskSpec("a", "a", "m:a", node=NodeSpec("clean", "transform", (port,)), optional=("rows",))
    written = FlowSpec("etl", tasks=(task,)).model_dump()["tasks"][0]
    assert written["optional"] == ["rows"]
    assert written["node"] == {
        "type": "clean",
        "category": "transform",
        "inbound": [{"id": "rows", "types": ["dataframe", "list"], "label": "Rows"}],
        "outbound": [],
        "requires": [],
    }


def test_the_same_flow_gives_the_same_text():
    again = FlowSpec.model_validate_json(SPEC.model_dump_json())
    assert again.model_dump_json() == SPEC.model_dump_json()


names = st.text(max_size=12)
ids = st.sampled_from(["a", "b", "c", "é", "a/b", "<x>", "\x00"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
paths = st.lists(names | st.integers(-5, 5), max_size=3).map(tuple)


def bindings(tasks: list[str]) -> st.SearchStrategy[Binding]:
    leaves: list[st.SearchStrategy[Any]] = [
        st.builds(Constant, json_values),
        st.builds(Held, names),
        st.builds(FromParameter, names, paths),
    ]
    if tasks:
        leaves.append(st.builds(FromTask, st.sampled_from(tasks), paths))
    keys = names | st.integers() | st.booleans() | st.none()
    return st.recursive(
        st.one_of(leaves),
        lambda inner: (
            st.builds(ListOf, st.lists(inner, max_size=3).map(tuple), st.sampled_from(["list", "tuple", "set"]))
            | st.builds(DictOf, st.lists(st.tuples(keys, inner), max_size=3).map(tuple))
        ),
        max_leaves=4,
    )


seconds = st.floats(0, 1e9)
options = st.builds(
    TaskOptions,
    retries=st.integers(0, 10**9),
    retry_delays=st.lists(seconds, max_size=3).map(tuple),
    retry_jitter_factor=st.floats(0, 1),
    timeout_seconds=st.none() | st.floats(0.001, 1e9),
    concurrency_limit=st.none() | st.integers(1, 99),
    executor=st.none() | st.sampled_from(EXECUTORS),
    validate_parameters=st.booleans(),
    memory_mb=st.none() | st.integers(1, 10**6),
)
ports = st.lists(st.builds(PortSpec, names, st.lists(names, max_size=2).map(tuple), names), max_size=2).map(tuple)
nodes = st.none() | st.builds(NodeSpec, names, names, ports, ports, st.lists(names, max_size=2).map(tuple))
flow_options = st.builds(
    FlowOptions,
    timeout_seconds=st.none() | st.floats(0.001, 1e9),
    executor=st.none() | st.sampled_from(EXECUTORS),
    memory_mb=st.none() | st.integers(1, 10**6),
)


@st.composite
def specs(draw: st.DrawFn) -> FlowSpec:
    task_ids = draw(st.lists(ids, unique=True, max_size=4))
    tasks = []
    for place, task_id in enumerate(task_ids):
        inputs = draw(st.dictionaries(names, bindings(task_ids[:place]), max_size=3))
        after = tuple(draw(st.lists(st.sampled_from(task_ids[:place]), unique=True))) if place else ()
        group = tuple(draw(st.lists(names, max_size=2)))
        optional = tuple(draw(st.lists(names, max_size=2))) or None
        how = (draw(names), draw(options), (), draw(nodes), optional)
        tasks.append(TaskSpec(task_id, draw(names), draw(names), inputs, after, group, *how))
    return FlowSpec(
        name=draw(names),
        version=draw(names),
        description=draw(names),
        parameters=tuple(
            draw(
                st.lists(st.builds(ParameterSpec, names, names, st.booleans(), json_values, st.booleans()), max_size=2)
            )
        ),
        tasks=tuple(tasks),
        result=draw(st.none() | bindings(task_ids)),
        static=draw(st.dictionaries(names, json_values, max_size=2)),
        options=draw(flow_options),
    )


@settings(max_examples=30)
@given(specs())
def test_every_spec_comes_back_from_its_json(spec: FlowSpec):
    again = FlowSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert again.model_dump_json() == spec.model_dump_json()
    assert repr(again) == repr(spec)  # 1 == 1.0 == True, and their texts differ


def test_a_later_version_is_refused_with_the_remedy():
    with pytest.raises(
        SpecError, match=f"schema_version is 99, and this Dagy reads up to {SCHEMA_VERSION}; upgrade dagy"
    ):
        FlowSpec.model_validate(changed(schema_version=99, colour="blue"))


@pytest.mark.parametrize("version", [0, -1, "1", "99", 1.5])
def test_a_version_that_never_was_is_refused(version: Any):
    with pytest.raises(SpecError, match=r"schema_version is .*, which no Dagy has written"):
        FlowSpec.model_validate(changed(schema_version=version))


def test_an_unknown_field_is_refused_by_its_name():
    with pytest.raises(SpecError, match=r"not a flow that Dagy can read: colour: Unexpected keyword argument"):
        FlowSpec.model_validate(changed(colour="blue"))


def test_an_unknown_field_of_a_task_is_refused_by_its_place():
    tasks = [{"id": "a", "name": "a", "function": "m:a", "colour": "blue"}]
    with pytest.raises(SpecError, match=r"tasks\.0\.colour"):
        FlowSpec.model_validate(changed(tasks=tasks))


def test_an_unknown_kind_of_input_is_refused():
    tasks = [{"id": "a", "name": "a", "function": "m:a", "inputs": {"x": {"kind": "magic"}}}]
    with pytest.raises(SpecError, match=r"tasks\.0\.inputs\.x"):
        FlowSpec.model_validate({"name": "etl", "tasks": tasks})


def test_a_need_that_is_not_in_the_flow_is_named():
    tasks = [{"id": "a", "name": "a", "function": "m:a", "after": ["ghost"]}]
    with pytest.raises(SpecError, match="task 'a' of flow 'etl' needs 'ghost', which is not in the flow"):
        FlowSpec.model_validate({"name": "etl", "tasks": tasks})


def test_two_tasks_with_one_id_are_refused():
    tasks = [{"id": "a", "name": "a", "function": "m:a"}] * 2
    with pytest.raises(SpecError, match="flow 'etl' has more than one task with the id 'a'"):
        FlowSpec.model_validate({"name": "etl", "tasks": tasks})


def test_a_circle_is_refused_and_named():
    tasks = [
        {"id": "a", "name": "a", "function": "m:a", "after": ["b"]},
        {"id": "b", "name": "b", "function": "m:b", "inputs": {"x": {"kind": "task", "task": "a"}}},
    ]
    with pytest.raises(CycleError, match="flow 'etl' goes in a circle: a -> b -> a"):
        FlowSpec.model_validate({"name": "etl", "tasks": tasks})


def test_a_result_from_a_task_that_is_not_in_the_flow_is_refused():
    with pytest.raises(SpecError, match="flow 'etl' returns 'ghost', which is not in the flow"):
        FlowSpec.model_validate({"name": "etl", "result": {"kind": "task", "task": "ghost"}})


@pytest.mark.parametrize("text", ["", "{", "nonsense", "[" * 10_000])
def test_what_is_not_json_is_refused(text: str):
    with pytest.raises(SpecError, match="not JSON"):
        FlowSpec.model_validate_json(text)


@pytest.mark.parametrize("data", [None, [], "etl", {}, {"name": 3}])
def test_what_is_not_a_flow_is_refused(data: Any):
    with pytest.raises(SpecError, match="not a flow that Dagy can read"):
        FlowSpec.model_validate(data)


def test_a_text_that_json_can_not_hold_is_named_when_it_is_written():
    with pytest.raises(SpecError, match=r"flow 'etl' can't be written as JSON: .*surrogates not allowed"):
        FlowSpec("etl", description="\ud800").model_dump_json()


def test_there_is_a_json_schema():
    assert FlowSpec.model_json_schema()["title"] == "FlowSpec"


def test_a_spec_can_not_be_changed():
    with pytest.raises(AttributeError):
        SPEC.name = "other"  # type: ignore[misc]


def test_a_spec_of_10_000_tasks_in_a_chain_comes_back():
    tasks = tuple(TaskSpec(f"t{each}", "t", "m:t", after=(f"t{each - 1}",) if each else ()) for each in range(10_000))
    spec = FlowSpec("etl", tasks=tasks)
    assert FlowSpec.model_validate_json(spec.model_dump_json()) == spec
