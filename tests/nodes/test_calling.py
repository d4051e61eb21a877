"""A call of a node: a task of the flow that is drawn, or the work itself."""

from __future__ import annotations

import asyncio
import pickle
import traceback
from typing import Any

import pytest

from dagy import FlowSpec, TaskFailedError, flow, task
from dagy.errors import ConnectorError, GraphError, NodeConfigError, SkipTask
from dagy.fingerprint import fingerprint
from dagy.nodes import (
    ConfigFieldType,
    ConnectionCardinality,
    ConnectorDef,
    ConnectorDirection,
    DataType,
    ExecutionContext,
    ExecutionResult,
    FlowNode,
    NodeCategory,
    NodeConfigField,
    NodeMetadata,
    Secret,
    connectors_of,
)
from dagy.nodes.calling import task_of
from dagy.nodes.library import ToList, ToText
from dagy.spec import Constant, FromParameter, FromTask, ListOf, NodeSpec, PortSpec, TaskOptions
from dagy.states import StateType
from dagy.values import ABSENT


def inbound(name: str, *types: DataType, **options: Any) -> ConnectorDef:
    return ConnectorDef(name, "", ConnectorDirection.INBOUND, frozenset(types or {DataType.ANY}), **options)


def outbound(name: str, *types: DataType, **options: Any) -> ConnectorDef:
    return ConnectorDef(name, "", ConnectorDirection.OUTBOUND, frozenset(types or {DataType.ANY}), **options)


NUMBER, STRING, LIST = DataType.NUMBER, DataType.STRING, DataType.LIST
ZERO_OR_ONE, ONE_OR_MANY = ConnectionCardinality.ZERO_OR_ONE, ConnectionCardinality.ONE_OR_MANY


class Scaled(FlowNode):
    """One in, one out, and a configuration."""

    @classmethod
    def metadata(cls) -> NodeMetadata:
        return NodeMetadata("scaled", "Scaled", "Multiplies.", NodeCategory.TRANSFORM, requires=("numpy",))

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        return [inbound("number", NUMBER, required=True), outbound("product", NUMBER)]

    @classmethod
    def config_fields(cls) -> list[NodeConfigField]:
        return [NodeConfigField("factor", type=ConfigFieldType.NUMBER, default=10, maximum=1000)]

    def execute(self, context: ExecutionContext) -> ExecutionResult:
        product = context.get_upstream_data("number") * context.config["factor"]
        return ExecutionResult.from_success({"product": product})


class Halved(FlowNode):
    """Async."""

    @classmethod
    def metadata(cls) -> NodeMetadata:
        return NodeMetadata("halved", "Halved")

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        return [inbound("number", NUMBER, required=True), outbound("half", NUMBER)]

    async def execute(self, context: ExecutionContext) -> ExecutionResult:
        await asyncio.sleep(0)
        return ExecutionResult.from_success({"half": context.get_upstream_data("number") / 2})


class Sorted(FlowNode):
    """Several out, of which one is left out: a branch."""

    @classmethod
    def metadata(cls) -> NodeMetadata:
        return NodeMetadata("even_or_odd", "Even or odd")

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        return [
            inbound("number", NUMBER, required=True),
            outbound("even", NUMBER, cardinality=ZERO_OR_ONE),
            outbound("odd", NUMBER, cardinality=ZERO_OR_ONE),
        ]

    def execute(self, context: ExecutionContext) -> ExecutionResult:
        number = context.get_upstream_data("number")
        return ExecutionResult.from_success({"odd" if number % 2 else "even": number})


class Gathered(FlowNode):
    """Takes many: a merge."""

    @classmethod
    def metadata(cls) -> NodeMetadata:
        return NodeMetadata("gathered", "Gathered")

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        return [inbound("items", NUMBER, STRING, cardinality=ONE_OR_MANY), outbound("all", LIST)]

    def execute(self, context: ExecutionContext) -> ExecutionResult:
        return ExecutionResult.from_success({"all": context.get_upstream_data("items")})


class Labelled(FlowNode):
    """One needed, one not, a text in, and a secret; what goes out is of any type."""

    @classmethod
    def metadata(cls) -> NodeMetadata:
        return NodeMetadata("labelled", "Labelled")

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        return [inbound("text", STRING, required=True), inbound("suffix", STRING), outbound("result")]

    @classmethod
    def config_fields(cls) -> list[NodeConfigField]:
        return [NodeConfigField("key", type=ConfigFieldType.SECRET)]

    def execute(self, context: ExecutionContext) -> ExecutionResult:
        text = context.get_upstream_data("text")
        if text == "nothing":
            raise SkipTask("there is nothing to label")
        if text == "broken":
            raise ValueError("it can't be labelled")
        suffix = context.get_upstream_data("suffix") or "-"
        return ExecutionResult.from_success({"result": text + suffix + context.secrets.get("key", "")})


