"""A run's events become deltas and snapshots that a page can merge: the same either way, bounded, and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from dagy import State, StateType, completed, failed, flow, running, task
from dagy.engine import Event, HookFailed, ItemChanged, RunChanged, TaskChanged, TaskShowed, TaskWrote
from dagy.spec import FlowSpec
from dagy_nb.live import ATTEMPT_LIMIT, FAULT_LIMIT, FAULT_SIZE_LIMIT, LOG_LIMIT, SHOWN_LIMIT, SHOWN_SIZE_LIMIT, LiveRun
from dagy_nb.previews import Preview

FINAL = frozenset({"COMPLETED", "FAILED", "TIMED_OUT", "CANCELLED", "SKIPPED", "CRASHED"})
RANK = {"PENDING": 0, "QUEUED": 1, "RUNNING": 2, "RETRYING": 3}


def spec(*names: str) -> FlowSpec:
    @flow(name="f")
    def drawn() -> None:
        for name in names:
            task(name=name)(lambda: None)()

    return drawn.spec


class Page:
    """What the browser half does with the messages: the rules of `storeOf` in run_view.js."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.run: dict[str, Any] = {}
        self.tasks: dict[str, Any] = {}
        self.number = 0
        self.load(snapshot)

    def receive(self, message: dict[str, Any]) -> None:
        message = json.loads(json.dumps(message))
        self.load(message) if message["op"] == "snapshot" else self.merge(message)

    def load(self, snapshot: dict[str, Any]) -> None:
        if snapshot["number"] >= self.number:
            loaded = json.loads(json.dumps(snapshot))
            self.run, self.tasks, self.number = loaded["run"], loaded["tasks"], loaded["number"]
            for each in self.tasks.values():
                each["log"] = lines_of(each["log"])

    def merge(self, delta: dict[str, Any]) -> None:
        if delta["number"] <= self.number:
            return
        assert delta["number"] == self.number + 1
        self.number, self.run = delta["number"], delta["run"]
        for name, head in delta["tasks"].items():
            if is_newer(self.tasks[name], head):
                self.tasks[name].update(head)
        for name, void, runs in delta["written"]:
            log = self.tasks[name]["log"]
            del log[max(len(log) - void, 0) :]
            log += lines_of(runs)
            size = sum(len(each[1]) + 1 for each in log)
            while log and size - len(log[0][1]) - 1 >= LOG_LIMIT:
                size -= len(log.pop(0)[1]) + 1
        for name, preview in delta["shown"]:
            shown = self.tasks[name]["shown"]
            shown.append(preview)
            while len(shown) > 1 and (
                len(shown) > SHOWN_LIMIT or sum(len(each["content"]) for each in shown) > SHOWN_SIZE_LIMIT
            ):
                shown.pop(0)

    def must_show(self, snapshot: dict[str, Any]) -> None:
        """The page shows what a page that gets this snapshot would; a long log may begin elsewhere."""
        other = Page(snapshot)
        assert (self.number, self.run) == (other.number, other.run)
        for name, seen in self.tasks.items():
            meant = other.tasks[name]
            assert {**seen, "log": []} == {**meant, "log": []}
            length = min(len(seen["log"]), len(meant["log"]))
            mine, its = (log[len(log) - length :] for log in (seen["log"], meant["log"]))
            assert mine[1:] == its[1:]
            for one, same in zip(mine[:1], its[:1], strict=True):
                assert (one[0], one[2]) == (same[0], same[2])
                assert one[1].endswith(same[1]) or same[1].endswith(one[1])


def lines_of(runs: list[Any]) -> list[Any]:
    return [[stream, line, attempt] for stream, text, attempt in runs for line in text.split("\n")]


def is_newer(known: dict[str, Any], head: dict[str, Any]) -> bool:
    if known["state"] in FINAL:
        return head["state"] in FINAL
    if head["state"] in FINAL or head["attempt"] != known["attempt"]:
        return head["state"] in FINAL or head["attempt"] > known["attempt"]
    return RANK[head["state"]] >= RANK[known["state"]]


