from pathlib import Path
from time import process_time

import pytest

from dagy.errors import DefinitionError
from dagy_nb.cells import Cell, FlowCell, ReadCell, TaskCell, flow_cell, read_cell, task_cell


def read(source: str) -> ReadCell:
    return read_cell(Cell("abc", source, "cell 3"))


def task(source: str) -> TaskCell:
    return task_cell(read(f"%%dagy_task\n{source}"))


def flow(source: str) -> FlowCell:
    return flow_cell(read(source))


# -- reading ----------------------------------------------------------------------------------


def test_statements_keep_the_lines_of_the_cell_as_the_user_sees_it() -> None:
    found = read("\n%%dagy_task clean\n\nx = 1\n@d\ndef f(): ...\n").statements

    assert [each.line for each in found] == [4, 5]


def test_a_statement_has_its_comments_and_its_text() -> None:
    _, second = read("a = 1\n\n# one\n\n# two\n# three\nb = (1,\n  2)  # four\n# five").statements

    assert second.comments == "# one\n\n# two\n# three\n"
    assert second.text == "# one\n\n# two\n# three\nb = (1,\n  2)  # four\n# five\n"
    assert second.source == "b = (1,\n  2)  # four"
    assert second.above == ("", "# one", "", "# two", "# three")


def test_statements_on_one_line_are_told_apart() -> None:
    found = read("é = 'é'; import os; b = [1,\n 2]; c = 3  # last").statements

    assert [each.source for each in found] == ["é = 'é'", "import os", "b = [1,\n 2]", "c = 3  # last"]


@pytest.mark.parametrize(
    ("source", "line", "typed", "binds"),
    [
        ("x = 1\n%matplotlib inline\ny = 2", 2, "%matplotlib inline", set()),
        ("\n\n!ls", 3, "!ls", set()),
        ("files = !ls", 1, "files = !ls", {"files"}),
        ("x = %time 3", 1, "x = %time 3", {"x"}),
        ("len?", 1, "len?", set()),
        ("def f():\n    !ls", 1, "def f():", {"f"}),
    ],
)
def test_what_needs_ipython_is_marked_at_its_own_line(source: str, line: int, typed: str, binds: set[str]) -> None:
    (found,) = [each for each in read(source).statements if each.needs_ipython]

    assert (found.line, found.as_typed, found.names.binds) == (line, typed, binds)


def test_plain_python_that_looks_like_a_magic_stays_plain() -> None:
    assert not any(each.needs_ipython for each in read("x = '''\n%time\n!ls\n'''\ny = 5\\\n%2").statements)


@pytest.mark.parametrize("magic", ["%%time", "%%capture out"])
def test_the_body_of_a_timed_or_captured_cell_is_plain_code(magic: str) -> None:
    (statement,) = read(f"{magic}\nx = 1").statements

    assert (statement.line, statement.names.binds) == (2, {"x"})


def test_the_text_under_another_cell_magic_is_not_read() -> None:
    found = read("%%bash\nls | wc -l")

    assert (found.magic, found.statements) == ("%%bash", ())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\ny = = 2", "cell 3, line 2: invalid syntax: 'y = = 2'"),
        ("%%dagy_task\n\nif x", "cell 3, line 3: expected ':'"),
        ("%matplotlib inline\nx = (", "cell 3, line 2: '(' was never closed"),
        ("x = '\0'", "cell 3"),
        ("%%dagy_task --retires 1\nx = 1", "cell 3: %%dagy_task has no option '--retires'"),
        ("# first\n%%dagy_task clean\nx = 1", "cell 3, line 2: %%dagy_task must be the first line of its cell"),
        ("import os\n%dagy_node\nx = 1", "cell 3, line 2: %%dagy_node must be the first line of its cell"),
    ],
)
def test_a_cell_that_cannot_be_read_is_refused_with_its_line(source: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read(source)

    assert message in str(caught.value)


# -- task cells -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "def clean(raw): return raw",
        "import os\nfrom math import pi\n\ndef clean(raw): return raw",
        '"""What it does."""\n# a comment\nasync def clean(raw): return raw',
        "@functools.cache\ndef clean(raw): return raw",
    ],
)
def test_one_function_and_imports_make_a_function_cell(body: str) -> None:
    found = task(body)

    assert (found.form, found.name, found.bound, found.inputs) == ("function", "clean", ("clean",), ("raw",))
    assert found.is_async == ("async" in body)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("def f(): ...\ndef g(): ...", "g"),
        ("def f(): ...\nx = f()", "x"),
        ("LIMIT = 3\ndef f(): return LIMIT", "f"),
        ("class Model: ...", "Model"),
    ],
)
def test_anything_else_is_statements_named_after_what_they_bind_last(body: str, name: str) -> None:
    found = task(body)

    assert (found.form, found.name) == ("statements", name)


