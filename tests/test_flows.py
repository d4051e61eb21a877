"""`@flow`: what is drawn, what is refused, and how it is run."""

from __future__ import annotations

import inspect
import threading
from typing import Any

import pytest

from dagy import Executor, Flow, RunContext, State, StateType, Static, TaskOutput, flow, task
from dagy.errors import DefinitionError, DrawingError, GraphError, ParameterError, TaskFailedError
from dagy.spec import Constant, FlowSpec, FromParameter, FromTask, ListOf, ParameterSpec


@task
def load(path: str) -> list[int]:
    return [1, 2, 3]


@task
def total(rows: list[int], scale: int = 1) -> int:
    return sum(rows) * scale


@flow(version="1.2.0")
def etl(path: str, scale: int = 10):
    """Sum the rows of a file."""
    return total(load(path), scale)


# The decorator


def test_bare_and_called_make_the_same_flow():
    bare, called = flow(etl.function), flow()(etl.function)
    assert isinstance(bare, Flow)
    assert bare.spec == called.spec


def test_name_version_and_description_have_defaults():
    bare = flow(etl.function)
    assert (bare.name, bare.version, bare.description) == ("etl", "latest", "Sum the rows of a file.")


def test_name_version_and_description_can_be_given():
    named = flow(name="sums", version="2", description="Sums.")(etl.function)
    assert (named.name, named.version, named.description) == ("sums", "2", "Sums.")


def test_a_flow_looks_like_its_function():
    assert etl.__name__ == "etl"
    assert inspect.signature(etl) == inspect.signature(etl.function)
    assert repr(etl) == "<Flow 'etl' (path: 'str', scale: 'int' = 10)>"


async def later() -> None: ...


def pages():
    yield 1


@pytest.mark.parametrize("function", [later, pages])
def test_an_async_function_or_a_generator_can_not_draw(function: Any):
    with pytest.raises(DefinitionError, match="its function only draws the graph, so it can't be async or a generator"):
        flow(function)


@pytest.mark.parametrize("version", ["", " ", 1, None])
def test_a_version_must_be_a_text(version: Any):
    with pytest.raises(DefinitionError, match=f"flow 'etl': version must be a text, not {version!r}"):
        flow(version=version)(etl.function)


def test_what_is_no_function_can_not_be_a_flow():
    with pytest.raises(DefinitionError, match="@flow goes above a function, not above 'etl'"):
        flow("etl")  # type: ignore[call-overload]


@pytest.mark.parametrize("function", [lambda max_workers: None, lambda fail_fast=True: None])
def test_a_parameter_may_not_have_a_name_that_run_local_takes_itself(function: Any):
    (name,) = inspect.signature(function).parameters
    with pytest.raises(DefinitionError, match=f"flow 'clash': run_local takes {name!r} itself; rename the parameter"):
        flow(name="clash")(function)


def test_parameters_are_given_by_name_so_each_must_have_one():
    with pytest.raises(DefinitionError, match=r"parameters are given by name, so '\*rows' can't be one of them"):
        flow(name="f")(lambda *rows: None)


def test_a_parameter_may_be_called_self():
    @flow
    def odd(self: str):
        return load(self)

    assert odd.run_local(self="x.csv").value == [1, 2, 3]
    assert odd("x.csv") == [1, 2, 3]


# Drawing


def test_the_spec_is_the_whole_graph_before_anything_runs():
    spec = etl.spec
    assert (spec.name, spec.version, spec.description) == ("etl", "1.2.0", "Sum the rows of a file.")
    assert spec.parameters == (
        ParameterSpec("path", "str"),
        ParameterSpec("scale", "int", required=False, default=10),
    )
    assert spec.needs == {"load": (), "total": ("load",)}
    assert spec.task("load").inputs == {"path": FromParameter("path")}
    assert spec.task("total").inputs == {"rows": FromTask("load"), "scale": FromParameter("scale")}
    assert spec.result == FromTask("total")


def test_drawing_twice_gives_the_same_spec():
    assert etl.spec == etl.spec
    assert etl.spec.model_dump_json() == etl.spec.model_dump_json()


def test_a_fan_out_of_one_output_to_three_tasks():
    @flow
    def fan_out():
        rows = load("x.csv")
        for scale in range(3):
            total(rows, scale)

    assert fan_out.spec.edges == (("load", "total"), ("load", "total-2"), ("load", "total-3"))


def test_a_fan_in_of_a_list_of_outputs():
    @task
    def combine(parts: list[int]) -> int:
        return sum(parts)

    @flow
    def fan_in():
        return combine([total(load(each)) for each in "ab"])

    assert fan_in.spec.needs["combine"] == ("total", "total-2")
    assert fan_in.run_local().value == 12


def test_a_diamond():
    @task
    def clean(rows: list[int]) -> int:
        return len(rows)

    @task
    def enrich(rows: list[int]) -> int:
        return max(rows)

    @task
    def combine(parts: list[int]) -> list[int]:
        return parts

    @flow
    def diamond():
        rows = load("x.csv")
        return combine([clean(rows), enrich(rows)])

    assert diamond.spec.needs == {"load": (), "clean": ("load",), "enrich": ("load",), "combine": ("clean", "enrich")}
    assert diamond.run_local(max_workers=2).value == [3, 3]


