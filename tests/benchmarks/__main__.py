"""The figures, in one table: `python dev.py bench`.

    python dev.py bench                     every row
    python dev.py bench chain workers       those of these names, or of names that contain them
    python dev.py bench --quick             a third of the rounds
    python dev.py bench --peers             the same work in other engines, each in an environment of its own
    python dev.py bench --peers dask        in those

Nothing is asserted: a machine may be busy. A row says what was found, what the limit takes in the same process at the
same time, the ratio (the median of the rounds' own) with its quartiles, the same by the processor's time, and the most
that is aimed at.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields

from . import (
    builds,
    commands,
    deploys,
    engine,
    exports,
    layers,
    nodes,
    notebook,
    payloads,
    pictures,
    processes,
    running,
    scale,
    startup,
    state_machines,
    store,
    views,
)
from .measuring import Effort, Row
from .peers.environments import PEERS
from .peers.table import table

Measurement = Callable[[Effort], Iterator[Row]]

MEASUREMENTS: Mapping[str, Measurement] = {
    "chain": engine.chains,
    "fan-out": engine.fan_outs,
    "layers": engine.layered,
    "sleep": engine.sleepers,
    "recorded": engine.recorded,
    "armed": engine.armed,
    "drawing": engine.drawings,
    "hundred-thousand": scale.hundred_thousand,
    "workers": processes.round_trips,
    "busy": processes.busy,
    "worker-start": processes.starts,
    "payload-threads": payloads.in_threads,
    "payload-processes": payloads.between_processes,
    "payload-memory": payloads.peaks,
    "imports": startup.imports,
    "pictures": pictures.pictures,
    "cold-start": running.cold_starts,
    "handled": running.handled,
    "embedded-runs": running.embedded_runs,
    "deploys": deploys.deploys,
    "aws-calls": deploys.aws_calls,
    "exports": exports.exports,
    "builds": builds.builds,
    "commands": commands.commands,
    "dependency-layers": layers.dependency_layers,
    "nodes": nodes.nodes,
    "node-graphs": nodes.graphs,
    "view-cost": notebook.view_cost,
    "view-lag": notebook.view_lag,
    "captured": notebook.captured,
    "views": views.views,
    "state-machines": state_machines.compiled,
    "store-runs": store.lives,
    "store-open": store.opening,
}
_HEADS = ("what", "value", "limit", "ratio", "quartiles", "by CPU", "to reach", "met")


def main(argv: Sequence[str]) -> int:
    """Measure what `argv` asks for and print the table; the process's exit code."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASUREMENTS)}")
    parser.add_argument("--quick", action="store_true", help="a third of the rounds")
    parser.add_argument("--peers", action="store_true", help=f"other engines: {', '.join(PEERS)}")
    chosen = parser.parse_args(argv)
    known = PEERS if chosen.peers else MEASUREMENTS
    names = [each for each in known if not chosen.names or any(part in each for part in chosen.names)]
    unmatched = [part for part in chosen.names if not any(part in each for each in known)]
    if unmatched:
        parser.error(f"nothing is called {unmatched[0]!r}; there are {', '.join(known)}")
    effort = Effort(rounds=3) if chosen.quick else Effort()
    print(_circumstances(), flush=True)
    if chosen.peers:
        print_table(*table(names, effort))
        return 0
    rows: list[Row] = []
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        try:
            rows += MEASUREMENTS[name](effort)
        except Exception as error:  # noqa: BLE001 (the other rows are still worth having)
            traceback.print_exc()
            rows.append(Row(name, "failed", f"{type(error).__name__}, see above"))
    print_table(_HEADS, [_cells(row) for row in rows])
    return 0


def print_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table that reads well as text and as Markdown."""
    widths = [max(len(each) for each in column) for column in zip(heads, *lines, strict=True)]
    for line in (heads, ["-" * width for width in widths], *lines):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")


def _cells(row: Row) -> list[str]:
    texts = [getattr(row, field.name) for field in fields(row)]
    return [*texts[:-1], {None: "", True: "yes", False: "NO"}[row.is_met]]


def _circumstances() -> str:
    cores = len(os.sched_getaffinity(0))
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')}, Python {platform.python_version()}, {cores} cores, load before: {load}\n"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
