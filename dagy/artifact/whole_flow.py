"""A whole flow in one invocation. Without a store its answer is all there is of it; with one, what lasts lies there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from dagy.artifact.beginning import begin_run, given_parameters, left_over
from dagy.artifact.invocations import GRACE_SECONDS, Invocation, Ran, run_here
from dagy.artifact.payloads import Payload
from dagy.artifact.recording import StoreRecorder
from dagy.artifact.run_store import RunStore
from dagy.artifact.telling import told_failure, told_result, told_run
from dagy.engine import RunChanged, RunOptions
from dagy.errors import ResumeError
from dagy.flows import Flow
from dagy.runs.event_json import event_to_json
from dagy.spec import Json
from dagy.states import StateType, failed


def whole_flow(flow: Flow[..., Any], run_id: str, payload: Payload, invocation: Invocation) -> dict[str, Json]:
    """Run the flow, and how that went. Raises what makes no sense of the payload, and what a broken store does."""
    values = invocation.values
    if not values.has_store:
        return _alone(flow, run_id, payload, invocation)
    store = RunStore(values, run_id)
    begun = begin_run(store, payload, invocation)
    if begun is None:
        message = "it has begun already, in another invocation"
        return store.answer() or {"run_id": run_id, "state": StateType.RUNNING.value, "message": message}
    try:
        answer = _kept(flow, store, begun, payload, invocation)
    except Exception as error:  # noqa: BLE001 (the user's code too: what reads its values, what checks parameters)
        answer = refused(store, error)
    store.keep_answer(answer)
    return answer


def refused(store: RunStore, error: Exception) -> dict[str, Json]:
    """The answer of a run that could not begin, which is told in its events too."""
    answer = {"run_id": store.run_id, **told_failure(error)}
    store.add_events([event_to_json(RunChanged(0, time.time_ns(), failed(str(answer["message"]))))])
    return answer


def _alone(flow: Flow[..., Any], run_id: str, payload: Payload, invocation: Invocation) -> dict[str, Json]:
    if payload.resume:
        raise ResumeError(f"run {payload.resume!r} can't be resumed without a store; name it in DAGY_STORE")
    references = {name: invocation.values.read(each) for name, each in payload.references.items()}
    program, given = flow.prepare(**{**(payload.parameters or {}), **references})
    options = RunOptions(run_id, payload.max_workers, flow.fails_fast(payload.fail_fast), capture=True,
                         time_limit=invocation.seconds_left, grace_seconds=GRACE_SECONDS)  # fmt: skip
    return _told(run_here(program, given, options, invocation, None), invocation)


def _kept(
    flow: Flow[..., Any], store: RunStore, begun: Mapping[str, Any], payload: Payload, invocation: Invocation
) -> dict[str, Json]:
    left = left_over(store, begun)
    program, given = flow.prepare(**given_parameters(begun, store.values))
    recorder = StoreRecorder(store, looks=store.stop_reason, keeps_events=payload.events, keeps_results=True)
    if left.results:  # a run that goes on with this one finds all of it here
        store.add_results(left.results)
    options = RunOptions(
        store.run_id, payload.max_workers, flow.fails_fast(payload.fail_fast), capture=True, recorder=recorder,
        time_limit=invocation.seconds_left, grace_seconds=GRACE_SECONDS,
        reused=left.opened_tasks(store.values), reused_items=left.opened_items(store.values),
    )  # fmt: skip
    ran = run_here(program, given, options, invocation, recorder)
    recorder.finish()
    return _told(ran, invocation)


def _told(ran: Ran, invocation: Invocation) -> dict[str, Json]:
    result = ran.result
    told = told_run(result, ran.output)
    if result.state.is_completed:
        carried = invocation.values.carried
        told |= told_result(lambda: carried(result.value, result.run_id, "result", called="what the flow returned"))
    return told
