"""Loading a notebook's tasks and flows in a test, without the rest of the notebook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dagy import Flow, Task
from dagy.artifact import SeveralFlowsError
from dagy.errors import CodeFailedError, ExportError, NotebookError, SourceError, UnknownTaskError
from dagy.testing import LoadedNotebook, load_notebook

CELLS = (
    "%load_ext dagy_nb\nimport math\nfrom dataclasses import dataclass",
    "LIMIT = 3\nprint('shown in the notebook')\nraise RuntimeError('this cell must not run')",
    "@dataclass\nclass Row:\n    price: float\n\ndef rounded(x):\n    return round(x, LIMIT)",
    "%%dagy_task load\ndef load(rows: int = 2):\n    return [Row(n + 1 / 3) for n in range(rows)]",
    "%%dagy_task total\ntotal = rounded(math.fsum(each.price for each in load))",
    "import matplotlib_that_is_not_there as plt\nplt.plot([1])",
    "#| dagy_export\ndef helper():\n    return LIMIT",
)


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Write a notebook with these cells."""
    modules, path = set(sys.modules), list(sys.path)

    def write(*sources: str, name: str = "shop.ipynb") -> Path:
        cells = [
            {
                "cell_type": "code",
                "id": f"id-{n}",
                "metadata": {},
                "outputs": [],
                "execution_count": None,
                "source": each,
            }
            for n, each in enumerate(sources, 1)
        ]
        file = tmp_path / name
        file.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}))
        return file

    yield write
    sys.path[:] = path
    for name in sys.modules.keys() - modules:
        if name.startswith("shop"):
            del sys.modules[name]


@pytest.fixture
def shop(write: Callable[..., Path]) -> LoadedNotebook:
    return load_notebook(write(*CELLS))


def test_tasks_are_called_as_plain_functions(shop: LoadedNotebook) -> None:
    rows = shop["load"](rows=1)
    assert rows == [shop.module.Row(1 / 3)]
    assert shop["total"](rows) == 0.333
    assert list(shop.tasks) == ["load", "total"]
    assert all(isinstance(each, Task) for each in shop.tasks.values())


def test_the_flow_runs_and_helpers_are_there(shop: LoadedNotebook) -> None:
    assert isinstance(shop.flow, Flow)
    assert shop.flow.run_local(rows=2).value == 1.667
    assert shop["shop"] is shop.flow
    assert shop["helper"]() == shop["LIMIT"] == 3
    assert repr(shop) == "<LoadedNotebook 'shop.ipynb', tasks: load, total; flows: shop>"


def test_what_a_task_calls_can_be_replaced(shop: LoadedNotebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop.module, "rounded", lambda x: -x)
    assert shop["total"]([shop.module.Row(2.0)]) == -2.0


def test_two_loads_do_not_interfere(write: Callable[..., Path]) -> None:
    path = write(*CELLS)
    one, other = load_notebook(path), load_notebook(str(path))
    one.module.LIMIT = 0
    assert other["helper"]() == 3
    assert one.module.Row is not other.module.Row


def test_tracebacks_name_the_cell(shop: LoadedNotebook) -> None:
    with pytest.raises(AttributeError) as caught:
        shop["total"]([None])
    text = "".join(traceback.format_exception(caught.value))
    assert f'{shop.path}, cell id-5", line' in text
    assert "math.fsum(each.price for each in load)" in text


def test_an_unknown_name_is_refused_with_the_nearest(shop: LoadedNotebook) -> None:
    with pytest.raises(UnknownTaskError, match="did you mean 'total'"):
        shop["totl"]


def test_plain_tasks_without_a_flow_are_loaded(write: Callable[..., Path]) -> None:
    nb = load_notebook(write("from dagy import task\n\n@task\ndef one():\n    return 1", "one() + 1"))
    assert nb["one"]() == 1
    with pytest.raises(SourceError, match="defines no flow; its tasks are 'one'"):
        _ = nb.flow


def test_tasks_that_no_flow_calls_are_loaded_too(write: Callable[..., Path]) -> None:
    nb = load_notebook(
        write(
            "%%dagy_task one\none = 1",
            "%%dagy_task unused\nunused = 2",
            "%%dagy_flow\ndef first():\n    return one()",
            "%%dagy_flow\ndef second():\n    return one()",
        )
    )
    assert nb["unused"]() == 2
    assert sorted(nb.flows) == ["first", "second"]
    with pytest.raises(SeveralFlowsError, match="second"):
        _ = nb.flow


@pytest.mark.parametrize(
    ("sources", "error", "message"),
    [
        (("x = 1",), ExportError, "neither a task cell nor a flow"),
        (("%%dagy_task a\na = missing_name",), ExportError, "missing_name"),
        (("LIMIT = 1 / 0", "%%dagy_task a\na = LIMIT"), CodeFailedError, "ZeroDivisionError"),
    ],
)
def test_a_notebook_that_cannot_be_loaded_says_why(
    write: Callable[..., Path], sources: tuple[str, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_notebook(write(*sources))


def test_a_file_that_is_no_notebook_says_why(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_notebook(tmp_path / "missing.ipynb")
    broken = tmp_path / "broken.ipynb"
    broken.write_text("not json")
    with pytest.raises(NotebookError, match=r"broken\.ipynb is not JSON"):
        load_notebook(broken)


@pytest.mark.program
def test_it_works_in_pytest_and_loads_no_ipython(write: Callable[..., Path], tmp_path: Path) -> None:
    write("import math\nfrom dataclasses import dataclass", *CELLS[1:])
    (tmp_path / "test_shop.py").write_text(
        "import sys\nfrom dagy.testing import load_notebook\n\nnb = load_notebook('shop.ipynb')\n\n"
        "def test_total():\n    assert nb['total']([nb.module.Row(1.0)]) == 1.0\n\n"
        "def test_light():\n    assert not {'IPython', 'ipykernel', 'nbformat'} & sys.modules.keys()\n"
    )
    environment: dict[str, Any] = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
