"""What the notebook's own functions and methods change is seen where they are called."""

from __future__ import annotations

from typing import Any

import pytest

from dagy_nb.cells import Cell, TaskCell, read_cell, task_cell
from dagy_nb.changers import Changers
from dagy_nb.joining import JoinedTask
from dagy_nb.notebook import Notebook
from dagy_nb.pieces import take_apart

T = "%%dagy_task\n"
ADD = "def add(d, n=0): d['c'] = n"
MODEL = (
    "class Model:\n"
    "    def __init__(self): self.w = 0\n"
    "    def fit_step(self, x): self.w -= x\n"
    "    def predict(self, x): return self.w * x"
)


def last_task(*sources: str) -> TaskCell:
    """The last of these cells, as the task that it is beside the others."""
    reads = [read_cell(Cell(f"id-{number}", source, f"cell {number}")) for number, source in enumerate(sources)]
    named = read_cell(Cell("last", f"%%dagy_task t\n{sources[-1]}", "the last cell"))
    return task_cell(Changers([*reads[:-1], named]).told(named))


# -- functions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        "add(df)",
        "add(d=df)",
        "add(n=1, d=df)",
        "x = [add(df)]",
        "x = 1 if add(df) else 2",
        "x = [add(df, n) for n in range(3)]",
        "for n in range(3):\n    add(df, n)",
        "for row in df:\n    add(row)",
        "with lock:\n    add(df)",
        "view = df\nadd(view)",
        "if flag:\n    df = df.copy()\nadd(df)",
        "add(df.parts[0])",
        "add([df][0] if flag else df)",
        "add(df, *more)",
    ],
)
def test_a_helper_of_another_cell_changes_what_it_is_handed(call: str) -> None:
    assert "df" in last_task(ADD, f"{call}\nx = 1").mutates


@pytest.mark.parametrize(
    "call",
    [
        "add(df.copy())",
        "add(n=df)",
        "add({}, df)",
        "add(*df)",
        "df = df.copy()\nadd(df)",
        "helpers.add_to(df)",
        "from helpers import add\nadd(df)",
        "add = helpers.one\nadd(df)",
        "def add(d): return len(d)\nadd(df)",
        "def f(add):\n    add(df)\nx = f",
        "x = add",
    ],
)
def test_a_look_alike_of_such_a_call_changes_nothing(call: str) -> None:
    assert "df" not in last_task(ADD, f"{call}\nx = df").mutates


@pytest.mark.parametrize(
    "helper",
    [
        "def add(d):\n    view = d\n    view['c'] = 1",
        "def add(d):\n    for row in d:\n        row['c'] = 1",
        "def add(d):\n    if len(d):\n        d = dict(d)\n    d['c'] = 1",
        "def add(*frames):\n    for each in frames:\n        each['c'] = 1",
        "def add(d, /): d.sort()",
        "def add(d):\n    return add_more(d)\ndef add_more(frame):\n    frame['c'] = 1",
        "def add(d, n=3):\n    if n:\n        return add(d, n - 1)\n    d['c'] = 1",
        "def add(d): return twin(d)\ndef twin(d):\n    add(d)\n    d['c'] = 1",
        "def add(d):\n    def inner(x):\n        x['c'] = 1\n    inner(d)",
        "def add(d):\n    def inner():\n        d['c'] = 1\n    inner()",
        "def add(d):\n    view = d\n    def inner():\n        view['c'] = 1\n    inner()",
        "add = lambda d: d.update(c=1)",
        "def add(d): setattr(d, 'c', 1)",
        "async def add(d):\n    d['c'] = 1",
        "@cached\ndef add(d):\n    d['c'] = 1",
        "if fast:\n    def add(d): d['c'] = 1\nelse:\n    def add(d): return dict(d)",
        "%%dagy_task\ndef add(d):\n    d['c'] = 1",
        "%%dagy_task other\ndef add(d):\n    d['c'] = 1\nx = 1",
        "def add(d): return Box(d)\nclass Box:\n    def __init__(self, d): d['c'] = 1",
    ],
)
def test_a_helper_changes_its_parameter_itself_or_through_others(helper: str) -> None:
    assert last_task(helper, "add(df)\nx = 1").mutates == {"df"}


