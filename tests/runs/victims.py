"""A program that forks victims. Each line it reads is a JSON list of jobs, done at the same time by a process each; its
answer is a line with how each of them ended.

A job: `do` is the name of a function here, `faults` where to die (as in DAGY_FAULTS), `after` the seconds after which
to die wherever the victim is then; the rest is given to the function.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dagy import flow, task
from dagy.engine import RunOptions, new_run_id, run
from dagy.errors import DagyError
from dagy.runs import History, RunRecorder, faults, load_for_resume
from dagy.runs.recovery import recover
from dagy.runs.store import Store

ORACLE = Path()  # the file that tasks add a line to when they really run


def really_ran(name: object) -> None:
    file = os.open(ORACLE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{name}\n".encode())
    os.close(file)


@task
def source(size: int = 3) -> list[int]:
    really_ran("source")
    time.sleep(0.03)  # so that the run is recorded in several batches
    return list(range(size))


@task(retries=2)
def left(rows: list[int]) -> str:
    really_ran("left")
    time.sleep(0.03)
    if ORACLE.read_text().count("left\n") == 1:
        raise ValueError("the first time it fails")
    return "x" * 10_000  # too large to be kept in the history itself


@task
def right(rows: list[int]) -> int:
    really_ran("right")
    return len(rows)


@task
def join(one: str, other: int) -> int:
    really_ran("join")
    return len(one) + other


@task
def double(row: int) -> int:
    really_ran(f"double-{row}")
    return 2 * row


@flow(name="diamond")
def diamond(size: int = 3):
    rows = source(size)
    return join(left(rows), right(rows)), double.map(rows)


@task
def step(number: int, before: int = 0) -> int:
    really_ran(f"step-{number}")
    time.sleep(0.002)
    return before + 1


@flow(name="many")
def many():
    ends = []
    for start in range(0, 60, 10):
        last = 0
        for number in range(start, start + 10):
            last = step(number, last)
        ends.append(last)
    return ends


FLOWS = {"diamond": diamond, "many": many}


def say(text: str) -> None:
    """Acknowledge something: what is said here must never be lost."""
    os.write(1, f"{text}\n".encode())


class SayingRecorder(RunRecorder):
    """Says when a run has begun."""

    def begin(self, run_id: str, *args: Any) -> None:
        super().begin(run_id, *args)
        say(f"begun {run_id}")


def do_run(local_dir: str, flow: str = "diamond", times: int = 1) -> None:
    """Run a flow, and record it."""
    for _ in range(times):
        program, values = FLOWS[flow].prepare()
        result = run(program, values, RunOptions(new_run_id(flow), recorder=SayingRecorder(Path(local_dir))))
        say(f"ended {result.run_id} {result.status}")


def do_resume(local_dir: str, flow: str = "diamond") -> None:
    """Go on where the newest run ended."""
    program, values = FLOWS[flow].prepare()
    found = load_for_resume(Path(local_dir), "latest", program, values)
    options = RunOptions(
        new_run_id(flow),
        recorder=SayingRecorder(Path(local_dir), resumed_from=found.run_id),
        reused=found.results,
        reused_items=found.items,
    )
    result = run(program, found.parameters, options)
    say(f"ended {result.run_id} {result.status}")


def do_recover(local_dir: str) -> None:
    """End what is without an owner."""
    with Store(Path(local_dir)) as store:
        for run_id in recover(store, lambda: 10**19):
            say(f"recovered {run_id}")


def do_tidy(local_dir: str) -> None:
    """Copy the write-ahead log into the database."""
    with Store(Path(local_dir)) as store:
        with store.writing() as db:
            db.execute("INSERT INTO specs VALUES ('some', 'text')")
        store.tidy(limit=0)


def do_list(local_dir: str) -> None:
    """List the runs."""
    with History(Path(local_dir)) as history:
        for each in history.runs():
            say(f"{each.run_id} {each.status}")


def do_run_in_little_space(local_dir: str, bytes_left: int) -> None:
    """Run a flow though no file may grow larger."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, resource.RLIM_INFINITY))
    try:
        do_run(local_dir, "many")
    except DagyError as error:
        say(f"refused {type(error).__name__}: {error}")


def do_without_rights(local_dir: str, what: str) -> None:
    """Do something as a user whom file permissions hold."""
    if os.geteuid() == 0:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        none = (ctypes.c_uint32 * 6)()
        if ctypes.CDLL(None, use_errno=True).capset(header, none):
            raise OSError(ctypes.get_errno(), "capset")
    try:
        JOBS[what](local_dir)
    except DagyError as error:
        say(f"refused {type(error).__name__}: {error}")


def do_share_with_a_child(local_dir: str) -> None:
    """Write to one store from here and from a child that was forked from here."""
    with Store(Path(local_dir)) as store:
        for name in ("parent", "child"):
            child = os.fork() if name == "parent" else 0
            if name == "parent" and child == 0:
                continue
            with store.writing() as db:
                db.execute("INSERT INTO specs VALUES (?, 'text')", (name,))
            if name == "child":
                store.close()
                os._exit(0)
            if child:
                os.waitpid(child, 0)
                break
        with store.reading() as db:
            say(" ".join(name for (name,) in db.execute("SELECT digest FROM specs ORDER BY digest")))


JOBS: Mapping[str, Callable[..., None]] = {
    name.removeprefix("do_"): each for name, each in globals().items() if name.startswith("do_")
}


def be_a_victim(do: str, faults_at: str = "", after: float = 0.0, oracle: str = "", **given: Any) -> None:
    global ORACLE
    ORACLE = Path(oracle)
    faults.plan(faults_at)
    if after:
        signal.setitimer(signal.ITIMER_REAL, after)  # nobody catches it: the process is gone, like after a kill -9
    JOBS[do](**given)


def forked(job: Mapping[str, Any]) -> tuple[int, int]:
    """The number of the victim, and the pipe that it speaks into."""
    reads, writes = os.pipe()
    child = os.fork()
    if child:
        os.close(writes)
        return child, reads
    status = 1
    try:
        os.dup2(writes, 1)
        be_a_victim(**job)
        status = 0
    except BaseException:  # noqa: BLE001 (a victim never goes on as its parent)
        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    """Do what is asked for, line by line."""
    diamond.spec.model_dump_json()  # loads what every victim would have to load
    for line in sys.stdin:
        ends = []
        for child, pipe in [forked(job) for job in json.loads(line)]:
            with os.fdopen(pipe, encoding="utf-8") as said:
                text = said.read()
            ends.append({"status": os.waitpid(child, 0)[1], "said": text.splitlines()})
        print(json.dumps(ends), flush=True)


if __name__ == "__main__":
    main()
