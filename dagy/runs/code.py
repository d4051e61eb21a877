"""What the code of a run's tasks was, and in what it differs now."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagy.program import Program

if TYPE_CHECKING:
    import sqlite3


@dataclass(frozen=True)
class Fingerprint:
    """What tells the code of two functions apart."""

    digest: str
    parts: Mapping[str, str]


def fingerprint(function: Callable[..., Any]) -> Fingerprint:
    """The fingerprint of `function`."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        text = repr(getattr(function, "__code__", type(function)).__class__)
    return Fingerprint(hashlib.sha256(text.encode()).hexdigest(), {"source": text})


def add_code(db: sqlite3.Connection, run: int, program: Program) -> None:
    """Put what the code of the run's tasks is into the history."""
    tasks_of: dict[str, list[int]] = {}
    for found, tasks in _fingerprints(program):
        if found.digest not in tasks_of:
            db.execute("INSERT OR IGNORE INTO sources VALUES (?, ?)", (found.digest, json.dumps(dict(found.parts))))
        tasks_of.setdefault(found.digest, []).extend(tasks)
    db.executemany(
        "INSERT INTO code VALUES (?, ?, ?)", [(run, digest, json.dumps(tasks)) for digest, tasks in tasks_of.items()]
    )


def code_differences(db: sqlite3.Connection, run: int, program: Program, tasks: set[int]) -> list[str]:
    """A diff for each function whose code has changed since the run, of those that do one of `tasks`."""
    recorded = {
        task: digest
        for digest, places in db.execute("SELECT digest, tasks FROM code WHERE run = ?", (run,))
        for task in json.loads(places)
    }
    found = []
    for now, places in _fingerprints(program):
        for digest in sorted({recorded.get(each, "") for each in places if each in tasks} - {now.digest}):
            row = db.execute("SELECT parts FROM sources WHERE digest = ?", (digest,)).fetchone()
            names = [
                program.spec.tasks[each].id for each in places if each in tasks and recorded.get(each, "") == digest
            ]
            found.append(_diff(names, {} if row is None else json.loads(row[0]), now.parts))
    return found


def _fingerprints(program: Program) -> list[tuple[Fingerprint, list[int]]]:
    """For each function of the program its fingerprint and the places of its tasks."""
    functions: dict[int, tuple[Callable[..., Any], list[int]]] = {}
    for number, task in enumerate(program.spec.tasks):
        function = program.code[task.id].function
        functions.setdefault(id(function), (function, []))[1].append(number)
    return [(fingerprint(function), places) for function, places in functions.values()]


def _diff(names: list[str], before: Mapping[str, str], now: Mapping[str, str]) -> str:
    tasks = ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    lines = [f"the code of {tasks}:"]
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name, ""), now.get(name, "")
        if old != new:
            lines += difflib.unified_diff(
                old.splitlines(), new.splitlines(), f"{name} (recorded)", f"{name} (now)", n=2, lineterm=""
            )
    return "\n".join(lines)
