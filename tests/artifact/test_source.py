"""`FILE[:FLOW]` -> code -> the flow that it defines."""

from __future__ import annotations

import codecs
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from dagy.artifact.manifest import CellEntry
from dagy.artifact.source import (
    MissingSourceError,
    SeveralFlowsError,
    Source,
    Target,
    encode_python,
    flow_aside,
    load_flow,
    load_module,
    module_name,
    parse_target,
    read_source,
)
from dagy.errors import CodeFailedError, NotebookError, SourceError, UnknownFlowError

ONE = "from dagy import flow\n@flow\ndef {name}():\n    pass\n"


@pytest.mark.parametrize(
    ("text", "path", "flow"),
    [
        ("my_flows.py", "my_flows.py", None),
        ("my_flows.py:web_scraper", "my_flows.py", "web_scraper"),
        ("a/b.ipynb:web-scraper", "a/b.ipynb", "web-scraper"),
        ("v1.0:x/flows.py:etl", "v1.0:x/flows.py", "etl"),
        ("flows.py:etl:v2", "flows.py", "etl:v2"),
        ("C:\\flows.py", "C:\\flows.py", None),
        ("web-scraper", "web-scraper", None),
    ],
)
def test_a_target_is_a_file_and_perhaps_a_flow(text: str, path: str, flow: str | None) -> None:
    assert parse_target(text) == Target(Path(path), flow)


@pytest.mark.parametrize("text", ["", "my_flows.py:"])
def test_a_target_with_an_empty_part_is_refused(text: str) -> None:
    with pytest.raises(SourceError, match=r"empty|names no flow"):
        parse_target(text)


@pytest.mark.parametrize(
    "content",
    [
        "x = 'é'\n".encode(),
        codecs.BOM_UTF8 + "x = 'é'\n".encode(),
        b"# coding: latin-1\nx = '\xe9'\n",
        "x = 'é'\r\n".encode(),
    ],
)
def test_a_file_is_decoded_as_python_decodes_it_and_encoded_so_that_python_reads_the_same(
    write: Callable[..., Path], content: bytes
) -> None:
    source = read_source(write("accents.py", content))
    again = read_source(write("again.py", encode_python(source.text)))
    assert source.text.endswith("x = 'é'\n")
    assert again.text == source.text


@pytest.mark.parametrize("content", ["x = 1\n".encode("utf-16"), b"x = '\xe9'\n", b"# coding: klingon\nx = 1\n"])
def test_a_file_that_python_can_not_decode_is_refused(write: Callable[..., Path], content: bytes) -> None:
    with pytest.raises(SourceError, match="not text that Python can read"):
        load_flow(read_source(write("bytes.py", content)))


def test_a_missing_file_is_a_file_not_found_error_too(tmp_path: Path) -> None:
    with pytest.raises(MissingSourceError, match=r"there is no file .*nowhere\.py") as caught:
        read_source(tmp_path / "nowhere.py")
    assert isinstance(caught.value, FileNotFoundError)


def test_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(SourceError, match="is a folder"):
        read_source(tmp_path)
    with pytest.raises(SourceError, match="not a regular file"):
        read_source(tmp_path / "pipe.py")


def test_a_suffix_that_nothing_reads_is_refused_with_what_can_be_read(write: Callable[..., Path]) -> None:
    with pytest.raises(SourceError, match=r"nothing here reads '\.toml'.*\.py"):
        read_source(write("flow.toml", ""))


