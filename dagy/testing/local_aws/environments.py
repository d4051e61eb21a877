"""One execution environment of a function: a process under the official runtime client, one invocation at a time."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dagy.testing.local_aws.memory import MemoryWatch
from dagy.testing.local_aws.runtime_api import Invocation, RuntimeApi, error_payload
from dagy.testing.local_aws.sandbox import dagy_home, start

TIMED_OUT = "Sandbox.Timedout"  # what Lambda calls an invocation that took longer than the function may
EXITED = "Runtime.ExitError"  # and one whose process ended, or was killed for want of memory

_LOOK_SECONDS = 0.03  # so often a function is looked at: does it live, is it late, has it too much memory
_INIT_SECONDS = 10.0

Ship = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Function:
    """A version of a function, as far as running it is concerned. Equal ones share their environments."""

    name: str
    version: str
    arn: str
    handler: str
    runtime: str
    timeout_seconds: int
    memory_mb: int
    tmp_mb: int
    region: str
    variables: tuple[tuple[str, str], ...]
    log_group: str
    code: Path  # its unpacked folder
    layers: Path | None  # the folder of all its layers together


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an invocation."""

    payload: bytes
    failed: bool
    request_id: str
    log: bytes  # what it said
    seconds: float
    init_seconds: float | None  # None: the environment was warm
    peak_mb: float


class Environment:
    """A process of a function, from its start to its end."""

    def __init__(self, function: Function, basis: Mapping[str, str]) -> None:
        """`basis` are the variables that every function has here."""
        self.function = function
        day = time.strftime("%Y/%m/%d", time.gmtime())
        self.log_stream = f"{day}/[{function.version}]{uuid.uuid4().hex}"
        self._api = RuntimeApi(function.arn)
        self._scratch = Path(tempfile.mkdtemp(prefix="environment-", dir=function.code.parent))
        self._since = time.monotonic()
        self._init_seconds: float | None = None
        started = start(
            [_interpreter(function.runtime), "-m", "awslambdaric", function.handler],
            self._variables(basis),
            self._scratch,
            folder=function.code,
            read_only=[function.code, *([function.layers] if function.layers else [])],
            tmp_mb=function.tmp_mb,
        )
        self._process = started.process
        self._said = started.said.open("rb")
        self._memory = MemoryWatch(self._process.pid, function.memory_mb)

    @property
    def is_alive(self) -> bool:
        """Whether it can take another invocation."""
        return self._process.poll() is None

    def init_error(self) -> bytes | None:
        """Wait until the function can be called; None, or the error that it ended its start with."""
        limit = max(_INIT_SECONDS, self.function.timeout_seconds)
        while not self._api.began.wait(0.005):
            if not self.is_alive:
                return error_payload(EXITED, f"Runtime exited with error: {self._exit()}")
            if time.monotonic() - self._since > limit:
                return error_payload(TIMED_OUT, f"Init phase took longer than {limit:.2f} seconds")
        self._init_seconds = time.monotonic() - self._since
        return self._api.init_error

    def failed_start(self, error: bytes) -> Answer:
        """What is answered to the invocation that such an environment was started for."""
        seconds = time.monotonic() - self._since
        return Answer(error, True, str(uuid.uuid4()), self._said.read(), seconds, seconds, self._memory.peak_mb)

    def invoke(self, payload: bytes, client_context: str | None, ship: Ship) -> Answer:
        """Call the function; `ship` is given what it says, while it runs and at its end."""
        begun = time.monotonic()
        seconds = self.function.timeout_seconds
        invocation = Invocation(payload, int((time.time() + seconds) * 1000), client_context)
        log = bytearray()

        def listen() -> None:
            if said := self._said.read():
                log.extend(said)
                ship(said)

        self._api.hand_over(invocation)
        while not invocation.done.wait(_LOOK_SECONDS):
            listen()
            if not self.is_alive:
                if not invocation.done.is_set():
                    self._end(invocation, EXITED, f"Runtime exited with error: {self._exit()}")
            elif time.monotonic() - begun > seconds:
                self.kill()
                self._end(invocation, TIMED_OUT, f"Task timed out after {seconds:.2f} seconds")
            elif self._memory.is_over():
                self.kill()
                self._end(invocation, EXITED, "Runtime exited with error: signal: killed")
        listen()
        init_seconds, self._init_seconds = self._init_seconds, None
        took = time.monotonic() - begun
        self._memory.is_over()
        peak = self._memory.peak_mb
        return Answer(invocation.answer, invocation.failed, invocation.id, bytes(log), took, init_seconds, peak)

    def kill(self) -> None:
        """End the process at once, and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End it, and leave nothing behind."""
        self.kill()
        self._api.close()
        self._said.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _end(self, invocation: Invocation, name: str, message: str) -> None:
        invocation.end(error_payload(name, f"RequestId: {invocation.id} Error: {message}"), failed=True)

    def _exit(self) -> str:
        code = self._process.wait()
        return "signal: killed" if code == -signal.SIGKILL else f"exit status {code if code >= 0 else 128 - code}"

    def _variables(self, basis: Mapping[str, str]) -> dict[str, str]:
        function = self.function
        python = function.runtime
        layers = [f"{function.layers}/python/lib/{python}/site-packages", f"{function.layers}/python"]
        path = [str(function.code), *(layers if function.layers else []), str(dagy_home())]
        return {
            **basis,
            "HOME": "/dev/null",  # on Lambda it can't be written to either
            "LAMBDA_TASK_ROOT": str(function.code),
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "PYTHONPATH": ":".join(path),
            **dict(function.variables),
            "_HANDLER": function.handler,
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{python}",
            "AWS_REGION": function.region,
            "AWS_DEFAULT_REGION": function.region,
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": function.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self.log_stream,
        }


def _interpreter(runtime: str) -> str:
    """The Python for "python3.12": this one when it is of that version, else one that is found, with awslambdaric."""
    version = "python{}.{}".format(*sys.version_info[:2])
    found = sys.executable if runtime == version else shutil.which(runtime)
    if found is None:
        raise RuntimeNotHereError(runtime)
    return found


class RuntimeNotHereError(Exception):
    """No interpreter of a function's runtime is on this computer."""

    def __init__(self, runtime: str) -> None:
        super().__init__(f"the runtime {runtime} is not on this computer, where Python is {sys.version.split()[0]}")
