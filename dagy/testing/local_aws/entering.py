"""The door: `with local_aws() as aws:` starts the stand-in, points this process at it, and takes all of it back."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.request import ProxyHandler, Request, build_opener

from dagy.aws import Aws
from dagy.deploy import infrastructure
from dagy.errors import ConflictError, DagyError, DefinitionError, MissingExtraError, shown
from dagy.testing.local_aws.bridge.patching import MOTO
from dagy.testing.local_aws.clients import ACCESS_KEY, CONTROL, client
from dagy.testing.local_aws.faults import KINDS
from dagy.testing.local_aws.sandbox import dagy_home

_NEEDED = ("awslambdaric", "boto3", "jsonata-python", "moto")
_START_SECONDS = 60.0
_END_SECONDS = 15.0
_NOTED_BYTES = 4096

_CHILD = "import sys; sys.path.append(sys.argv.pop()); from dagy.testing.local_aws.server import main; main()"

# Every variable that could lead to the real AWS, or to another control plane, is taken away: what is not set here.
_LEADS_ELSEWHERE = ("AWS_", "DAGY_API_URL", "DAGY_PROFILE", "DAGY_ARTIFACT_BUCKET", "DAGY_DATABASE_URL", "DAGY_BUCKET_")

_only_one = threading.Lock()


@dataclass(frozen=True, slots=True)
class FunctionStats:
    """What the functions did so far: environments started, invocations that found a warm one, processes now."""

    cold: int
    warm: int
    processes: int


@dataclass(frozen=True, slots=True)
class LocalAws:
    """A stand-in that runs: where it answers, and what a test may do to it."""

    endpoint_url: str
    region: str
    stack: str

    def client(self, service: str) -> Any:
        """A boto3 client of `service` ("s3", "lambda", ...) at this stand-in."""
        return client(service, self.region, self.endpoint_url)

    def calls(self) -> Mapping[str, int]:
        """How often each operation was asked for since the start, {"s3.PutObject": 3, ...}; also by what runs here."""
        return {str(name): int(count) for name, count in self._ask("calls").items()}

    def fail(self, operation: str, how: str = "broken", *, times: int = 1) -> None:
        """Let the next `times` calls of `operation` ("s3.PutObject", "lambda.*", "*") fail.

        `how` is "throttled", "denied", "broken" (HTTP 500), "dropped" (the connection ends, nothing was done), "lost"
        (done, but the connection ends before the answer), "slow" (answered a second late), or an error's code such as
        "ConditionalRequestConflict". boto3 tries all but "denied" and most codes again by itself. With `times` 0
        no call of `operation` fails any more.
        """
        if "." not in operation and operation != "*":
            raise DefinitionError(
                f"an operation is a service and a name, such as 's3.PutObject', not {shown(operation)}"
            )
        if how not in KINDS and not how[:1].isupper():
            raise DefinitionError(
                f"a call can't fail by {shown(how)}; it may by {', '.join(KINDS)}, or an error's code"
            )
        if type(times) is not int or times < 0:
            raise DefinitionError(f"times is how many calls are to fail, 0 or more, not {shown(times)}")
        self._ask("fail", operation=operation, how=how, times=times)

    def kill_function(self) -> int:
        """Kill, as by lack of memory, the processes of the functions that run an invocation now; how many."""
        return int(self._ask("kill"))

    def fire_schedule(self, name: str, *, group: str | None = None) -> str:
        """Do now what the schedule does when its time comes; the execution's id, as `<aws.scheduler.execution-id>`.

        The schedule of the deployment `etl` is called `dagy-etl` in the stack `dagy`; a deployment's resources say it:
        `client.deployment("etl").resources["schedule"]["name"]`. `group` is the only group that has a schedule of that
        name when it is not given. Raises `DagyError` when there is no such schedule, or when its target refuses.
        """
        return str(self._ask("fire", name=name, group=group))

    def functions(self) -> FunctionStats:
        """What the functions' environments did so far."""
        return FunctionStats(**self._ask("functions"))

    def _ask(self, what: str, **given: object) -> Any:
        request = Request(self.endpoint_url + CONTROL + what, data=json.dumps(given).encode(), method="POST")
        with build_opener(ProxyHandler({})).open(request, timeout=60) as response:
            answer = json.loads(response.read())
        if isinstance(answer, dict) and "error" in answer:
            raise DagyError(f"local_aws: {answer['error']}")
        return answer