def test_a_function_task_can_be_named_otherwise() -> None:
    found = task_cell(read("%%dagy_task tidy --retries 2\ndef clean(raw): ..."))

    assert (found.name, found.bound, found.directive.options) == ("tidy", ("clean",), {"retries": 2})


def test_parameters_keep_annotations_and_defaults_as_written() -> None:
    found = task("def f(a, /, b: int | None = None, *args, c: 'T', d=LIMIT * 2, **kw): ...").parameters

    assert [(each.name, each.annotation, each.default, each.keyword_only) for each in found] == [
        ("a", "", None, False),
        ("b", "int | None", "None", False),
        ("c", "'T'", None, True),
        ("d", "", "LIMIT * 2", True),
    ]


@pytest.mark.parametrize(
    ("body", "inputs", "bound"),
    [
        ("df = df.dropna()", "df", "df"),
        ("x = 1\ny = x + z", "z", "x y"),
        ("y = [x for x in xs]", "xs", "y"),
        ("for row in rows:\n    total = row\nprint(total)", "rows print total", "row total"),
        ("def f(): return n\nx = f()", "n", "f x"),
        ("n = 1\ndef f(): return n\nx = f()", "", "n f x"),
        ("x = sorted(rows, key=lambda r: r[col])", "sorted rows col", "x"),
        ("import json\nx = json.dumps(y)", "y", "x"),
        ("x = 1\ndel x\ny = 2", "", "y"),
        ("df['a'] = 1\ny = df", "df", "y"),
        ("if a:\n    b = 1\nelse:\n    b = 2\nc = b", "a", "b c"),
        ("x += 1", "x", "x"),
    ],
)
def test_statements_take_in_what_they_read_before_binding_it(body: str, inputs: str, bound: str) -> None:
    found = task(body)

    assert (found.inputs, found.bound) == (tuple(inputs.split()), tuple(bound.split()))


def test_a_cell_that_only_changes_a_value_is_named_after_it() -> None:
    assert task("df['a'] = df.b * 2").name == "df"


