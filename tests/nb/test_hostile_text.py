"""Text that would act rather than show, in every name, line, error and result, through every renderer: none of it acts.

`tests/browser/test_hostile_text.py` gives the same to a real browser.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest

from dagy.artifact import read_source
from dagy.cli import app
from dagy.cli.app import ExitCode
from dagy.drawing import dot, flow_html, run_html, svg, text_tree
from dagy.errors import DagyError
from dagy.states import completed, failed
from dagy_nb.previews import preview_of

from .conftest import NotebookShell
from .hostile import PAYLOADS, flow, still

ENDS_LINES = re.compile(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


def short(payload: str) -> str:
    return payload.encode("ascii", "backslashreplace").decode()[:40]


everything = pytest.mark.parametrize("payload", PAYLOADS, ids=[f"{n}" for n, _ in enumerate(PAYLOADS)])


def test_there_are_enough_of_them_and_no_two_alike() -> None:
    assert len(PAYLOADS) == len(set(PAYLOADS)) >= 60


# ---- what is made of a text


class Parsed(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: set[tuple[str, str]] = set()
        self.values: list[str] = []
        self.text: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes |= {(tag, name) for name, _ in attrs}
        self.values += [value or "" for name, value in attrs if name in ("src", "href", "style", "action")]

    def handle_comment(self, data: str) -> None:
        self.elements.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.elements.append(f"<!{decl}>")

    def handle_pi(self, data: str) -> None:
        self.elements.append(f"<?{data}>")

    def unknown_decl(self, data: str) -> None:
        self.elements.append(f"<![{data}")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


OURS = Parsed(run_html(still("plain")) + flow_html(flow("plain")))


def acting(text: str) -> set[str]:
    """The characters of `text`, other than line breaks, that would act in a terminal or turn what is read."""
    turns = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return {
        each
        for each in text
        if (unicodedata.category(each) in ("Cc", "Cs") and each not in "\n\t")
        or unicodedata.bidirectional(each) in turns
    }


@everything
def test_a_drawing_has_no_element_or_attribute_more(payload: str) -> None:
    plain, drawn = (
        ElementTree.fromstring(svg(flow(each), {"a": completed(), "b": failed(each)}, details={"a": each}))
        for each in ("plain", payload)
    )
    assert {each.tag for each in drawn.iter()} == {each.tag for each in plain.iter()}
    assert {name for each in drawn.iter() for name in each.attrib} == {
        name for each in plain.iter() for name in each.attrib
    }
    values = [value for each in drawn.iter() for name, value in each.attrib.items() if name in ("href", "style")]
    assert not any("evil.invalid" in value for value in values)


@everything
def test_a_still_has_no_element_or_attribute_of_the_texts(payload: str) -> None:
    page = Parsed(run_html(still(payload, acts=False)) + flow_html(flow(payload)))
    assert set(page.elements) <= set(OURS.elements)
    assert page.attributes <= OURS.attributes
    assert all(not value.startswith(("http", "java")) and "evil.invalid" not in value for value in page.values)
    assert acting("".join(page.text)) == set()


@everything
def test_a_shown_result_keeps_what_shows_and_loses_what_acts(payload: str) -> None:
    preview = preview_of({"text/html": payload})
    page = Parsed(preview.content if preview else "")
    assert not {"script", "style", "iframe", "object", "embed", "svg", "math", "form", "input", "base"} & {
        *page.elements
    }
    assert not {"link", "meta", "template", "body", "video", "source"} & {*page.elements}
    assert not [
        name for _, name in page.attributes if name.startswith(("on", "style", "srcset", "formaction", "xlink"))
    ]
    assert not [value for value in page.values if "javascript" in value.lower().replace("\t", "")]


@everything
def test_a_tree_and_a_summary_are_lines_of_plain_text(payload: str) -> None:
    tree = text_tree(flow(payload), {"a": completed(), "b": failed(payload)}, details={"b": payload})
    assert acting(tree) == set()
    assert len(tree.splitlines()) == len(text_tree(flow("plain"), {"a": completed()}).splitlines())


@everything
def test_source_for_graphviz_has_the_same_statements(payload: str) -> None:
    def statements(source: str) -> list[str]:
        return re.sub(r'"(?:[^"\\]|\\.)*"', '""', source).splitlines()

    assert acting(dot(flow(payload))) == set()
    names = [re.sub(r"label=\S+", "label", each) for each in statements(dot(flow(payload)))]
    plain = [re.sub(r"label=\S+", "label", each) for each in statements(dot(flow("plain text")))]
    assert names == plain


# ---- what is made of a notebook's text

WRITTEN = """\
from dagy import flow, task