class Ended(FlowNode):
    """Gives nothing, runs for each item."""

    @classmethod
    def metadata(cls) -> NodeMetadata:
        return NodeMetadata("ended", "Ended")

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        return [inbound("item", NUMBER, required=True, each=True)]

    def execute(self, context: ExecutionContext) -> ExecutionResult:
        SEEN.append(context.get_upstream_data("item"))
        return ExecutionResult.from_success({})


class Each(Scaled):
    """Runs for each item, and gives something."""

    @classmethod
    def metadata(cls) -> NodeMetadata:
        return NodeMetadata("scaled_each", "Each")

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        return [inbound("number", NUMBER, required=True, each=True), outbound("product", NUMBER)]


SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    SEEN.clear()


@task
def one() -> int:
    return 1


@task
def text_of(value: object) -> str:
    return f"<{value}>"


@task
def anything(value):
    SEEN.append(value)
    return value


def drawn(function: Any) -> FlowSpec:
    return flow(name="etl")(function).spec


def value_of(function: Any, **parameters: Any) -> Any:
    return flow(name="etl")(function).run_local(**parameters).value


# In a flow


def test_nodes_and_tasks_mix_in_one_flow():
    assert value_of(lambda: text_of(Scaled(factor=3)(Scaled()(one())))) == "<30>"


def test_values_come_in_by_position_or_by_the_connectors_id():
    assert value_of(lambda: Scaled()(number=Scaled()(2))) == 200


def test_an_async_node_is_waited_for():
    assert value_of(lambda: Scaled()(Halved()(Halved()(8)))) == 20


def test_the_inputs_of_the_task_are_connectors_and_given_fields_alike():
    found = drawn(lambda: Scaled(factor=3)(one())).task("scaled")
    assert found.inputs == {"number": FromTask("one"), "factor": Constant(3)}
    assert found.function == f"{__name__}:Scaled"
    assert found.description == "Multiplies."


def test_a_field_that_is_not_given_is_no_input():
    assert list(drawn(lambda: Scaled()(1)).task("scaled").inputs) == ["number"]


def test_the_task_says_what_kind_of_node_it_is():
    def draw() -> None:
        Scaled()(Scaled()(1))

    first, second = drawn(draw).tasks
    assert first.node == NodeSpec(
        "scaled",
        "transform",
        (PortSpec("number", ("number",), "number"),),
        (PortSpec("product", ("number",), "product"),),
        ("numpy",),
    )
    assert first.node is second.node
    assert drawn(one).task("one").node is None


def test_a_field_may_be_a_parameter_of_the_flow_or_the_output_of_a_task():
    def draw(factor: int) -> Any:
        return Scaled(factor=factor)(1), Scaled(factor=Scaled()(one()))(5)

    assert value_of(draw, factor=7) == (7, 50)
    assert drawn(draw).task("scaled").inputs["factor"] == FromParameter("factor")


def test_a_field_given_by_a_reference_is_checked_when_it_is_there():
    with pytest.raises(TaskFailedError) as failure:
        value_of(lambda: Scaled(factor=text_of(1))(1))
    assert isinstance(failure.value.__cause__, NodeConfigError)
    assert "'factor' can't be '<1>'" in str(failure.value.__cause__)


def test_a_literal_field_is_checked_before_anything_is_drawn():
    with pytest.raises(NodeConfigError, match="'factor' can't be 2000"):
        Scaled(factor=2000)


def test_several_outbound_connectors_are_the_parts_of_a_dict():
    assert value_of(lambda: text_of(Sorted()(4)["even"])) == "<4>"
    assert value_of(lambda: Sorted()(4)) == {"even": 4, "odd": ABSENT}


def test_a_node_without_outbound_connectors_gives_nothing():
    assert value_of(lambda: Ended().map([1])) == [None]


def test_a_node_waits_for_what_it_is_after():
    def draw() -> None:
        Scaled().after(one())(2)

    assert drawn(draw).task("scaled").after == ("one",)


def test_a_node_has_the_options_of_a_task():
    node = Scaled(factor=2).with_options(name="doubled", retries=2, timeout_seconds=60)
    found = drawn(lambda: node(1)).task("doubled")
    assert found.name == "doubled"
    assert found.options == TaskOptions(retries=2, timeout_seconds=60.0)
    assert task_of(Scaled(factor=2)).options == TaskOptions()


