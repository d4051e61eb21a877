"""Every block of the README does what the README says it does."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from dagy.testing import LocalAws

pytestmark = pytest.mark.program

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
ON_AWS = "\n## On AWS\n"  # where commands begin that need an account, or what stands in for one
PAGE = "<html>a page of our own</html>"


def blocks(language: str, text: str = README) -> list[str]:
    """The README's blocks of that language, top to bottom."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for named, block in found if named == language]


def command_lines(text: str) -> list[str]:
    """What is typed in the blocks of that text, as far as it is Dagy's."""
    return [line for block in blocks("sh", text) for line in block.splitlines() if line.startswith("dagy ")]


@pytest.fixture
def site() -> Iterator[str]:
    """The address of a web server that serves one page."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """A fresh IPython, whose working folder is empty."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


@pytest.fixture
def flows_file(tmp_path: Path) -> Path:
    """The README's first flow as the file that its other blocks speak of."""
    path = tmp_path / "my_flows.py"
    path.write_text(next(each for each in blocks("python") if "def web_scraper" in each), "utf-8")
    return path


def test_the_python_blocks_run(site: str, tmp_path: Path, flows_file: Path, waking: Path) -> None:
    rest = [each for each in blocks("python") if "def web_scraper" not in each]
    script = tmp_path / "readme.py"
    text = "\n\n".join([f"from {flows_file.stem} import *", *rest]).replace("https://example.com", site)
    script.write_text(text, "utf-8")
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "web_scraper: COMPLETED" in done.stdout
    assert "scraper: web_scraper 1.0.0 is deployed" in done.stdout
    assert f"COMPLETED {{'title': {PAGE!r}, 'length': {len(PAGE)}}}" in done.stdout


def test_the_notebook_blocks_run(tmp_path: Path, shell: InteractiveShell) -> None:
    (tmp_path / "prices.csv").write_text("price,count\n2,3\n,4\n5,6\n", "utf-8")
    cells = [each for each in blocks("") if each.startswith(("%", "#|", "run = "))]
    assert len(cells) == 4
    for cell in ["import pandas as pd", *cells]:
        assert shell.run_cell(cell, store_history=True).success
    result = shell.user_ns["run"].wait()
    assert list(result["clean"]["total"]) == [6.0, 30.0]


def test_the_command_lines_run(site: str, tmp_path: Path, flows_file: Path, waking: Path) -> None:
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    script = "\n\n".join(each for each in blocks("python") if "long_trips" in each)
    subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True
    )
    lines = command_lines(README.partition(ON_AWS)[0])
    assert len(lines) == 23
    for line in lines:
        if "<build_id>" in line:
            (artifact,) = (tmp_path / "dist").glob("web_scraper/*/artifact.zip")
            line = line.replace("<build_id>", artifact.parent.name)
        words = shlex.split(line.replace("https://example.com", site))
        command = [sys.executable, "-m", "dagy", *words[1:]]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        if "--resume" in line:
            assert "has completed; there is nothing left to do" in done.stderr
        else:
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert "def standardised(" in (tmp_path / "quickstart.py").read_text("utf-8")


def test_the_command_lines_for_aws_run(
    site: str, tmp_path: Path, flows_file: Path, shared_aws: LocalAws, waking: Path
) -> None:
    lines = command_lines(README.partition(ON_AWS)[2])
    assert [line.split()[1] for line in lines] == ["aws", "deploy", "deploy", "run"]
    before = shared_aws.calls().get("lambda.Invoke", 0)
    for line in lines:
        words = shlex.split(line.replace("https://example.com", site))
        command = [sys.executable, "-m", "dagy", *words[1:]]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert shared_aws.calls()["lambda.Invoke"] == before + 1


def test_the_files_that_it_names_are_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [each for each in links if "://" not in each and not (ROOT / each).exists()] == []
