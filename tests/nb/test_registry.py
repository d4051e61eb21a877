"""All tasks of a notebook in one list, however they were written."""

from __future__ import annotations

import pytest

from dagy_nb.registry import listing, notebook_tasks

from .test_staleness import Kernel


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def tasks(kernel: Kernel, marks: dict[str, str] | None = None) -> list[tuple[object, ...]]:
    notebook = kernel.notebook
    return [
        (each.name, each.cell, each.spelling, each.takes, each.gives, dict(each.options), each.mark)
        for each in notebook_tasks(notebook.kept, notebook.tasks(), notebook.namespace, marks or {})
    ]


def test_the_three_spellings_are_one_registry(kernel: Kernel) -> None:
    kernel.run("a", "%%dagy_task fetch --retries 2\ndef load(n=3):\n    return n")
    kernel.run("b", "#| dagy_task\nx, y = 1, 2")
    kernel.run("c", "%%dagy_task\nz = x + y")
    kernel.run("d", "from dagy import task\n@task(name='the-plain', timeout_seconds=5)\ndef plain(a):\n    return a")
    assert tasks(kernel, {"fetch": "edited"}) == [
        ("fetch", "cell [1]", "%%dagy_task", ("n",), ("fetch",), {"retries": 2}, "edited"),
        ("y", "cell [2]", "#| dagy_task", (), ("x", "y"), {}, ""),
        ("z", "cell [3]", "%%dagy_task", ("x from y", "y"), ("z",), {}, ""),
        ("the-plain", "cell [4]", "@task", ("a",), ("plain",), {"timeout_seconds": 5.0}, ""),
    ]


def test_a_plain_task_belongs_to_the_cell_that_defines_it(kernel: Kernel) -> None:
    kernel.run("a", "from dagy import task\n@task\ndef one():\n    return 1")
    kernel.run("b", "another = one\nclass Box:\n    pass")
    kernel.run("a", "@task\ndef two():\n    return 2")
    assert [each[0] for each in tasks(kernel)] == ["two"]


def test_cells_that_do_not_fit_together_are_listed_all_the_same(kernel: Kernel) -> None:
    kernel.run("a", "%%dagy_task\ndef load(n):\n    return n")
    kernel.run("b", "%%dagy_task\ndef load(n):\n    return n")
    found = notebook_tasks(kernel.notebook.kept, (), kernel.notebook.namespace, {})
    assert [(each.name, each.takes, each.cell) for each in found] == [
        ("load", ("n",), "cell [1]"),
        ("load", ("n",), "cell [2]"),
    ]


def test_the_list_is_a_table_for_people_and_a_sequence_for_code(kernel: Kernel) -> None:
    kernel.run("a", "%%dagy_task '<b>'\ndef load(n):\n    return n")
    found = listing(notebook_tasks(kernel.notebook.kept, kernel.notebook.tasks(), kernel.notebook.namespace, {}))
    assert (len(found), found[0].name, [each.cell for each in found[:1]]) == (1, "<b>", ["cell [1]"])
    head, row = repr(found).splitlines()
    assert head.split() == ["TASK", "CELL", "WRITTEN", "TAKES", "GIVES", "OPTIONS", "MARK"]
    assert row.split() == ["<b>", "cell", "[1]", "%%dagy_task", "n", "<b>"]
    page = found._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert '<th scope="col"' in page


def test_a_notebook_without_tasks_says_how_to_make_one() -> None:
    assert "begin a cell with %%dagy_task" in repr(listing([]))
    assert "begin a cell with %%dagy_task" in listing([])._repr_html_()