def test_two_nodes_of_one_class_share_their_code():
    @flow
    def etl() -> None:
        Scaled()(Scaled(factor=2).with_options(retries=1)(1))

    code = etl.program().code
    assert code["scaled"].function is code["scaled-2"].function


# What is not taken


def branches(number: int) -> Any:
    parts = Sorted()(number)
    even, odd = Scaled()(parts["even"]), Halved()(parts["odd"])
    return Gathered()([even, odd]), even


def test_what_needs_a_branch_that_is_not_taken_is_skipped_and_the_run_completes():
    result = flow(name="etl")(branches).run_local(number=3)
    assert result.status == "COMPLETED"
    assert {each.id: each.state.type for each in result.task_runs.values()} == {
        "even_or_odd": StateType.COMPLETED,
        "scaled": StateType.SKIPPED,
        "halved": StateType.COMPLETED,
        "gathered": StateType.COMPLETED,
    }
    assert result.value == ([1.5], None)


def test_the_inputs_that_may_be_absent_are_named():
    spec = drawn(branches)
    assert spec.task("gathered").optional == ("items",)
    assert spec.task("scaled").optional is None
    assert drawn(lambda: Labelled()("a", suffix=text_of(1))).task("labelled").optional == ("suffix",)
    assert drawn(lambda: Labelled()("a")).task("labelled").optional is None


def test_a_node_that_takes_many_and_is_given_none_is_skipped():
    result = flow(name="etl")(lambda: Gathered()([Sorted()(1)["even"]])).run_local()
    assert result.status == "COMPLETED"
    assert result.task_runs["gathered"].state.type is StateType.SKIPPED


def test_an_input_that_may_be_absent_is_as_if_it_was_not_given():
    assert value_of(lambda: Labelled()(text_of("a"), suffix=Labelled()("nothing"))) == "<a>-"


def test_a_node_to_which_nothing_came_from_any_task_is_skipped():
    result = flow(name="etl")(
        lambda: Labelled()("a", suffix=Labelled().with_options(name="other")("nothing"))
    ).run_local()
    assert result.status == "COMPLETED"
    assert result.task_runs["labelled"].state.type is StateType.SKIPPED


def test_a_node_says_itself_that_it_has_nothing_to_do():
    result = flow(name="etl")(lambda: Labelled().with_options(retries=3)("nothing")).run_local()
    state = result.task_runs["labelled"].state
    assert (state.type, state.message) == (StateType.SKIPPED, "there is nothing to label")


# Many, and each


def test_one_value_for_a_connector_that_takes_many_is_a_list_of_one():
    spec = drawn(lambda: Gathered()(one()))
    assert spec.task("gathered").inputs["items"] == ListOf((FromTask("one"),))
    assert value_of(lambda: Gathered()(one())) == [1]
    assert value_of(lambda: Gathered()([one(), "b", 3])) == [1, "b", 3]


def test_what_a_mapped_task_gives_is_the_list_for_a_connector_that_takes_many():
    assert value_of(lambda: Gathered()(Scaled().map([1, 2]))) == [10, 20]


def test_a_connector_with_each_runs_the_node_for_each_item():
    spec = drawn(lambda: Each(factor=2)([1, 2, 3]))
    assert spec.task("scaled_each").mapped == ("number",)
    assert value_of(lambda: Each(factor=2)([1, 2, 3])) == [2, 4, 6]
    assert value_of(lambda: Each(factor=2)(Each()([1, 2]))) == [20, 40]


def test_a_node_is_mapped_like_a_task():
    def draw() -> Any:
        return Scaled(factor=one()).map([1, 2]), Sorted().map([1, 2, 3])["odd"]

    assert value_of(draw) == ([1, 2], [1, None, 3])


def test_map_needs_a_list_to_go_through():
    with pytest.raises(ConnectorError, match=r"node 'scaled'\.map\(\.\.\.\) needs a list"):
        drawn(lambda: Scaled().map())
    with pytest.raises(GraphError, match="maps task 'scaled' over 'number', which must be a list"):
        drawn(lambda: Scaled().map(5))


# Types


def test_an_output_that_can_not_fit_is_refused_before_anything_runs_with_both_ends_and_types():
    def draw() -> None:
        Scaled()(text_of(anything(1)))

    with pytest.raises(ConnectorError) as refusal:
        value_of(draw)
    for part in ("line ", "test_calling.py", "'result' of 'text_of'", "STRING", "'number' of 'scaled'", "NUMBER"):
        assert part in str(refusal.value)
    assert SEEN == []