def test_await_at_the_top_makes_the_task_async() -> None:
    assert task("page = await fetch(url)").is_async


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("print(1)", "cell 3: the task has no name, because the cell binds none; write %%dagy_task NAME"),
        ("# nothing", "cell 3 has %%dagy_task but no code"),
        ("import os", "cell 3 has %%dagy_task but no code"),
        ("@task\ndef f(): ...", "cell 3, line 2: the function 'f' has @task in a %%dagy_task cell"),
        ("@dagy.task(retries=2)\ndef f(): ...", "cell 3, line 2: the function 'f' has @task in a %%dagy_task cell"),
        ("from math import *\nx = pi", "cell 3, line 2: `from math import *` hides which names the task uses"),
        ("x = 1\nreturn x", "cell 3, line 3: the task returns a value, which has no name yet; write %%dagy_task NAME"),
        ("x = 1\nif x:\n    yield x", "cell 3, line 4: `yield` outside a function"),
        ("x = 1\n\ndef f():\n    global y", "cell 3, line 5: `global y` does not reach other tasks"),
        ("files = !ls", "cell 3, line 2: `files = !ls` needs IPython and can't be part of a task"),
        ("x = 1\n%matplotlib inline", "cell 3, line 3: `%matplotlib inline` needs IPython"),
        ("def f():\n    !ls", "cell 3, line 3: `!ls` needs IPython"),
    ],
)
def test_what_cannot_be_a_task_is_refused_with_the_way_out(body: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        task(body)

    assert message in str(caught.value)


# -- flow cells -------------------------------------------------------------------------------


def test_a_flow_cell_is_named_after_its_function_or_its_directive() -> None:
    assert flow("%%dagy_flow\ndef etl(): ...").name == "etl"
    assert flow("%%dagy_flow nightly\ndef etl(): ...").name == "nightly"
    assert flow("%%dagy_flow nightly\nx = load()").name == "nightly"
    assert flow("%%dagy_flow\nx = load()").name is None


def test_a_flow_of_statements_awaits_nothing() -> None:
    with pytest.raises(DefinitionError, match="awaits none"):
        flow("%%dagy_flow\nx = await load()")


def test_only_the_right_directive_makes_a_task_or_a_flow() -> None:
    with pytest.raises(DefinitionError, match="not a task cell"):
        task_cell(read("x = 1"))
    with pytest.raises(DefinitionError, match="not a flow cell"):
        flow_cell(read("%%dagy_task\nx = 1"))


# -- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["", "%%dagy_task t\n", "#| dagy_export\n"])
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = '\0'", "line {line}: \"x = '\\x00'\" holds a character that no Python file can hold"),
        ("x = '\ud800'", "line {line}: \"x = '\\ud800'\" holds a character"),
        ("\ufeffx = 1", "line {line}: invalid non-printable character U+FEFF"),
        ("x = " + "-" * 100_000 + "1", " can't be read: its code is nested too deeply"),
        ("x = " + "(" * 300 + "1" + ")" * 300, "too many nested parentheses"),
        ("x = " + " + ".join(["1"] * 3000), " can't be read: its code is nested too deeply"),
        ("x = a" + ".b" * 5000, " can't be read: its code is nested too deeply"),
        ("x = '''abc", "line {line}: unterminated triple-quoted string"),
        ("if x:\n\ty = 1\n        z = 2", "inconsistent use of tabs and spaces"),
        ("cd ..", "line {line}: invalid syntax: 'cd ..'"),
        ("print 'x'", "line {line}: Missing parentheses"),
    ],
)
def test_what_python_cannot_read_is_refused_with_its_line(head: str, source: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read(head + source)

    assert str(caught.value).startswith("cell 3")
    assert message.format(line=2 if head else 1) in str(caught.value)


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("x = 1\r\ny = '''a\r\nb'''\r\nz = 2", [1, 2, 4]),
        ("x = 1\ry = 2", [1, 2]),
        ("\x0cx = 1\n\x0c\ny = 2", [1, 3]),
        ("x = '\x0b\u2028'\ny = 1", [1, 2]),
        ("if 1:\n\tx = 1\ny = 2", [1, 3]),
        ("    x = 1\n    y = 2", [1, 2]),
        (">>> x = 1\n>>> y = 2", [1, 2]),
        ("# only\n# comments", []),
        (" \n\t\n", []),
    ],
)
def test_odd_line_ends_and_blanks_are_read_as_python_and_ipython_read_them(source: str, lines: list[int]) -> None:
    assert [each.line for each in read(source).statements] == lines


def test_nothing_runs_when_a_cell_is_read(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for source in (
        f"open({str(mark)!r}, 'w')",
        f"!touch {mark}",
        f"%%bash\ntouch {mark}",
        f"%%dagy_task t\n!touch {mark}",
    ):
        read(source)

    assert not mark.exists()


def test_a_cell_of_four_thousand_lines_is_read_in_a_moment() -> None:
    start = process_time()
    found = task("\n".join(f"x{number} = {number}" for number in range(4_000)))

    assert len(found.bound) == 4_000
    assert process_time() - start < 3


def test_a_cell_that_asks_to_be_exported_stays_an_ordinary_one() -> None:
    assert read("#| dagy_export\nx = 1").is_ordinary
    assert read("x = 1").is_ordinary
    assert not read("%%dagy_task\nx = 1").is_ordinary


def test_a_flow_of_statements_may_return() -> None:
    assert flow("%%dagy_flow\nrows = load()\nreturn rows").returns
