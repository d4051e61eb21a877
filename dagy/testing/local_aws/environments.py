"""One execution environment of a function: a process under the official runtime client, one invocation at a time."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dagy.testing.local_aws.logs import Listener, LogStream
from dagy.testing.local_aws.memory import MemoryWatch
from dagy.testing.local_aws.runtime_api import Invocation, RuntimeApi, error_payload
from dagy.testing.local_aws.sandbox import dagy_home, start

TIMED_OUT = "Sandbox.Timedout"  # what Lambda calls an invocation that took longer than the function may
EXITED = "Runtime.ExitError"  # and one whose process ended, or was killed for want of memory

_LOOK_SECONDS = 0.05  # so often a function is looked at: does it live, is it late, has it too much memory
_INIT_SECONDS = 10.0


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
    account: str
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
    log_tail: bytes = b""


class Environment:
    """A process of a function, from its start to its end."""

    def __init__(self, function: Function, basis: Mapping[str, str]) -> None:
        """`basis` are the variables that every function has here."""
        self.function = function
        day = time.strftime("%Y/%m/%d", time.gmtime())
        self._stream_name = f"{day}/[{function.version}]{uuid.uuid4().hex}"
        self._log = LogStream(function.account, function.region, function.log_group, self._stream_name)
        self._api = RuntimeApi(function.arn)
        self._scratch = Path(tempfile.mkdtemp(prefix="environment-", dir=function.code.parent))
        self._since = time.monotonic()
        self._is_new = True
        self.is_spent = False  # whether it must not be used again
        started = start(
            [_interpreter(function.runtime), "-m", "awslambdaric", function.handler],
            self._variables(basis),
            self._scratch,
            folder=function.code,
            read_only=[function.code, *([function.layers] if function.layers else [])],
            tmp_mb=function.tmp_mb,
        )
        self._process = started.process
        self._listener = Listener(started.said, self._log)
        self._memory = MemoryWatch(self._process.pid, function.memory_mb)

    @property
    def is_alive(self) -> bool:
        """Whether it can take another invocation."""
        return self._process.poll() is None

    def invoke(self, payload: bytes, client_context: str | None) -> Answer:
        """Call the function. What it says is in its log stream."""
        seconds = self.function.timeout_seconds
        self._log.tail = b""
        init_seconds = None
        if self._is_new:
            error = self._init_error()
            init_seconds = time.monotonic() - self._since
            self._is_new = False
            if error is not None:
                self.is_spent = True
                self._listener.listen()
                self._log.end()
                return Answer(error, failed=True, log_tail=self._log.tail)
        begun = time.monotonic()
        invocation = Invocation(payload, int((time.time() + seconds) * 1000), client_context)
        self._log.write(f"START RequestId: {invocation.id} Version: {self.function.version}\n".encode())
        self._api.hand_over(invocation)
        while not invocation.done.wait(_LOOK_SECONDS):
            self._listener.listen()
            if not self.is_alive:
                if not invocation.done.is_set():
                    self._end(invocation, EXITED, f"Runtime exited with error: {self._exit()}")
            elif self._memory.is_over():
                self.kill()
                self._end(invocation, EXITED, "Runtime exited with error: signal: killed")
            elif time.monotonic() - begun > seconds:
                self.kill()
                self._end(invocation, TIMED_OUT, f"Task timed out after {seconds:.2f} seconds")
        self.is_spent = invocation.is_too_large  # then the runtime client ends
        self._listener.listen()
        self._log.end()
        self._memory.glance()
        self._log.write(self._report(invocation.id, time.monotonic() - begun, init_seconds))
        return Answer(invocation.answer, invocation.failed, self._log.tail)

    def kill(self) -> None:
        """End the process at once, and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End it, and leave nothing behind."""
        self.kill()
        self._api.close()
        self._listener.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _init_error(self) -> bytes | None:
        """Wait until the function can be called; None, or the error that it ended its start with."""
        limit = max(_INIT_SECONDS, self.function.timeout_seconds)
        while not self._api.began.wait(0.005):
            if not self.is_alive:
                return error_payload(EXITED, f"Runtime exited with error: {self._exit()}")
            if time.monotonic() - self._since > limit:
                return error_payload(TIMED_OUT, f"Init phase took longer than {limit:.2f} seconds")
        return self._api.init_error

    def _report(self, request_id: str, seconds: float, init_seconds: float | None) -> bytes:
        init = "" if init_seconds is None else f"\tInit Duration: {init_seconds * 1000:.2f} ms"
        return (
            f"END RequestId: {request_id}\n"
            f"REPORT RequestId: {request_id}\tDuration: {seconds * 1000:.2f} ms\tMemory Size: "
            f"{self.function.memory_mb} MB\tMax Memory Used: {self._memory.peak_mb:.0f} MB{init}\n"
        ).encode()

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
            "AWS_LAMBDA_LOG_STREAM_NAME": self._stream_name,
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
