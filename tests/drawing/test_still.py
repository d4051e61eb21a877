"""The still picture as HTML."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from dagy.drawing import RunStill, TaskStill, flow_html, run_html
from dagy.spec import FlowSpec, TaskOptions, TaskSpec
from dagy.states import State, StateType, completed, failed, skipped

ALLOWED = {"div", "strong", "span", "img", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "pre"}
EVIL = "</pre></details><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m \u202e \0 \ud800"


class Page(HTMLParser):
    """What a browser would see: the tags with their attributes, and the text of each kind of element."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[tuple[str, str]] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append((self.open[-1], data))

    def all_text(self) -> str:
        return "".join(text for _, text in self.text)


def task(name: str, state: State, **given) -> TaskStill:
    fields = {"attempt": 1, "seconds": 1.25, "output": "", "error": "", "preview_html": ""} | given
    return TaskStill(id=name, name=name, state=state, **fields)


def run_of(*tasks: TaskStill, state: State | None = None, note: str = "") -> RunStill:
    spec = FlowSpec("etl", tasks=tuple(TaskSpec(each.id, each.name, "m:f") for each in tasks))
    return RunStill(spec, "r-1", state or completed(), 61.0, tasks, note)


def check_harmless(markup: str) -> Page:
    """The page, which is well formed and can do nothing and fetch nothing."""
    markup.encode()
    page = Page(markup)
    assert page.open == []
    assert {tag for tag, _ in page.tags} <= ALLOWED
    for _, attributes in page.tags:
        assert set(attributes) <= {"class", "style", "src", "alt", "open"}
        assert attributes.get("class") in (None, "mathjax_ignore tex2jax_ignore")  # two dollars are no formula
        assert (attributes.get("src") or "data:image/svg+xml;base64,").startswith("data:image/svg+xml;base64,")
        assert "url(" not in (attributes.get("style") or "")
    return page


def test_a_run_says_how_it_went_in_its_first_line():
    run = run_of(
        task("a", completed()), task("b", failed("no disk")), state=failed("task 'b' failed"), note="look here"
    )
    text = check_harmless(run_html(run)).all_text()
    assert text.startswith("✗ failed")
    for each in ("etl", "1 min 01 s", "2 tasks: 1 completed, 1 failed", "run r-1", "task 'b' failed", "look here"):
        assert each in text


def test_every_task_has_a_row_with_its_state_in_words():
    run = run_of(task("a", completed()), task("b", skipped("'a' failed"), attempt=0, seconds=None))
    page = check_harmless(run_html(run))
    assert [text for kind, text in page.text if kind in ("th", "strong", "span", "td")][3:] == [
        *("run r-1", "Task", "State", "Attempts", "Time"),
        *("a", "✓ completed", "1", "1.2 s"),
        *("b", "» skipped", " 'a' failed"),
    ]


def test_the_picture_is_whole_and_has_its_words():
    page = check_harmless(run_html(run_of(task("a", completed()))))
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert image["alt"] == "etl: 1 task, 1 completed"
    picture = base64.b64decode((image["src"] or "").partition(",")[2])
    assert ElementTree.fromstring(picture).get("class") == "dagy-graph"


def test_failed_tasks_come_first_and_stand_open():
    page = check_harmless(
        run_html(run_of(task("a", completed(), output="fine"), task("b", failed(), error="Traceback", output="so far")))
    )
    assert ["open" in attributes for tag, attributes in page.tags if tag == "details"] == [True, False]
    assert [text for kind, text in page.text if kind == "pre"] == ["Traceback", "so far", "fine"]


def test_a_preview_is_put_in_as_it_is():
    assert "<b>42</b>" in run_html(run_of(task("a", completed(), preview_html="<b>42</b>")))


