"""What the tests of commands share: a folder with flows in it, and ways to call the program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dagy.cli import app
from dagy.cli.app import ExitCode

ROOT = Path(__file__).resolve().parents[2]

FLOWS = """
from dagy import flow, task


@task
def fetch(url: str) -> str:
    print("fetching " + url)
    return "<p>" + url


@task(cache=True)
def load(html: str) -> str:
    return html


@task
def parse(html: str, limit: int = 3) -> dict:
    if "bad" in html:
        raise ValueError("no title in " + html)
    return {"title": html[:limit]}


@flow(name="web_scraper", version="1.0.0")
def web_scraper(url: str, limit: int = 3):
    return parse(load(fetch(url)), limit)
"""

Dagy = Callable[..., tuple[ExitCode, str, str]]


def python_m_dagy(*args: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "dagy", *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
        timeout=60,
    )


@pytest.fixture
def local_dir() -> Path:
    """Where the test's own local state is."""
    return Path(os.environ["DAGY_LOCAL_DIR"])


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with `my_flows.py` in it."""
    (tmp_path / "my_flows.py").write_text(FLOWS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)
    yield tmp_path
    for name in sys.modules.keys() - modules:
        if name in {"my_flows", "waiting"}:
            del sys.modules[name]


@pytest.fixture
def dagy(capsys: pytest.CaptureFixture[str]) -> Dagy:
    """Runs a command; its exit code, stdout and stderr."""

    def called(*args: str) -> tuple[ExitCode, str, str]:
        capsys.readouterr()
        try:
            code = app.run(args)
        except SystemExit as error:
            code = ExitCode(int(str(error.code)))
        return (code, *capsys.readouterr())

    return called


@pytest.fixture
def deployed(workplace: Path, dagy: Dagy) -> str:
    """The name of a deployment of `web_scraper`."""
    code, _, err = dagy("deploy", "my_flows.py", "--deployment", "web-scraper", "--param", "url=x")
    assert code is ExitCode.SUCCESS, err
    return "web-scraper"


def as_json(text: str) -> Any:
    """`text` as JSON, as strict readers read it."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)
