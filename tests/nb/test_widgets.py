"""The widget's Python half, without a browser: what it sends, and what it does with what a page sends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from dagy.states import StateType
from dagy_nb.widgets.run_view import RunView, run_view

from .conftest import RecordingComm, wire_of

JSON = Mapping[str, Any]


Asked = list[str]


@pytest.fixture
def view(comms: list[RecordingComm]) -> Iterator[tuple[RunView, RecordingComm, Asked]]:
    """A view, its connection, and a list of what it was asked for; its snapshots are numbered."""
    asked: Asked = []
    number = iter(range(100))

    def note(word: str) -> Callable[[], object]:
        return lambda: asked.append(word)

    made = run_view(
        flow_name="etl",
        run_id="etl-1",
        picture="<svg/>",
        kernel_id="k1",
        blocking=True,
        snapshot=lambda: {"op": "snapshot", "number": next(number), "tasks": {}},
        on_ready=note("ready"),
        on_cancel=note("cancel"),
        about={"load": {"name": "load", "cell": None, "needs": [], "mapped": False, "retries": 0, "timeout": None}},
        form=[{"name": "rows", "kind": "integer", "value": "100"}],
        can_rerun=True,
        on_run=lambda texts: asked.append(f"run {dict(texts)}"),
        on_rerun=lambda source, texts: asked.append(f"rerun {source} {texts}"),
    )
    yield made, wire_of(comms), asked
    made.close()


def test_a_page_gets_all_it_needs_when_the_view_is_made(view: tuple[RunView, RecordingComm, Asked]) -> None:
    made, wire, asked = view
    state = wire.state
    assert wire.sent[0][0] == "comm_open"
    assert (state["flow_name"], state["run_id"], state["picture"]) == ("etl", "etl-1", "<svg/>")
    assert (state["kernel_id"], state["blocking"]) == ("k1", True)
    assert set(state["looks"]) == {each.value for each in StateType}
    assert all(look["icon"] and look["label"] and look["sign"] for look in state["looks"].values())
    assert state["snapshot"]["op"] == "snapshot"
    assert state["about"]["load"]["needs"] == []
    assert state["form"] == [{"name": "rows", "kind": "integer", "value": "100"}]
    assert (state["is_form"], state["can_rerun"]) == (False, True)
    assert state["_esm"].rstrip().endswith("export default { initialize, render };")
    assert ".dagy-run" in state["_css"]
    assert made.model_id == wire.comm_id
    assert asked == []


def test_nothing_in_the_view_is_fetched_from_elsewhere(view: tuple[RunView, RecordingComm, Asked]) -> None:
    _, wire, _ = view
    state = wire.state
    assert "http://" not in state["_esm"].replace("http://www.w3.org/2000/svg", "")  # a name, and no address
    assert "https://" not in state["_esm"]
    assert "import(" not in state["_esm"]
    assert "@import" not in state["_css"]
    assert "url(" not in state["_css"]


def test_a_page_that_is_ready_asks_for_a_snapshot(view: tuple[RunView, RecordingComm, Asked]) -> None:
    _, wire, asked = view
    wire.receive({"op": "ready"})
    wire.receive({"op": "ready"})
    assert asked == ["ready", "ready"]
    assert wire.custom == []


def test_a_cancel_cancels_and_is_acknowledged(view: tuple[RunView, RecordingComm, Asked]) -> None:
    _, wire, asked = view
    wire.receive({"op": "cancel"})
    assert asked == ["cancel"]
    assert wire.custom == [{"op": "acknowledged"}]


def test_a_page_starts_a_run_and_runs_it_again(view: tuple[RunView, RecordingComm, Asked]) -> None:
    _, wire, asked = view
    wire.receive({"op": "run", "parameters": {"rows": "7"}})
    wire.receive({"op": "rerun", "from": "failed", "parameters": None})
    wire.receive({"op": "rerun", "from": "start", "parameters": {"rows": "7"}})
    assert asked == ["run {'rows': '7'}", "rerun failed None", "rerun start {'rows': '7'}"]


def test_each_view_has_a_name_of_its_own(comms: list[RecordingComm]) -> None:
    names = set()
    for _ in range(2):
        made = run_view(
            flow_name="f", run_id="r", picture="", kernel_id="", blocking=False,
            snapshot=dict, on_ready=lambda: None, on_cancel=lambda: None,
        )  # fmt: skip
        names.add(made.get_state()["view_id"])  # type: ignore[attr-defined]
        made.close()
    assert len(names) == 2


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"op": "no such thing"},
        {"op": None},
        {"op": ["cancel"]},
        {"op": "run"},
        {"op": "run", "parameters": None},
        {"op": "run", "parameters": {"rows": 7}},
        {"op": "rerun", "from": "elsewhere", "parameters": None},
        {"op": "rerun", "from": "start", "parameters": {"rows": ["7"]}},
    ],
)
def test_what_a_page_should_not_send_does_nothing(view: tuple[RunView, RecordingComm, Asked], content: JSON) -> None:
    _, wire, asked = view
    wire.receive(content)
    assert (asked, wire.custom) == ([], [])


def test_a_page_that_is_drawn_anew_gets_a_snapshot_made_then(view: tuple[RunView, RecordingComm, Asked]) -> None:
    made, wire, _ = view
    first = wire.state["snapshot"]["number"]
    numbers = [made.get_state()["snapshot"]["number"] for _ in range(2)]  # type: ignore[attr-defined]
    assert numbers == [first + 1, first + 2]
    assert "snapshot" not in made.get_state("blocking")  # type: ignore[attr-defined]


def test_a_delta_is_sent_as_it_is(view: tuple[RunView, RecordingComm, Asked]) -> None:
    made, wire, _ = view
    made.send({"op": "delta", "number": 1})
    assert wire.custom == [{"op": "delta", "number": 1}]


def test_a_page_hears_when_no_cell_waits_any_more(view: tuple[RunView, RecordingComm, Asked]) -> None:
    made, wire, _ = view
    made.blocking = False
    assert wire.sent[-1] == ("comm_msg", {"method": "update", "state": {"blocking": False}, "buffer_paths": []})


def test_messages_are_handled_where_the_page_sent_them(
    comms: list[RecordingComm], monkeypatch: pytest.MonkeyPatch
) -> None:
    # ipykernel 7.4 would hand them to the shell that the running cell blocks.
    monkeypatch.setattr(RecordingComm, "_reply_subshell_for", lambda *_: "blocked", raising=False)
    made = run_view(
        flow_name="f", run_id="r", picture="", kernel_id="", blocking=False,
        snapshot=dict, on_ready=lambda: None, on_cancel=lambda: None,
    )  # fmt: skip
    assert wire_of(comms)._reply_subshell_for({}, "asked") == "asked"  # type: ignore[attr-defined]
    made.close()


def test_a_closed_view_is_forgotten(comms: list[RecordingComm]) -> None:
    made = run_view(
        flow_name="f", run_id="r", picture="", kernel_id="", blocking=False,
        snapshot=dict, on_ready=lambda: None, on_cancel=lambda: None,
    )  # fmt: skip
    made.close()
    made.close()
    for each in comms:
        assert [kind for kind, _ in each.sent].count("comm_close") == 1


def test_no_widget_package_is_loaded_before_the_first_view() -> None:
    program = "import sys, dagy_nb.widgets.run_view; print([e for e in ('anywidget', 'traitlets') if e in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
