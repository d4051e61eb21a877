"""How a run ended when AWS ended it: what the services say of a failure, as a state and a sentence with a remedy.

A flow that fails says so itself, in its answer. Here is what is left: functions that run out of time or memory,
containers that are stopped or never start, executions that somebody aborts, and what AWS refuses. Pure functions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from dagy.errors import CloudError, DagyError
from dagy.spec import Json
from dagy.states import State, StateType, cancelled, completed, crashed, failed

_LONGEST = 600  # characters of what AWS says that are told

_TRANSIENT = frozenset({
    "TooManyRequestsException", "ThrottlingException", "Throttling", "SlowDown", "ServiceException", "InternalError",
    "ServiceUnavailable", "ServiceUnavailableException", "InternalServerException", "EC2ThrottledException",
    "RequestLimitExceeded", "LimitExceededException", "ServerException", "SnapStartNotReadyException",
    "ResourceConflictException", "ENILimitReachedException", "ResourceNotReadyException",
})  # fmt: skip
_GONE = frozenset({
    "ResourceNotFoundException", "StateMachineDoesNotExist", "ClusterNotFoundException", "NoSuchBucket", "NotFound",
    "StateMachineDeleting",
})  # fmt: skip
_THROTTLED = frozenset({
    "TooManyRequestsException", "ThrottlingException", "Throttling", "RequestLimitExceeded", "SlowDown",
    "LimitExceededException", "EC2ThrottledException",
})  # fmt: skip


class _Rule(NamedTuple):
    """What a service says, and what it means; `{...}` in `words` is a group of the pattern, or one of the resources."""

    pattern: str  # compiled when it is first needed: failures are rare
    state: StateType
    words: str


_FUNCTION = (
    _Rule(
        r"Sandbox\.Timedout|Task timed out after|Status: timeout",
        StateType.TIMED_OUT,
        "the Lambda function was stopped at its limit of {timeout_seconds} s; deploy with executor='step-functions', "
        "where each task has so long, or with executor='ecs', which has no such limit",
    ),
    _Rule(
        r"signal: killed|Runtime\.OutOfMemory",
        StateType.CRASHED,
        "the Lambda function ran out of its {memory_mb} MB of memory; give it more with memory_mb=, or deploy with "
        "executor='ecs'",
    ),
    _Rule(
        r"Runtime\.(?:ImportModuleError|UserCodeSyntaxError|HandlerNotFound|MalformedHandlerName)|Phase: init",
        StateType.FAILED,
        "the code can't be loaded on Lambda: {said}",
    ),
    _Rule(
        r"exit status (?P<status>\d+)",
        StateType.CRASHED,
        "its process died on Lambda: exit code {status}",
    ),
    _Rule(
        r"signal: (?P<signal>[\w ]+)",
        StateType.CRASHED,
        "its process died on Lambda: signal {signal}",
    ),
    _Rule(
        r"Runtime\.ExitError|exited without providing a reason",
        StateType.CRASHED,
        "its process ended on Lambda before it answered",
    ),
)

_CONTAINER = (
    _Rule(
        r"OutOfMemory",
        StateType.CRASHED,
        "the container ran out of memory; give the flow or the task more with memory_mb=, or a larger tier such as "
        "executor='large'",
    ),
    _Rule(
        r"SpotInterruption|Spot Task was interrupted|TerminationNotice",
        StateType.CRASHED,
        "AWS took the machine back, as it may with Spot; run what is missing with: dagy runs resume {run_id}",
    ),
    _Rule(
        r"CannotPull|(?:unable to pull|pull).*(?:image|registry auth)|manifest unknown|toomanyrequests",
        StateType.FAILED,
        "the container's image can't be pulled: {said}; see that the image exists for this architecture, that the "
        "execution role may read it, and that the subnets reach its registry",
    ),
    _Rule(
        r"Capacity is unavailable|RESOURCE:|capacity",
        StateType.FAILED,
        "AWS had no machine free for the container ({said}); run it again in a while, or allow more subnets in other "
        "zones: dagy aws init --subnet",
    ),
    _Rule(
        r"network interface|ResourceInitializationError",
        StateType.FAILED,
        "the container could not reach the network: {said}; its subnets need public addresses, a NAT gateway or "
        "endpoints for S3, ECR and logs",
    ),
    _Rule(r"No space left|OutOfDisk|CannotCreateVolume", StateType.CRASHED, "the container ran out of disk: {said}"),
    _Rule(r"TaskFailedToStart|CannotStartContainer", StateType.FAILED, "the container did not start: {said}"),
    _Rule(r"UserInitiated|Task stopped by", StateType.CANCELLED, "somebody stopped the container on AWS: {said}"),
)

_EXECUTION = (
    _Rule(
        r"States\.DataLimitExceeded",
        StateType.FAILED,
        "a step's payload is over Step Functions' 256 KiB, which is a defect of Dagy: {said}",
    ),
    _Rule(
        r"AccessDenied|not authorized|States\.Permissions",
        StateType.FAILED,
        "a role of the state machine may not do that: {said}; bring the stack up to date with: dagy aws init",
    ),
    _Rule(
        r"(?:Lambda\.)?ResourceNotFoundException|Function not found",
        StateType.FAILED,
        "the state machine's function is not there any more; deploy again",
    ),
    _Rule(
        r"history|maximum number of events",
        StateType.FAILED,
        "the execution's history has reached Step Functions' 25,000 events; map over fewer, larger items, or "
        "deploy with executor='ecs'",
    ),
    _Rule(
        r"TooManyRequests|Throttl",
        StateType.FAILED,
        "Lambda was asked for more invocations at once than the account may have: {said}; lower max_workers or the "
        "tasks' concurrency_limit, or ask AWS for a higher limit, and go on with: dagy runs resume {run_id}",
    ),
    *_FUNCTION,
    *_CONTAINER,
)


def of_function(payload: bytes, log_tail: str, run_id: str, resources: Mapping[str, Json]) -> State:
    """How a run stands whose function did not answer; `payload` is what Lambda answered in its place."""
    said = _said_by_function(payload)
    return _first(_FUNCTION, f"{said}\n{log_tail}", said, run_id, resources) or failed(
        f"the Lambda function failed: {_cut(said) or 'it did not say why'}"
    )


def of_silence(lines: str, run_id: str, resources: Mapping[str, Json]) -> State:
    """How a run stands whose function must have ended, and did not tell; `lines` is what its log says."""
    seconds = resources.get("timeout_seconds")
    return _first(_FUNCTION, lines, "", run_id, resources) or crashed(
        f"the Lambda function has ended without telling how (its limit of {seconds} s has passed); what ran may have "
        f"had effects; to see its log: dagy logs {run_id} --aws"
    )


def of_execution(status: str, error: str, cause: str, run_id: str, resources: Mapping[str, Json]) -> State | None:
    """How a run stands whose execution has this status; None while it goes on."""
    match status:
        case "RUNNING" | "PENDING_REDRIVE":
            return None
        case "SUCCEEDED":
            return completed()
        case "ABORTED":
            return cancelled(_cut(cause) or "the execution was stopped on AWS")
        case "TIMED_OUT":
            return State(StateType.TIMED_OUT, "the state machine ran into its time limit")
        case _ if error in StateType.__members__:  # the state machine's own last step says so
            return State(StateType(error), _cut(cause))
        case _:
            said = _said_by_step(error, cause)
            return _first(_rules_of(error), said, said, run_id, resources) or failed(
                f"the state machine failed: {_cut(said) or 'it did not say why'}"
            )


def of_step(error: str, cause: str, run_id: str, resources: Mapping[str, Json]) -> State:
    """How a task stands whose step of the state machine failed so."""
    said = _said_by_step(error, cause)
    return _first(_rules_of(error), said, said, run_id, resources) or crashed(_cut(said))


def of_container(stop_code: str, reasons: str, exit_code: int | None, run_id: str) -> State:
    """How a run stands whose container has stopped without an answer; `reasons` is what ECS says."""
    known = _first(_CONTAINER, f"{stop_code}: {reasons}", reasons, run_id, {})
    if known is not None:
        return known
    match exit_code:
        case None:
            return failed(f"the container did not start: {_cut(reasons) or stop_code or 'ECS does not say why'}")
        case 0:
            return crashed(
                f"the container ended without telling how the run went; to see its log: dagy logs {run_id} --aws"
            )
        case 137:
            return crashed("the container was killed (exit code 137), most often because it ran out of memory")
        case _:
            return crashed(f"its process died in the container: exit code {exit_code}")


def is_transient(error: DagyError) -> bool:
    """Whether AWS may do the same in a moment: it is busy, or something is being changed."""
    return isinstance(error, CloudError) and (error.code in _TRANSIENT or error.code.startswith("RESOURCE:"))


def of_refusal(error: DagyError, what: str, run_id: str) -> State:
    """How a run stands that AWS does not start; `what` names what was to be started, such as `the function 'etl'`."""
    code = error.code if isinstance(error, CloudError) else ""
    if code in _GONE:
        return failed(f"{what} is not there any more ({error}); deploy again")
    if code in _THROTTLED:
        return failed(
            f"{what} could not be started: AWS takes no more requests now ({error}); ask it for a higher limit, or try "
            f"again: dagy runs resume {run_id}"
        )
    return failed(f"{what} could not be started: {error}")


def _said_by_function(payload: bytes) -> str:
    try:
        told = json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")
    if not isinstance(told, dict):
        return str(told)
    kind, message = str(told.get("errorType") or ""), str(told.get("errorMessage") or "")
    message = re.sub(r"^RequestId: \S+ (?:Error: )?", "", message)
    return f"{kind}: {message}" if kind and message else kind or message


def _said_by_step(error: str, cause: str) -> str:
    """Error and cause; of the JSON in which a function tells of its exception, which may be cut, only the message."""
    if found := _EXCEPTION.fullmatch(cause):
        with suppress(ValueError):
            cause = json.loads(f'"{found["message"]}"')
    return f"{error}: {cause}" if error and cause else error or cause


def _rules_of(error: str) -> tuple[_Rule, ...]:
    """What AWS says has a point in its name; an exception's class has none, and says itself what is wrong."""
    return _EXECUTION if "." in error or not error else ()


_EXCEPTION = re.compile(r'(?:\{"errorMessage": ?")?(?P<message>.*)", ?"errorType": ?"[^"]*".*', re.DOTALL)


def _first(rules: tuple[_Rule, ...], text: str, said: str, run_id: str, resources: Mapping[str, Json]) -> State | None:
    for rule in rules:
        if (found := re.search(rule.pattern, text, re.IGNORECASE | re.DOTALL)) is not None:
            told = {"memory_mb": "", "timeout_seconds": "", **resources, **found.groupdict()}
            return State(rule.state, rule.words.format_map({**told, "said": _cut(said), "run_id": run_id}))
    return None


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