def test_a_flow_may_return_a_literal_or_nothing():
    assert flow(name="f")(lambda: [1, 2]).spec.result == Constant([1, 2])
    assert flow(name="f")(lambda: None).spec.result is None


def test_a_flow_may_return_containers_of_outputs():
    assert flow(name="f")(lambda: [load("a"), 1]).spec.result == ListOf((FromTask("load"), Constant(1)))


def test_what_the_flows_function_raises_is_named_with_its_place():
    def broken() -> None:
        raise LookupError("no config")

    line = inspect.getsourcelines(broken)[1] + 1
    with pytest.raises(
        DrawingError, match=rf"flow 'broken' can't be drawn: LookupError: no config \(line {line} of "
    ) as caught:
        assert flow(broken).spec
    assert isinstance(caught.value.__cause__, LookupError)


def test_a_flow_that_could_not_be_drawn_leaves_no_trace_behind():
    def broken() -> None:
        raise LookupError("no config")

    with pytest.raises(DrawingError):
        assert flow(broken).spec
    assert load("x.csv") == [1, 2, 3]


def test_a_flow_drawn_in_several_threads_at_once_is_drawn_right_in_each():
    specs: list[Any] = []
    together = threading.Barrier(4)

    @flow
    def slow(path: str):
        together.wait(10)
        rows = load(path)
        together.wait(10)
        return total(rows)

    threads = [threading.Thread(target=lambda: specs.append(slow.spec), daemon=True) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(10)
    assert specs == [specs[0]] * 4
    assert [task.id for task in specs[0].tasks] == ["load", "total"]


# Flows in flows


@flow
def sums(path: str, scale: int = 2):
    return total(load(path), scale)


def test_a_flow_called_in_a_flow_is_a_named_group_of_its_tasks():
    @flow
    def outer():
        return total([sums("x.csv"), 1])

    spec = outer.spec
    assert {each.id: each.group for each in spec.tasks} == {"load": ("sums",), "total": ("sums",), "total-2": ()}
    assert spec.task("total-2").needs == ("total",)
    assert outer.run_local().value == 13


def test_groups_may_be_nested():
    @flow
    def middle():
        return sums("x.csv")

    @flow
    def outer():
        return middle()

    assert {each.group for each in outer.spec.tasks} == {("middle", "sums")}


def test_a_flow_in_a_flow_gives_its_caller_what_it_returns():
    kinds: list[type] = []

    @flow
    def outer():
        kinds.append(type(sums("x.csv")))

    assert outer.spec.name == "outer"
    assert kinds == [TaskOutput]


def test_an_outer_parameter_may_be_passed_on():
    @flow
    def outer(path: str):
        return sums(path, scale=3)

    assert outer.spec.task("load").inputs == {"path": FromParameter("path")}
    assert outer.run_local(path="x").value == 18


def test_an_output_can_not_shape_a_flow_in_a_flow():
    @flow
    def shaped(count: Static[int]):
        return [load(str(each)) for each in range(count)]

    @flow
    def outer():
        return shaped(total([1]))

    with pytest.raises(
        GraphError, match="flow 'shaped': 'count' shapes the graph, so it can't be the output of a task"
    ):
        assert outer.spec


@pytest.mark.parametrize(
    "use", [lambda: sums.run_local(path="x"), lambda: sums.start_local(path="x"), lambda: sums.spec]
)
def test_a_flow_can_not_be_run_while_another_is_drawn(use: Any):
    with pytest.raises(
        GraphError, match="flow 'sums' can't be drawn or run while another flow is drawn; call it instead"
    ):
        assert flow(name="outer")(use).spec


def test_a_flow_that_calls_itself_without_end_is_refused():
    @flow
    def endless():
        return endless()

    with pytest.raises(GraphError, match="flow 'endless' has no end: it calls itself"):
        assert endless.spec


# Parameters of a run


def test_parameters_are_checked_and_converted():
    seen: list[Any] = []

    @task
    def look(value: Any) -> None:
        seen.append(value)

    @flow
    def takes(limit: int):
        look(limit)

    takes.run_local(limit="5")
    assert seen == [5]


def test_parameters_are_passed_on_as_they_are_without_validation():
    @flow(validate_parameters=False)
    def takes(limit: int):
        return total([1], limit)

    with pytest.raises(TaskFailedError, match="'scale' can't be 'x'"):
        takes.run_local(limit="x")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "flow 'etl' needs a value for 'path'"),
        ({"pth": "x"}, "flow 'etl' has no input 'pth'; did you mean 'path'?"),
        ({"path": "x", "scale": "much"}, "flow 'etl': 'scale' can't be 'much' (str): input should be a valid integer"),
    ],
)
def test_parameters_that_do_not_fit_are_named_before_anything_runs(given: dict[str, Any], message: str):
    for begin in (etl.run_local, etl.start_local):
        with pytest.raises(ParameterError) as caught:
            begin(**given)
        assert str(caught.value).startswith(message)