def test_text_of_the_user_stays_text_everywhere():
    evil = task(EVIL, failed(EVIL), output=EVIL, error=EVIL)
    page = check_harmless(run_html(replace(run_of(evil, state=failed(EVIL), note=EVIL), run_id=EVIL)))
    assert "<script>alert(1)</script>" in page.all_text()
    spec = FlowSpec(EVIL, description=EVIL, tasks=(TaskSpec(EVIL, EVIL, "m:f", description=EVIL, group=(EVIL,)),))
    check_harmless(flow_html(spec))


def test_a_flow_shows_what_each_task_needs_and_how_it_is_run():
    options = TaskOptions(retries=2, timeout_seconds=60, concurrency_limit=3, executor="ecs", memory_mb=4_096)
    spec = FlowSpec(
        "etl",
        description="All of it.\nMore.",
        tasks=(
            TaskSpec("a", "a", "m:a", description="Loads.\nMore.", options=options),
            TaskSpec("b", "b", "m:b", after=("a",)),
        ),
    )
    cells = [text for _, text in check_harmless(flow_html(spec)).text]
    assert cells == [
        *("etl", " ", "2 tasks", "All of it.", "Task", "Needs", "Options", "Description"),
        *("a", "2 retries, timeout 1 min 00 s, at most 3 at once, on ecs, 4,096 MB", "Loads.", "b", "a"),
    ]


def test_of_many_tasks_the_failed_and_running_ones_are_listed_and_the_rest_counted():
    quiet = [task(f"t{i}", completed()) for i in range(400)]
    page = check_harmless(run_html(run_of(*quiet, task("bad", failed()), task("busy", State(StateType.RUNNING)))))
    names = [text for kind, text in page.text if kind == "strong"]
    assert names[:4] == ["etl", "bad", "busy", "t0"]
    assert len(names) == 301
    assert "102 more tasks not listed: 102 completed." in page.all_text()


def test_long_output_keeps_its_end_and_says_what_is_left_out():
    page = check_harmless(run_html(run_of(task("a", completed(), output="x" * 30_000 + "the end"))))
    (text,) = [text for kind, text in page.text if kind == "pre"]
    assert text.endswith("the end")
    assert len(text) == 20_000
    assert "10,007 characters before this left out" in page.all_text()


def test_the_output_of_very_many_tasks_is_bounded():
    markup = run_html(run_of(*[task(f"t{i}", completed(), output="x" * 20_000) for i in range(60)]))
    assert len(markup) < 700_000
    assert "The output of 40 more tasks is left out here." in check_harmless(markup).all_text()


def test_a_flow_too_large_to_be_read_is_not_drawn_but_counted():
    markup = flow_html(FlowSpec("etl", tasks=tuple(TaskSpec(f"t{i}", f"t{i}", "m:f") for i in range(2_001))))
    page = check_harmless(markup)
    assert "No picture: 2,001 tasks and 0 edges" in page.all_text()
    assert "1,701 more tasks not listed." in page.all_text()


@pytest.mark.parametrize(
    "markup", [flow_html(FlowSpec("e")), run_html(RunStill(FlowSpec("e"), "r", completed(), None, ()))]
)
def test_an_empty_flow_has_a_still_too(markup):
    assert "e" in check_harmless(markup).all_text()


def test_colours_are_the_pages_own_except_on_a_ground_of_their_own():
    for style in re.findall(r'style="([^"]*)"', run_html(run_of(task("a", failed(), error="x")))):
        rules = dict(rule.split(":", 1) for rule in style.split(";"))
        if rules.get("color", "inherit") != "inherit":
            assert rules["background"].startswith("#")


def test_marks_of_a_flow_stand_in_its_picture_and_its_table():
    spec = FlowSpec("etl", tasks=(TaskSpec("a", "a", "m:f"), TaskSpec("b", "b", "m:f")))
    page = check_harmless(flow_html(spec, marks={"b": "edited <b>"}))
    assert ("span", "edited <b>") in page.text
    (image,) = [given for tag, given in page.tags if tag == "img"]
    assert image["alt"] == "etl: 2 tasks, 1 edited <b>"
    picture = base64.b64decode((image["src"] or "").partition(",")[2]).decode()
    assert "dagy-marked" in picture
