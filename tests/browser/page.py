"""The view of a run in Chromium without JupyterLab: a blank page, the joined module, and a fake of a widget's model.

    with ViewPage(browser, theme="dark") as view:
        model = view.show(run_of({"load": [], "clean": ["load"]}))
        model.delta(load=task("COMPLETED"))
        expect(view.node("load", "COMPLETED")).to_be_visible()

What the page sends to the kernel is in `model.sent`. The fake is the contract of the two halves: `get`, `on`, `off`,
`send` and `save_changes`, which is all of a model that every front end has. Every message
says that the run began ten seconds ago.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from playwright.sync_api import Error, Locator

from dagy import FlowSpec
from dagy.drawing import ICONS, PALETTE, connectors, svg
from dagy.spec import Constant, FromTask, NodeSpec, PortSpec, TaskSpec
from dagy_nb.widgets.run_view import page_module, page_style

from .lab import Browser, Theme

ADDRESS = "http://127.0.0.1:1/"  # nothing listens there: every request is answered by the test
START = 1_700_000_000_000  # milliseconds, when the runs begin

# What the page has of JupyterLab: its theme, and a cell.
_THEMES: Mapping[str, str] = {
    "light": "--jp-layout-color1:#fff;--jp-ui-font-color1:rgba(0,0,0,.87);background:#fff;color:rgba(0,0,0,.87)",
    "dark": "--jp-layout-color1:#212121;--jp-ui-font-color1:#fff;background:#212121;color:#fff",
}

_HARNESS = """
class FakeModel {
  constructor(state) {
    this.state = state;
    this.sent = [];
    this.listeners = [];
  }
  get(name) { return structuredClone(this.state[name]); }
  set(name, value) { this.state[name] = value; }
  save_changes() {}
  send(content) { this.sent.push(structuredClone(content)); }
  on(name, listener) { this.listeners.push([name, listener]); }
  off(name, listener) { this.listeners = this.listeners.filter(([a, b]) => a !== name || b !== listener); }
  trigger(name, content) { for (const [each, listener] of [...this.listeners]) if (each === name) listener(content); }
}
const known = new Map(); // models, by their number
window.harness = {
  async load(source) {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.widget = (await import(url)).default;
  },
  open(number, state) {
    const model = new FakeModel(state);
    known.set(number, { model, close: this.widget.initialize({ model }), views: new Map() });
  },
  draw(number, place) {
    const el = document.createElement("div");
    document.getElementById(place).append(el);
    const { model, views } = known.get(number);
    const { state, listeners, sent } = model;
    const proxy = Object.assign(Object.create(FakeModel.prototype), { state, sent }); // each view gets one of its own
    proxy.on = (...given) => model.on(...given);
    proxy.off = (...given) => model.off(...given);
    views.set(place, { el, leave: this.widget.render({ model: proxy, el }) });
  },
  remove(number, place) {
    const { views } = known.get(number);
    views.get(place).leave();
    views.get(place).el.remove();
    views.delete(place);
  },
  close(number) { known.get(number).close(); },
  sent(number) { return known.get(number).model.sent; },
  listeners(number) { return known.get(number).model.listeners.length; },
  receive(number, message) { known.get(number).model.trigger("msg:custom", message); },
  trigger(number, name) { known.get(number).model.trigger(name); },
  set(number, name, value) { known.get(number).model.set(name, value); },
};
"""

JSON = dict[str, Any]

# A flow of nodes, and one plain task.
NODES = FlowSpec(
    "etl",
    tasks=(
        TaskSpec("load", "load", "m:load"),
        TaskSpec(
            "split",
            "split",
            "m:split",
            {"rows": FromTask("load"), "column": Constant("age"), "token": Constant({"$secret": "API_TOKEN"})},
            node=NodeSpec(
                "split_rows",
                "transform",
                (PortSpec("rows", ("dataframe",)),),
                (PortSpec("kept", ("dataframe",)), PortSpec("rest", ("dataframe", "list"))),
            ),
        ),
        TaskSpec(
            "save",
            "save",
            "m:save",
            {"data": FromTask("split", ("kept",))},
            node=NodeSpec("write_file", "output", (PortSpec("data", ()),), (PortSpec("file", ("file",)),)),
        ),
    ),
)


def task(
    state: str = "PENDING", *, start: float = 0.0, seconds: float = 1.0, attempt: int | None = None, **rest: Any
) -> JSON:
    """The head of a task, as the kernel sends it: begun `start` seconds after the run, and at work for `seconds`."""
    is_final = state not in ("PENDING", "QUEUED", "RUNNING", "RETRYING")
    has_begun = state not in ("PENDING", "QUEUED", "SKIPPED")
    begun = START + round(start * 1000) if has_begun else None
    ended = begun + round(seconds * 1000) if begun is not None and is_final else None
    number = (1 if has_begun else 0) if attempt is None else attempt
    return {
        "state": state, "attempt": number, "started": begun, "ended": ended, "message": "", "error": "",
        "preview": None, "items": None, "attempts": [[begun, ended, state]] if has_begun else [], **rest,
    }  # fmt: skip


def spec_of(needs: Mapping[str, Sequence[str]], groups: Mapping[str, tuple[str, ...]] | None = None) -> FlowSpec:
    """A flow of tasks that need each other so."""
    return FlowSpec(
        "etl",
        tasks=tuple(
            TaskSpec(
                name,
                name,
                f"m:{name}",
                {f"x{place}": FromTask(each) for place, each in enumerate(given)},
                group=(groups or {}).get(name, ()),
            )
            for name, given in needs.items()
        ),
    )


def run_of(
    needs: Mapping[str, Sequence[str]] | FlowSpec,
    *,
    state: str = "RUNNING",
    tasks: Mapping[str, Mapping[str, Any]] | None = None,
    about: Mapping[str, Mapping[str, Any]] | None = None,
    groups: Mapping[str, tuple[str, ...]] | None = None,
    **traits: Any,
) -> JSON:
    """The state of a model of a run of that flow, whose tasks have the heads `tasks`, or else are pending."""
    spec = needs if isinstance(needs, FlowSpec) else spec_of(needs, groups)
    needs = spec.needs
    nodes = connectors(spec)
    heads = {name: {**task(), "log": [], "shown": [], "faults": [], **(tasks or {}).get(name, {})} for name in needs}
    ended = max([head["ended"] or START for head in heads.values()], default=START)
    is_final = state not in ("PENDING", "RUNNING")
    run = {
        "state": state, "message": "", "started": None if state == "PENDING" else START,
        "ended": ended if is_final else None,
    }  # fmt: skip
    details = {name: "00,000 of 00,000" for name, head in heads.items() if head["items"]}
    return {
        "view_id": "view", "flow_name": "etl", "run_id": "etl-1", "kernel_id": "", "blocking": False,
        "is_form": False, "form": [], "can_rerun": False,
        "picture": svg(spec, {}, details=details),
        "looks": {
            each.value: {"icon": ICONS[each], "label": look.label, "sign": look.sign} for each, look in PALETTE.items()
        },
        "about": {
            name: {
                "name": name, "cell": None, "needs": list(given), "mapped": bool(heads[name]["items"]), "retries": 0,
                "timeout": None, "node": nodes[name].as_json() if name in nodes else None,
                **(about or {}).get(name, {}),
            }
            for name, given in needs.items()
        },
        "snapshot": {"op": "snapshot", "number": 0, "run": run, "tasks": heads},
        **traits,
    }  # fmt: skip


class FakeModel:
    """The kernel's end of a model on the page."""

    def __init__(self, view: ViewPage, number: int, state: JSON) -> None:
        self._view = view
        self._number = number
        self._sent_deltas = 0
        self._run = dict(state["snapshot"]["run"])

    @property
    def sent(self) -> list[JSON]:
        """What the page has sent."""
        found: list[JSON] = self._call("sent")
        return found

    @property
    def listeners(self) -> int:
        """How many listeners the page has on the model."""
        found: int = self._call("listeners")
        return found

    def receive(self, message: Mapping[str, Any]) -> None:
        """Send the page a message."""
        self._call("receive", {"now": START + 10_000, **message})

    def delta(
        self,
        *,
        run: str | None = None,
        message: str = "",
        written: Sequence[Sequence[Any]] = (),
        shown: Sequence[Sequence[Any]] = (),
        number: int | None = None,
        **tasks: Mapping[str, Any],
    ) -> None:
        """Tell the page of what changed."""
        self._sent_deltas = self._sent_deltas + 1 if number is None else number
        if run is not None:
            self._run |= {"state": run, "message": message}
            if run not in ("PENDING", "RUNNING"):
                self._run["ended"] = START + 10_000
        self.receive(
            {
                "op": "delta", "number": self._sent_deltas, "run": self._run, "tasks": tasks, "written": written,
                "shown": shown,
            }
        )  # fmt: skip

    def draw(self, place: str) -> None:
        """Show the model's view in one more place of the page, "first" or "second"."""
        self._call("draw", place)

    def remove(self, place: str) -> None:
        """Take the view there away again, as a front end does when the output changes."""
        self._call("remove", place)

    def set(self, name: str, value: object) -> None:
        """Change a trait."""
        self._call("set", name, value)

    def lose_kernel(self) -> None:
        """What a front end tells when the kernel is restarted or gone."""
        self._call("trigger", "comm_live_update")

    def close(self) -> None:
        """What a front end does when the kernel closes the model."""
        self._call("close")

    def _call(self, name: str, *arguments: object) -> Any:
        return self._view.page.evaluate(
            "([name, given]) => window.harness[name](...given)", [name, [self._number, *arguments]]
        )


