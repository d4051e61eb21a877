"""Calls that fail because a test wants them to."""

from __future__ import annotations

import fnmatch
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from dagy.testing.local_aws.operations import Operation

KINDS = ("throttled", "denied", "broken", "dropped", "lost", "slow")

# What a service answers that is asked too often, or that is broken itself, where it has a name of its own for that.
_THROTTLED = {
    "lambda": (429, "TooManyRequestsException"),
    "s3": (503, "SlowDown"),
    "ec2": (503, "RequestLimitExceeded"),
}
_BROKEN = {"lambda": (500, "ServiceException"), "s3": (500, "InternalError"), "ecs": (500, "ServerException")}
_DENIED = {"s3": (403, "AccessDenied"), "iam": (403, "AccessDenied"), "cloudformation": (403, "AccessDenied")}
_STATUS = {"ConditionalRequestConflict": 409, "PreconditionFailed": 412}  # of codes; the others have 400


@dataclass(slots=True)
class Fault:
    """`operation` may have wildcards; `how` is one of `KINDS` or an error's code."""

    operation: str
    how: str
    times: int


class Faults:
    """The faults that wait for their call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let it happen; one of no times takes back those there are of its operation."""
        with self._lock:
            if fault.times:
                self._waiting.append(fault)
            else:
                self._waiting = [each for each in self._waiting if each.operation != fault.operation]

    def take(self, operation: Operation) -> str | None:
        """How this call is to fail, if at all."""
        with self._lock:
            for fault in self._waiting:
                if fnmatch.fnmatchcase(str(operation), fault.operation):
                    fault.times -= 1
                    if fault.times == 0:
                        self._waiting.remove(fault)
                    return fault.how
        return None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as it goes over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def refusal(operation: Operation, how: str) -> Refusal:
    """The error that a call of the operation ends with."""
    status, code = _named(operation.service, how)
    message = f"dagy.testing.local_aws: {operation} was to fail ({how})"
    match operation.protocol:
        case "rest-xml":
            body = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
            return Refusal(status, {"Content-Type": "application/xml"}, body.encode())
        case "query" | "ec2":
            error = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
            body = f"<ErrorResponse>{error}<RequestId>local</RequestId></ErrorResponse>"
            if operation.protocol == "ec2":
                body = f"<Response><Errors>{error}</Errors><RequestID>local</RequestID></Response>"
            return Refusal(status, {"Content-Type": "text/xml"}, body.encode())
    headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-ErrorType": code, "x-amzn-RequestId": "local"}
    return Refusal(status, headers, json.dumps({"__type": code, "message": message}).encode())


def _named(service: str, how: str) -> tuple[int, str]:
    match how:
        case "throttled":
            return _THROTTLED.get(service, (400, "ThrottlingException"))
        case "denied":
            return _DENIED.get(service, (403, "AccessDeniedException"))
        case "broken":
            return _BROKEN.get(service, (500, "InternalFailure"))
    return _STATUS.get(how, 400), how