@pytest.fixture
def cells_reader(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An installed package that reads `.cells` files."""
    write("site/cells_reader-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: cells-reader\nVersion: 1\n")
    write("site/cells_reader-1.dist-info/entry_points.txt", "[dagy.readers]\n.cells = cells_reader:read\n")
    write(
        "site/cells_reader.py",
        "from dagy.errors import NotebookError\n"
        "def read(path):\n"
        "    text = path.read_text()\n"
        "    if text == 'empty':\n        raise NotebookError('no cells')\n"
        "    if text == 'bug':\n        raise KeyError('cells')\n"
        "    return text.replace('%%', '#')\n",
    )
    monkeypatch.syspath_prepend(tmp_path / "site")


@pytest.mark.usefixtures("cells_reader")
def test_another_suffix_is_read_by_its_entry_point(write: Callable[..., Path]) -> None:
    path = write("book.cells", "%% cell\n" + ONE.format(name="etl"))
    source = read_source(path)
    flow = load_flow(source)
    assert source.text.startswith("# cell\n")
    assert inspect.getsource(flow.function) == "@flow\ndef etl():\n    pass\n"


@pytest.mark.usefixtures("cells_reader")
def test_a_reader_may_tell_of_cells_and_of_what_it_left_out(write: Callable[..., Path], tmp_path: Path) -> None:
    with (tmp_path / "site" / "cells_reader.py").open("a") as file:
        file.write(
            "from dagy.artifact import CellEntry, Reading\n"
            "def read(path, roots='flows'):\n"
            "    return Reading(roots, (CellEntry.of('a', 'x'),), ('cell 2: a plot',), ('a warning',))\n"
        )
    source = read_source(write("book.cells", ""))
    assert (source.text, source.cells, source.left_out, source.warnings) == (
        "flows", (CellEntry.of("a", "x"),), ("cell 2: a plot",), ("a warning",)
    )  # fmt: skip
    assert read_source(source.path, roots="tasks").text == "tasks"


@pytest.mark.usefixtures("cells_reader")
def test_what_a_reader_raises_becomes_a_source_error(write: Callable[..., Path]) -> None:
    with pytest.raises(NotebookError, match="no cells"):
        read_source(write("book.cells", "empty"))
    with pytest.raises(SourceError, match="can't be read by cells_reader:read"):
        read_source(write("book.cells", "bug"))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("etl.py", "etl"),
        ("my-flows.v2.py", "my_flows_v2"),
        ("01 Quick start.ipynb", "flow_01_Quick_start"),
        ("json.py", "json_flow"),
        ("class.py", "class_flow"),
        ("dagy.py", "dagy_flow"),
    ],
)
def test_a_module_has_its_files_name_as_far_as_python_allows_it(file: str, name: str) -> None:
    assert module_name(Path(file)) == name


def test_loading_gives_the_only_flow_from_a_proper_module(write: Callable[..., Path]) -> None:
    path = write("one_flow.py", "from dagy import flow\nHERE = __file__\n" + ONE.format(name="etl"))
    flow = load_flow(read_source(path))
    module = sys.modules["one_flow"]
    assert flow.name == "etl"
    assert vars(module)["HERE"] == module.__file__ == str(path)
    assert module.__spec__ is not None
    assert inspect.getmodule(flow.function) is module


def test_text_that_is_in_no_file_is_loaded_as_if_it_were(flow_file: Path) -> None:
    path = flow_file.parent / "cells of etl.ipynb"
    source = Source(path, module_name(path), flow_file.read_text())
    flow = load_flow(source)
    assert flow.function.__module__ == source.module == "cells_of_etl"
    assert inspect.getsource(flow.function).startswith("@flow(")
    assert flow.run_local().value == 12


def test_a_file_is_loaded_anew_each_time(write: Callable[..., Path]) -> None:
    for name in ("first", "second"):
        assert load_flow(read_source(write("changing.py", ONE.format(name=name)))).name == name


def test_modules_beside_the_file_can_be_imported_now_and_later(flow_file: Path) -> None:
    assert load_flow(read_source(flow_file)).run_local().value == 12


def test_two_flows_need_a_name_and_the_message_holds_what_to_type(write: Callable[..., Path]) -> None:
    path = write("two.py", ONE.format(name="one") + ONE.format(name="two"))
    with pytest.raises(SeveralFlowsError, match=r"two\.py:one\n.*two\.py:two") as caught:
        load_flow(read_source(path))
    assert caught.value.known == ("one", "two")
    assert load_flow(read_source(path), "two").name == "two"


def test_an_unknown_flow_is_named_with_the_nearest_one(write: Callable[..., Path]) -> None:
    with pytest.raises(UnknownFlowError, match="did you mean 'web_scraper'"):
        load_flow(read_source(write("near.py", ONE.format(name="web_scraper"))), "web_scrapper")


def test_a_file_without_a_flow_of_its_own_is_refused(write: Callable[..., Path], flow_file: Path) -> None:
    with pytest.raises(SourceError, match="defines no flow; decorate a function with @flow"):
        load_flow(read_source(write("borrowed.py", "from etl import etl\n")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = = 2\n", r"broken\.py, line 2: SyntaxError: invalid syntax"),
        ("x = 1\n1 / 0\n", r"broken\.py, line 2: could not be loaded: ZeroDivisionError: division by zero"),
        ("import no_such_module_here\n", r"line 1: could not be loaded: ModuleNotFoundError"),
        ("import sys\nsys.exit(3)\n", r"line 2: could not be loaded: SystemExit: 3"),
    ],
)
def test_a_file_that_can_not_be_loaded_says_where_and_why(write: Callable[..., Path], text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        load_flow(read_source(write("broken.py", text)))
    assert caught.value.__cause__ is not None
    assert "broken" not in sys.modules


def test_a_traceback_shows_the_text_that_ran_even_when_the_file_changed(write: Callable[..., Path]) -> None:
    source = read_source(write("moving.py", "value = 1 / 0  # as it was\n"))
    write("moving.py", "# quite another text\n")
    with pytest.raises(SourceError) as caught:
        load_flow(source)
    assert "# as it was" in "".join(traceback.format_exception(caught.value))


def test_a_flow_that_is_only_looked_at_leaves_the_modules_as_they_were(write: Callable[..., Path]) -> None:
    before, path = dict(sys.modules), list(sys.path)
    source = read_source(write("pytest.py", ONE.format(name="looked_at")))
    with flow_aside(source) as found:
        assert found.name == "looked_at"
        assert sys.modules["pytest"] is not before["pytest"]
    assert sys.modules["pytest"] is before["pytest"]
    assert (sys.modules.keys() - before.keys(), sys.path) == (set(), path)


def test_what_a_flow_imports_of_its_folder_is_read_anew_the_next_time(write: Callable[..., Path]) -> None:
    beside = write("rows_of_it.py", "NAME = 'first'\n")
    text = "import rows_of_it\nfrom dagy import flow\n@flow(name=rows_of_it.NAME)\ndef etl():\n    pass\n"
    source = read_source(write("etl_of_it.py", text))
    with flow_aside(source) as found:
        assert found.name == "first"
    beside.write_text("NAME = 'the second'\n")
    with flow_aside(source) as found:
        assert found.name == "the second"
    assert "rows_of_it" not in sys.modules


def test_a_file_named_as_a_module_in_use_is_refused(write: Callable[..., Path]) -> None:
    with pytest.raises(SourceError, match="'pytest', which is in use; rename the file"):
        load_flow(read_source(write("pytest.py", ONE.format(name="etl"))))


PARTS = (
    "from __future__ import annotations\n\n\n# cell a1\ndef late(x: NotThere):\n    return 1 / x\n\n\n"
    'TEXT = """\n# cell no\n"""\n\n# cell b2\ndef caller(x):\n    return late(x)\n'
)


