import ast
import json
import random
import subprocess
import sys
from pathlib import Path
from time import process_time
from types import ModuleType
from typing import Any

import pytest

from dagy.errors import ExportError
from dagy_nb.cells import Cell
from dagy_nb.export import Export, export_module
from dagy_nb.following import follow
from dagy_nb.pieces import LeftOut, take_apart
from dagy_nb.reading import read_notebook


def export(*sources: str, name: str = "etl", ids: bool = False) -> Export:
    cells = [Cell(f"id-{number}" if ids else "", source, f"cell {number}") for number, source in enumerate(sources, 1)]
    return export_module(cells, name=name, source_name=f"{name}.ipynb")


def module(text: str) -> ModuleType:
    """The exported text, imported."""
    found = ModuleType("exported")
    sys.modules["exported"] = found
    try:
        exec(compile(text, "exported.py", "exec"), found.__dict__)
    finally:
        del sys.modules["exported"]
    return found


def value(*sources: str, **parameters: Any) -> Any:
    """What the exported notebook's only flow gives when it runs."""
    done = export(*sources)
    (flow,) = done.flows
    return getattr(module(done.text), flow).run_local(**parameters).value


def problems(*sources: str) -> str:
    with pytest.raises(ExportError) as caught:
        export(*sources)
    assert str(caught.value).startswith("etl.ipynb can't be exported\n")
    return "\n".join(caught.value.problems)


# -- the text ---------------------------------------------------------------------------------

NOTEBOOK = (
    "%matplotlib inline\nimport sys, math\nfrom collections import Counter\n\n# how much is enough\nLIMIT = 2",
    'def enough(count):\n    """Is it?"""\n    return count >= LIMIT\n\nenough(3)',
    "%%dagy_task load --retries 2\n# where it comes from\ndef load(path: str = 'a b a'):\n    return path.split()",
    "%%dagy_task count\nfrom collections import Counter\n\ncounts = Counter(load)\n"
    "# how many\ntotal = math.fsum(counts.values())",
    "%%dagy_task\nfrequent = sorted(\n    word for word, n in counts.items() if enough(n))\nfrequent",
    "%%dagy_task report --description 'What was found'\nf'{frequent} of {total}'",
)

MODULE = '''\
"""Made from etl.ipynb by Dagy.

Edit the notebook and export it again, rather than this file.
"""

import math
from collections import Counter

from dagy import flow, task

# cell id-1
# how much is enough
LIMIT = 2


# cell id-2
def enough(count):
    """Is it?"""
    return count >= LIMIT


# cell id-3
# where it comes from
@task(retries=2)
def load(path: str = "a b a"):
    return path.split()


# cell id-4
@task
def count(load):
    counts = Counter(load)
    # how many
    total = math.fsum(counts.values())
    return {"counts": counts, "total": total}


# cell id-5
@task
def frequent(counts):
    frequent = sorted(word for word, n in counts.items() if enough(n))
    return frequent


# cell id-6
@task(description="What was found")
def report(frequent, total):
    return f"{frequent} of {total}"


@flow
def etl(path: str = "a b a"):
    load_output = load(path)
    count_parts = count(load_output)
    frequent_output = frequent(count_parts["counts"])
    report_output = report(frequent_output, count_parts["total"])
    return report_output


if __name__ == "__main__":
    print(etl.run_local())
'''


def test_a_notebook_becomes_a_module_that_reads_as_if_written_by_hand() -> None:
    assert export(*NOTEBOOK, ids=True).text == MODULE


def test_the_module_gives_the_notebooks_result() -> None:
    assert value(*NOTEBOOK) == "['a'] of 3.0"
    assert value(*NOTEBOOK, path="x y y x x") == "['x', 'y'] of 5.0"


def test_what_is_left_out_is_listed_with_its_reason() -> None:
    assert export(*NOTEBOOK, "!ls", "%%html\n<b>done</b>").left_out == (
        LeftOut("cell 1", "`%matplotlib inline` needs IPython"),
        LeftOut("cell 1", "no flow needs `sys`"),
        LeftOut("cell 2", "`enough(3)` is there for what it shows or does in the notebook"),
        LeftOut("cell 7", "`!ls` needs IPython"),
        LeftOut("cell 8", "`%%html` makes something else of the cell than Python here"),
    )


