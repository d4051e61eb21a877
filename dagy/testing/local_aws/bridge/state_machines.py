"""Step Functions: the interpreter that moto has is switched on, and what it gets wrong is put right."""

from __future__ import annotations

import functools
import json
import re
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from dagy.testing.local_aws.bridge import jsonata
from dagy.testing.local_aws.bridge.patching import replace, replace_everywhere
from dagy.testing.local_aws.clients import client
from dagy.testing.local_aws.environments import EXITED, TIMED_OUT
from dagy.testing.local_aws.world import World

_PARSER = "moto.stepfunctions.parser"
_LOOK_SECONDS = 0.05  # so often it is looked whether a task of ECS has ended
_NOT_ONE_VALUE = re.compile(r"\[\s*(\*|\?|-?\d*\s*:|\d+\s*,)|\.\.|\.\*")  # of a JSONPath: it gives a list


def install(world: World) -> None:
    """Put it in place."""
    from moto.core.config import default_user_config

    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    jsonata.install(world)
    list_versions()
    _install_executions()
    _install_history(world.most_events)
    _install_clients(world)
    _install_tasks()
    _install_paths()


def list_versions() -> None:
    """Versions are listed, the newest first, and deleted: moto can only make them."""
    from moto.core.responses import ActionResult
    from moto.stepfunctions.responses import StepFunctionResponse

    def list_state_machine_versions(self: Any) -> Any:
        machine = self.stepfunction_backend.describe_state_machine(self._get_param("stateMachineArn"))
        told = [
            {"stateMachineVersionArn": each.arn, "creationDate": each.creation_date}
            for _, each in sorted(machine.versions.items(), reverse=True)
        ]
        return ActionResult({"stateMachineVersions": told})

    def delete_state_machine_version(self: Any) -> Any:
        arn, _, number = self._get_param("stateMachineVersionArn").rpartition(":")
        self.stepfunction_backend.describe_state_machine(arn).versions.pop(int(number), None)
        return ActionResult({})

    StepFunctionResponse.list_state_machine_versions = list_state_machine_versions
    StepFunctionResponse.delete_state_machine_version = delete_state_machine_version


def _install_executions() -> None:
    """Versions share the names of their machine; a start needs no name; a stop is told at once, with its reason."""
    from moto.stepfunctions.models import StateMachine, StateMachineVersion
    from moto.stepfunctions.parser.api import ExecutionStatus
    from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution
    from moto.stepfunctions.parser.models import StepFunctionsParserBackend
    from moto.stepfunctions.responses import StepFunctionResponse

    def one_list(original: Any) -> Any:
        def init(self: Any, source: Any, *arguments: Any, **options: Any) -> None:
            original(self, source, *arguments, **options)
            self.executions, self.backend = source.executions, source.backend

        return init

    def named(original: Any) -> Any:
        def start_execution(self: Any, arn: str, name: str | None = None, *arguments: Any, **options: Any) -> Any:
            return original(self, arn, name or str(uuid.uuid4()), *arguments, **options)

        return start_execution

    def stop_execution(self: Any) -> Any:
        from moto.core.responses import ActionResult

        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        _stop(execution, self._get_param("error"), self._get_param("cause"))
        return ActionResult({"stopDate": execution.stop_date})

    def unless_stopped(original: Any) -> Any:
        def reflect(self: Any) -> None:
            if self.execution.exec_status == ExecutionStatus.ABORTED:
                return
            original(self)
            manager = self.execution.exec_worker.env.event_manager
            if _has_too_many_events(manager):
                self.execution.error, self.execution.cause = "States.Runtime", _too_many(manager)

        return reflect

    def with_text_time(original: Any) -> Any:
        def details(self: Any) -> Any:
            made = original(self)
            if isinstance(made.start_time, datetime):  # which no expression can use
                made.start_time = made.start_time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            return made

        return details

    replace(StateMachineVersion, "__init__", one_list)
    named_before = "_handle_name_input_idempotency"
    setattr(StateMachineVersion, named_before, getattr(StateMachine, named_before))
    replace(StepFunctionsParserBackend, "start_execution", named)
    replace(StepFunctionResponse, "stop_execution", lambda _original: stop_execution)
    replace(BaseExecutionWorkerCommunication, "_reflect_execution_status", unless_stopped)
    replace(Execution, "get_start_execution_details", with_text_time)


def _stop(execution: Any, error: str | None, cause: str | None) -> None:
    """Stop it, once it has begun; nothing when it has ended."""
    from moto.stepfunctions.parser.api import ExecutionStatus

    began_by = time.monotonic() + 10.0
    while execution.exec_status == ExecutionStatus.RUNNING and time.monotonic() < began_by:
        environment = execution.exec_worker.env
        if environment is not None and environment.is_running():
            execution.exec_status = ExecutionStatus.ABORTED
            execution.stop_date = datetime.now(tz=UTC)
            execution.error, execution.cause = error, cause
            execution.stop(stop_date=execution.stop_date, error=error, cause=cause)
            return
        time.sleep(0.005)


