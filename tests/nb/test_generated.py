import ast
import asyncio
import traceback
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagy_nb.cells import Cell, FlowCell, TaskCell, flow_cell, read_cell, task_cell
from dagy_nb.generated import (
    arguments_source,
    flow_function_ast,
    flow_function_source,
    flow_source,
    task_function_ast,
    task_function_source,
)
from dagy_nb.joining import JoinedTask, join


def cells(*sources: str) -> list[TaskCell]:
    return [
        task_cell(read_cell(Cell(f"id-{number}", f"%%dagy_task {source}", f"cell {number}")))
        for number, source in enumerate(sources, 1)
    ]


def joined(*sources: str, defined: tuple[str, ...] = ()) -> tuple[JoinedTask, ...]:
    return join(cells(*sources), flow="etl", defined=defined)


def source(body: str) -> str:
    return task_function_source(joined(body)[0])


def flow(text: str) -> FlowCell:
    return flow_cell(read_cell(Cell("id", text, "cell 1")))


def run(tasks: tuple[JoinedTask, ...], namespace: dict[str, Any], *, trees: bool) -> Any:
    """What the flow of plain functions returns, made from trees as in the notebook or from text as in the module."""
    for each in tasks:
        code = task_function_ast(each) if trees else task_function_source(each)
        exec(compile(code, f"<{each.cell.cell.label}>", "exec"), namespace)
    exec(flow_source(tasks, "etl"), namespace)
    return namespace["etl"]()


def test_a_task_that_waits_without_taking_a_value_says_so_in_the_flow() -> None:
    tasks = joined("load\ndf = [1]", "count\nn = len(df)", "extend\ndf += [2]")

    assert flow_source(tasks, "etl") == (
        "def etl():\n"
        "    df = load()\n"
        "    n = count(df)\n"
        "    df_output = extend.after(n)(df)\n"
        '    return {"n": n, "df": df_output}\n'
    )


# -- task functions ---------------------------------------------------------------------------


def test_comments_and_blank_lines_stay() -> None:
    assert source("clean\n\n# first\nx = 1\n\n\n# second\nfor i in [x]:\n    # inside\n    y = i  # end\n# last") == (
        "def clean():\n    # first\n    x = 1\n\n\n    # second\n    for i in [x]:\n        # inside\n"
        "        y = i  # end\n    # last\n    return x\n"
    )


def test_a_docstring_becomes_the_functions() -> None:
    found = ast.parse(source('clean\n"""What it does.\n\nAnd how."""\nx = 1')).body[0]

    assert isinstance(found, ast.FunctionDef)
    assert ast.get_docstring(found, clean=False) == "What it does.\n\nAnd how."


@pytest.mark.parametrize(
    ("body", "last"),
    [
        ("x = 1\ny = 2", "return y"),
        ("x = 1\nx + 1", "return x + 1"),
        ("x = 1\n(x +\n 1)", "    1)"),
        ("x = 1\nx;", "return x"),
        ("x = 1\nprint(x)", "return x"),
        ("x = 1\ndisplay(x)", "return x"),
        ("x = [1]\nx.sort()", "return x"),
        ("x = 1\nif x:\n    y = 2", "return x"),
        ("x = 1\ndel x\nprint(1)", "print(1)"),
    ],
)
def test_a_cell_nobody_reads_returns_its_last_value_or_the_last_name_it_surely_binds(body: str, last: str) -> None:
    assert source(f"t\n{body}").splitlines()[-1].strip() == last.strip()


def test_a_name_shown_at_the_end_is_dropped_when_others_take_it() -> None:
    first, _ = joined("a\nx = 1\nx", "b\ny = x")

    assert task_function_source(first) == "def a():\n    x = 1\n    return x\n"


def test_the_names_that_others_take_are_returned_by_key() -> None:
    first, *_ = joined("a\nx, y = 1, 2", "b\nz = x", "c\nw = y")

    assert task_function_source(first).endswith('    return {"x": x, "y": y}\n')


def test_a_function_cell_is_kept_as_it_is() -> None:
    text = "@functools.cache\ndef clean(raw: list = LIMIT, *, n=3) -> list:\n    # why\n    return raw\n"

    assert source(f"\nimport functools\n\n{text}") == text


