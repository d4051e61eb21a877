"""Which operation of which service an HTTP request asks for: "s3.PutObject", "lambda.Invoke", ..."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

_SIGNED_AS = {"states": "stepfunctions"}  # where the name in a signature is not the client's


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, and the protocol its errors are told in."""

    service: str  # as `boto3.client` names it
    name: str
    protocol: str

    def __str__(self) -> str:
        return f"{self.service}.{self.name}"


def operation_of(environment: Mapping[str, Any], body: bytes) -> Operation | None:
    """The operation that a WSGI request asks for; None where that is not known (it is not signed, or not AWS's)."""
    credential = re.search(
        r"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request", environment.get("HTTP_AUTHORIZATION", "")
    )
    if credential is None:
        return None
    service = _SIGNED_AS.get(credential[1], credential[1])
    model = _model(service)
    if model is None:
        return None
    protocol = model.protocol
    if target := environment.get("HTTP_X_AMZ_TARGET"):
        return Operation(service, target.rpartition(".")[2], protocol)
    if protocol in ("query", "ec2"):
        action = parse_qs(body.decode(errors="replace")).get("Action", [""])[0]
        return Operation(service, action, protocol)
    query = parse_qs(environment.get("QUERY_STRING", ""), keep_blank_values=True)
    for each in _by_path(service):
        if each.fits(environment["REQUEST_METHOD"], environment.get("PATH_INFO", ""), query, environment):
            return Operation(service, each.name, protocol)
    return None


@dataclass(frozen=True, slots=True)
class _Pattern:
    """What a request for an operation looks like, where the method and the path say it."""

    name: str
    method: str
    path: re.Pattern[str]
    query: frozenset[tuple[str, str]]  # with these in its query, with their values where they have one
    needed: frozenset[str]  # the query and the headers that it can't be without

    def fits(self, method: str, path: str, query: Mapping[str, list[str]], environment: Mapping[str, Any]) -> bool:
        return (
            method == self.method
            and self.path.fullmatch(path) is not None
            and all(name in query and (not value or value in query[name]) for name, value in self.query)
            and all(name in query or _header(name) in environment for name in self.needed)
        )


def _header(name: str) -> str:
    return f"HTTP_{name.upper().replace('-', '_')}"


@functools.cache
def _model(service: str) -> Any:
    import botocore.exceptions
    import botocore.session

    try:
        return botocore.session.get_session().get_service_model(service)
    except botocore.exceptions.UnknownServiceError:
        return None


@functools.cache
def _by_path(service: str) -> tuple[_Pattern, ...]:
    """The service's operations, the most particular first."""
    model = _model(service)
    patterns = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        path, _, query = operation.http["requestUri"].partition("?")
        needed: set[str] = set()
        if operation.input_shape is not None:
            members = [
                operation.input_shape.members[each].serialization for each in operation.input_shape.required_members
            ]
            needed = {each["name"] for each in members if each.get("location") in ("querystring", "header")}
        pairs = frozenset((key, values[0]) for key, values in parse_qs(query, keep_blank_values=True).items())
        patterns.append(_Pattern(name, operation.http["method"], _path(path), pairs, frozenset(needed)))
    return tuple(sorted(patterns, key=lambda each: (-len(each.query), -len(each.needed), -len(each.path.pattern))))


def _path(template: str) -> re.Pattern[str]:
    """`/{Bucket}/{Key+}` as a pattern: a name stands for what is between two slashes, with a plus for all."""
    pieces = re.split(r"\{(\w+\+?)\}", template)
    texts = [
        re.escape(each) if number % 2 == 0 else (".+" if each.endswith("+") else "[^/]+")
        for number, each in enumerate(pieces)
    ]
    return re.compile("".join(texts) + "/?")
