"""Lambda: an invocation really runs the version that is asked for, and fails as Lambda's do."""

from __future__ import annotations

import base64
import json
import threading
import time
from typing import Any
from urllib.parse import unquote

from dagy.testing.local_aws.bridge.patching import replace
from dagy.testing.local_aws.environments import Answer, Function, RuntimeNotHereError
from dagy.testing.local_aws.functions import Archive, ThrottledError
from dagy.testing.local_aws.runtime_api import SYNC_BYTES
from dagy.testing.local_aws.world import World

ASYNC_BYTES = 1024 * 1024

_AGAIN_SECONDS = (0.1, 0.2)  # before an asynchronous invocation that failed is tried again; AWS waits minutes


def install(world: World) -> None:
    """Put it in place."""
    from moto.awslambda.models import LambdaBackend, LambdaFunction
    from moto.awslambda.responses import LambdaResponse

    replace(LambdaResponse, "invoke", lambda _original: lambda response: _invoke(world, response))
    replace(LambdaFunction, "__init__", _with_logging)
    replace(LambdaFunction, "update_configuration", _with_logging_updated)
    replace(LambdaFunction, "get_configuration", _with_logging_told)
    replace(LambdaFunction, "update_function_code", _with_architecture)
    replace(LambdaBackend, "put_function_event_invoke_config", _with_one_config)


def _invoke(world: World, response: Any) -> tuple[int, dict[str, str], bytes]:
    name = unquote(response.path.rsplit("/", 2)[-2])
    version = response.backend.get_function(name, response._get_param("Qualifier"))
    body = response.body
    payload = (body.encode() if isinstance(body, str) else body) or b"{}"
    headers = {"content-type": "application/json", "x-amz-executed-version": str(version.version)}
    context = response.headers.get("X-Amz-Client-Context")
    match response.headers.get("X-Amz-Invocation-Type", "RequestResponse"):
        case "DryRun":
            return 204, headers, b""
        case "Event":
            _check_size(payload, ASYNC_BYTES, "InvokeAsync")
            function = _function(world, version)
            threading.Thread(target=_until_done, args=(world, version, function, payload), daemon=True).start()
            return 202, headers, b""
    _check_size(payload, SYNC_BYTES, "InvokeFunction")
    answer = _answer(world, _function(world, version), payload, context)
    if answer.failed:
        headers["x-amz-function-error"] = "Unhandled"
    if response.headers.get("X-Amz-Log-Type") == "Tail":
        headers["x-amz-log-result"] = base64.b64encode(answer.log_tail).decode()
    return 200, headers, answer.payload


def _answer(world: World, function: Function, payload: bytes, context: str | None = None) -> Answer:
    try:
        json.loads(payload)
    except ValueError as error:
        raise _refusal(
            400, "InvalidRequestContentException", f"Could not parse request body into json: {error}"
        ) from None
    try:
        return world.functions.invoke(function, payload, context)
    except ThrottledError as error:
        raise _refusal(429, "TooManyRequestsException", str(error)) from error
    except RuntimeNotHereError as error:
        raise _refusal(502, "InvalidRuntimeException", str(error)) from error


def _until_done(world: World, version: Any, function: Function, payload: bytes) -> None:
    """Invoke it as often as an asynchronous invocation is tried."""
    config = version.event_invoke_config[-1].config if version.event_invoke_config else {}
    for again in range(config.get("MaximumRetryAttempts", len(_AGAIN_SECONDS)) + 1):
        if again:
            time.sleep(_AGAIN_SECONDS[again - 1])
        if not _answer(world, function, payload).failed:
            return


def _function(world: World, version: Any) -> Function:
    from moto.awslambda.models import lambda_backends

    layers = lambda_backends[version.account_id][version.region]
    used = [layers.layers_versions_by_arn(each["Arn"]) for each in version.layers]
    unpacked = world.functions.unpacked
    return Function(
        name=version.function_name,
        version=str(version.version),
        arn=version.function_arn,
        handler=version.handler,
        runtime=version.run_time,
        timeout_seconds=int(version.timeout),
        memory_mb=int(version.memory_size),
        tmp_mb=int(version.ephemeral_storage),
        account=version.account_id,
        region=version.region,
        variables=tuple(sorted(version.environment_vars.items())),
        log_group=version.logging_config["LogGroup"],
        code=unpacked([Archive(version.code_bytes, version.code_sha_256)]),
        layers=unpacked([Archive(each.code_bytes, each.code_sha_256) for each in used]) if used else None,
    )


def _check_size(payload: bytes, most: int, operation: str) -> None:
    if len(payload) > most:
        message = f"Request must be smaller than {most} bytes for the {operation} operation"
        raise _refusal(413, "RequestTooLargeException", message)


def _refusal(status: int, code: str, message: str) -> Exception:
    from moto.core.exceptions import JsonRESTError

    refused: Any = JsonRESTError(code, message)
    refused.code = status
    error: Exception = refused
    return error


def _with_logging(original: Any) -> Any:
    """moto forgets where a function is to log to."""

    def init(self: Any, account_id: str, spec: dict[str, Any], *arguments: Any, **options: Any) -> None:
        group = f"/aws/lambda/{spec['FunctionName']}"
        self.logging_config = {"LogFormat": "Text", "LogGroup": group, **spec.get("LoggingConfig", {})}
        original(self, account_id, spec, *arguments, **options)

    return init


def _with_logging_updated(original: Any) -> Any:
    def update_configuration(self: Any, updates: dict[str, Any]) -> Any:
        self.logging_config = {**self.logging_config, **updates.get("LoggingConfig", {})}
        return original(self, updates)

    return update_configuration


def _with_logging_told(original: Any) -> Any:
    def get_configuration(self: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        return {**original(self, *arguments, **options), "LoggingConfig": self.logging_config}

    return get_configuration


def _with_architecture(original: Any) -> Any:
    """moto leaves the architecture as it is, whatever the new code is for."""

    def update_function_code(self: Any, updates: dict[str, Any]) -> Any:
        self.architectures = updates.get("Architectures") or self.architectures
        return original(self, updates)

    return update_function_code


def _with_one_config(original: Any) -> Any:
    """moto keeps the first configuration of asynchronous invocations, whatever comes after it."""

    def put(self: Any, function_name: str, config: dict[str, Any]) -> Any:
        self.get_function(function_name).event_invoke_config.clear()
        return original(self, function_name, config)

    return put