@pytest.mark.parametrize(
    "helper",
    [
        "def add(d): return len(d)",
        "def add(d):\n    d = dict(d)\n    d['c'] = 1\n    return d",
        "def add(d):\n    return add(d)",
        "def add(d):\n    more = []\n    more.append(d)\n    return more",
        "def add(d):\n    def inner(d):\n        d['c'] = 1\n    return inner",
        "def add(d):\n    def inner():\n        d = {}\n        d['c'] = 1\n    inner()",
        "def add(d):\n    grow(dict(d))\ndef grow(d): d['c'] = 1",
        "def add(grow):\n    other(grow)\ndef grow(d): d['c'] = 1",
        "class Tool:\n    def add(self, d): d['c'] = 1",
    ],
)
def test_a_helper_that_only_looks_changes_nothing(helper: str) -> None:
    assert last_task(helper, "add(df)\nx = 1").mutates == set()


@pytest.mark.parametrize(
    "cells",
    [
        ["ROWS = []", "def log(x): ROWS.append(x)"],
        ["ROWS = []", "def log(x): write(x)", "def write(x): ROWS.append(x)"],
        ["def log(x):\n    view = ROWS\n    view.append(x)"],
        ["def log(x):\n    add(ROWS)\ndef add(rows): rows.append(1)"],
        ["class log:\n    def __init__(self, x): ROWS.append(x)"],
    ],
)
def test_a_helper_changes_what_it_finds_outside(cells: list[str]) -> None:
    assert last_task(*cells, "y = 1\nlog(y)").mutates == {"ROWS"}


def test_what_a_helper_changes_outside_is_no_name_of_the_cell_that_it_made_itself() -> None:
    assert last_task("def log(x): ROWS.append(x)", "ROWS = []\nlog(1)").mutates == set()


def test_a_helper_of_the_cell_itself_changes_what_the_cell_was_given() -> None:
    assert last_task("def grow():\n    rows.append(1)\ngrow()\nx = 1").mutates == {"rows"}
    assert last_task("rows = []\ndef grow():\n    rows.append(1)\ngrow()").mutates == set()


def test_defining_a_helper_changes_nothing_yet() -> None:
    assert last_task(ADD, "def more(d):\n    add(d)\n    add(df)\nx = 1").mutates == set()


def test_a_task_function_changes_its_parameter_through_a_helper() -> None:
    reads = [read_cell(Cell(str(each), each, "a cell")) for each in (ADD, f"{T}def extend(df):\n    add(df)")]

    assert task_cell(Changers(reads).told(reads[1])).mutates == {"df"}


# -- methods ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "self.w = x",
        "self.w += x",
        "del self.w",
        "self.w[0] = x",
        "self.w.append(x)",
        "self.inner.w = x",
        "me = self\n        me.w = x",
        "self.other(x)\n    def other(self, x): self.w = x",
        "add(self)",
        "setattr(self, 'w', x)",
    ],
)
def test_a_method_that_changes_its_object_changes_what_it_is_called_on(body: str) -> None:
    cell = f"class Model:\n    def fit_step(self, x):\n        {body}\ndef add(d): d.c = 1"

    assert last_task(cell, "loss = model.fit_step(2)").mutates == {"model"}
    assert last_task(cell, "loss = [m.fit_step(2) for m in models]").mutates == {"models"}
    assert last_task(cell, "loss = trainer.models[0].fit_step(2)").mutates == {"trainer"}
    assert last_task(cell, "model = Model()\nloss = model.fit_step(2)").mutates == set()


@pytest.mark.parametrize(
    "classes",
    [
        "class Base:\n    def fit_step(self, x): raise NotImplementedError\n"
        "class Model(Base):\n    def fit_step(self, x): self.w = x",
        "class Base:\n    def train_on(self, x): self.w = x\n"
        "class Model(Base):\n    def fit_step(self, x): return self.train_on(x)",
        "class Base:\n    def fit_step(self, x): self.w = x\n"
        "class Model(Base):\n    def fit_step(self, x): return super().fit_step(x)",
        "from dataclasses import dataclass\n@dataclass\nclass Model:\n    w: int = 0\n"
        "    def fit_step(self, x): self.w = x",
    ],
)
def test_a_class_may_have_its_methods_from_another(classes: str) -> None:
    assert last_task(classes, "loss = model.fit_step(2)").mutates == {"model"}


