"""Source for Graphviz, tried on the real program where there is one."""

import shutil
import subprocess
from xml.etree import ElementTree

import pytest

from dagy.drawing import dot
from dagy.spec import FlowSpec, TaskSpec
from dagy.states import StateType

NAMES = [
    "plain",
    "<lambda>",
    "<b>x</b>",
    '"; DROP',
    r"\N \G \l",
    "two\nlines",
    "&lt; &amp; &#65;",
    "a:b",
    "\0\ud800",
    "🚀",
    "node",
]


def flow(names: list[str]) -> FlowSpec:
    tasks = [TaskSpec(name, name, "m:f", after=tuple(names[:place][-1:])) for place, name in enumerate(names)]
    return FlowSpec("etl", tasks=tuple(tasks))


def drawn(source: str) -> list[str]:
    """The texts that the real `dot` draws."""
    if shutil.which("dot") is None:
        pytest.skip("Graphviz's dot is not installed")
    done = subprocess.run(["dot", "-Tsvg"], input=source.encode(), capture_output=True, check=True)
    assert done.stderr == b""
    return [
        "".join(each.itertext()) for each in ElementTree.fromstring(done.stdout).iter() if each.tag.endswith("}text")
    ]


def test_dot_draws_every_name_as_it_is():
    shown = [
        "plain",
        "<lambda>",
        "<b>x</b>",
        '"; DROP',
        r"\N \G \l",
        "two␊lines",
        "&lt; &amp; &#65;",
        "a:b",
        "␀�",
        "🚀",
        "node",
    ]
    assert sorted(text.replace("\xa0", " ") for text in drawn(dot(flow(NAMES)))) == sorted(shown)


def test_states_and_groups_are_drawn():
    spec = FlowSpec(
        "etl", tasks=(TaskSpec("a", "a", "m:a"), TaskSpec("b", "b", "m:b", after=("a",), group=("in", "<er>")))
    )
    texts = drawn(dot(spec, {"a": StateType.COMPLETED}))
    assert {"in", "<er>", "a", "✓ completed", "b", "○ pending"} == {text.replace("\xa0", " ") for text in texts}


def test_every_need_is_an_edge_between_safe_names():
    assert "t0 -> t1" in dot(flow(["x; y", "z"]))


def test_there_is_nothing_to_click():
    assert "url" not in dot(flow(NAMES)).lower()
    assert "href" not in dot(flow(NAMES)).lower()
