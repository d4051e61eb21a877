"""The control plane as requests and answers: what is refused, and how an error crosses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact import MissingArtifactError
from dagy.control import ControlPlane, Timing, open_plane
from dagy.control.api import (
    CREATE_RUN,
    DEPLOYMENTS,
    FLOWS,
    HEALTH,
    OPERATIONS,
    PUT_SCHEDULE,
    RUN,
    Operation,
    Request,
    Response,
    answer,
    error_of,
    error_response,
    operation_of,
)
from dagy.control.keys import SCOPES
from dagy.errors import (
    ArtifactError,
    AuthError,
    ConflictError,
    DagyError,
    NetworkError,
    ParameterError,
    SettingsError,
    StoreError,
    UnknownDeploymentError,
    UnknownFlowError,
    UnknownRunError,
    UnknownScheduleError,
)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with open_plane(tmp_path_factory.mktemp("plane")) as opened:
        yield opened


def told(response: Response) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(response.body)["error"]
    return error


# ---- the table


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_each_operation_is_found_by_its_own_request(operation: Operation[Any]) -> None:
    named = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    path = operation.path.format(**dict.fromkeys(named, "a%2Fb"))
    assert operation_of(Request(operation.method, path)) == (operation, ("a/b",) * len(named))


def test_the_scopes_of_the_operations_are_those_that_a_key_may_have() -> None:
    assert {each.scope for each in OPERATIONS} == {*SCOPES, None}
    assert [each.name for each in OPERATIONS if each.scope is None] == ["health"]


def test_what_changes_nothing_may_be_asked_again_and_what_makes_something_new_may_not() -> None:
    once = {each.name for each in OPERATIONS if not _request(each).is_repeatable}
    assert once == {
        "claim_run",
        "create_key",
        "create_run",
        "delete_deployment",
        "delete_key",
        "delete_schedule",
        "put_schedule",
        "trigger_schedule",
    }


def test_a_key_or_a_place_of_its_own_lets_even_what_is_new_be_asked_for_again() -> None:
    assert CREATE_RUN.request(reference="etl", idempotency_key="once").is_repeatable
    assert PUT_SCHEDULE.request(reference="etl", timing=Timing("manual"), implicit=True).is_repeatable
    assert not PUT_SCHEDULE.request(reference="etl", timing=Timing("manual"), implicit=False).is_repeatable


def _request(operation: Operation[Any]) -> Request:
    named = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    return operation.request(**dict.fromkeys(named, "x"))


# ---- what is refused


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        (Request("GET", "/nothing"), 404, "there is no GET /nothing in the API"),
        (Request("GET", "/runs/a/b/c"), 404, "there is no GET"),
        (Request("DELETE", "/health"), 404, "there is no DELETE /health"),
        (Request("GET", "//health"), 404, "there is no GET"),
        (Request("GET", "/health/"), 404, "there is no GET"),
        (Request("POST", "/runs", body=b"{"), 400, "is not JSON"),
        (Request("POST", "/runs", body=b"\xff"), 400, "is not JSON"),
        (Request("POST", "/runs", body=b'{"reference": NaN}'), 400, "NaN is not JSON"),
        (Request("POST", "/runs", body=b"[" * 100_000), 400, "nested too deep"),
        (Request("POST", "/runs", body=b'{"reference": ' + b"9" * 5_000 + b"}"), 400, "is not JSON"),
        (Request("POST", "/runs", body=b"[]"), 400, "takes a JSON object"),
        (Request("POST", "/runs", body=b"{}"), 400, "needs 'reference'"),
        (Request("POST", "/runs", body=b'{"reference": 3}'), 400, "reference can't be 3"),
        (Request("POST", "/runs", body=b'{"reference": "a", "refrence": 1}'), 400, "did you mean 'reference'"),
        (Request("GET", "/runs", {"limit": "many"}), 400, "limit can't be 'many'"),
        (Request("GET", "/runs", {"status": "LOST"}), 400, "status can't be 'LOST'"),
        (Request("GET", "/deployments", {"tags": "env=prod"}), 400, "tags can't be"),
        (Request("GET", "/runs", {"limit": "0"}), 422, "limit"),
        (Request("PUT", "/artifacts/abc"), 422, "send the bytes of an artifact"),
        (Request("GET", "/artifacts/..%2F..%2Fetc%2Fpasswd/content"), 404, "is not the SHA-256"),
    ],
)
def test_a_request_that_makes_no_sense_is_told_why(
    plane: ControlPlane, request_: Request, status: int, message: str
) -> None:
    response = answer(plane, request_)
    assert response.status == status
    assert message in told(response)["message"]


def test_a_key_does_no_more_than_it_allows(plane: ControlPlane) -> None:
    assert answer(plane, FLOWS.request(), scopes=["flows.read"]).status == 200
    assert answer(plane, HEALTH.request(), scopes=[]).status == 200
    response = answer(plane, CREATE_RUN.request(reference="etl"), scopes=["flows.read", "runs.read"])
    assert response.status == 403
    assert told(response)["message"] == "this key does not allow 'runs.trigger'; it allows flows.read, runs.read"


def test_what_an_upload_says_that_it_is_must_be_so(plane: ControlPlane, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip")
    response = answer(plane, Request("PUT", f"/artifacts/{'0' * 64}", file=tmp_path / "x.zip"))
    assert (response.status, told(response)["type"]) == (422, "ArtifactError")


def test_a_query_holds_what_was_meant() -> None:
    request = DEPLOYMENTS.request(namespace="", tags={"a": "b&c"}, limit=5, flow=None)
    assert request.query == {"namespace": "", "tags": '{"a": "b&c"}', "limit": "5"}
    assert DEPLOYMENTS.arguments(request) == {"namespace": "", "tags": {"a": "b&c"}, "limit": 5}


def test_a_name_that_is_empty_names_nothing() -> None:
    with pytest.raises(ParameterError, match="is empty"):
        RUN.request(run_id="")


# ---- errors


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnknownFlowError("elt", ["etl", "eto"]), 404),
        (UnknownRunError("x", ["y"]), 404),
        (UnknownDeploymentError("x", ["y"], remedy="deploy it"), 404),
        (UnknownScheduleError("x"), 404),
        (ConflictError("two at once"), 409),
        (AuthError("no"), 403),
        (ParameterError("'x' is \ud800"), 422),
        (SettingsError("é"), 422),
        (ArtifactError("broken"), 422),
        (StoreError("disk full"), 503),
        (NetworkError("gone"), 502),
        (DagyError("something"), 500),
    ],
)
def test_an_error_is_the_same_on_the_other_side(error: DagyError, status: int) -> None:
    response = error_response(error)
    assert response.status == status
    again = error_of(response)
    assert type(again) is type(error)
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


def test_an_error_that_does_not_cross_goes_as_the_nearest_that_does() -> None:
    response = error_response(MissingArtifactError("there is no file"))
    assert response.status == 404
    again = error_of(response)
    assert type(again) is ArtifactError
    assert str(again) == "there is no file"