def _install_history(most_events: int) -> None:
    """A history ends at its limit, and is told page by page, in either order."""
    from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager
    from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
    from moto.stepfunctions.responses import StepFunctionResponse

    def that_ends(original: Any) -> Any:
        def environment(self: Any) -> Any:
            made = original(self)
            made.event_manager.is_over = lambda: _is_over(made)
            return made

        return environment

    def counted(original: Any) -> Any:
        def add_event(self: Any, context: Any, event_type: Any, *arguments: Any, **options: Any) -> int:
            if _has_too_many_events(self):
                self.is_over()
                if event_type != "ExecutionFailed":
                    return most_events
            number: int = original(self, context, event_type, *arguments, **options)
            return number

        return add_event

    def get_execution_history(self: Any) -> Any:
        from moto.core.responses import ActionResult

        arn = self._get_param("executionArn")
        events = list(self.stepfunction_backend.get_execution_history(arn)["events"])
        if self._get_param("reverseOrder"):
            events.reverse()
        begin = int(self._get_param("nextToken") or 0)
        end = begin + int(self._get_param("maxResults") or 100)
        more = {"nextToken": str(end)} if end < len(events) else {}
        return ActionResult({"events": events[begin:end], **more})

    EventManager.most_events = most_events
    replace(ExecutionWorker, "_get_evaluation_environment", that_ends)
    replace(EventManager, "add_event", counted)
    replace(StepFunctionResponse, "get_execution_history", lambda _original: get_execution_history)


def _has_too_many_events(manager: Any) -> bool:
    most: int = manager.most_events
    return len(manager._history_event_list) >= most - 1  # the last one tells of the end


def _too_many(manager: Any) -> str:
    return f"The execution reached the maximum number of history events ({manager.most_events})."


def _is_over(environment: Any) -> None:
    from moto.stepfunctions.parser.api import ExecutionFailedEventDetails

    if environment.is_running():
        environment.set_error(
            ExecutionFailedEventDetails(error="States.Runtime", cause=_too_many(environment.event_manager))
        )


def _install_clients(world: World) -> None:
    """What a state asks of another service goes to this stand-in, by a client that is made once."""

    @functools.cache
    def made(region: str, service: str) -> Any:
        return client(
            service,
            region,
            world.endpoint_url,
            parameter_validation=False,
            retries={"total_max_attempts": 1},
            read_timeout=3600,
            max_pool_connections=64,
        )

    def boto_client_for(region: str, service: str, state_credentials: object = None) -> Any:
        return made(region, service)

    replace_everywhere(_PARSER, "boto_client_for", boto_client_for)