def test_two_exports_are_the_same_bytes() -> None:
    assert export(*NOTEBOOK) == export(*NOTEBOOK)


def test_the_module_runs_as_a_program_without_ipython(tmp_path: Path) -> None:
    (tmp_path / "etl.py").write_text(export(*NOTEBOOK).text)
    blocked = "import sys; sys.modules['IPython'] = None; sys.modules['dagy_nb'] = None; import runpy"

    done = subprocess.run(
        [sys.executable, "-c", f"{blocked}; runpy.run_path({str(tmp_path / 'etl.py')!r}, run_name='__main__')"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )

    assert done.returncode == 0, done.stderr
    assert "etl" in done.stdout


def test_a_flow_with_a_required_parameter_is_not_run_by_the_program() -> None:
    assert "__main__" not in export("%%dagy_task\ndef load(path): return path").text


# -- cells that ask to be exported ------------------------------------------------------------


def test_a_cell_that_asks_for_it_is_exported_whole() -> None:
    helper = (
        "#| dagy_export\n%matplotlib inline\n# for whoever imports this module\nimport json\n\nNAMES = ['a']\n\n"
        "def shown(x):\n    # as text\n    return json.dumps(x)\n\nNAMES.append('b')\n# the end"
    )
    done = export(helper, "%%dagy_task\nx = 1", ids=True)

    assert "# cell id-1\n" in done.text
    for kept in ("# for whoever imports", "# as text", "# the end", "import json"):
        assert kept in done.text
    assert module(done.text).NAMES == ["a", "b"]
    assert module(done.text).shown([1]) == "[1]"
    assert done.left_out == (LeftOut("cell 1", "`%matplotlib inline` needs IPython"),)
    assert "shown" not in export(helper.partition("\n")[2], "%%dagy_task\nx = 1").text


def test_what_such_a_cell_needs_comes_along_or_is_refused() -> None:
    assert "LIMIT = 2" in export("LIMIT = 2", "#| dagy_export\nHIGH = LIMIT * 2", "%%dagy_task\nx = 1").text
    assert "reads 'LIMT'" in problems("#| dagy_export\nHIGH = LIMT", "%%dagy_task\nx = 1")


# -- what the module is made of ---------------------------------------------------------------


def test_an_export_names_its_tasks_and_the_cells_whose_code_it_holds() -> None:
    done = export("LIMIT = 2\nOTHER = 3", "x0 = 1", "%%dagy_task\ndef load(): return LIMIT", ids=True)

    assert (done.flows, done.tasks) == (("etl",), ("load",))
    assert [(each.id, each.names) for each in done.cells] == [("id-1", ("LIMIT",)), ("id-3", ("load",))]
    assert not export("%%dagy_task\nx = 1").cells


def test_with_tasks_as_roots_every_task_is_there_and_no_flow_needs_to_be() -> None:
    cells = [
        Cell("", source, f"cell {number}")
        for number, source in enumerate(
            ["from dagy import task", "K = 2", "@task\ndef plain(x): return x * K", "%%dagy_task\nx = K", "y = 5"], 1
        )
    ]
    done = export_module(cells, name="etl", roots="tasks")

    assert (done.flows, done.tasks) == ((), ("plain", "x"))
    assert module(done.text).plain.function(3) == 6
    assert "y = 5" not in done.text


def test_magics_of_our_own_are_not_worth_a_line_of_the_report() -> None:
    done = export("%load_ext dagy_nb", "%reload_ext dagy_nb\n%dagy_check", "%%dagy_task\nx = 1", "run = %dagy_run")

    assert done.left_out == ()
    assert "'run' comes from `run = %dagy_run`" in problems("run = %dagy_run", "%%dagy_task\nx = run")


def test_comments_stay_wherever_they_stand() -> None:
    text = export(
        "# about it all\n\n# about the limit\nLIMIT = [\n    1,  # the first\n    # the second\n    2,\n]\n# after it",
        "%%dagy_task t\n# one\n\n# two\nx = LIMIT; y = x  # both\nif y:\n    # inside\n    y = 1\n# last",
    ).text

    for kept in (
        "about it all",
        "about the limit",
        "the first",
        "the second",
        "after it",
        "one",
        "two",
        "both",
        "inside",
    ):
        assert f"# {kept}\n" in text
    assert "    # last\n    return" in text


def test_the_same_cells_give_the_same_bytes_with_ids_and_without() -> None:
    assert export(*NOTEBOOK, ids=True) == export(*NOTEBOOK, ids=True)
    assert "# cell" not in export(*NOTEBOOK).text


def test_a_flow_of_statements_with_the_name_of_a_task_does_not_hide_it() -> None:
    sources = ("%%dagy_task etl\nx = 3", "%%dagy_flow etl\nresult = etl()\nresult")

    assert export(*sources).flows == ("etl_flow",)
    assert value(*sources) == 3


def test_a_change_through_another_name_comes_along_too() -> None:
    assert value("TABLE = {}", "other = TABLE\nother['a'] = 1", "%%dagy_task\nx = len(TABLE)") == 1
    assert "changes 'rows' between the task 'a'" in problems(
        "%%dagy_task a\nrows = [1]", "other = rows\nother.append(2)", "%%dagy_task b\nn = len(rows)"
    )


def test_what_no_compiler_takes_is_refused_before_it_is_written() -> None:
    assert "cell 1, line 3: 'break' outside loop" in problems("%%dagy_task\nx = 1\nbreak")
    assert "no binding for nonlocal 'y' found" in problems("%%dagy_task\nx = 1\nnonlocal y")


# -- which flow -------------------------------------------------------------------------------


def test_a_flow_cell_of_statements_calls_the_tasks() -> None:
    sources = (
        "%%dagy_task\ndef load(n: int): return [n] * n",
        "%%dagy_task\ndef unused(): return 1",
        "N = 3",
        "%%dagy_flow nightly --version 1.2.0\nrows = load(N)\nrows",
    )
    done = export(*sources)

    assert '@flow(version="1.2.0")\ndef nightly():' in done.text
    assert done.left_out == (
        LeftOut("cell 2", "no flow calls task 'unused'; %dagy_run etl runs the task cells, joined by their names"),
    )
    assert value(*sources) == [3, 3, 3]


def test_a_flow_cell_with_a_function_keeps_it() -> None:
    sources = (
        "%%dagy_flow sums\n# adds\ndef adding(n: int = 2):\n    return double(n)",
        "%%dagy_task\ndef double(n): return n * 2",
    )

    assert '# adds\n@flow(name="sums")\ndef adding(n: int = 2):' in export(*sources).text
    assert value(*sources) == 4


@pytest.mark.parametrize(
    ("imports", "decorator"),
    [
        ("from dagy import flow, task", "@flow"),
        ("from dagy import flow as pipeline, task", "@pipeline(name='x')"),
        ("import dagy\nfrom dagy import task", "@dagy.flow"),
        ("import dagy as d\nfrom dagy import task", "@d.flow(version='2')"),
        ("x = 1", "@flow"),
    ],
)
def test_functions_decorated_as_flows_are_found(imports: str, decorator: str) -> None:
    assert value(imports, "@task\ndef one(): return 1", f"{decorator}\ndef etl():\n    return one()", "etl()") == 1


def test_of_two_flows_of_one_name_the_last_one_counts() -> None:
    assert value("@task\ndef f(n): return n", "@flow\ndef etl(): return f(1)", "@flow\ndef etl(): return f(2)") == 2


def test_several_flows_come_along_together() -> None:
    done = export(
        "%%dagy_task\ndef f(): return 1", "%%dagy_flow\ndef a(): return f()", "%%dagy_flow\ndef b(): return f()"
    )

    assert done.flows == ("a", "b")
    assert "__main__" not in done.text


def test_the_joined_flow_avoids_names_that_are_taken() -> None:
    done = export("%%dagy_task\ndef etl(): return 1")

    assert done.flows == ("etl_flow",)
    assert '@flow(name="etl")' in done.text


def test_names_that_hide_ours_are_no_trouble() -> None:
    sources = ("task = 4\nflow = 5", "%%dagy_task\nx = task + flow")

    assert "@dagy.task" in export(*sources).text
    assert value(*sources) == 9


def test_a_notebook_without_tasks_or_flows_is_refused_with_the_way_out() -> None:
    with pytest.raises(ExportError, match="begin a cell with %%dagy_task"):
        export("x = 1")


def test_a_circle_is_refused() -> None:
    assert "goes in a circle" in problems("%%dagy_task a\nx = y", "%%dagy_task b\ny = x")


# -- following names --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "sources"),
    [
        (6, ("A = 2", "def f(x): return g(x) * A", "def g(x): return x + 1", "%%dagy_task\nx = f(2)")),
        (7, ("class Base:\n    n = 7", "class Model(Base): pass", "%%dagy_task\nx = Model().n")),
        (3, ("TABLE = {}", "TABLE['a'] = 1\nTABLE.update(b=2)", "%%dagy_task\nx = sum(TABLE.values())")),
        (3, ("N = 1", "N += 2", "%%dagy_task\nx = N")),
        (1, ("N = 1\nM = N", "N = 2", "%%dagy_task\nx = M")),
        ((1, 2), ("A = 1", "def f(): return A", "X = f()", "A = 2", "%%dagy_task\nx = X, f()")),
        (5, ("%%dagy_task\ndef f(x=D): return x", "D = 5")),
        ([0, 1], ("xs = []\nfor i in range(2):\n    xs.append(i)", "%%dagy_task\nx = list(xs)")),
        (
            2,
            (
                "try:\n    import nothing_of_that_name as m\nexcept ImportError:\n    m = None",
                "%%dagy_task\nx = 2 if m is None else 1",
            ),
        ),
        (3.0, ("%%dagy_task\nimport math\nx = 9", "%%dagy_task\ny = math.sqrt(x)")),
        ("b", ("import os.path\nimport os", "%%dagy_task\nx = os.path.basename('a/b')")),
        (
            "[1]",
            ("from json import dumps", "%%dagy_task a\nx = dumps([1])", "%%dagy_task b\nfrom json import dumps\ny = x"),
        ),
        (
            (2, 1),
            (
                "%%dagy_task a\nimport math as m\nx = m.floor(2.5)",
                "%%dagy_task b\nimport cmath as m\ny = x, round(abs(m.exp(0)))",
            ),
        ),
        (4, ("from math import *", "%%dagy_task\nx = sqrt(16)")),
        (3, ("def f(): return get()\ndef get(): return 3", "%%dagy_task\nx = f()")),
        (8, ("n = 7", "%%dagy_task\nn = n + 1")),
        (3, ("%%dagy_task\nmax = max(1, 3)",)),
        (9, ("%%time\nK = 9", "%%dagy_task\nx = K")),
        (6, ("%%dagy_task\ndef f(x=1): return x * 2", "%%dagy_flow\ndef g(): return h()", "%%dagy_task h\ny = f(3)")),
        (2, ("%%dagy_task\nasync def f(): return 1", "%%dagy_task\nasync def g(f): return f + 1")),
        (
            random.Random(5).randint(0, 10**9),
            ("import random\nrandom.seed(5)", "%%dagy_task\nx = random.randint(0, 10**9)"),
        ),
        (
            1,
            (
                "from __future__ import annotations",
                "def f(x: Unknown) -> Unknown: return x",
                "Unknown = int",
                "%%dagy_task\nx = f(1)",
            ),
        ),
        (4, ("import functools", "%%dagy_task\n@functools.cache\ndef f(): return 4")),
    ],
)
def test_what_a_flow_needs_comes_along_whatever_cell_it_is_in(expected: object, sources: tuple[str, ...]) -> None:
    assert value(*sources) == expected