def test_a_name_of_the_module_that_is_rebound_is_read_first() -> None:
    (task,) = joined("t\nlimit = limit + 1\nmax = max(1, limit)")
    namespace: dict[str, Any] = {"limit": 4}

    assert run((task,), namespace, trees=True) == 5
    assert run((task,), namespace, trees=False) == 5


def test_await_makes_an_async_function() -> None:
    (task,) = joined("t\nx = await f(2)\n[i async for i in g(x)]")

    async def f(x: int) -> int:
        return x + 1

    async def g(x: int) -> Any:
        yield x

    for code in (task_function_ast(task), task_function_source(task)):
        namespace: dict[str, Any] = {"f": f, "g": g}
        exec(compile(code, "<cell>", "exec"), namespace)
        assert asyncio.run(namespace["t"]()) == [3]


STRINGS = [
    'x = """a\n  b\n"""',
    'x = f"""a\n  {1 +\n 2} b\n"""',
    "x = 'a\\\n  b'",
    "x = b'''\n a\n'''",
    'x = ("a"\n "b")',
    'def f():\n    """Doc\n  odd\n    """\n    return """\n r\n"""\nx = f.__doc__, f()',
    'x = {\n  "a": """\nb\n""",\n}',
    'x = """a\n"""; y = """\n b"""',
    'x = [\n"""\n\tb""" for i in [1]]',
]


@pytest.mark.parametrize("body", STRINGS)
def test_text_over_several_lines_keeps_its_value(body: str) -> None:
    namespace: dict[str, Any] = {}
    exec(body, namespace)
    (task,) = joined(f"t\n{body}\nresult = x")

    assert run((task,), {}, trees=False) == namespace["x"]


def test_the_tree_and_the_text_of_a_task_mean_the_same() -> None:
    for task in joined("a\nimport math\n# c\nx, y = math.pi, '''\n q'''\nx", "b\nz = x\nprint(z)", "c\ny = y\ny + ''"):
        text = ast.parse(task_function_source(task))

        assert ast.dump(task_function_ast(task)) == ast.dump(text)


def test_a_traceback_points_at_the_cells_own_line() -> None:
    (task,) = joined("t\n\nx = 1\n# comment\ny = x / 0")
    namespace: dict[str, Any] = {}
    exec(compile(task_function_ast(task), "<cell 1>", "exec"), namespace)

    with pytest.raises(ZeroDivisionError) as caught:
        namespace["t"]()

    (frame,) = [each for each in traceback.extract_tb(caught.tb) if each.filename == "<cell 1>"]
    assert (frame.lineno, frame.name) == (5, "t")
    assert namespace["t"].__code__.co_firstlineno == 1


def test_a_future_import_stays_at_the_top() -> None:
    (task,) = joined("t\nfrom __future__ import annotations\ndef f(x: Unknown): return x\ny = f(1)")

    assert run((task,), {}, trees=True) == 1
    assert "__future__" not in task_function_source(task)


# -- flows ------------------------------------------------------------------------------------


def test_the_joined_flow_reads_like_a_hand_written_one() -> None:
    tasks = joined(
        "\ndef load(path: str = 'p.csv', *, limit=None): ...",
        "clean\ncleaned = load.dropna()",
        "split\ntrain, test = cleaned",
        "\nmodel = train.fit()",
        "score\nreport = model.score(test)",
    )

    assert flow_source(tasks, "quickstart") == (
        "def quickstart(path: str = 'p.csv', limit=None):\n"
        "    load_output = load(path, limit=limit)\n"
        "    cleaned = clean(load_output)\n"
        "    split_parts = split(cleaned)\n"
        '    model_output = model(split_parts["train"])\n'
        '    report = score(model_output, split_parts["test"])\n'
        "    return report\n"
    )


def test_several_values_that_nobody_takes_are_returned_by_name() -> None:
    assert flow_source(joined("load\nx = 1", "a\ny = x", "b\nz = x", "\nw = x"), "etl").endswith(
        '    return {"y": y, "z": z, "w": w_output}\n'
    )


