"""What processes of their own do to a control plane: `python jobs.py JOB LOCAL_DIR URL [NUMBER]`; an empty URL is none.

Each waits for a line on its standard input before it begins, so that several begin together, and prints what it did
as JSON. DAGY_FAULTS says where it dies.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

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


if __name__ == "__main__":
    job, local_dir, url, *rest = sys.argv[1:]
    sys.stdin.readline()
    with open_plane(Path(local_dir), url or None) as plane:
        print(json.dumps(globals()[job](plane, int(rest[0]) if rest else 0)))
