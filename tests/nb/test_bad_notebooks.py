"""Notebook files that are broken, odd or hostile, through every door that reads one: a clear error or the right result,
and nothing of them executed by looking."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagy.artifact import read_source
from dagy.cli import app
from dagy.cli.app import ExitCode
from dagy.errors import DagyError, ExportError, NotebookError
from dagy.testing import load_notebook
from dagy_nb.nbconvert_exporter import DagyExporter
from dagy_nb.notebook_file import notebook_cells

pytestmark = pytest.mark.program  # an export starts ruff, and there are hundreds

ROOT = Path(__file__).resolve().parents[2]

FLOW = "from dagy import flow, task\n\n@task\ndef one() -> int:\n    return 1\n\n@flow\ndef small():\n    return one()"


def cell(source: object = FLOW, **changed: Any) -> dict[str, Any]:
    made = {"cell_type": "code", "id": "c", "metadata": {}, "outputs": [], "execution_count": None, "source": source}
    return {**made, **changed}


def notebook(*sources: str, **changed: Any) -> dict[str, Any]:
    cells = [cell(source, id=f"cell-{number}") for number, source in enumerate(sources or (FLOW,), 1)]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells, **changed}


def old(version: int) -> dict[str, Any]:
    """A notebook as formats 2 and 3 are on disk: worksheets, and what is typed in, line by line, as `input`."""
    code = {"cell_type": "code", "input": FLOW.splitlines(keepends=True), "language": "python", "outputs": []}
    return {"nbformat": version, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": [code]}]}


def in_language(kernelspec: Any, **info: Any) -> dict[str, Any]:
    return notebook("x <- c(1, 2)", metadata={"kernelspec": kernelspec, "language_info": info})


TEXT = json.dumps(notebook())

# Each with a word of the fault.
UNREADABLE: dict[str, tuple[str | bytes, str]] = {
    "empty": (b"", "empty"),
    "blank": (b" \n\t", "empty"),
    "prose": ("Dear diary", "not JSON"),
    "python": (FLOW, "not JSON"),
    "truncated": (TEXT[:-60], "not JSON"),
    "merge conflict": (f"<<<<<<< HEAD\n{TEXT}", "not JSON"),
    "comma at the end": (TEXT[:-1] + ",}", "not JSON"),
    "two in one": (TEXT * 2, "not JSON"),
    "UTF-16": (TEXT.encode("utf-16"), "UTF-16"),
    "byte order mark": (TEXT.encode("utf-8-sig"), "byte order mark"),
    "Latin-1": (json.dumps(notebook("é"), ensure_ascii=False).encode("latin-1"), "not JSON"),
    "binary": (bytes(range(256)) * 10, "not JSON"),
    "zipped": (b"PK\x03\x04" + bytes(100), "not JSON"),
    "nested too deeply": (TEXT[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "not JSON"),
    "endless number": (f'{{"nbformat": {"4" * 5_000}, "cells": []}}', "not JSON"),
    "a list": ("[]", "list"),
    "a text": ('"notebook"', "str"),
    "null": ("null", "NoneType"),
    "no format": (json.dumps({"cells": []}), "format None"),
    "format 0": (json.dumps(notebook(nbformat=0)), "format 0"),
    "format 5": (json.dumps(notebook(nbformat=5)), "format 5"),
    "format '4'": (json.dumps(notebook(nbformat="4")), "format '4'"),
    "format 4.9": (json.dumps(notebook(nbformat=4.9)), "format 4.9"),
    "format true": (json.dumps(notebook(nbformat=True)), "format True"),
    "format NaN": (json.dumps(notebook(nbformat=float("nan"))), "format nan"),
    "cells a dict": (json.dumps(notebook(cells={"0": cell()})), "no list of cells"),
    "cells null": (json.dumps(notebook(cells=None)), "no list of cells"),
    "cells absent": (json.dumps({"nbformat": 4, "metadata": {}}), "no list of cells"),
    "cells of text": (json.dumps(notebook(cells=[FLOW])), "no list of cells"),
    "worksheets a dict": (json.dumps({**old(3), "worksheets": {"x": 1}}), "format 3"),
    "source null": (json.dumps(notebook(cells=[cell(None)])), "source is no text"),
    "source a number": (json.dumps(notebook(cells=[cell(1)])), "source is no text"),
    "source of numbers": (json.dumps(notebook(cells=[cell([1, 2])])), "source is no text"),
    "R": (json.dumps(in_language({"name": "ir", "language": "R"})), "R"),
    "bash": (json.dumps(in_language({"name": "bash", "language": "bash"})), "bash"),
    "Julia": (json.dumps(in_language({}, name="julia")), "julia"),
    "language a list": (json.dumps(in_language({}, name=["python"])), "python"),
}

# Each is read as a notebook of one cell.
READABLE: dict[str, str | bytes] = {
    "format 1": json.dumps({"nbformat": 1, "cells": [{"cell_type": "code", "code": FLOW, "prompt_number": 1}]}),
    "format 2": json.dumps(old(2)),
    "format 3": json.dumps(old(3)),
    "no metadata": json.dumps({"nbformat": 4, "cells": [cell()]}),
    "metadata a list": json.dumps(notebook(metadata=[1])),
    "metadata of a cell a text": json.dumps(notebook(cells=[cell(metadata="x")])),
    "kernelspec a text": json.dumps(notebook(metadata={"kernelspec": "python3"})),
    "only what must be": json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": FLOW}]}),
    "kinds unknown": json.dumps(notebook(cells=[{"cell_type": ["code"]}, {"cell_type": "sql", "source": "x"}, cell()])),
    "source line by line": json.dumps(notebook(cells=[cell(FLOW.splitlines(keepends=True))])),
    "source letter by letter": json.dumps(notebook(cells=[cell(list(FLOW))])),
    "Windows line ends": json.dumps(notebook(FLOW.replace("\n", "\r\n"))),
    "old Mac line ends": json.dumps(notebook(FLOW.replace("\n", "\r"))),
    "tabs": json.dumps(notebook(FLOW.replace("    ", "\t"))),
    "no break at the end of the file": TEXT.rstrip(),
    "UTF-16 without a mark": TEXT.encode("utf-16-le"),
    "minor format of tomorrow": json.dumps(notebook(nbformat_minor=99)),
    "minor format a text": json.dumps(notebook(nbformat_minor="x")),
    "keys twice": TEXT[:-1] + ', "cells": ' + json.dumps([cell()]) + "}",
    "NaN and infinity": TEXT[:-1] + ', "x": [NaN, Infinity, -Infinity, 1e999]}',
    "nested": TEXT[:-1] + ', "x": ' + "[" * 400 + "]" * 400 + "}",
    "id a list": json.dumps(notebook(cells=[cell(id=["c"])])),
    "id null": json.dumps(notebook(cells=[cell(id=None)])),
    "id a number": json.dumps(notebook(cells=[cell(id=7)])),
    "id 10,000 long": json.dumps(notebook(cells=[cell(id="c" * 10_000)])),
    "id half a character": json.dumps(notebook(cells=[cell(id="\ud800")])),
    "outputs a text": json.dumps(notebook(cells=[cell(outputs="x")])),
    "tags of any kind": json.dumps(notebook(cells=[cell(metadata={"tags": ["parameters", 1, None, "parameters"]})])),
    "tags a text": json.dumps(notebook(cells=[cell(metadata={"tags": "parameters"})])),
    "trusted by itself": json.dumps(notebook(cells=[cell(metadata={"trusted": True})], metadata={"trusted": True})),
    "signed": json.dumps(notebook(metadata={"signature": "sha256:" + "0" * 64})),
    "attachments above the folder": json.dumps(
        notebook(
            cells=[{"cell_type": "markdown", "source": "", "attachments": {"../../x": {"image/png": "AAAA"}}}, cell()]
        )
    ),
    "widgets' state": json.dumps(
        notebook(
            metadata={"widgets": {"application/vnd.jupyter.widget-state+json": {"state": {"x": {"_esm": "alert()"}}}}}
        )
    ),
}

# Cells that are Python but can't become a module, with a word of what is said of them.
UNEXPORTABLE: dict[str, tuple[tuple[str, ...], str]] = {
    "nothing": ((), "neither a task cell nor a flow"),
    "syntax": (("def (", FLOW), "cell 1, line 1: invalid syntax"),
    "another language": (("x <- c(1)\nlibrary(ggplot2)",), "neither a task cell nor a flow|cell 1"),
    "half a character": (("x = '\ud800'", FLOW), "cell 1"),
    "a null character": (("x = '\0'", FLOW), "cell 1"),
    "brackets": ((f"x = {'(' * 500}{')' * 500}", FLOW), "cell 1, line 1: too many nested parentheses"),
    "signs": ((f"x = {'-' * 100_000}1", FLOW), "cell 1"),
    "a long sum": ((f"x = {'+'.join('1' * 20_000)}", FLOW), "cell 1"),
    "elif": (("if a: pass\n" + "elif a: pass\n" * 3_000, FLOW), "cell 1"),
    "a circle": (("%%dagy_task a\na = b + 1", "%%dagy_task b\nb = a + 1"), "circle: a -> b -> a"),
    "a task twice": (("%%dagy_task a\nx = 1", "%%dagy_task a\ny = 2"), "'a'"),
    "an option unknown": (("%%dagy_task --retrys 3\nx = 1",), "--retrys.*did you mean '--retries'"),
    "a quote open": (("%%dagy_task 'x\nx = 1",), "no closing quotation"),
    "an await at the top": (
        ("import asyncio\nX = await asyncio.sleep(0, 5)", FLOW.replace("1\n", "X\n")),
        "cell 1.*awaits",
    ),
    "a shell line in a task": ((FLOW.replace("    return", "    !touch canary\n    return"),), "cell 1.*get_ipython"),
    "a magic in a task": ((FLOW.replace("    return", "    %run ../x\n    return"),), "cell 1.*get_ipython"),
    "a name of the shell's": (("files = !ls", FLOW.replace("return 1", "return files")), "cell 1|cell 2"),
}

COMMANDS = ("draw", "export", "run", "build")


def exported(path: Path) -> str:
    """The text of the module that the notebook becomes."""
    return read_source(path).text


def converted(path: Path) -> str:
    """The same, by `jupyter nbconvert --to dagy`."""
    return str(DagyExporter().from_filename(str(path))[0])


DOORS: tuple[Callable[[Path], object], ...] = (notebook_cells, exported, load_notebook, converted)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test is in a folder of its own; what was imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in sys.modules.keys() - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write(data: str | bytes | dict[str, Any], name: str = "x.ipynb") -> Path:
    text = json.dumps(data) if isinstance(data, dict) else data
    path = Path(name).absolute()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def errors(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[ExitCode, str]:
    """How a command that must fail ends, and what it says; on stdout it says nothing."""
    code = app.run(words)
    said = capsys.readouterr()
    assert (code != ExitCode.SUCCESS, said.out) == (True, "")
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    return code, said.err


# ---- what can't be read


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_is_no_notebook_is_refused_with_its_name_the_fault_and_the_remedy(case: str) -> None:
    data, fault = UNREADABLE[case]
    for read in DOORS:
        with pytest.raises(NotebookError) as caught:
            read(write(data))
        said = str(caught.value)
        assert said.startswith("x.ipynb ")
        assert fault in said
        assert any(word in said for word in ("save", "open it", "restore", "Dagy reads"))
        assert len(said) < 500


@pytest.mark.parametrize("case", UNREADABLE)
def test_every_command_refuses_it_as_a_wrong_use(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    data, fault = UNREADABLE[case]
    write(data)
    for command in COMMANDS:
        code, said = errors(command, "x.ipynb", capsys=capsys)
        assert code == ExitCode.USAGE
        assert said.startswith("error: x.ipynb ")
        assert fault in said
    assert [path.name for path in Path().iterdir()] == ["x.ipynb"]


def a_folder(path: Path) -> None:
    path.mkdir()


def a_loop(path: Path) -> None:
    path.symlink_to(path)


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to("gone.ipynb")


def a_link_into_a_folder(path: Path) -> None:
    path.symlink_to(".")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def nothing(path: Path) -> None:
    pass


def a_locked_file(path: Path) -> None:
    path.write_text(TEXT)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("who may do anything may read a locked file")


NO_FILES = (a_folder, a_loop, a_link_to_nothing, a_link_into_a_folder, a_pipe, nothing, a_locked_file)


@pytest.mark.parametrize("make", NO_FILES)
@pytest.mark.timeout(5)
def test_what_is_no_file_is_refused_at_once(make: Callable[[Path], None], capsys: pytest.CaptureFixture[str]) -> None:
    make(Path("x.ipynb"))
    for command in COMMANDS:
        code, said = errors(command, "x.ipynb", capsys=capsys)
        assert code in (ExitCode.USAGE, ExitCode.NOT_FOUND)
        assert "x.ipynb" in said
    with pytest.raises(NotebookError, match=r"x\.ipynb"):
        notebook_cells(Path("x.ipynb"))


@pytest.mark.parametrize("case", ["truncated", "UTF-16", "nested too deeply", "R"])
def test_the_program_says_it_in_one_line(case: str) -> None:
    data, _ = UNREADABLE[case]
    write(data)
    done = dagy("export", "x.ipynb")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: x.ipynb ")


# ---- what can


@pytest.mark.parametrize("case", READABLE)
def test_an_odd_notebook_is_read_as_what_it_is(case: str) -> None:
    (found,) = notebook_cells(write(READABLE[case]))
    assert found.label == "cell 1"
    assert "".join(found.source.split()) == "".join(FLOW.split())
    module = exported(Path("x.ipynb"))
    compile(module, "x.py", "exec")
    assert module == exported(Path("x.ipynb"))
    assert [*load_notebook("x.ipynb").flows] == ["small"]
    assert "def one() -> int:" in module


def test_cells_with_one_id_are_both_read() -> None:
    twice = notebook(cells=[cell("X = 1"), cell(FLOW.replace("return 1", "return X"))])
    assert [each.id for each in notebook_cells(write(twice))] == ["c", "c"]
    assert "X = 1" in exported(Path("x.ipynb"))


@pytest.mark.parametrize(
    "name", ["a b.ipynb", "1.ipynb", "class.ipynb", "dagy.ipynb", 'x"""y.ipynb', "日本.ipynb", "x\ny.ipynb"]
)
def test_a_notebook_may_be_called_anything(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(notebook("%%dagy_task a\na = 1"), name)
    assert app.run(["export", name, "-o", "made.py"]) == ExitCode.SUCCESS
    compile(Path("made.py").read_text(), "made.py", "exec")
    assert app.run(["draw", name]) == ExitCode.SUCCESS
    assert "1 task" in capsys.readouterr().out


@pytest.mark.parametrize("case", UNEXPORTABLE)
def test_cells_that_make_no_module_are_named(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    sources, fault = UNEXPORTABLE[case]
    path = write(notebook(*sources) if sources else notebook(cells=[]))
    with pytest.raises((ExportError, DagyError), match=fault) as caught:
        exported(path)
    assert len(str(caught.value)) < 2_000
    assert "line None" not in str(caught.value)
    code, _ = errors("export", "x.ipynb", capsys=capsys)
    assert code == ExitCode.USAGE


def test_what_a_notebook_shows_is_not_held_against_it() -> None:
    # A hundred megabytes of outputs: read in a few times their size and in seconds, and none of it goes on.
    lines = [*["x" * 79 + "\n"] * 12_500, "CANARY"]
    outputs = [{"output_type": "stream", "name": "stdout", "text": lines}]
    path = write(notebook(cells=[cell(f"x{n} = 1", outputs=outputs, id=f"c{n}") for n in range(100)] + [cell()]))
    assert path.stat().st_size > 100e6
    program = (
        "import sys; from dagy.cli.app import main\n"
        "try: main(['export', 'x.ipynb'])\n"
        "finally: print(*(line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line), file=sys.stderr)"
    )  # its own peak, in kB; `getrusage` would count in that of the process that started it
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    path.unlink()
    assert done.returncode == 0, done.stderr
    assert "CANARY" not in done.stdout + done.stderr
    assert int(done.stderr.split()[-1]) * 1024 < 600e6


# ---- any bytes, any text

DAMAGE = st.tuples(st.integers(0, len(TEXT)), st.integers(0, 40), st.binary(max_size=8))


@given(st.lists(DAMAGE, min_size=1, max_size=4))
@settings(max_examples=400)
def test_a_damaged_notebook_is_read_or_refused(damages: list[tuple[int, int, bytes]]) -> None:
    data = TEXT.encode()
    for start, length, put in damages:
        data = data[:start] + put + data[start + length :]
    path = write(data)
    try:
        notebook_cells(path)
    except NotebookError as error:
        assert "x.ipynb" in str(error)  # noqa: PT017 (either is right)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("nbformat", "nbformat_minor", "metadata", "cells", "worksheets")
CELL_KEYS = ("cell_type", "id", "metadata", "outputs", "source", "attachments")


@given(
    st.sampled_from((1, 2, 3, 4)),
    st.dictionaries(st.sampled_from(KEYS), VALUES),
    st.dictionaries(st.sampled_from(CELL_KEYS), VALUES),
)
@settings(max_examples=300)
def test_any_value_anywhere_is_read_or_refused(
    version: int, wrong: dict[str, Any], wrong_in_cell: dict[str, Any]
) -> None:
    base = notebook(cells=[cell(**wrong_in_cell)]) if version in (1, 4) else old(version)
    path = write(json.dumps({**base, "nbformat": version, **wrong}))
    try:
        notebook_cells(path)
    except NotebookError as error:
        assert "x.ipynb" in str(error)  # noqa: PT017 (either is right)


@given(st.text(st.characters(exclude_categories=())))
@settings(max_examples=40)
def test_any_text_in_a_cell_is_exported_or_refused(text: str) -> None:
    path = write(notebook(text, f"%%dagy_task\n{text}"))
    try:
        exported(path)
    except DagyError as error:
        assert "x.ipynb" in str(error)  # noqa: PT017 (either is right)


# ---- nothing is executed by looking

TOUCH = "open('canary', 'w').close()"
TOUCH_VALUE = "open('canary', 'w').close() or 1"
TOUCHING = "__import__('pathlib').Path('canary').touch() or {}"

# What is beside the flow. No command has a reason to run it.
BESIDE: dict[str, str] = {
    "a statement": TOUCH,
    "a shell line": "!touch canary",
    "a shell line in a block": "if True:\n    !touch canary",
    "a shell line, its output kept": "files = !touch canary",
    "two marks": "!!touch canary",
    "the shell by its name": "get_ipython().system('touch canary')",
    "a magic": "%system touch canary",
    "a run": "%run evil.py",
    "an extension": "%load_ext evil",
    "an import": "import evil",
    "a file written": "%%writefile canary\nx",
    "another language": "%%bash\ntouch canary",
    "another interpreter": "%%python\nopen('canary', 'w')",
    "a name filled in": f"%matplotlib {{{TOUCH_VALUE}}}",
    "a shell's word filled in": "%cd $(touch canary)",
    "a time": f"%time {TOUCH}",
    "a timed cell": f"%%time\n{TOUCH}",
    "a timed line": f"%timeit {TOUCH}",
    "an assignment": f"x = {TOUCH_VALUE}",
    "a walrus": f"(x := {TOUCH_VALUE})",
    "a default": f"def helper(x={TOUCH_VALUE}): ...",
    "a decorator": f"@(lambda f: {TOUCH_VALUE})\ndef helper(): ...",
    "an annotation": f"x: ({TOUCH_VALUE}) = 1",
    "a class's body": f"class Helper:\n    {TOUCH}",
    "a class's base": f"class Helper({TOUCHING}, metaclass=type): ...",
    "a comprehension": f"[{TOUCH_VALUE} for _ in '1']",
    "a text with names": f'f"{{{TOUCH_VALUE}}}"',
    "an assertion": f"assert {TOUCH_VALUE}",
    "a deletion": "class D:\n    def __del__(self): open('canary', 'w')\nd = D()\ndel d",
    "an await": "import asyncio\nawait asyncio.to_thread(open, 'canary', 'w')",
    "a condition": f"if {TOUCH_VALUE}: pass",
    "a loop": f"while {TOUCH}: pass",
    "a match": f"match {TOUCH_VALUE}:\n    case _: pass",
    "a try": f"try:\n    {TOUCH}\nfinally:\n    pass",
    "an assigned item": f"x = {{}}\nx[{TOUCH_VALUE}] = 1",
    "help": f"{'evil'}?",
    "an alias": "%alias_magic t time\n%t open('canary', 'w')",
    "a task that no flow calls": f"@task\ndef other(x={TOUCH_VALUE}): {TOUCH}",
}


def evil() -> None:
    """What an import beside the notebook would run."""
    for name in ("evil", "sitecustomize", "nbformat", "ruff", "conftest"):
        Path(f"{name}.py").write_text("open('canary', 'w').close()")
    Path("ruff.toml").write_text("not a setting")


@pytest.mark.parametrize("case", BESIDE)
def test_nothing_beside_a_flow_is_run_by_reading_exporting_or_drawing_it(
    case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    evil()
    path = write(notebook(FLOW, BESIDE[case]))
    assert len(notebook_cells(path)) == 2
    assert app.run(["export", "x.ipynb"]) == ExitCode.SUCCESS
    assert "canary" not in capsys.readouterr().out
    assert "canary" not in converted(path)
    assert app.run(["draw", "x.ipynb"]) == ExitCode.SUCCESS
    if "@task" not in BESIDE[case]:  # all tasks are there to be tested, so their definitions are run
        assert load_notebook(path).flow.name == "small"
    assert not Path("canary").exists()


# What the flow needs, so that it goes into the module: exporting must not run it. To draw a flow, its definitions must.
NEEDED: dict[str, tuple[str, str]] = {
    "a constant": (f"X = {TOUCH_VALUE}", "X"),
    "a helper's default": (f"def X(x={TOUCH_VALUE}): return x", "X()"),
    "a decorator": (f"@(lambda f: [f, {TOUCH}][0])\ndef X(): return 1", "X()"),
    "an annotation": (f"def X(x: ({TOUCH_VALUE}) = 1): return x", "X()"),
    "a class's body": (f"class X:\n    {TOUCH}", "X()"),
    "an import": ("import evil", "evil"),
}


@pytest.mark.parametrize("case", NEEDED)
def test_what_a_flow_needs_is_exported_and_not_run(case: str) -> None:
    evil()
    source, use = NEEDED[case]
    path = write(notebook(source, FLOW.replace("return 1", f"return {use}")))
    assert source.split("=")[0].split("(")[0].split("\n")[0] in exported(path)
    assert app.run(["export", "x.ipynb", "-o", "made.py"]) == ExitCode.SUCCESS
    assert not Path("canary").exists()


def test_to_draw_a_notebook_its_flow_is_built_but_no_task_is_run() -> None:
    write(notebook(FLOW.replace("    return 1", f"    {TOUCH}\n    return 1")))
    for form in ("text", "svg", "dot"):
        assert app.run(["draw", "x.ipynb", "--format", form]) == ExitCode.SUCCESS
    assert app.run(["build", "x.ipynb"]) == ExitCode.SUCCESS
    assert not Path("canary").exists()


def test_an_artifact_is_drawn_without_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    source, use = NEEDED["a constant"]
    write(notebook(source, FLOW.replace("return 1", f"return {use}")))
    assert app.run(["build", "x.ipynb"]) == ExitCode.SUCCESS
    Path("canary").unlink()
    artifact = capsys.readouterr().out.splitlines()[-1]
    assert app.run(["draw", artifact]) == ExitCode.SUCCESS
    assert not Path("canary").exists()


# Text that would become code if it were put in a module as it stands.
BREAKING_OUT = {
    "an id": notebook(cells=[cell(id=f"c\n{TOUCH}\n#")]),
    "an id of a terminal": notebook(cells=[cell(id=f"c\r{TOUCH}\r#")]),
    "an id's form feed": notebook(cells=[cell(id=f"c\x0c\x85\u2028{TOUCH}")]),
    "a name": notebook(f"%%dagy_task 'a\"); {TOUCH} #'\na = 1"),
    "a name's lines": notebook("%%dagy_task 'a\\n" + TOUCH + "'\na = 1"),
    "a description": notebook(f'%%dagy_task a --description \'"""); {TOUCH} #\'\na = 1'),
    "a description's end": notebook("%%dagy_task a --description '\\\\'\na = 1"),
    "a flow's name": notebook(FLOW, f"%%dagy_flow '\"); {TOUCH} #'\none()"),
    "a flow's version": notebook(FLOW, f"%%dagy_flow big --version '\"); {TOUCH} #'\none()"),
    "a shell's words": notebook(
        "%%dagy_task a --description \"$(touch canary) `touch canary` {open('canary','w')}\"\na = 1"
    ),
}


@pytest.mark.parametrize("case", BREAKING_OUT)
def test_text_does_not_become_code(case: str) -> None:
    write(BREAKING_OUT[case])
    for words in (
        ["export", "x.ipynb", "-o", "made.py"],
        ["draw", "x.ipynb"],
        ["build", "x.ipynb"],
        ["run", "x.ipynb"],
    ):
        code = app.run(words)
        assert code in (ExitCode.SUCCESS, ExitCode.USAGE)
        assert not Path("canary").exists()
    if Path("made.py").exists():
        exec(compile(Path("made.py").read_text(), "made.py", "exec"), {"__name__": "made"})
    assert not Path("canary").exists()


SECRET = "sk-live-0123456789abcdef"
HOLDERS: dict[str, dict[str, Any]] = {
    "an output": notebook(cells=[cell(outputs=[{"output_type": "stream", "name": "stdout", "text": SECRET}])]),
    "a page": notebook(
        cells=[cell(outputs=[{"output_type": "display_data", "data": {"text/html": f"<script>{SECRET}</script>"}}])]
    ),
    "an error": notebook(cells=[cell(outputs=[{"output_type": "error", "ename": SECRET, "traceback": [SECRET]}])]),
    "metadata": notebook(metadata={"token": SECRET}),
    "metadata of a cell": notebook(cells=[cell(metadata={"token": SECRET})]),
    "a widget": notebook(metadata={"widgets": {"application/vnd.jupyter.widget-state+json": {"state": SECRET}}}),
    "an attachment": notebook(
        cells=[{"cell_type": "markdown", "source": "", "attachments": {"../../x": {"text/plain": SECRET}}}, cell()]
    ),
    "prose": notebook(
        cells=[{"cell_type": "markdown", "source": SECRET}, {"cell_type": "raw", "source": SECRET}, cell()]
    ),
    "a cell that the flow does not need": notebook(FLOW, f"KEY = '{SECRET}'"),
}


@pytest.mark.parametrize("case", HOLDERS)
def test_what_ships_is_code_and_nothing_else_of_the_notebook(case: str) -> None:
    path = write(HOLDERS[case])
    assert SECRET not in exported(path)
    assert app.run(["build", "x.ipynb"]) == ExitCode.SUCCESS
    (artifact,) = Path("dist").rglob("artifact.zip")
    with zipfile.ZipFile(artifact) as opened:
        assert [name for name in opened.namelist() if SECRET.encode() in opened.read(name)] == []
    assert {path.name for path in Path().iterdir()} == {"x.ipynb", "dist"}


def dagy(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    return subprocess.run(
        [sys.executable, "-m", "dagy", *words], env=environment, capture_output=True, text=True, check=False
    )
