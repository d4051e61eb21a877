"""What the code of a run's tasks was, and in what it differs now."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagy.fingerprint import Fingerprint, changes, fingerprint
from dagy.program import Program

if TYPE_CHECKING:
    import sqlite3


@dataclass(frozen=True, slots=True)
class FunctionOfTasks:
    """The code of one function, and which tasks it does, by their places in the flow."""

    code: Fingerprint
    tasks: list[int]


def functions_of(program: Program) -> list[FunctionOfTasks]:
    """The functions that do the program's work, as they are now."""
    found: dict[int, tuple[Callable[..., Any], list[int]]] = {}
    for place, task in enumerate(program.spec.tasks):
        function = program.code[task.id].function
        found.setdefault(id(function), (function, []))[1].append(place)
    return [FunctionOfTasks(fingerprint(function), tasks) for function, tasks in found.values()]


def add_code(db: sqlite3.Connection, run: int, functions: list[FunctionOfTasks]) -> None:
    """Put what the code of the run's tasks is into the history."""
    tasks_of: dict[str, list[int]] = {}
    for each in functions:
        parts = json.dumps(dict(each.code.parts))
        db.execute("INSERT OR IGNORE INTO sources VALUES (?, ?)", (each.code.digest, parts))
        tasks_of.setdefault(each.code.digest, []).extend(each.tasks)
    rows = [(run, digest, json.dumps(tasks)) for digest, tasks in tasks_of.items()]
    db.executemany("INSERT INTO code VALUES (?, ?, ?)", rows)


def code_differences(db: sqlite3.Connection, run: int, program: Program, tasks: set[int]) -> list[str]:
    """What has changed since the run in the code of `tasks`, a paragraph for each function."""
    recorded = {
        task: digest
        for digest, places in db.execute("SELECT digest, tasks FROM code WHERE run = ?", (run,))
        for task in json.loads(places)
    }
    found = []
    for function in functions_of(program):
        ours = [each for each in function.tasks if each in tasks]
        for digest in sorted({recorded.get(each, "") for each in ours} - {function.code.digest}):
            row = db.execute("SELECT parts FROM sources WHERE digest = ?", (digest,)).fetchone()
            names = [program.spec.tasks[each].id for each in ours if recorded.get(each, "") == digest]
            found.append(_told(names, {} if row is None else json.loads(row[0]), function.code.parts))
    return found


def _told(names: list[str], before: Mapping[str, str], now: Mapping[str, str]) -> str:
    tasks = ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return "\n".join([f"{tasks}:", *changes(before, now)])