def as_json(message: dict[str, Any]) -> Any:
    return json.loads(json.dumps(message))


def wrote(name: str, text: str, stream: str = "stdout") -> TaskWrote:
    return TaskWrote(0, 0, name, 1, stream, text)


def changed(name: str, state: State, attempt: int = 1, at: int = 0) -> TaskChanged:
    return TaskChanged(0, at, name, attempt, state)


# ---- the rules


def test_before_anything_happens_every_task_is_pending_and_there_is_no_delta() -> None:
    live = LiveRun(spec("a", "b"))
    assert live.delta() is None
    assert [each["state"] for each in live.snapshot()["tasks"].values()] == ["PENDING", "PENDING"]


def test_a_delta_holds_only_what_changed_since_the_last() -> None:
    live = LiveRun(spec("a", "b"))
    live.apply([changed("a", running()), wrote("b", "text")])
    first = live.delta()
    assert first is not None
    assert (list(first["tasks"]), first["written"]) == (["a"], [("b", 0, [("stdout", "text", 1)])])
    assert live.delta() is None


def test_times_are_milliseconds_and_the_start_is_that_of_the_first_attempt() -> None:
    live = LiveRun(spec("a"))
    live.apply(
        [
            RunChanged(0, 1_000_000, running()),
            changed("a", running(), 1, at=2_000_000),
            changed("a", State(StateType.RETRYING), 1, at=3_000_000),
            changed("a", running(), 2, at=4_000_000),
            changed("a", completed(), 2, at=5_999_999),
            RunChanged(0, 7_000_000, completed()),
        ]
    )
    shown = live.snapshot()
    assert (shown["run"]["started"], shown["run"]["ended"]) == (1, 7)
    assert (shown["tasks"]["a"]["started"], shown["tasks"]["a"]["ended"], shown["tasks"]["a"]["attempt"]) == (2, 5, 2)


def test_a_run_that_is_tried_again_has_not_ended_and_began_when_it_began() -> None:
    live = LiveRun(spec("a"))
    live.apply(
        [RunChanged(0, 1_000_000, running()), RunChanged(0, 2_000_000, State(StateType.RETRYING, "failed once"))]
    )
    assert live.snapshot()["run"] == {"state": "RETRYING", "message": "failed once", "started": 1, "ended": None}
    live.apply([RunChanged(0, 3_000_000, running()), RunChanged(0, 4_000_000, State(StateType.TIMED_OUT, "too long"))])
    assert live.snapshot()["run"] == {"state": "TIMED_OUT", "message": "too long", "started": 1, "ended": 4}


def test_each_attempt_has_its_times_and_how_it_ended() -> None:
    live = LiveRun(spec("a"))
    live.apply([changed("a", running(), 1, at=1_000_000), changed("a", State(StateType.RETRYING), 1, at=2_000_000)])
    live.apply([changed("a", running(), 2, at=5_000_000)])
    assert live.snapshot()["tasks"]["a"]["attempts"] == [(1, 2, "FAILED"), (5, None, "RUNNING")]
    live.apply([changed("a", State(StateType.TIMED_OUT), 2, at=9_000_000)])
    assert live.snapshot()["tasks"]["a"]["attempts"][-1] == (5, 9, "TIMED_OUT")


def test_only_the_newest_attempts_are_kept() -> None:
    live = LiveRun(spec("a"))
    for attempt in range(1, 100):
        live.apply(
            [changed("a", running(), attempt), changed("a", State(StateType.RETRYING), attempt, at=attempt * 10**6)]
        )
    ends = [end for _, end, _ in live.snapshot()["tasks"]["a"]["attempts"]]
    assert ends == list(range(100 - ATTEMPT_LIMIT, 100))