def test_a_statement_that_changes_what_is_exported_is_reported() -> None:
    done = export("TABLE = {}", "TABLE['a'] = 1", "%%dagy_task\nx = len(TABLE)")

    assert done.warnings == ("cell 2: `TABLE['a'] = 1` changes 'TABLE' and came along",)


def test_a_name_bound_twice_and_read_by_functions_is_reported() -> None:
    done = export("A = 1\ndef f(): return A\nB = f()", "A = 2", "%%dagy_task\nx = f() + B")

    assert "'A' is bound in cell 1 and in cell 2; functions see the last one" in done.warnings


def test_a_star_import_comes_along_only_when_it_may_be_needed() -> None:
    assert "import *" not in export("from math import *", "%%dagy_task\nx = 1").text
    assert "name what you import" in export("from math import *", "%%dagy_task\nx = tau").warnings[0]


def test_only_the_names_of_an_import_that_are_needed_come_along() -> None:
    text = export("import os, json as j  # all of it\nfrom math import pi, tau", "%%dagy_task\nx = j.dumps(pi)").text

    assert "import json as j\nfrom math import pi\n" in text
    assert "os" not in text.split()


def test_showing_a_value_inside_a_task_is_left_out() -> None:
    done = export("%%dagy_task\nx = 1\ndisplay(x)")

    assert "display" not in done.text
    assert done.left_out == (LeftOut("cell 1", "`display(x)` only shows a value"),)