def test_tracebacks_of_a_loaded_module_name_the_cell_and_show_its_line(tmp_path: Path) -> None:
    module = load_module(Source(tmp_path / "book.ipynb", "book", PARTS), called="book_1")
    assert module.TEXT == "\n# cell no\n"
    assert sys.modules["book_1"] is module
    with pytest.raises(ZeroDivisionError) as caught:
        module.caller(0)
    frames = [(each.filename, each.lineno, each.line) for each in traceback.extract_tb(caught.value.__traceback__)][1:]
    assert frames == [
        (f"{tmp_path / 'book.ipynb'}, cell b2", 2, "return late(x)"),
        (f"{tmp_path / 'book.ipynb'}, cell a1", 2, "return 1 / x"),
    ]
    assert inspect.getsource(module.caller) == "def caller(x):\n    return late(x)\n"


@pytest.mark.parametrize(
    ("text", "where"),
    [("# cell a\nx = 1\n# cell b\nx = 1 / 0\n", "book.ipynb, cell b, line 1: could not be loaded"),
     ("x = (\n", "book.ipynb, line 1: SyntaxError")],
)  # fmt: skip
def test_a_module_that_fails_is_not_kept_and_says_where(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(CodeFailedError, match=where):
        load_module(Source(tmp_path / "book.ipynb", "book", text), called="book_2")
    assert "book_2" not in sys.modules