TEXT = {text!r}

@task(name={name!r}, description=TEXT)
def speak(word: str = TEXT):
    print(word)
    return word

@task
def fail(word):
    raise ValueError(word)

@flow(name={name!r}, description=TEXT)
def hostile(word: str = TEXT):
    fail(speak(word))
"""


def written(payload: str, name: str) -> str:
    # Halves of surrogate pairs come out of an escape: no file of UTF-8 holds them.
    return WRITTEN.format(text=payload, name=name)


@pytest.mark.program  # ruff, for each
@everything
def test_a_name_and_a_description_stay_in_their_strings(payload: str, tmp_path: Path) -> None:
    words = json.dumps(ENDS_LINES.sub(" ", payload).replace("\0", "")[:200]).replace("`", "\\`").replace("$", "\\$")
    quoted = "'" + ENDS_LINES.sub(" ", payload).replace("\0", "").replace("'", "'\"'\"'")[:200].rstrip("'\"") + "'"
    cells = [
        nbformat.v4.new_code_cell(f"%%dagy_task first --description {quoted}\nx = {payload!r}"),
        nbformat.v4.new_code_cell(f"%%dagy_task last --description {words}\ny = x"),
    ]
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps(nbformat.v4.new_notebook(cells=cells)))
    try:
        text = read_source(path).text
    except DagyError:  # a quote too many
        return
    assert [type(each).__name__ for each in ast.parse(text).body] == [
        "Expr", "ImportFrom", "FunctionDef", "FunctionDef", "FunctionDef", "If",
    ]  # fmt: skip
    called = {
        each.func.id
        for each in ast.walk(ast.parse(text))
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)
    }
    assert called <= {"task", "flow", "first", "last", "print"}


@everything
def test_the_command_line_shows_it_and_does_not_obey_it(
    payload: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    name = payload.replace("/", "-")[:60] or "x"
    (tmp_path / "hostile_flow.py").write_text(written(payload, name), "utf-8")
    said = []
    for words in (
        ("draw", "hostile_flow.py"),
        ("run", "hostile_flow.py", "--param", f"word={payload}".replace("\0", "")),
        ("run", f"hostile_flow.py:{payload}"),
        ("runs", "list"),
        ("runs", "show", "latest"),
        ("logs", "latest"),
        ("logs", payload),
    ):
        code = app.run(words)
        captured = capsys.readouterr()
        out = captured.out
        for printed in (payload, payload.replace("\0", "")):  # by the task itself, on the terminal that it was given
            out = out.removeprefix(f"{printed}\n")
        said += [out, captured.err]
        assert code in ExitCode
    assert [each for each in said if acting(each)] == []
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("payload", [each for each in PAYLOADS if len(each) < 200 and not ENDS_LINES.search(each)])
def test_a_cell_magic_answers_with_plain_text(payload: str, notebook: NotebookShell) -> None:
    quoted = "'" + payload.replace("'", "") + "'"
    for source in (
        f"%%dagy_task {quoted}\nx = 1",
        f"%%dagy_task x --description {quoted}\nx = 1",
        f"%%dagy_task x --{quoted}\nx = 1",
        f"%%dagy_flow {quoted}\nx",
        f"%dagy_run {quoted}",
        f"%dagy_dag {quoted}",
    ):
        ran = notebook.run(source)
        page = Parsed(ran.html)
        assert set(page.elements) <= {*OURS.elements, "code", "p", "ul", "li", "b", "em", "style"}
        assert not [name for _, name in page.attributes if name.startswith("on")]
        # IPython itself repeats a line that is no Python; what we say has no escapes.
        ours = [line for line in ran.text.splitlines() if "dagy" in line and "Cell In" not in line]
        assert not any("\x1b" in line or "\u202e" in line for line in ours if "UsageError" in line)
    assert not Path("canary").exists()