def test_what_was_reused_is_shown_from_the_start_and_said_unless_there_is_more_to_say() -> None:
    live = LiveRun(spec("a", "b"), previews={"a": Preview("text", "1")}, note="reused 1 result of r")
    live.apply([RunChanged(0, 1, running()), changed("a", completed("its result is that of an earlier run"), 0)])
    shown = live.snapshot()
    assert (shown["run"]["message"], shown["tasks"]["a"]["preview"]) == (
        "reused 1 result of r",
        {"kind": "text", "content": "1"},
    )
    live.apply([RunChanged(0, 2, failed("1 of 2 tasks failed"))])
    assert live.snapshot()["run"]["message"] == "1 of 2 tasks failed"


def test_the_events_that_end_a_started_task_are_handed_back() -> None:
    live = LiveRun(spec("a", "b", "c"))
    done, broken = changed("a", completed()), changed("b", failed("no"))
    skipped = changed("c", State(StateType.SKIPPED), attempt=0)
    assert live.apply([changed("a", running()), done, broken, skipped]) == [done, broken]


def test_a_hook_that_raised_is_told_in_the_output_of_its_task() -> None:
    live = LiveRun(spec("a"))
    live.apply(
        [HookFailed(0, 0, "a", "notify", OSError("no net")), HookFailed(0, 0, None, "of the flow", OSError("x"))]
    )
    delta = live.delta()
    assert delta is not None
    assert delta["written"] == [("a", 0, [("log", "hook notify raised OSError('no net')", 0)])]


def test_a_hook_whose_error_has_no_text_is_told_all_the_same() -> None:
    class OddError(Exception):
        def __repr__(self) -> str:
            raise ValueError

    live = LiveRun(spec("a"))
    live.apply([HookFailed(0, 0, "a", "notify", OddError())])
    delta = live.delta()
    assert delta is not None
    ((_, _, ((_, line, _),)),) = delta["written"]
    assert line.startswith("hook notify raised <OddError")


def test_a_message_does_not_change_once_it_is_made() -> None:
    live = LiveRun(spec("a"))
    live.apply([RunChanged(0, 0, running()), wrote("a", "one")])
    made = [live.delta(), live.snapshot()]
    before = json.dumps(made)
    live.apply([RunChanged(0, 0, completed()), wrote("a", "two"), changed("a", completed())])
    live.delta()
    assert json.dumps(made) == before


def test_a_snapshot_in_between_holds_no_text_that_a_later_delta_brings_again() -> None:
    live = LiveRun(spec("a"))
    page = Page(live.snapshot())
    live.apply([wrote("a", "once")])
    live.show("a", Preview("text", "once"))
    page.receive(live.snapshot())  # asked for by a page, from another thread, before the delta is made
    page.receive(live.delta() or {})
    assert page.tasks["a"]["log"] == [["stdout", "once", 1]]
    assert len(page.tasks["a"]["shown"]) == 1


def test_lines_of_one_stream_are_sent_in_one_run() -> None:
    live = LiveRun(spec("a", "b"))
    live.apply([wrote("a", "1\n"), wrote("a", "2\n"), wrote("a", "!\n", "stderr"), wrote("b", "x"), wrote("a", "3")])
    delta = live.delta()
    assert delta is not None
    assert delta["written"] == [
        ("a", 0, [("stdout", "1\n2", 1), ("stderr", "!", 1), ("stdout", "3", 1)]),
        ("b", 0, [("stdout", "x", 1)]),
    ]


def test_a_line_that_is_drawn_over_is_void_and_comes_again() -> None:
    live = LiveRun(spec("a"))
    page = Page(live.snapshot())
    for percent in (10, 20, 100):
        live.apply([wrote("a", f"\r{percent} %", "stderr"), wrote("a", f"at {percent}\n")])
        page.receive(live.delta() or {})
    assert page.tasks["a"]["log"] == [["stderr", "100 %", 1], *(["stdout", f"at {each}", 1] for each in (10, 20, 100))]


def test_another_attempt_begins_a_line_of_its_own() -> None:
    live = LiveRun(spec("a"))
    live.apply([wrote("a", "half"), TaskWrote(0, 0, "a", 2, "stdout", "\rwhole")])
    live.delta()
    assert live.snapshot()["tasks"]["a"]["log"] == [("stdout", "half", 1), ("stdout", "whole", 2)]