@pytest.mark.parametrize(
    "source",
    [
        "y = model.predict(2)",
        "y = fit_step(model)",
        "y = model.fit_step",
        "y = Model.fit_step(model, 2)",
        "y = Model()",
        "y = Model.make(1)",
        "y = model.copy().fit_step(2)",
    ],
)
def test_a_look_alike_of_such_a_method_changes_nothing(source: str) -> None:
    more = "\n    @classmethod\n    def make(cls, w):\n        made = cls()\n        made.w = w\n        return made"

    assert last_task(MODEL + more, source).mutates == set()


def test_a_method_that_another_class_has_and_that_only_looks_there_is_no_sure_change() -> None:
    other = "class Rule:\n    def fit_step(self, x): return x"

    found = last_task(MODEL, other, "y = 1\nloss = rule.fit_step(y)")
    assert not found.mutates | found.may_mutate


def test_a_method_changes_what_it_is_given() -> None:
    cell = "class Tool:\n    def mark(self, d, n=0): d['c'] = n\n    @staticmethod\n    def note(d): d['c'] = 1"

    assert last_task(cell, "x = tool.mark(df)").mutates == {"df"}
    assert last_task(cell, "x = tool.mark(n=1, d=df)").mutates == {"df"}
    assert last_task(cell, "x = Tool.note(df)").mutates == {"df"}


# -- methods that nobody can look into ------------------------------------------------------


@pytest.mark.parametrize(
    "call", ["queue.put(1)", "await queue.put(1)", "for x in xs:\n    queue.put(x)", "view = queue\nview.put(1)"]
)
def test_a_method_that_is_called_for_no_value_may_change_its_object(call: str) -> None:
    assert last_task(f"{call}\nx = 1").may_mutate == {"queue"}


@pytest.mark.parametrize(
    "source",
    [
        "x = 1\nqueue.put(1)",  # its value is shown
        "x = queue.put(1)",
        "queue.show()\nx = 1",
        "queue.to_csv('a.csv')\nx = 1",
        "queue.get_ready()\nx = 1",
        "queue.where(1).all()\nx = 1",
        "queue = []\nqueue.put(1)\nx = 1",
    ],
)
def test_a_method_that_looks_or_whose_value_is_used_is_no_change(source: str) -> None:
    assert last_task(source).may_mutate == set()


def test_a_method_of_the_notebook_that_changes_nothing_is_known_to() -> None:
    cell = "class Queue:\n    def put(self, x): print(x)"

    assert last_task(cell, "queue.put(1)\nx = 1").may_mutate == set()
    assert last_task("x = 1", "queue.put(1)\nx = 1").may_mutate == {"queue"}


# -- the graph, in the notebook and in the module -----------------------------------------------


def kept(*sources: str) -> Notebook:
    """A notebook that keeps these cells; of them only functions have run."""
    notebook = Notebook({})
    for number, source in enumerate(sources):
        if "def " in source:
            exec(source.removeprefix(T), notebook.namespace)  # type: ignore[arg-type]  # it is a dict
        notebook.keep(Cell(f"id-{number}", source, f"cell {number}"), f"<cell {number}>", has_run=False)
    return notebook


def live(*sources: str) -> tuple[JoinedTask, ...]:
    return kept(*sources).tasks()


def in_module(*sources: str) -> tuple[JoinedTask, ...]:
    cells = [Cell(f"id-{number}", source, f"cell {number}") for number, source in enumerate(sources)]
    return take_apart(cells, name="etl", source_name="etl.ipynb").joined


def makers(tasks: tuple[JoinedTask, ...]) -> dict[str, dict[str, str | None]]:
    return {task.name: {wire.parameter: wire.task for wire in task.wires} for task in tasks}


TRAINING = [
    MODEL,
    "%%dagy_task train\nmodel = Model()\nhistory = []",
    "%%dagy_task finetune\nfor e in range(95):\n    loss = model.fit_step(1)\n    history.append(loss)",
    "%%dagy_task test\nmse = model.predict(3) ** 2",
]
FRAMES = [f"{T}df = dict(a=[1])", ADD, f"{T}add(df)", f"{T}out = list(df)"]


@pytest.mark.parametrize("home", [live, in_module])
def test_what_a_method_changed_comes_from_the_cell_that_called_it(home: Any) -> None:
    found = makers(home(*TRAINING))

    assert found["finetune"] == {"model": "train", "history": "train"}
    assert found["test"] == {"model": "finetune"}


