"""Runs of an artifact's handler as the cloud has them: a store, and the steps in the order of a state machine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagy.artifact import build, flow_aside, read_source, safe_extract
from dagy.artifact.handler import answer, loaded
from dagy.artifact.run_store import RunStore
from dagy.flows import Flow


def unpacked(tmp_path: Path, name: str, text: str) -> Path:
    """The folder with the files of the artifact of that flow, as a function has it."""
    path = tmp_path / f"{tmp_path.name}_flows.py"  # worker processes outlive a test: no two modules of one name
    path.write_text(text)
    source = read_source(path)
    folder = tmp_path / f"code-{name}"
    with flow_aside(source, name) as flow:
        manifest = safe_extract(build(source, flow, tmp_path / "dist").path, folder)
    (folder / "dagy.json").write_text(manifest.to_json())
    return folder


@dataclass
class Machine:
    """Drives the steps of runs of one artifact, one after the other, and tries again what asks for that."""

    folder: Path
    store_url: str
    options: dict[str, Any]

    @property
    def flow(self) -> Flow[..., Any]:
        return loaded(self.folder).flow

    def store(self, run_id: str = "run-1") -> RunStore:
        return RunStore(self.store_url, run_id)

    def ask(self, step: str, run_id: str = "run-1", **payload: Any) -> dict[str, Any]:
        """What one step answers."""
        return answer({"run_id": run_id, "step": step, **payload}, self.folder, store=self.store_url, **self.options)

    def task(self, task: str, run_id: str = "run-1", **payload: Any) -> dict[str, Any]:
        """Run a task, or an item of it, as often as it asks for that; what it answers at last."""
        attempt = 1
        while True:
            try:
                return self.ask("task", run_id, task=task, attempt=attempt, **payload)
            except Exception as error:
                if not re.fullmatch(r"DagyRetry[1-9]\d*", type(error).__name__):
                    raise
                attempt += 1

    def run(
        self, run_id: str = "run-1", *, before: Callable[[str], object] = lambda task: None, **payload: Any
    ) -> dict[str, Any]:
        """A whole run; `before` is called with each task's id. The answer that is in the store at the end."""
        if self.ask("begin", run_id, **payload)["state"] == "RUNNING":
            for spec in self.flow.prepare(**payload.get("parameters", {}))[0].spec.tasks:
                before(spec.id)
                if spec.mapped:
                    for item in range(self.ask("count", run_id, task=spec.id)["items"]):
                        self.task(spec.id, run_id, item=item)
                else:
                    self.task(spec.id, run_id)
        ended = self.ask("end", run_id)
        told = self.store(run_id).answer()
        assert told is not None
        assert (told["state"], told["message"]) == (ended["state"], ended["message"])
        json.dumps(told)
        return told

    def events(self, run_id: str = "run-1") -> list[str]:
        """The run's events in short: `load RUNNING 1`."""
        return [_short(each) for _, batch in self.store(run_id).events() for each in batch]


def _short(event: dict[str, Any]) -> str:
    match event["kind"]:
        case "run":
            return event["state"]
        case "task":
            return f"{event['task']} {event['state']} {event['attempt']}"
        case "item":
            return f"{event['task']}[{event['item']}] {event['state']} {event['attempt']}"
        case "output":
            return f"{event['task']} {event['stream']}: {event['text'].splitlines()[-1]}"
        case kind:
            return f"{kind} {event.get('task')}"
