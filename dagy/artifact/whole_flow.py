"""A whole flow in one invocation. Without a store its answer is all there is of it; with one, what lasts lies there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from dagy.artifact.beginning import LeftOver, begin_run, given_parameters, left_over
from dagy.artifact.invocations import GRACE_SECONDS, Invocation, Ran, run_here
from dagy.artifact.payloads import Payload
from dagy.artifact.recording import StoreRecorder
from dagy.artifact.run_store import RunStore
from dagy.artifact.telling import told_failure, told_result, told_run
from dagy.engine import RunChanged, RunOptions, event_now
from dagy.errors import ParameterError, sentence
from dagy.flows import Flow
from dagy.spec import Json
from dagy.states import StateType, failed


def whole_flow(flow: Flow[..., Any], run_id: str, payload: Payload, invocation: Invocation) -> dict[str, Json]:
    """Run the flow, and how that went. Raises what makes no sense of the payload, and what a broken store does."""
    if not invocation.values.has_store:
        return _alone(flow, run_id, payload, invocation)
    store = RunStore(invocation.values, run_id)
    if not begin_run(store, payload, invocation):
        return store.answer() or {
            "run_id": run_id,
            "state": StateType.RUNNING.value,
            "message": "it has begun already, in another invocation",
        }
    answer = _recorded(flow, store, payload, invocation)
    store.keep_answer(answer)
    return answer