@pytest.mark.parametrize(
    "name", ["<script>", "a\x00b", '"', "\u202e", "é🎉", "__proto__", "x" * 10_000, "\ud800"], ids=range(8)
)
def test_a_message_is_json_whatever_the_task_is_called(name: str) -> None:
    live = LiveRun(spec(name, "other"))
    live.apply([changed(name, running()), wrote(name, "text")])
    live.finish(name, preview=None, error="")
    assert as_json(live.delta() or {})["tasks"].keys() == {name}
    assert as_json(live.snapshot())["tasks"].keys() == {name, "other"}


def test_text_that_is_half_a_character_can_be_sent() -> None:
    live = LiveRun(spec("a"))
    live.apply([changed("a", failed("\ud800")), wrote("a", "\udfff"), RunChanged(0, 0, failed("\udc80"))])
    live.finish("a", preview=None, error="\ud800")
    for message in (live.delta(), live.snapshot()):
        assert json.dumps(message, ensure_ascii=False).encode("utf-8")


# ---- bounds


def test_a_flood_of_lines_stays_bounded_in_every_message() -> None:
    live = LiveRun(spec("a"))
    page = Page(live.snapshot())
    for start in range(0, 100_000, 10_000):
        live.apply([wrote("a", f"line {number}\n") for number in range(start, start + 10_000)])
        delta = live.delta()
        assert delta is not None
        assert len(json.dumps(delta)) < 2 * LOG_LIMIT
        page.receive(delta)
    snapshot = live.snapshot()
    assert len(json.dumps(snapshot)) < 2 * LOG_LIMIT
    page.must_show(snapshot)
    assert page.tasks["a"]["log"][-1][1] == "line 99999"


def test_a_flood_that_changes_streams_with_each_write_stays_bounded_too() -> None:
    live = LiveRun(spec("a"))
    live.apply([wrote("a", "x", ("stdout", "stderr")[number % 2]) for number in range(100_000)])
    delta = live.delta()
    assert delta is not None
    for runs in (delta["written"][0][2], live.snapshot()["tasks"]["a"]["log"]):
        assert LOG_LIMIT <= sum(len(text) for _, text, _ in runs) <= 2 * LOG_LIMIT


def test_one_write_larger_than_all_that_is_kept_leaves_its_end() -> None:
    live = LiveRun(spec("a"))
    live.apply([wrote("a", "start" + "x" * 1_000_000 + "end")])
    live.delta()
    (entry,) = live.snapshot()["tasks"]["a"]["log"]
    assert len(entry[1]) <= 2 * LOG_LIMIT
    assert entry[1].endswith("end")


def test_a_flood_of_displays_keeps_the_newest() -> None:
    live = LiveRun(spec("a"))
    for number in range(1_000):
        live.show("a", Preview("text", str(number)))
    delta = live.delta()
    assert delta is not None
    assert [each["content"] for _, each in delta["shown"]] == [
        str(number) for number in range(1_000 - SHOWN_LIMIT, 1_000)
    ]
    assert len(live.snapshot()["tasks"]["a"]["shown"]) == SHOWN_LIMIT


def test_large_displays_are_bounded_by_size() -> None:
    live = LiveRun(spec("a"))
    page = Page(live.snapshot())
    for _ in range(6):
        live.show("a", Preview("image", "x" * 1_500_000))
        page.receive(live.delta() or {})
    assert len(live.snapshot()["tasks"]["a"]["shown"]) == 2
    page.must_show(live.snapshot())
    assert live.size == 3_000_000


# ---- merging, whatever happens

DRAWING = st.sampled_from(["\r50 %", "\n", "\x1b[A", "\x1b[2K", "\x1b[31mred\x1b[0m", "\b"])
TEXTS = (
    st.text(st.characters(), max_size=8) | DRAWING | st.builds(str.__mul__, st.sampled_from(["x", "é"]), st.just(9_000))
)


