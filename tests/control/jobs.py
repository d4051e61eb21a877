"""What processes of their own do to a control plane: `python jobs.py JOB LOCAL_DIR URL [NUMBER [PROCESSES]]`.

An empty URL is none. The processes are forked from one that has loaded what they need, open the plane each for itself,
and begin at the same moment. It prints, as JSON, the exit code of each and what it did; DAGY_FAULTS says where it dies.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from dagy.control import ControlPlane, Report, open_plane
from dagy.errors import StoreError
from dagy.runs import owner_text, this_process
from dagy.states import StateType


def reopen(plane: ControlPlane, number: int) -> object:
    """Nothing more."""
    return None


def tick(plane: ControlPlane, number: int) -> object:
    """Make what is due."""
    return [run.run_id for run in plane.tick_schedules()]


def claim(plane: ControlPlane, number: int) -> object:
    """Claim runs until none waits."""
    me, found = owner_text(this_process()), []
    while (claimed := plane.claim_run(me)) is not None:
        found.append(claimed.run.run_id)
    return found


def work(plane: ControlPlane, number: int) -> object:
    """Ask for runs, run whatever waits, and count."""
    me, done = owner_text(this_process()), 0
    for each in range(number):
        plane.create_run("etl", {"limit": each}, idempotency_key=f"{each}")
        plane.create_run("etl", {"limit": each})
        claimed = plane.claim_run(me)
        if claimed is not None:
            run_id, fence = claimed.run.run_id, claimed.fence
            plane.report(
                run_id, fence, Report(({"kind": "run", "seq": 0, "at": 0, "state": "RUNNING"},), StateType.RUNNING)
            )
            plane.report(run_id, fence, Report(status=StateType.COMPLETED))
            done += 1
    return done


def look(plane: ControlPlane, number: int) -> object:
    """List the runs, and try to ask for another."""
    found = [run.run_id for run in plane.runs()]
    try:
        plane.create_run("etl", {"limit": 1})
    except StoreError as error:
        return [found, str(error)]
    return [found, ""]


def fork(plane: ControlPlane, number: int) -> object:
    """Go on with the same plane in a child, and after it."""
    plane.create_run("etl", {"limit": 1})
    child = os.fork()
    if not child:
        try:
            plane.create_run("etl", {"limit": 2})
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    plane.create_run("etl", {"limit": 3})
    return [os.waitstatus_to_exitcode(status), sorted(run.parameters["limit"] for run in plane.runs())]


def do(job: str, local_dir: str, url: str, number: str = "0") -> object:
    with open_plane(Path(local_dir), url or None) as plane:
        return globals()[job](plane, int(number))


def begin_and_tell(begin: int, tell: int, *given: str) -> NoReturn:
    """Be one of the processes: wait until nobody has the other end of `begin`, and write to `tell` what was done."""
    status = 1
    try:
        os.read(begin, 1)
        os.write(tell, json.dumps(do(*given)).encode())
        status = 0
    except BaseException:  # noqa: BLE001 (it must not go on as its parent)
        traceback.print_exc()
    finally:
        os._exit(status)


def main(*given: str, processes: int) -> list[tuple[int, object]]:
    """The exit code of each process, and what it told."""
    waits, begin = os.pipe()
    started = []
    for _ in range(processes):
        reads, tell = os.pipe()
        child = os.fork()
        if not child:
            os.close(begin)
            begin_and_tell(waits, tell, *given)
        os.close(tell)
        started.append((child, reads))
    os.close(begin)
    ends = []
    for child, reads in started:
        with os.fdopen(reads) as told:
            text = told.read()
        ends.append((os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), json.loads(text or "null")))
    return ends


if __name__ == "__main__":
    import alembic.command  # noqa: F401
    import psycopg  # noqa: F401

    print(json.dumps(main(*sys.argv[1:5], processes=int((sys.argv[5:] or ["1"])[0]))))