class ViewPage:
    """A page that shows views. `errors` are those that its scripts raised."""

    def __init__(
        self,
        browser: Browser,
        *,
        theme: Theme | None = "light",
        width: int = 1100,
        height: int = 1000,
        still: str = "",
        reduced_motion: Literal["reduce", "no-preference"] = "no-preference",
        color_scheme: Theme = "light",
    ) -> None:
        """`theme` None: neither JupyterLab nor VS Code. `still` is markup that is on the page beside the views."""
        self.page = browser.new_page()
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.emulate_media(reduced_motion=reduced_motion, color_scheme=color_scheme)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda note: self.errors.append(note.text) if note.type == "error" else None)
        dressed = f'data-jp-theme-light="{str(theme == "light").lower()}" style="{_THEMES[theme]}"' if theme else ""
        markup = (
            f'<!doctype html><html lang="en"><head><title>views</title><style>{page_style()}</style></head>'
            f"<body {dressed}>"
            f'<main><h1>Notebook</h1><div id="first"></div><div id="second"></div><div id="stills">{still}</div>'
            '<div class="jp-Cell" style="margin:1500px 0"><span class="jp-InputPrompt">[7]:</span><pre>x = 1</pre>'
            f"</div></main><script>{_HARNESS}</script></body></html>"
        )
        self.page.route(f"{ADDRESS}**", lambda route: route.fulfill(body=markup, content_type="text/html"))
        self.page.goto(ADDRESS)
        self.page.evaluate("(source) => window.harness.load(source)", page_module())
        self._models = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            found = self.errors
            self.page.close()
        except Error:  # the browser is gone already
            found = []
        if error is None:
            assert found == []

    def open(self, state: JSON) -> FakeModel:
        """Make a model known to the page, which a front end does before it shows any view."""
        self._models += 1
        self.page.evaluate(
            "([number, text]) => window.harness.open(number, JSON.parse(text))", [self._models, json.dumps(state)]
        )
        return FakeModel(self, self._models, state)

    def show(self, state: JSON) -> FakeModel:
        """Make a model known, and show its view."""
        model = self.open(state)
        model.draw("first")
        model.receive({"op": "acknowledged"})  # which tells the page what time it is
        return model

    def node(self, name: str, state: str | None = None) -> Locator:
        """The task's card in the graph, once it is in that state."""
        return self.page.locator(f'.dagy-node[data-task="{name}"]' + (f'[data-state="{state}"]' if state else ""))

    def row(self, name: str) -> Locator:
        """The task's row in the list."""
        return self.page.locator(f'.dagy-tasks .dagy-row[data-task="{name}"]')

    @property
    def rows(self) -> list[str]:
        """The tasks of the rows that are on the page, from the top."""
        found: list[str] = self.page.locator(".dagy-tasks .dagy-row").evaluate_all(
            """(rows) => rows.map((each) => [each.getBoundingClientRect().top, each.dataset.task])
                .sort((a, b) => a[0] - b[0]).map((each) => each[1])"""
        )
        return found

    @property
    def panel(self) -> Locator:
        """The open task's panel."""
        return self.page.locator(".dagy-panel")

    @property
    def focused(self) -> str:
        """What has the focus: a task's name, or what a screen reader would call it."""
        found: str = self.page.evaluate(
            """() => {
                const active = document.activeElement;
                return active.dataset?.task || active.getAttribute("aria-label") || active.textContent.trim();
            }"""
        )
        return found

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)