@st.composite
def steps(draw: st.DrawFn) -> Sequence[Callable[[LiveRun], object]]:
    """What may happen to a run of two tasks, in an order that the engine can give."""
    found: list[Callable[[LiveRun], object]] = [lambda live: live.apply([RunChanged(0, 10**6, running())])]
    state = dict.fromkeys("ab", (StateType.PENDING, 0))
    for _ in range(draw(st.integers(0, 25))):
        name = draw(st.sampled_from("ab"))
        kind, attempt = state[name]
        match draw(st.sampled_from(["state", "write", "show"])):
            case "state":
                following = {
                    StateType.PENDING: [StateType.RUNNING, StateType.SKIPPED, StateType.CANCELLED],
                    StateType.RUNNING: [StateType.RETRYING, StateType.COMPLETED, StateType.FAILED],
                    StateType.RETRYING: [StateType.RUNNING, StateType.CANCELLED],
                }.get(kind, [])
                if not following:
                    continue
                kind = draw(st.sampled_from(following))
                attempt += kind is StateType.RUNNING
                state[name] = (kind, attempt)
                event: Event = changed(name, State(kind, draw(TEXTS)), attempt)
                found.append(lambda live, event=event: live.apply([event]))  # type: ignore[misc]
                if kind in (StateType.COMPLETED, StateType.FAILED):
                    error = draw(TEXTS)
                    found.append(lambda live, name=name, error=error: live.finish(name, preview=None, error=error))  # type: ignore[misc]
            case "write":
                event = wrote(name, draw(TEXTS), draw(st.sampled_from(["stdout", "stderr", "log"])))
                found.append(lambda live, event=event: live.apply([event]))  # type: ignore[misc]
            case _:
                shown = Preview("text", draw(st.text(max_size=3)))
                found.append(lambda live, name=name, shown=shown: live.show(name, shown))  # type: ignore[misc]
    return found


@given(steps(), st.lists(st.sampled_from(["nothing", "delta", "snapshot", "lost page"]), min_size=40, max_size=40))
def test_deltas_merge_to_what_the_snapshot_says(
    happening: Sequence[Callable[[LiveRun], object]], between: Sequence[str]
) -> None:
    live = LiveRun(spec("a", "b"))
    page = Page(live.snapshot())
    states: dict[str, list[str]] = {"a": [], "b": []}
    for step, then in zip(happening, [*between, *["delta"] * 100], strict=False):
        step(live)
        if then == "delta" and (delta := live.delta()) is not None:
            page.receive(delta)
        elif then == "snapshot":
            page.receive(live.snapshot())
        elif then == "lost page":
            page = Page(live.snapshot())
        for name, seen in states.items():
            seen.append(page.tasks[name]["state"])
    if (delta := live.delta()) is not None:
        page.receive(delta)
    page.must_show(live.snapshot())
    for seen in states.values():
        ended = [each for each in seen if each in FINAL]
        assert len(set(ended)) <= 1
        assert seen[len(seen) - len(ended) :] == ended


def test_what_a_task_displayed_and_returned_is_there_for_the_still() -> None:
    live = LiveRun(spec("a", "b"))
    live.show("a", Preview("text", "displayed"))
    live.apply([TaskShowed(0, 0, "a", 1, {"text/plain": "displayed"}, {})])
    live.finish("a", preview=Preview("text", "returned"), error="")
    live.delta()
    assert [each.content for each in live.previews()["a"]] == ["displayed", "returned"]
    assert live.previews()["b"] == []


# ---- mapped tasks


def mapped() -> FlowSpec:
    @task
    def each(item: int) -> int:
        return item

    @flow(name="f")
    def drawn(items: list[int]) -> object:
        return each.map(items)

    return drawn.spec


def ended(item: int, state: State) -> ItemChanged:
    return ItemChanged(0, 0, "each", item, 1, state)


def test_a_mapped_task_is_one_line_with_counts() -> None:
    live = LiveRun(mapped())
    assert live.snapshot()["tasks"]["each"]["items"] == {
        "count": None,
        "done": 0,
        "failed": 0,
        "skipped": 0,
        "running": 0,
    }
    live.count_items("each", 4)
    ends = [ended(0, completed()), ended(1, failed("no")), ended(2, State(StateType.SKIPPED, "nothing to do"))]
    live.apply([*(ended(item, running()) for item in range(4)), *ends])
    delta = live.delta()
    assert delta is not None
    assert delta["tasks"]["each"]["items"] == {"count": 4, "done": 1, "failed": 1, "skipped": 1, "running": 1}
    assert LiveRun(spec("a")).snapshot()["tasks"]["a"]["items"] is None