def test_an_output_of_any_type_is_checked_when_it_passes():
    assert value_of(lambda: Scaled()(anything(2))) == 20
    with pytest.raises(TaskFailedError) as failure:
        value_of(lambda: Scaled()(anything("two")))
    assert isinstance(failure.value.__cause__, ConnectorError)
    for part in ("'scaled'", "'number'", "NUMBER", "'two'"):
        assert part in str(failure.value.__cause__)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: Scaled()("two"), r"node 'scaled' takes NUMBER at 'number', not 'two' \(str\)"),
        (lambda: Gathered()([1, b"2"]), r"node 'gathered' takes NUMBER or STRING at 'items', not b'2' \(bytes\)"),
        (lambda: Each()([1, "2"]), r"node 'scaled_each' takes NUMBER at 'number', not '2' \(str\)"),
        (lambda: Gathered()([one(), Gathered()(1)]), r"output 'all' of 'gathered'.* LIST"),
        (lambda: Each()(Scaled()(1)), r"output 'product' of 'scaled' \(NUMBER\) is gone through, so it must be a LIST"),
        (lambda: Scaled()(Each()([1])), r"'product' of 'scaled_each'.* LIST"),
        (lambda: Labelled().map(Each()([1])), r"'product' of 'scaled_each'.* NUMBER"),
        (lambda: Scaled()(Ended()([1])), "the output of 'ended'"),
        (lambda: Scaled()(Sorted()(1)), "the output of 'even_or_odd', a dict of 'even', 'odd'"),
        (
            lambda: Scaled()(Sorted()(1)["evn"]),
            r"task 'even_or_odd' has no outbound connector 'evn'; did you mean 'even'",
        ),
        (lambda: anything(Sorted()(1)["evn"]), "no outbound connector 'evn'; did you mean 'even'"),
        (lambda: Sorted().map([1])[0]["evn"], "no outbound connector 'evn'; did you mean 'even'"),
        (lambda: Labelled()(Sorted()(1)["odd"]), r"output 'odd' of 'even_or_odd'.* NUMBER"),
        (lambda: Scaled()(), "node 'scaled' needs a value at 'number'"),
        (lambda: Scaled()(1, 2), "gives node 'scaled' 2 values by position, and it takes 1: number"),
        (lambda: Scaled()(1, number=2), "gives node 'scaled' 'number' twice"),
        (lambda: Scaled()(numbr=2), "node 'scaled' has no inbound connector 'numbr'; did you mean 'number'"),
        (lambda: Scaled()(1, factor=2), "node 'scaled' takes 'factor' before it is called: it is a field"),
    ],
)
def test_what_does_not_fit_is_refused_while_the_flow_is_drawn(draw: Any, message: str):
    with pytest.raises(ConnectorError, match=message):
        drawn(draw)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: Scaled()(anything(1)["part"]),
        lambda: Scaled()(Each()([1])[0]),
        lambda: Labelled()(Gathered()(["a"])[0]),
        lambda: Each()(Gathered()([1])),
        lambda: Each()(anything([1])),
    ],
)
def test_what_may_fit_is_left_to_the_run(draw: Any):
    assert drawn(draw).tasks


def test_the_connectors_of_a_task_are_its_annotations():
    @task
    def join(left: list[int], right: str | None = None, *rest: int) -> dict[str, int]:
        return {}

    found = connectors_of(join)
    assert [(each.id, each.data_types, each.is_required) for each in found.inbound] == [
        ("left", {LIST}, True),
        ("right", {STRING, DataType.NULL}, False),
    ]
    assert [(each.id, each.data_types) for each in found.outbound] == [("result", {DataType.OBJECT})]
    assert connectors_of(join.code) is found


def test_the_connectors_of_a_node_are_its_own():
    found = connectors_of(task_of(Sorted()))
    assert [each.id for each in found.inbound] == ["number"]
    assert [each.id for each in found.outbound] == ["even", "odd"]


# Outside a flow


def test_outside_a_flow_a_call_does_the_work_at_once():
    assert Scaled(factor=3)(2) == 6
    assert Sorted()(3) == {"even": ABSENT, "odd": 3}
    assert Each(factor=3)([1, 2]) == [3, 6]
    assert Scaled(factor=3).map([1, 2]) == [3, 6]
    assert Gathered()(1) == [1]


def test_an_async_node_gives_its_value_also_where_a_loop_runs():
    async def cell() -> Any:
        return Halved()(8)

    assert Halved()(8) == 4
    assert asyncio.run(cell()) == 4