@pytest.mark.parametrize("home", [live, in_module])
def test_what_a_helper_changed_comes_from_the_cell_that_called_it(home: Any) -> None:
    tasks = home(*FRAMES)

    assert makers(tasks) == {"df": {}, "df_2": {"df": "df"}, "out": {"df": "df_2"}}
    (problem,) = tasks[1].problems
    assert "cell 2: task 'df_2' changes 'df' in place, which task 'df' (cell 0) returned" in problem


@pytest.mark.parametrize("home", [live, in_module])
def test_what_an_unknown_method_may_have_changed_comes_from_the_cell_that_called_it(home: Any) -> None:
    tasks = home(
        f"{T}index = open_index()", "%%dagy_task fill\nindex.put(1)\nn = 1", "%%dagy_task ask\nhits = index.find(1)"
    )

    assert makers(tasks)["ask"] == {"index": "fill"}
    (problem,) = tasks[1].problems
    assert "task 'fill' may change 'index' in place, which task 'index' (cell 0) returned" in problem
    assert problem.endswith("; if it does, let it work on a copy")


@pytest.mark.parametrize("home", [live, in_module])
@pytest.mark.parametrize(
    ("made", "changed"),
    [
        ("net = Net()\nview = net", "view.append(1)"),
        ("net = Net()\nother = net\nview = other", "view.append(1)"),
        ("net = Net()\nview = SGD(net.parameters(), lr=1)", "view.step()"),
    ],
)
def test_what_was_changed_through_another_name_comes_from_the_cell_that_did(home: Any, made: str, changed: str) -> None:
    tasks = home(f"%%dagy_task make\n{made}", f"%%dagy_task fit\n{changed}\nn = 1", "%%dagy_task ask\ny = net(3)")

    assert makers(tasks) == {"make": {}, "fit": {"view": "make", "net": "make"}, "ask": {"net": "fit"}}


@pytest.mark.parametrize(
    "made", ["net = Net()\nview = list(net)", "view = net = Net()\nnet = Net()", "net = view = Net()\nview = []"]
)
def test_a_name_with_a_value_of_its_own_changes_no_other(made: str) -> None:
    found = makers(
        live(f"%%dagy_task make\n{made}", "%%dagy_task fit\nview.append(1)\nn = 1", "%%dagy_task ask\ny = net(3)")
    )

    assert found["ask"] == {"net": "make"}


@pytest.mark.parametrize("home", [live, in_module])
def test_what_a_helper_changes_of_an_ordinary_cell_is_told(home: Any) -> None:
    (task,) = home("ROWS = []", "def log(x): ROWS.append(x)", "%%dagy_task t\nlog(3)\nx = 1")

    (problem,) = task.problems
    assert "task 't' changes 'ROWS' in place, which an ordinary cell made" in problem


def test_a_helper_written_anew_is_asked_again() -> None:
    notebook = kept(*FRAMES)
    helper = notebook.cells[1].id

    notebook.keep(Cell(helper, "def add(d): return len(d)", "cell 1"), "<cell 1>")
    assert makers(notebook.tasks())["out"] == {"df": "df"}
    notebook.keep(Cell(helper, ADD, "cell 1"), "<cell 1>")
    assert makers(notebook.tasks())["out"] == {"df": "df_2"}
    notebook.forget(helper)
    assert makers(notebook.tasks())["out"] == {"df": "df"}


def test_a_helper_may_be_defined_below_the_cell_that_calls_it() -> None:
    cells = [FRAMES[0], "%%dagy_task extend\nadd(df)\nx = 1", FRAMES[3], ADD]

    assert makers(live(*cells)) == makers(in_module(*cells))
    assert makers(live(*cells))["out"] == {"df": "extend"}


def test_the_notebook_tells_what_its_tasks_change() -> None:
    notebook = kept(
        *FRAMES, f"{T}def extend(out):\n    add(out)", "from dagy import task\n@task\ndef more(d, n): add(d, n)"
    )

    found = notebook.changes_in_place()
    assert found["<cell 2>"] == {"": {"df"}}
    assert found["<cell 4>"] == {"extend": {"out"}}
    assert found["<cell 5>"] == {"more": {"d"}}
