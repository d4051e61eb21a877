"""`%%dagy_node`: a cell becomes a node class, whose connectors and fields its own text tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dagy.errors import DefinitionError, ExportError, UnknownNodeError
from dagy.nodes import ConfigFieldType, ConnectionCardinality, DataType, definition_of, node_registry
from dagy_nb.cells import Cell, NodeCell, node_cell, read_cell
from dagy_nb.directives import parse_node
from dagy_nb.export import Export, export_module
from dagy_nb.node_cells import NodePlan, plan_node, tools_of
from tests.nb.conftest import NotebookShell


@pytest.fixture(autouse=True)
def _isolated() -> Iterator[None]:
    with node_registry.isolated():
        yield


def plan(source: str, *others: str) -> NodePlan:
    """How the first cell becomes a node, in a notebook with the others."""
    cell = node_cell(read_cell(Cell("n", source, "cell [9]")))
    assert isinstance(cell, NodeCell)
    return plan_node(cell, tools_of(read_cell(Cell(f"c{at}", each, f"cell [{at}]")) for at, each in enumerate(others)))


def exported(*sources: str) -> Export:
    cells = [Cell(f"cell-{number}", each, f"cell [{number}]") for number, each in enumerate(sources, 1)]
    return export_module(cells, name="book", source_name="book.ipynb")


def module_of(text: str) -> dict[str, Any]:
    """What a module of that text holds."""
    names: dict[str, Any] = {"__name__": "book"}
    exec(compile(text, "book.py", "exec"), names)
    return names


# What statements take and give.


def test_what_statements_read_comes_in_and_what_they_bind_last_goes_out() -> None:
    made = plan("%%dagy_node split\nclean = table.dropna()\ngood = clean[clean.ok]\nbad = clean[~clean.ok]")
    assert ([*made.takes], [*(made.gives or ())]) == (["table"], ["good", "bad"])


def test_tools_and_constants_of_other_cells_do_not_come_in() -> None:
    others = [
        "import math\nLIMIT = 3\nlimit = 4\ndef clean(x): return x",
        "%%dagy_task helper\ndef helper(): ...",
        "%%dagy_node also\nz = y",
    ]
    made = plan("%%dagy_node n\nout = clean(a) + math.pi * LIMIT + limit + sum([helper, also])", *others)
    assert [*made.takes] == ["a", "limit"]


def test_a_name_that_is_only_called_is_a_function_that_comes_from_elsewhere() -> None:
    assert [*plan("%%dagy_node n\nout = later(rows)").takes] == ["rows"]


def test_what_config_names_is_no_connector() -> None:
    made = plan(
        "%%dagy_node n --config factor:number=2 --config how:select(sum|mean)=sum\nout = rows * factor if how else 0"
    )
    assert [*made.takes] == ["rows"]
    assert made.parameters == ("rows", "how", "factor: float = 2")


def test_a_value_at_the_end_goes_out_as_result() -> None:
    assert plan("%%dagy_node n\nscaled = rows * 2\nscaled.sum()").gives is None


def test_statements_with_a_return_give_one_value() -> None:
    assert plan("%%dagy_node n\nif not rows:\n    return []\nreturn rows[:2]").gives is None


def test_a_name_shown_at_the_end_goes_out_under_its_name() -> None:
    assert [*(plan("%%dagy_node n\nscaled = rows * 2\nscaled").gives or ())] == ["scaled"]


def test_what_is_printed_still_goes_out() -> None:
    assert [*(plan("%%dagy_node n\ntotal = sum(rows)\nprint(total)").gives or ())] == ["total"]


def test_a_list_that_a_loop_fills_goes_out_and_the_loops_variable_does_not() -> None:
    assert [*(plan("%%dagy_node n\nfound = []\nfor row in rows:\n    found.append(row)").gives or ())] == ["found"]


def test_a_table_that_is_only_changed_goes_out_again() -> None:
    made = plan("%%dagy_node n\ntable['half'] = table['all'] / 2")
    assert ([*made.takes], [*(made.gives or ())]) == (["table"], ["table"])


def test_what_both_ways_of_a_try_bind_goes_out() -> None:
    made = plan("%%dagy_node n\ntry:\n    number = float(text)\nexcept ValueError:\n    number = None")
    assert ([*(made.gives or ())], made.optional) == (["number"], frozenset())


def test_names_with_an_underscore_stay_inside() -> None:
    assert [*(plan("%%dagy_node n\n_half = rows / 2\nout = rows * 2").gives or ())] == ["out"]


def test_a_cell_that_only_acts_gives_nothing_unless_it_ends_with_what_came_in() -> None:
    assert plan("%%dagy_node n\nprint(rows)").gives == {}
    assert plan("%%dagy_node n\nprint(rows)\nrows").gives is None


def test_the_two_ways_of_an_if_are_a_branch() -> None:
    made = plan("%%dagy_node n\nif len(rows) > 2:\n    many = rows\nelse:\n    few = rows")
    assert [*(made.gives or ())] == sorted(made.optional, reverse=True) == ["many", "few"]


def test_gives_and_takes_say_it_otherwise() -> None:
    made = plan("%%dagy_node n --gives half:number,rows --takes rows:dataframe|list\nhalf = len(rows) / 2\nlast = half")
    assert made.takes == {"rows": ("dataframe", "list")}
    assert made.gives == {"half": ("number",), "rows": ()}


def test_the_types_that_the_text_is_certain_of_are_known() -> None:
    made = plan("%%dagy_node n\ntold = f'{rows}'\nby_name = {'a': rows}\nunsure = rows[0]")
    assert made.gives == {"told": ("string",), "by_name": ("object",), "unsure": ()}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("%%dagy_node\nx = rows", "cell [9]: the node has no name; write %%dagy_node NAME"),
        ("%%dagy_node n --config facto:number=2\nx = rows * factor", "reads no 'facto'; did you mean 'factor'?"),
        ("%%dagy_node n --takes row:list\nx = rows", "--takes 'row': the cell reads no 'row'; did you mean 'rows'?"),
        ("%%dagy_node n --gives y\nx = rows", "--gives 'y': the cell binds no 'y'"),
        ("%%dagy_node --config n:integer=2\ndef f(rows): ...", "the function 'f' has no parameter 'n'"),
        ("%%dagy_node n\n", "has %%dagy_node but no code"),
        ("%%dagy_node other\nclass Own(FlowNode): ...", "'Own' says itself what it is called"),
    ],
)
def test_what_can_be_no_node_is_told_with_the_way_out(source: str, told: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        plan(source)
    assert told in str(raised.value)


# The first line.


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("factor:number=2", ("factor", ConfigFieldType.NUMBER, 2)),
        ("factor=2.5", ("factor", ConfigFieldType.NUMBER, 2.5)),
        ("deep:boolean=true", ("deep", ConfigFieldType.BOOLEAN, True)),
        ("name", ("name", ConfigFieldType.STRING, None)),
        ("how:select(sum|mean)=sum", ("how", ConfigFieldType.SELECT, "sum")),
        ("some:multi_select(a|b)=a|b", ("some", ConfigFieldType.MULTI_SELECT, ["a", "b"])),
        ("token:secret", ("token", ConfigFieldType.SECRET, None)),
        ('more:json={"a": [1]}', ("more", ConfigFieldType.JSON, {"a": [1]})),
        ("sep:string==", ("sep", ConfigFieldType.STRING, "=")),
    ],
)
def test_a_field_is_written_as_name_type_and_default(text: str, field: tuple[object, ...]) -> None:
    (found,) = parse_node(f"n --config '{text}'").fields
    assert (found.id, found.type, found.default) == field


def test_a_number_has_bounds() -> None:
    (found,) = parse_node("n --config 'n:integer(1..9)=3'").fields
    assert (found.minimum, found.maximum) == (1, 9)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("n --config factor:numbr=2", "'numbr' is no field type; did you mean 'number'?"),
        ("n --config a:number=x", "'x' is not a number"),
        ("n --config how:select=sum", "has no choices"),
        ("n --config token:secret=abc", "a secret, whose value never stands in a notebook"),
        ("n --config a --config a", "--config 'a' is given twice"),
        ("n --takes rows:list --config rows", "'rows' comes in (--takes) or is set (--config), not both"),
        ("n --takes rows:frame", "'frame' is no data type; did you mean 'dataframe'?"),
        ("n --confg a", "%%dagy_node has no option '--confg'; did you mean '--config'?"),
    ],
)
def test_a_first_line_that_is_wrong_says_how_it_is_written(line: str, told: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        parse_node(line)
    assert told in str(raised.value)


# In a notebook.


def test_statements_become_a_node_that_runs_where_it_is_called(notebook: NotebookShell) -> None:
    ran = notebook.ok("%%dagy_node scale --config factor:number=2\nscaled = [factor * each for each in rows]")
    assert ran.text == "node 'scale' takes rows and gives scaled: list; configured by factor"
    assert notebook.ok("scale(factor=3)([1, 2])").value == [3, 6]
    assert notebook.ok("scale()(rows=[1])").value == [2]
    assert node_registry.get("scale") is notebook.names["scale"]


def test_a_function_becomes_a_node_with_fields_of_its_defaults(notebook: NotebookShell) -> None:
    notebook.ok(
        "%%dagy_node top --category transform --label 'Top rows'\n"
        "def top_rows(rows: list, n: int = 2) -> list:\n    return rows[:n]"
    )
    definition = definition_of(node_registry.get("top"))
    assert (definition.metadata.label, definition.metadata.category) == ("Top rows", "transform")
    assert [(each.id, each.type, each.default) for each in definition.fields] == [("n", ConfigFieldType.INTEGER, 2)]
    assert [each.data_types for each in definition.inbound] == [{DataType.LIST}]
    assert notebook.ok("top_rows(n=1)([4, 5])").value == [4]


CLASS = """
from dagy.nodes import ConnectorDef, ConnectorDirection, ExecutionResult, FlowNode, NodeMetadata