def test_outside_a_flow_a_value_that_does_not_fit_is_refused():
    with pytest.raises(ConnectorError, match="'number'"):
        Scaled()("two")
    with pytest.raises(ConnectorError, match="needs a value at 'number'"):
        Scaled()()


def test_outside_a_flow_too_there_must_be_a_list_to_go_through():
    for call in (lambda: Each()(5), lambda: Scaled().map("12")):
        with pytest.raises(ConnectorError, match=r"runs for each item at 'number', so that must be a list, not "):
            call()


def test_outside_a_flow_an_error_shows_the_users_own_code_below_the_call():
    with pytest.raises(ValueError, match="can't be labelled") as caught:
        Labelled()("broken")
    names = [each.name for each in traceback.extract_tb(caught.value.__traceback__)]
    assert names[1:] == ["__call__", "execute"]


def test_what_a_branch_left_out_skips_what_needs_it():
    with pytest.raises(SkipTask, match="nothing came in at 'number'"):
        Scaled()(Sorted()(3)["even"])


# Code that travels, is compared, and fails


def test_the_error_of_a_node_begins_in_the_users_own_code():
    result = flow(name="etl")(lambda: Labelled()("broken")).run_local(fail_fast=False)
    frames = traceback.extract_tb(result.task_runs["labelled"].error.__traceback__)
    assert [(each.filename, each.name) for each in frames] == [(__file__, "execute")]


def test_a_secret_is_in_the_flow_by_its_name_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LABEL_KEY", "hunter2")
    draw = flow(name="etl")(lambda: Labelled(key=Secret("LABEL_KEY"))("a"))
    assert draw.spec.task("labelled").inputs["key"] == Constant({"$secret": "LABEL_KEY"})
    assert draw.run_local().value == "a-hunter2"


def test_code_that_is_pickled_is_the_same_code_where_its_class_is_found():
    code = task_of(Scaled()).code.function
    assert pickle.loads(pickle.dumps(code)) is code


def test_the_fingerprint_of_a_node_is_that_of_its_class():
    parts = fingerprint(task_of(Each()).code.function).parts
    assert parts == fingerprint(Each).parts
    assert "context.config" in parts["function Scaled.execute"]
    assert not [each for each in parts if "dagy" in each]


def test_how_a_node_is_run_is_no_part_of_its_code():
    def patient(retries: int) -> type[FlowNode]:
        class Patient(Scaled):
            task_options = {"retries": retries}  # noqa: RUF012 (as users write it)

            @classmethod
            def metadata(cls) -> NodeMetadata:
                return NodeMetadata("patient", "Patient")

        return Patient

    twice, thrice = (task_of(patient(each)()) for each in (2, 3))
    assert (twice.options.retries, thrice.options.retries) == (2, 3)
    assert fingerprint(twice.code.function) == fingerprint(thrice.code.function)


def test_nodes_that_are_not_the_users_own_differ_by_their_names():
    text, listed = (fingerprint(task_of(each()).code.function) for each in (ToText, ToList))
    assert text.digest != listed.digest
    assert text.parts["package dagy"] == listed.parts["package dagy"]


def test_a_run_that_is_resumed_does_not_run_again_what_completed():
    @task
    def broken(value: float) -> float:
        if not SEEN:
            SEEN.append("now it works")
            raise ValueError("not yet")
        return value

    etl = flow(name="etl")(lambda: broken(Scaled()(Halved()(4))))
    failed = etl.run_local(record=True, fail_fast=False)
    resumed = etl.run_local(resume=failed.run_id)
    assert resumed.value == 20
    assert {each.id for each in resumed.task_runs.values() if "earlier run" in each.state.message} == {
        "halved",
        "scaled",
    }


@pytest.mark.parametrize("is_async", [False, True])
def test_a_node_of_a_class_that_nobody_can_import_runs_in_a_process(is_async: bool):
    class Local(Halved if is_async else Scaled):  # type: ignore[misc]
        @classmethod
        def metadata(cls) -> NodeMetadata:
            return NodeMetadata(f"local_{is_async}", "Local")

    assert value_of(lambda: Local().with_options(isolation="process")(4)) == (2 if is_async else 40)


def test_the_result_of_a_node_is_kept_for_the_same_inputs_and_configuration():
    node = Scaled.with_options
    etl = flow(name="etl")(lambda factor: node(Scaled(factor=factor), cache=True)(2))
    first, again, other = (etl.run_local(factor=each) for each in (3, 3, 4))
    assert [each.value for each in (first, again, other)] == [6, 6, 8]
    assert [bool(each.task_runs["scaled"].state.message) for each in (first, again, other)] == [False, True, False]