def test_a_flow_of_statements_becomes_a_function() -> None:
    cell = flow("%%dagy_flow etl\n# begin\nraw = raw(3)\nresult = double(raw)\nresult")
    tasks: dict[str, Any] = {"raw": lambda x: x + 1, "double": lambda x: x * 2}

    assert flow_function_source(cell, "etl") == (
        'def etl():\n    raw = globals()["raw"]\n'
        "    # begin\n    raw = raw(3)\n    result = double(raw)\n    return result\n"
    )
    for code in (flow_function_source(cell, "etl"), flow_function_ast(cell, "etl")):
        namespace = dict(tasks)
        exec(compile(code, "<cell>", "exec"), namespace)
        assert namespace["etl"]() == 8


def test_a_flow_without_a_final_expression_returns_the_last_name_it_binds() -> None:
    assert flow_function_source(flow("%%dagy_flow\nraw = load()"), "etl").endswith("    return raw\n")


def test_a_flow_function_is_kept_as_it_is() -> None:
    cell = flow("%%dagy_flow\nimport os\ndef etl(n: int = 3):\n    return load(n)\n")

    assert flow_function_source(cell, "other") == "def etl(n: int = 3):\n    return load(n)\n"
    assert ast.unparse(flow_function_ast(cell, "other")).startswith("import os\n\ndef etl")


def test_options_become_keyword_arguments() -> None:
    assert arguments_source({"name": 'a "b"', "retries": 2, "retry_delay_seconds": [1, 0.5], "executor": "ecs"}) == (
        'name=\'a "b"\', retries=2, retry_delay_seconds=[1, 0.5], executor="ecs"'
    )


# -- the same values as the notebook ----------------------------------------------------------

NAMES = ("a", "b", "c")


@st.composite
def notebooks(draw: st.DrawFn) -> list[str]:
    """Statement cells, run from top to bottom, in which every name is defined before it is read."""
    known: list[str] = []
    sources: list[str] = []
    for _ in range(draw(st.integers(1, 7))):
        lines: list[str] = []
        for _ in range(draw(st.integers(1, 3))):
            target = draw(st.sampled_from(NAMES))
            value = draw(st.sampled_from(known)) if known else "[1]"
            kinds = ["{t} = list({v}) + [2]", "{t} = [x * 2 for x in {v}][:9]", "{t} = (lambda q: q + {v})([7])[:9]"]
            if known:
                kinds += ["if len({v}) % 2:\n    {t} = {v} + [3]\nelse:\n    {t} = [4]", "{t}, z = {v}[:], {v}[:1]"]
            if target in known:
                kinds += ["if len({v}) > 2:\n    {t} = [5]", "for x in {v}:\n    {t} = {t} + [x]", "{t} = {t} + {v}"]
                kinds += ["def f():\n    return {t} + {v}\n{t} = f()[:9]", "{t} = {t}[:]\n{t}.append(6)"]
            lines.append(draw(st.sampled_from(kinds)).format(t=target, v=value))
            known = [*dict.fromkeys([*known, target])]
        sources.append("\n".join(lines))
    return sources


@settings(max_examples=150, deadline=None)
@given(notebooks())
def test_joined_tasks_give_the_values_that_the_notebook_gives(sources: list[str]) -> None:
    kernel: dict[str, Any] = {}
    for text in sources:
        exec(text, kernel)
    report = "report\nresult = " + ", ".join(name for name in NAMES if name in kernel)
    exec(report.partition("\n")[2], kernel)
    tasks = joined(*(f"t{number}\n{text}" for number, text in enumerate(sources)), report)

    for trees in (True, False):
        value = run(tasks, {}, trees=trees)
        found = value if not isinstance(value, dict) else value["result"]
        assert found == kernel["result"]


def test_a_cell_that_returns_keeps_its_own_ending() -> None:
    assert source("t\nif a:\n    return 1\nb = 2") == "def t():\n    if a:\n        return 1\n    b = 2\n"
    assert flow_function_source(flow("%%dagy_flow\nrows = load()\nreturn rows"), "etl") == (
        "def etl():\n    rows = load()\n    return rows\n"
    )


def test_a_name_has_the_value_that_it_was_given_although_the_notebook_has_a_newer_one() -> None:
    (task,) = joined("t\ntotal = total + step", defined=("total", "step"))
    namespace: dict[str, Any] = {"total": 7, "step": 10}
    local: dict[str, Any] = {"total": 1}
    exec(compile(task_function_ast(task, given=local), "<cell>", "exec"), namespace, local)

    assert local["t"]() == 11
    assert namespace == {"total": 7, "step": 10, "__builtins__": namespace["__builtins__"]}
