"""The tree of text of a flow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy.drawing import text_tree
from dagy.errors import CycleError
from dagy.spec import FlowSpec, TaskSpec
from dagy.states import StateType


def flow(needs: dict[str, list[str]]) -> FlowSpec:
    return FlowSpec(
        "etl", tasks=tuple(TaskSpec(name, name, "m:f", after=tuple(given)) for name, given in needs.items())
    )


def test_a_diamond_names_the_second_way_to_a_task_as_seen_above():
    assert text_tree(
        flow({"load": [], "left": ["load"], "right": ["load"], "join": ["left", "right"]})
    ).splitlines() == [
        "etl: 4 tasks",
        "load",
        "├─ left",
        "│  ↓ join",
        "└─ right",
        "   └─ join ↑ see above",
    ]


def test_states_show_as_sign_and_word_with_details_and_groups():
    spec = FlowSpec(
        "etl", tasks=(TaskSpec("a", "a", "m:a", group=("prepare",)), TaskSpec("b", "b", "m:b", after=("a",)))
    )
    assert text_tree(spec, {"a": StateType.COMPLETED}, details={"a": "1.2 s"}).splitlines() == [
        "etl: 2 tasks, 1 pending, 1 completed",
        "✓ a · completed · 1.2 s · in prepare",
        "↓ ○ b · pending",
    ]


def test_many_tasks_seen_before_are_named_on_one_line():
    sources = {f"a{i}": [] for i in range(2)}
    lines = text_tree(flow(sources | {f"b{i}": list(sources) for i in range(6)})).splitlines()
    assert lines[-1] == "└─ b0, b1, b2 and 3 more ↑ see above"


def test_a_chain_of_ten_thousand_is_a_plain_list():
    lines = text_tree(flow({f"t{i}": [f"t{i - 1}"] if i else [] for i in range(10_000)})).splitlines()
    assert len(lines) == 10_001
    assert max(map(len, lines)) < 20


def test_a_deep_tree_goes_on_further_down():
    ladder: dict[str, list[str]] = {"t0": []}
    for step in range(1, 200):
        ladder |= {f"t{step}": [f"t{step - 1}"], f"side{step}": [f"t{step - 1}"]}
    lines = text_tree(flow(ladder)).splitlines()
    assert max(map(len, lines)) < 60
    assert {line.split()[-1] for line in lines[1:] if "see" not in line} == set(ladder)


@given(st.lists(st.lists(st.integers(0, 30), max_size=4), max_size=20))
def test_every_task_has_one_line_of_its_own(picks):
    needs = {f"t{i}": [f"t{each % i}" for each in given] if i else [] for i, given in enumerate(picks)}
    lines = [line for line in text_tree(flow(needs), {}).splitlines()[1:] if "○" in line]
    assert sorted(line.split("○ ")[1].split(" ")[0] for line in lines) == sorted(needs)


def test_names_that_act_are_shown_instead():
    assert "\x1b" not in text_tree(flow({"\x1b[2J": []}))
    assert len(text_tree(flow({"two\nlines": []})).splitlines()) == 2


def test_a_circle_is_refused():
    with pytest.raises(CycleError):
        text_tree(flow({"a": ["b"], "b": ["a"]}))


def test_a_mark_stands_in_brackets_and_is_counted():
    lines = text_tree(flow({"load": [], "clean": ["load"]}), marks={"clean": "edited\n"}).splitlines()
    assert lines == ["etl: 2 tasks, 1 edited␊", "load", "↓ clean · [edited␊]"]