def test_items_whose_results_are_there_already_are_done() -> None:
    live = LiveRun(mapped(), {"each": 5})
    live.apply([ended(5, completed())])
    assert live.snapshot()["tasks"]["each"]["items"]["done"] == 6


def test_an_item_that_is_tried_again_has_not_ended_and_does_not_run_meanwhile() -> None:
    live = LiveRun(mapped())
    assert live.apply([ended(0, running()), ended(0, State(StateType.RETRYING, "once"))]) == []
    assert live.snapshot()["tasks"]["each"]["items"] == {
        "count": None,
        "done": 0,
        "failed": 0,
        "skipped": 0,
        "running": 0,
    }


def test_failed_items_are_told_in_their_order_with_their_errors() -> None:
    live = LiveRun(mapped())
    ends = live.apply([ended(7, failed("seven")), ended(2, failed("two"))])
    assert [each.item for each in ends if isinstance(each, ItemChanged)] == [7, 2]
    live.fail_item("each", 7, "Traceback of seven")
    faults = [{"item": 2, "error": "two"}, {"item": 7, "error": "Traceback of seven"}]
    assert live.snapshot()["tasks"]["each"]["faults"] == faults
    live.finish("each", preview=None, error="of the task")
    assert live.snapshot()["tasks"]["each"]["error"] == ""
    assert live.faults() == {"each": "item 2: two\n\nitem 7: Traceback of seven"}


def test_the_errors_of_items_are_in_a_delta_only_when_there_is_a_new_one() -> None:
    live = LiveRun(mapped())
    live.apply([ended(7, failed("seven"))])
    assert (live.delta() or {})["tasks"]["each"]["faults"] == [{"item": 7, "error": "seven"}]
    live.apply([ended(8, completed())])
    assert "faults" not in (live.delta() or {})["tasks"]["each"]


def test_a_mapped_task_that_failed_before_its_items_has_its_own_error() -> None:
    live = LiveRun(mapped())
    live.finish("each", preview=None, error="no list")
    assert live.snapshot()["tasks"]["each"]["error"] == "no list"


def test_a_hundred_thousand_items_stay_bounded() -> None:
    live = LiveRun(mapped())
    live.count_items("each", 100_000)
    state = failed("x" * 10_000)
    ends = live.apply([ended(item, state) for item in reversed(range(100_000))])
    assert [each.item for each in ends if isinstance(each, ItemChanged)] == list(reversed(range(FAULT_LIMIT)))
    for each in ends:
        assert isinstance(each, ItemChanged)
        live.fail_item("each", each.item, "y" * 10_000)
    delta = live.delta()
    assert delta is not None
    assert delta["tasks"]["each"]["items"]["failed"] == 100_000
    assert [each["item"] for each in delta["tasks"]["each"]["faults"]] == list(range(FAULT_LIMIT))
    assert delta["tasks"]["each"]["faults"][0]["error"].startswith("...yyy")
    assert live.faults()["each"].endswith("and 99,980 more")
    assert len(json.dumps(delta)) < FAULT_LIMIT * (FAULT_SIZE_LIMIT + 100)


def test_a_run_that_waits_to_begin_says_what_for_until_it_begins() -> None:
    live = LiveRun(spec("a"), state=State(StateType.QUEUED, "waiting for a worker"), note="a note")
    assert live.standing == "queued, waiting for a worker"
    told = live.snapshot()["run"]
    assert (told["state"], told["message"], told["started"]) == ("QUEUED", "waiting for a worker", None)
    live.apply([RunChanged(0, 1, State(StateType.RUNNING))])
    assert live.standing == ""
    assert live.snapshot()["run"]["message"] == "a note"
