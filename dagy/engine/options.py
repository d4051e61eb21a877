"""How a run is made: what its caller may choose, checked."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from dagy.engine.keeping import Cache, Recorder
from dagy.engine.machine import GRACE_SECONDS
from dagy.errors import DefinitionError

MAX_WORKERS = 16  # how many tasks run at once unless the caller says otherwise
ISOLATIONS = ("thread", "process")


class StandsFor(NamedTuple):
    """Of which item of a mapped task, if it is one, a run makes attempts; how many were made `before`."""

    item: int | None
    before: int


@dataclass(frozen=True)
class RunOptions:
    """How a run is made; `DefinitionError` for a value that has no meaning.

    `capture` takes what tasks print, log and show away from the terminal and into the run's events. `isolation` is
    where tasks run that do not say it themselves. `reused` holds results that are there already, by task, `ABSENT` for
    one that was skipped by choice; `reused_items` the same for mapped tasks, by task and item.

    A run may be of one task alone, as a part of a larger run: `stands_for` says which item, and how many attempts were
    made before, in what hooks and `current_context` tell.
    """

    run_id: str
    max_workers: int | None = None  # None: `MAX_WORKERS`
    fail_fast: bool = True
    capture: bool = False
    isolation: Literal["thread", "process"] | None = None
    keep_results: bool = False  # also those that no task needs any more
    recorder: Recorder | None = None
    cache: Cache | None = None
    reused: Mapping[str, object] = field(default_factory=dict)
    reused_items: Mapping[str, Mapping[int, object]] = field(default_factory=dict)
    # Seconds that the run may take: then what runs is stopped. A task that may take longer than it has is not started.
    time_limit: float | None = None
    grace_seconds: float = GRACE_SECONDS  # how long what is told to stop may take to do so
    stands_for: StandsFor | None = None

    def __post_init__(self) -> None:
        limit = self.max_workers
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise DefinitionError(f"max_workers must be a whole number, 1 or more, not {limit!r}")
        if self.isolation is not None and self.isolation not in ISOLATIONS:
            raise DefinitionError(f"isolation must be 'thread' or 'process', not {self.isolation!r}")


def new_run_id(flow_name: str) -> str:
    """A name for a run that sorts by time and reads well: `web-scraper-20260131-142500-3fa9c1`."""
    slug = re.sub(r"[^a-z0-9]+", "-", flow_name.lower()).strip("-")[:40] or "run"
    return f"{slug}-{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}"
