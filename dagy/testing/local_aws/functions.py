"""All functions: their code unpacked once, and their environments, kept warm and used again."""

from __future__ import annotations

import hashlib
import io
import shutil
import threading
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dagy.testing.local_aws.environments import Answer, Environment, Function

UNZIPPED_BYTES = 250 * 1024 * 1024  # code and layers together

_PATIENCE_SECONDS = 60.0  # so long an invocation waits for its turn before it is throttled


@dataclass(frozen=True, slots=True)
class Archive:
    """A ZIP, and what identifies it."""

    content: bytes
    digest: str


class ThrottledError(Exception):
    """More invocations at once than there may be."""


class UnpackedTooLargeError(Exception):
    """The code and its layers are larger than a function may be."""

    def __init__(self, size: int) -> None:
        super().__init__(f"Unzipped size must be smaller than {UNZIPPED_BYTES} bytes, it is {size} bytes")


class Functions:
    """Runs functions, at most `at_once` invocations at a time; `basis` are the variables that all of them have."""

    def __init__(self, folder: Path, basis: Mapping[str, str], *, at_once: int) -> None:
        self.cold = self.warm = 0
        self._folder = folder
        self._basis = basis
        self._at_once = at_once
        self._turns = threading.BoundedSemaphore(at_once)
        self._lock = threading.Lock()
        self._idle: list[Environment] = []  # the longest unused first
        self._busy: set[Environment] = set()
        self._closed = False

    @property
    def processes(self) -> int:
        """How many environments there are."""
        return len(self._idle) + len(self._busy)

    def unpacked(self, archives: Sequence[Archive]) -> Path:
        """A folder with what the archives hold, the later over the earlier. Raises `UnpackedTooLargeError`."""
        digest = hashlib.sha256("\n".join(each.digest for each in archives).encode()).hexdigest()[:32]
        folder = self._folder / digest
        with self._lock:
            if not folder.exists():
                half_made = self._folder / f"{digest}.new"
                shutil.rmtree(half_made, ignore_errors=True)
                half_made.mkdir(parents=True)
                for archive in archives:
                    _unpack(archive.content, half_made)
                half_made.rename(folder)
        return folder

    def invoke(self, function: Function, payload: bytes, client_context: str | None) -> Answer:
        """Call a function, in an environment that waits for one or in a new one. Raises `ThrottledError`."""
        if not self._turns.acquire(timeout=_PATIENCE_SECONDS):
            raise ThrottledError("Rate Exceeded.")
        try:
            environment = self._warm_one(function) or self._cold_one(function)
            try:
                return environment.invoke(payload, client_context)
            finally:
                self._back(environment)
        finally:
            self._turns.release()

    def kill_busy(self) -> int:
        """Kill every environment that runs an invocation; how many."""
        with self._lock:
            busy = list(self._busy)
        for environment in busy:
            environment.kill()
        return len(busy)

    def close(self) -> None:
        """End all environments."""
        with self._lock:
            self._closed = True
            idle, busy = self._idle, list(self._busy)
            self._idle = []
        for environment in busy:
            environment.kill()  # who waits for its answer closes it
        for environment in idle:
            environment.close()

    def _warm_one(self, function: Function) -> Environment | None:
        with self._lock:
            for environment in reversed(self._idle):
                if environment.function == function and environment.is_alive:
                    self._idle.remove(environment)
                    self._busy.add(environment)
                    self.warm += 1
                    return environment
        return None

    def _cold_one(self, function: Function) -> Environment:
        self._make_room()
        if self._closed:
            raise ThrottledError("Rate Exceeded.")
        environment = Environment(function, self._basis)
        with self._lock:
            self._busy.add(environment)
            self.cold += 1
            is_late = self._closed  # who closes has not seen it
        if is_late:
            environment.kill()
        return environment

    def _make_room(self) -> None:
        """End who has not been used for the longest time, when there are twice as many as can work at once."""
        with self._lock:
            spare = max(0, self.processes - 2 * self._at_once + 1)
            ended, self._idle = self._idle[:spare], self._idle[spare:]
        for environment in ended:
            environment.close()

    def _back(self, environment: Environment) -> None:
        with self._lock:
            self._busy.discard(environment)
            if kept := environment.is_alive and not environment.is_spent and not self._closed:
                self._idle.append(environment)
        if not kept:
            environment.close()


def _unpack(content: bytes, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
        for member in archive.infolist():  # `extractall` drops the modes; Lambda keeps them
            if mode := member.external_attr >> 16 & 0o777:
                (folder / member.filename).chmod(mode)