# -- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "sources"),
    [
        (
            "cell 2: task 'x' reads 'THRESHLD', which no cell defines; did you mean 'THRESHOLD'?",
            ("THRESHOLD = 1", "%%dagy_task\nx = THRESHLD"),
        ),
        (
            "cell 2: function 'f' reads 'zzz', which no cell defines; define it in a cell",
            ("%%dagy_task\nx = f()", "def f(): return zzz"),
        ),
        ("cell 1: 'files' comes from `files = !ls`, which needs IPython", ("files = !ls", "%%dagy_task\nx = files")),
        (
            "reads 'df', which no cell defines; cell 1 sets it in `%time df = 1`: write that line without the magic",
            ("%time df = 1", "%%dagy_task\nx = df"),
        ),
        (
            "cell 1: function 'f' uses 'get_ipython', which exists only in a notebook",
            ("def f():\n    !ls", "%%dagy_task\nx = f()"),
        ),
        (
            "cell 1: task 'f' uses 'display', which exists only in a notebook; use print",
            ("%%dagy_task\ndef f(): display(1)",),
        ),
        ("cell 1: task 'x' uses '_', which exists only in a notebook", ("%%dagy_task\nx = _",)),
        ("cell 2, line 2: invalid syntax: 'y = = 2'", ("%%dagy_task\nx = 1", "\ny = = 2")),
        (
            "needs 'x', which exists only when task 'x' (cell 1) has run; make cell 2 a task cell too",
            ("%%dagy_task\nx = [1]", "total = len(x)", "%%dagy_task\ny = total"),
        ),
        ("add 'x' to its parameters", ("%%dagy_task\nx = [1]", "%%dagy_task\ndef f(): return x")),
        (
            "cell 2: `df = df[:1]` changes 'df' between the task 'a' and task 'b'; make it a task cell too",
            ("%%dagy_task a\ndf = [1, 2]", "df = df[:1]", "%%dagy_task b\nn = len(df)"),
        ),
        (
            "cell 2: `df.append(1)` changes 'df' between",
            ("%%dagy_task a\ndf = [1, 2]", "df.append(1)", "%%dagy_task b\nn = len(df)"),
        ),
        (
            "'f' is defined in cell 1 and in cell 2; rename one of them",
            ("%%dagy_task\ndef f(): return 1", "f = 2\ndef g(): return f", "%%dagy_task x\ny = g()"),
        ),
        (
            "cell 1: `x = await f()` awaits, which a module can't do; make cell 1 a task cell",
            ("x = await f()\nasync def f(): ...", "%%dagy_task\ny = x"),
        ),
        ("cell 1, line 2: duplicate argument 'a' in function definition", ("\ndef f(a, a): ...",)),
        ("cell 1: %%dagy_task has no option '--retires'", ("%%dagy_task --retires 1\nx = 1",)),
        (
            "cell 1, line 1: `if __name__ == '__main__':` asks for `__name__`, which is '__main__' in the notebook",
            ("if __name__ == '__main__':\n    N = 1", "%%dagy_task\nx = N"),
        ),
        ("cell 1, line 2: task 'x' asks for `__name__`", ("%%dagy_task\nx = __name__ == '__main__'",)),
        (
            "cell 3: `total = len(x)` needs 'x', which exists only when task 'x' (cell 2) has run",
            ("x = [1]", "%%dagy_task\nx = x + [2]", "total = len(x)", "%%dagy_task\ny = total"),
        ),
        (
            "function 'f' reads 'n', which cell 2 binds again as a task: task 'y' would see the old value",
            ("n = 1\ndef f(): return n", "%%dagy_task\nn = 2", "%%dagy_task\ny = f() + n"),
        ),
        ("both define the task 'a'", ("%%dagy_task a\nx = 1", "%%dagy_task a\ny = 1")),
    ],
)
def test_what_cannot_work_is_refused_with_the_name_the_cell_and_the_way_out(
    message: str, sources: tuple[str, ...]
) -> None:
    assert message in problems(*sources)


