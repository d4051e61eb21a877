"""What a function, state machine or container is given to begin a run: the payload of `dagy.artifact.handler`."""

from __future__ import annotations

import json
from collections.abc import Mapping

from dagy.artifact.run_store import RunStore
from dagy.control.records import RunInfo
from dagy.spec import Json

WHOLE_FLOW: Mapping[str, Json] = {"events": True}  # of a payload: the flow tells of itself as it goes


def payload_of(info: RunInfo, store: RunStore, *, most_bytes: int, more: Mapping[str, Json] | None = None) -> bytes:
    """The payload as JSON, with `more` in it. Parameters that make it larger than `most_bytes` go to the store instead.

    It is the same each time, so that who starts the run once more starts the same. Raises as the store.
    """
    told: dict[str, Json] = {"run_id": info.run_id, **(more or {})}
    if info.resumes is not None:
        told["resume"] = info.resumes
    whole = _encoded({**told, "parameters": dict(info.parameters)})
    if len(whole) <= most_bytes:
        return whole
    store.put_parameters(info.parameters)
    return _encoded(told)


def _encoded(payload: dict[str, Json]) -> bytes:
    return json.dumps(payload, separators=(",", ":"), sort_keys=True).encode()