class Doubled(FlowNode):
    @classmethod
    def metadata(cls): return NodeMetadata("doubled", "Doubled")
    @classmethod
    def connectors(cls):
        n = ConnectorDef("n", "N", ConnectorDirection.INBOUND, required=True)
        return [n, ConnectorDef("twice", "Twice", ConnectorDirection.OUTBOUND)]
    def execute(self, context):
        return ExecutionResult.from_success({"twice": 2 * context.get_upstream_data("n")})
"""


def test_a_class_is_the_node_itself(notebook: NotebookShell) -> None:
    assert notebook.ok(f"%%dagy_node{CLASS}").text == "node 'doubled' takes n and gives twice"
    assert notebook.ok("Doubled()(4)").value == 8


def test_a_node_that_gives_nothing_says_so(notebook: NotebookShell) -> None:
    assert notebook.ok("%%dagy_node tell\nprint(rows)").text == "node 'tell' takes rows and gives nothing"


def test_a_class_that_is_no_node_is_told_in_one_line(notebook: NotebookShell) -> None:
    told = notebook.fails("%%dagy_node\nclass Own:\n    def execute(self, context): ...")
    assert "'Own' is no node; write class Own(FlowNode)" in told
    assert "Traceback" not in told
    assert "not kept as a node: the cell failed" in told


def test_a_cell_run_again_replaces_its_node(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_node scale\nout = 2 * n", "a")
    old = notebook.names["scale"]
    notebook.ok("%%dagy_node scale\nout = 3 * n", "a")
    assert notebook.ok("scale()(1)").value == 3
    assert node_registry.get("scale") is notebook.names["scale"] is not old


def test_a_node_that_is_renamed_leaves_its_old_type(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_node scale\nout = 2 * n", "a")
    notebook.ok("%%dagy_node grow\nout = 2 * n", "a")
    with pytest.raises(UnknownNodeError):
        node_registry.get("scale")


def test_a_class_may_be_renamed_and_keep_its_type(notebook: NotebookShell) -> None:
    notebook.ok(CLASS, "a")
    notebook.ok(CLASS.replace("Doubled(", "Twice("), "a")
    assert node_registry.get("doubled") is notebook.names["Twice"]


def test_a_cell_that_fails_keeps_its_older_node(notebook: NotebookShell) -> None:
    notebook.ok(CLASS, "a")
    notebook.fails(f"{CLASS}\n1/0", "a")
    assert node_registry.get("doubled").__name__ == "Doubled"


def test_a_node_that_is_forgotten_is_not_registered_any_more(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_node scale\nout = 2 * n")
    notebook.ok("%dagy_reset scale")
    with pytest.raises(UnknownNodeError):
        node_registry.get("scale")


def test_the_type_of_another_cells_node_can_not_be_taken(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_node scale\nout = 2 * n", "a")
    told = notebook.fails("%%dagy_node other --type scale\nout = 3 * n", "b")
    assert "'scale'" in told
    assert "Traceback" not in told
    assert notebook.ok("scale()(1)").value == 2


def test_a_branch_leaves_out_the_way_that_is_not_taken(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_node sized\nif len(rows) > 2:\n    many = rows\nelse:\n    few = rows")
    outbound = definition_of(node_registry.get("sized")).outbound
    assert [each.cardinality for each in outbound] == [ConnectionCardinality.ZERO_OR_ONE] * 2
    notebook.ok("from dagy import flow, task\n@task\ndef count(rows): return len(rows)")
    notebook.ok(
        "@flow\ndef sorting(rows: list):\n    ways = sized()(rows)\n"
        "    many = count.with_options(name='many')(ways['many'])\n"
        "    return [many, count.with_options(name='few')(ways['few'])]"
    )
    notebook.ok("import dagy_nb\nrun = dagy_nb.run('sorting', rows=[1, 2, 3])")
    states = {name: each.state.type.value for name, each in notebook.names["run"].wait().task_runs.items()}
    assert states == {"sized": "COMPLETED", "many": "COMPLETED", "few": "SKIPPED"}


def test_nodes_and_task_cells_are_in_one_flow(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_task\nrows = [1, 2, 3]")
    notebook.ok("%%dagy_node scale --config factor:number=2\nscaled = [factor * each for each in rows]")
    notebook.ok("%%dagy_flow report\nsum_of(scale(factor=10)(rows()))", "flow")
    notebook.ok("from dagy import task\n@task\ndef sum_of(numbers): return sum(numbers)")
    notebook.ok("r = %dagy_run report")
    assert notebook.ok("r.wait().value").value == 60


def test_the_error_of_a_node_names_the_cells_line(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_node scale\n\nout = 1 / n")
    assert "out = 1 / n" in notebook.fails("scale()(0)")


def test_help_defines_nothing(notebook: NotebookShell) -> None:
    assert "Make this cell a node" in notebook.ok("%%dagy_node -h\ndef f(rows): ...").text
    with pytest.raises(UnknownNodeError):
        node_registry.get("f")
    assert "--config FIELD" in str(notebook.shell.magics_manager.magics["line"]["dagy_node"].__doc__)


# In production code.

FLOW = "%%dagy_flow report\nscale(factor=3)(start())"
START = "%%dagy_task start\n[1, 2]"


def test_a_node_is_exported_as_a_readable_function() -> None:
    text = exported(
        "%%dagy_node scale --config factor:number=2\nscaled = [factor * each for each in rows]", START, FLOW
    ).text
    assert '@node(outputs={"scaled": "list"})\ndef scale(rows, factor: float = 2):' in text
    assert "    return scaled\n" in text
    assert "from dagy.nodes import node\n" in text
    assert module_of(text)["report"].run_local().value == [3, 6]


def test_what_the_live_node_is_the_exported_one_is(notebook: NotebookShell) -> None:
    sources = [
        "import math\nSTEP = 2\ndef half(x): return x / STEP",
        "%%dagy_node steps --type lib.steps --retries 2 --config 'n:integer(1..9)=3' --config how:select(up|down)=up\n"
        "if how == 'up':\n    up = [half(each) for each in rows][:n]\nelse:\n    down = math.floor(rows[0])",
        "%%dagy_flow report\nsteps(n=1)(rows=[1])['up']",
    ]
    for each in sources:
        notebook.ok(each)
    live = definition_of(node_registry.get("lib.steps"))
    node_registry.unregister("lib.steps")
    names = module_of(exported(*sources).text)
    made = definition_of(names["steps"])
    assert (made.metadata, made.inbound, made.outbound, made.fields) == (
        live.metadata,
        live.inbound,
        live.outbound,
        live.fields,
    )
    assert names["steps"].task_options == notebook.names["steps"].task_options == {"retries": 2}
    assert names["report"].run_local().value == [0.5]


def test_a_class_is_exported_as_it_is() -> None:
    text = exported(f"%%dagy_node{CLASS}", "%%dagy_flow f\nDoubled()(4)").text
    assert "class Doubled(FlowNode):" in text
    assert module_of(text)["f"].run_local().value == 8


def test_names_that_hide_the_decorator_are_written_in_full() -> None:
    text = exported(
        "%%dagy_node sized\nif rows:\n    a = 1\nelse:\n    b = 2",
        "node = 3",
        "%%dagy_flow f\nsized()(rows=[node])['a']",
    ).text
    assert "@dagy.nodes.node(" in text
    assert "dagy.nodes.ConnectorDef(" in text
    assert module_of(text)["f"].run_local().value == 1


def test_a_notebook_of_nodes_alone_is_a_module_of_nodes() -> None:
    assert "def scale(" in exported("%%dagy_node scale\nout = 2 * n").text


def test_a_node_that_no_flow_needs_is_left_out() -> None:
    export = exported("%%dagy_node scale\nout = 2 * n", START, "%%dagy_flow f\nstart()")
    assert "scale" not in export.text
    assert [each.reason for each in export.left_out] == ["no flow needs `scale`"]


def test_a_node_that_can_not_work_outside_the_notebook_is_refused() -> None:
    with pytest.raises(ExportError) as raised:
        exported("%%dagy_node scale\nout = missing(n)", START, "%%dagy_flow f\nscale()(start())")
    assert "reads 'missing', which no cell defines" in str(raised.value)


def test_a_run_again_repeats_no_choice_that_was_made(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_node sized\nif len(rows) > 2:\n    many = rows\nelse:\n    few = rows")
    notebook.ok(
        "from dagy import SkipTask, flow, task\n"
        "@task\ndef idle():\n    raise SkipTask('nothing to do')\n"
        "@flow\ndef sorting(rows: list):\n    return sized()(rows)['many'], idle()"
    )
    ran = notebook.ok("import dagy_nb\nrun = dagy_nb.run('sorting', rows=[1, 2, 3])\nagain = dagy_nb.rerun()")
    states = {name: each.state.type.value for name, each in notebook.names["again"].wait().task_runs.items()}
    assert states == {"sized": "COMPLETED", "idle": "SKIPPED"}
    assert "reused 2 results" in ran.text


def test_an_edit_that_fails_is_told_under_the_error(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_node scale\nout = 2 * n", "a")
    told = notebook.fails("%%dagy_node scale --gives nothing\nout = 3 * n", "a")
    assert "the node 'scale' stays what it was before this edit: the cell failed" in told
    assert notebook.ok("scale()(1)").value == 2


def test_a_connectors_name_is_no_name_that_another_cell_makes_too_late(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_node scale --config factor:number=2\nout = factor * n", "a")
    notebook.ok("n = 1\nfactor = 3", "b")
    assert "every cell is as it ran last" in repr(notebook.ok("%dagy_check").value)