def test_every_problem_is_told_at_once() -> None:
    assert len(problems("%%dagy_task\nx = aaaa", "%%dagy_task\ny = bbbb").splitlines()) == 2


# -- files ------------------------------------------------------------------------------------


def notebook(*sources: str, **changes: object) -> dict[str, object]:
    cells = [{"cell_type": "code", "id": f"c{n}", "source": text, "metadata": {}} for n, text in enumerate(sources)]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells, **changes}


def saved(folder: Path, content: object, name: str = "01_quick-start.ipynb") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_a_notebook_file_becomes_a_module_with_a_flow_named_after_it(tmp_path: Path) -> None:
    path = saved(tmp_path, notebook("%%dagy_task\nx = 40", "%%dagy_task\ny = x + 2"))

    text = read_notebook(path).text
    assert module(text).quick_start.run_local().value == 42
    assert text.startswith('"""Made from 01_quick-start.ipynb by Dagy.')


# -- cost -------------------------------------------------------------------------------------


def test_a_flow_written_by_hand_is_warned_of_a_race_and_the_joined_one_has_the_order() -> None:
    cells = ["%%dagy_task load\ndf = {}", "%%dagy_task count\nn = len(df)", "%%dagy_task extend\ndf['a'] = 1"]
    written = export(*cells, "%%dagy_flow both\ndf = load()\nn = count(df)\nmore = extend(df)")

    assert any(
        "'extend' changes 'df' in place while task 'count' (cell 2) may read it" in each for each in written.warnings
    )
    assert "extend.after(n)(df)" in export(*cells).text
    assert not any("may read it" in each for each in export(*cells).warnings)