@contextmanager
def local_aws(
    *, region: str = "us-east-1", stack: str = "dagy", target: str = "local", set_up: bool = True
) -> Iterator[LocalAws]:
    """Let everything in this `with` block, and the programs it starts, use an AWS that is only on this computer.

    Functions run under the official runtime client, state machines are interpreted, tasks of ECS are processes, in
    this very Python environment when `target` (of what is built meanwhile) is "local". With `set_up` the stack that
    deploys need is there already. Dagy's own folder (`DAGY_LOCAL_DIR`) is a fresh one, so that no deployment and no
    run of the block stays. At the end all variables are put back, all programs that were started with them are ended,
    and all folders removed; this happens too when this process is killed.

    The variables are those of the whole process: other threads of it use the stand-in too.

    Raises `MissingExtraError` without `dagy[local-aws]`, and `ConflictError` inside another `local_aws()`.
    """
    _check_installed()
    if not _only_one.acquire(blocking=False):
        raise ConflictError("local_aws() is entered already in this process; use that one, or leave it first")
    with ExitStack() as leaving:
        leaving.callback(_only_one.release)
        variables = {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        endpoint_url, home = leaving.enter_context(_program(variables))
        leaving.enter_context(
            _environment(
                {
                    **variables,
                    "AWS_ENDPOINT_URL": endpoint_url,
                    "AWS_CONFIG_FILE": os.devnull,
                    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                    "DAGY_AWS_STACK": stack,
                    "DAGY_AWS_TARGET": target,
                    "DAGY_LOCAL_DIR": str(home / "dagy"),
                    "NO_PROXY": "127.0.0.1",
                    "no_proxy": "127.0.0.1",
                }
            )
        )
        if set_up:
            infrastructure.set_up(Aws(region=region, endpoint_url=endpoint_url), stack)
        yield LocalAws(endpoint_url, region, stack)


def _check_installed() -> None:
    for package in _NEEDED:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            raise MissingExtraError(package, "local-aws", "AWS on this computer") from None
        if package == "moto" and version != MOTO:
            raise MissingExtraError(f"moto=={MOTO}", "local-aws", f"AWS on this computer (not with moto {version})")


@contextmanager
def _program(variables: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """The stand-in's own program, while it runs: where it answers, and its folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_LEADS_ELSEWHERE)}
    nothing = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [sys.executable, "-P", "-c", _CHILD, str(dagy_home())],
            env={**clean, **variables, **nothing},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # a Ctrl-C is for the test; the program ends with it
        ) as process,
    ):
        try:
            told = json.loads(_first_answer(process, {"variables": dict(variables)}))
            yield told["endpoint_url"], Path(told["home"])
        except BaseException as error:
            _end(process)  # so that it has said all
            if said := _end_of(errors):
                error.add_note(f"The AWS on this computer said last:\n{said}")
            raise
        finally:
            _end(process)


def _end_of(errors: IO[bytes]) -> str:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - _NOTED_BYTES))
    return errors.read().decode(errors="replace").strip()


def _first_answer(process: subprocess.Popen[bytes], asked: Mapping[str, object]) -> bytes:
    """The line that the program answers with. Raises `DagyError` when it ends, or takes too long, without one."""
    assert process.stdin is not None
    assert process.stdout is not None
    patience = threading.Timer(_START_SECONDS, process.kill)
    patience.daemon = True
    patience.start()
    try:
        with suppress(BrokenPipeError):  # then there is no line either
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.flush()
        if answer := process.stdout.readline():
            return answer
    finally:
        patience.cancel()
    raise DagyError("the AWS on this computer did not start")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let the program clean up and end."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """These variables, and none that leads elsewhere; put back at the end."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(_LEADS_ELSEWHERE):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in {*variables, *(name for name in before if name.startswith(_LEADS_ELSEWHERE))}:
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)