def test_a_part_of_a_parameter_is_a_reference_too():
    @flow
    def takes(config: dict[str, Any]):
        return total(config["rows"], config["scales"][1])

    assert takes.run_local(config={"rows": [1, 2], "scales": [0, 5]}).value == 15


def test_a_call_outside_a_flow_runs_it_and_gives_its_value():
    assert etl("x.csv", scale=2) == 12


# Static parameters


@flow
def shaped(count: Static[int], scale: Static[int] = 2, path: str = "x"):
    return [total(load(path), scale) for _ in range(count)]


def test_a_static_parameter_shapes_the_graph_and_is_kept_in_the_spec():
    spec = shaped.program(count=3).spec
    assert len(spec.tasks) == 6
    assert spec.static == {"count": 3, "scale": 2}
    assert [each.static for each in spec.parameters] == [True, True, False]
    assert [each.annotation for each in spec.parameters] == ["Static[int]", "Static[int]", "str"]


def test_a_static_parameter_is_given_to_a_run_like_any_other():
    assert shaped.run_local(count="2").value == [12, 12]
    assert shaped(1) == [12]


def test_without_a_value_for_a_static_parameter_there_is_no_spec():
    with pytest.raises(
        ParameterError, match=r"'count' shapes the graph and has no default; give it a value: program\(count"
    ):
        assert shaped.spec


def test_a_static_parameter_must_be_what_json_can_hold():
    with pytest.raises(
        ParameterError, match=r"'count' shapes the graph and is part of what the flow is, so it must be"
    ):
        shaped.program(count={1, 2})


def test_a_flow_that_can_not_be_drawn_says_so_in_a_notebook():
    assert "'count' shapes the graph" in shaped._repr_mimebundle_()["text/plain"]

    @flow
    def counted(rows):
        return len(rows)

    bundle = counted._repr_mimebundle_()
    assert bundle["text/plain"].startswith("<Flow 'counted' (rows)>: parameter 'rows' has no value yet")
    assert bundle["text/html"].startswith("<div>&lt;Flow")


# Running


def test_run_local_prints_as_a_summary():
    assert str(etl.run_local(path="x.csv")).startswith("etl: COMPLETED in ")


def test_start_local_returns_at_once_and_the_handle_waits():
    assert etl.start_local(path="x.csv").wait(10).value == 60


def test_fail_fast_raises_and_otherwise_the_result_says_failed():
    @task
    def fails() -> None:
        raise ValueError("no rows")

    broken = flow(name="broken")(lambda: [fails(), load("x")])
    with pytest.raises(TaskFailedError):
        broken.run_local(fail_fast=True)
    result = broken.run_local(fail_fast=False)
    assert result.status is StateType.FAILED
    assert result["load"] == [1, 2, 3]


def test_a_flow_says_itself_that_a_failure_does_not_end_its_runs_and_a_run_may_overrule_it():
    @task
    def fails() -> None:
        raise ValueError("no rows")

    broken = flow(name="broken", fail_fast=False)(lambda: [fails(), load("x")])
    assert broken.run_local()["load"] == [1, 2, 3]
    with pytest.raises(TaskFailedError):
        broken.run_local(fail_fast=True)
    assert FlowSpec.model_validate_json(broken.spec.model_dump_json()).options.fail_fast is False
    assert "fail_fast" not in flow(name="usual")(lambda: load("x")).spec.model_dump()["options"]
    with pytest.raises(DefinitionError, match="fail_fast must be True or False, not 'no'"):
        flow(name="broken", fail_fast="no")(lambda: None)


def test_hooks_of_a_flow_are_called_once_a_run():
    seen: list[str] = []

    def note(context: RunContext, state: State) -> None:
        seen.append(f"{context.name} {state.type:10s}")

    hooked = flow(on_running=[note], on_completion=[note], on_failure=[note])(etl.function)
    hooked.run_local(path="x")
    assert seen == ["etl RUNNING   ", "etl COMPLETED "]


# Pictures


def test_a_flow_shows_its_graph_in_a_notebook():
    bundle = etl._repr_mimebundle_()
    assert "<svg" in bundle["text/html"] or "image/svg" in bundle["text/html"]
    assert "load" in bundle["text/plain"]


def test_a_flow_can_be_drawn_as_svg_text_and_dot():
    assert etl.to_svg().lstrip().startswith("<svg")
    assert "total" in etl.to_text()
    assert etl.to_dot().startswith("digraph")


def test_a_flow_says_where_it_runs_and_how_much_it_needs():
    made = flow(executor=Executor("large", memory_mb=6_000))(etl.function)
    assert (made.spec.options.executor, made.spec.options.memory_mb) == ("large", 6_000)
    with pytest.raises(DefinitionError, match=r"flow 'etl': executor must be one of .*, not 'larg'; did you mean"):
        flow(executor="larg")(etl.function)
    with pytest.raises(DefinitionError, match=r"flow 'etl': memory_mb must be a whole number of megabytes"):
        flow(memory_mb=-1)(etl.function)