def test_an_ordinary_statement_that_may_lengthen_a_needed_list_comes_along() -> None:
    cells = ["rows, more = [1], [2]", "view = rows\nview += more", "%%dagy_task\nn = len(rows)"]

    assert value(*cells) == 2
    assert "cell 2: `view += more` may change 'rows' and came along" in export(*cells).warnings


def test_time_grows_with_the_cells_and_not_with_their_square() -> None:
    few, many = (min(seconds_to_follow(number) for _ in range(3)) for number in (100, 800))
    assert many < 24 * few  # 8 times the cells; their square would be 64 times


def seconds_to_follow(number: int) -> float:
    cells = [Cell("", "import math\nN0 = 1\ndef f0(x): return x + N0", "cell 0")]
    for n in range(1, number // 2):
        helper = f"N{n} = N{n - 1} + 1\ndef f{n}(x):\n    return [f{n - 1}(y) * N{n} for y in [x]][0]\nf{n}(3)"
        cells.append(Cell("", helper, f"cell {2 * n - 1}"))
        task = (
            f"%%dagy_task t{n}\nv{n} = f{n}({f'v{n - 1}' if n > 1 else '0'} and math.pi)\nw = {{k: v{n} for k in 'ab'}}"
        )
        cells.append(Cell("", task, f"cell {2 * n}"))
    start = process_time()
    needed = follow(take_apart(cells, name="etl", source_name="etl.ipynb"))
    assert not needed.problems
    return process_time() - start


def test_a_module_of_two_thousand_constants_needs_no_recursion() -> None:
    sources = ["N0 = 1", *(f"N{n} = N{n - 1}" for n in range(1, 2000))]
    text = export("%%dagy_task\nx = N1999", "\n".join(reversed(sources))).text

    assert len(ast.parse(text).body) > 2000