def _install_tasks() -> None:
    """Names of parameters for services that write them small, tokens, and the names of errors."""
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_callback
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import (
        StateTaskService,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_ecs import (
        StateTaskServiceEcs,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_lambda import (
        StateTaskServiceLambda,
    )

    callback = state_task_service_callback.StateTaskServiceCallback

    def request_names(
        self: Any, parameters: Any, boto_service_name: str | None = None, service_action_name: str | None = None
    ) -> None:
        service = self._get_boto_service_name(boto_service_name)
        shape = _operation(service, self._get_boto_service_action(service_action_name)).input_shape
        if shape is not None:
            self._to_boto_request(parameters, shape)

    def response_names(
        self: Any, response: Any, boto_service_name: str | None = None, service_action_name: str | None = None
    ) -> None:
        service = self._get_boto_service_name(boto_service_name)
        shape = _operation(service, self._get_boto_service_action(service_action_name)).output_shape
        if shape is not None:
            self._from_boto_response(response, shape)
            _tell_times_as_numbers(response)

    def without_token(original: Any) -> Any:
        """A job that is waited for has no token: moto waits for the first attempt's, and times out in all others."""

        def eval_sync(self: Any, env: Any, sync_resolver: Any, timeout_seconds: Any, **_endpoints: Any) -> Any:
            return original(self, env, sync_resolver, timeout_seconds, None, None)

        return eval_sync

    def with_new_token(original: Any) -> Any:
        def eval_execution(self: Any, env: Any) -> Any:
            if getattr(self.resource, "condition", None) == "waitForTaskToken":
                env.callback_pool_manager.add(env.states.context_object.update_task_token())
            return original(self, env)

        return eval_execution

    state_task_service_callback._DELAY_SECONDS_SYNC_CONDITION_CHECK = _LOOK_SECONDS
    replace(StateTaskService, "_normalise_parameters", lambda _original: request_names)
    replace(StateTaskService, "_normalise_response", lambda _original: response_names)
    replace(StateTaskService, "_eval_execution", with_new_token)
    replace(callback, "_eval_sync", without_token)
    replace(StateTaskServiceEcs, "_build_sync_resolver", _watched)
    replace(StateTaskServiceEcs, "_eval_sync", _stopped_with_its_state)
    replace(StateTaskServiceLambda, "_from_error", _named_as_by_lambda)


def _tell_times_as_numbers(value: Any) -> None:
    """Let each time in the value be the milliseconds since 1970, as a state's result has it."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(each, datetime):
            value[key] = int(each.timestamp() * 1000)
        elif isinstance(each, dict | list):
            _tell_times_as_numbers(each)


@functools.cache
def _operation(service: str, action: str) -> Any:
    import botocore.session
    from moto.stepfunctions.parser.utils import camel_to_snake_case

    model = botocore.session.get_session().get_service_model(service)
    named = {camel_to_snake_case(name).lstrip("_"): name for name in model.operation_names}
    return model.operation_model(named[action.lstrip("_")])


def _watched(original: Any) -> Any:
    """A task of ECS fails its state when a container ends with another exit code than 0, or never began."""

    def build(self: Any, env: Any, *arguments: Any, **options: Any) -> Any:
        submitted = env.stack[-1]["Tasks"][0]
        look = original(self, env, *arguments, **options)

        def resolve() -> Any:
            task = look()
            if task and any(each.get("ExitCode") != 0 for each in task.get("Containers", [])):
                raise _failure(self, env, "States.TaskFailed", json.dumps(task, default=str))
            return task

        vars(resolve)["submitted"] = submitted  # for who waits by it
        return resolve

    return build


def _stopped_with_its_state(original: Any) -> Any:
    """A task of ECS is stopped when its execution is, or when its state's time is over."""

    def eval_sync(self: Any, env: Any, sync_resolver: Any, *arguments: Any, **options: Any) -> Any:
        from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_ecs

        outcome = original(self, env, sync_resolver, *arguments, **options)
        if outcome is None:
            task = sync_resolver.submitted
            ecs = state_task_service_ecs.boto_client_for(task["TaskArn"].split(":")[3], "ecs")
            ecs.stop_task(cluster=task["ClusterArn"], task=task["TaskArn"], reason="Stopped by Step Functions")
        return outcome

    return eval_sync


def _named_as_by_lambda(original: Any) -> Any:
    """What Lambda itself ends is Lambda.Unknown to a state machine, and a lost connection its client's failure."""

    def from_error(self: Any, env: Any, ex: Exception) -> Any:
        from botocore.exceptions import BotoCoreError
        from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils

        if isinstance(ex, lambda_eval_utils.LambdaFunctionErrorException):
            told = json.loads(ex.payload)
            if isinstance(told, dict) and _is_unknown(told):
                cause = "The cause could not be determined because Lambda did not return an error type. "
                return _failure(self, env, "Lambda.Unknown", f"{cause}Returned payload: {ex.payload}").failure_event
        if isinstance(ex, BotoCoreError):
            return _failure(self, env, "Lambda.SdkClientException", str(ex)).failure_event
        return original(self, env, ex)

    return from_error


def _is_unknown(told: dict[str, Any]) -> bool:
    name, message = told.get("errorType"), str(told.get("errorMessage"))
    return name == TIMED_OUT or (name == EXITED and message.endswith("signal: killed"))


def _failure(task: Any, env: Any, name: str, cause: str) -> Any:
    """The exception with which a task's state fails."""
    from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
    from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
    from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
        FailureEvent,
        FailureEventException,
    )
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
    from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails

    task_failed = name == "States.TaskFailed"
    details = TaskFailedEventDetails(
        error=name, cause=cause, resource=task._get_sfn_resource(), resourceType=task._get_sfn_resource_type()
    )
    return FailureEventException(
        FailureEvent(
            env=env,
            error_name=StatesErrorName(StatesErrorNameType.StatesTaskFailed) if task_failed else CustomErrorName(name),
            event_type=HistoryEventType.TaskFailed,
            event_details=EventDetails(taskFailedEventDetails=details),
        )
    )


def _install_paths() -> None:
    """A JSONPath that can only mean one value gives that value, not a list of it."""
    from moto.stepfunctions.parser.asl.utils import json_path

    original = json_path.extract_json

    def extract_json(path: str, data: Any) -> Any:
        value = original(path, data)
        if isinstance(value, list) and not _NOT_ONE_VALUE.search(path):
            found = json_path.parse(path).find(data)
            if len(found) == 1:
                return found[0].value
        return value

    replace_everywhere(_PARSER, "extract_json", extract_json)
