"""How the program ends, and what it prints where the surroundings are odd."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dagy.cli import app
from dagy.cli.app import ExitCode

from .conftest import ROOT, Dagy, python_m_dagy

LISTINGS = ["runs list", "deployments list"]


class Strange(BaseHTTPRequestHandler):
    """A server that lets nobody in, and at `/odd` one that is no control plane."""

    def do_GET(self) -> None:
        is_odd = self.path.startswith("/odd/")
        body = b"hello" if is_odd else b'{"error": {"type": "AuthError", "message": "who are you? \\u001b[2J"}}'
        self.send_response(200 if is_odd else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def strange_server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Strange) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_who_is_not_let_in_ends_with_three(dagy: Dagy, strange_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGY_API_URL", strange_server)
    code, out, err = dagy("flows", "list")
    assert (code, out) == (ExitCode.AUTH, "")
    assert "who are you?" in err
    assert "\x1b" not in err


def test_a_server_that_makes_no_sense_ends_with_four(
    dagy: Dagy, strange_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGY_API_URL", f"{strange_server}/odd")
    code, out, err = dagy("flows", "list", "--format", "json")
    assert (code, out) == (ExitCode.NETWORK, "")
    assert "is not whole JSON" in err


def test_what_was_recorded_here_is_shown_without_the_server(
    workplace: Path, dagy: Dagy, strange_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dagy("run", "my_flows.py", "--param", "url=x")
    monkeypatch.setenv("DAGY_API_URL", f"{strange_server}/odd")
    for words in ("runs list", "runs show latest", "logs latest"):
        code, out, err = dagy(*words.split())
        assert (code, out != "") == (ExitCode.SUCCESS, True)
        assert err.startswith("note: without the runs of deployments: ")
        assert err.count("\n") == 1
    assert dagy("runs", "list", "--deployment", "etl")[0] is ExitCode.NETWORK


@pytest.mark.parametrize(
    "url", ["http://me:s3cret@127.0.0.1", "file:///etc/passwd", "http://elsewhere.example", "https://x/?key=s3cret&y"]
)
def test_an_address_that_can_not_be_ends_with_two(dagy: Dagy, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGY_API_URL", url)
    for words in ("flows list", "runs list", "run etl", "doctor"):
        code, out, err = dagy(*words.split())
        assert code is (ExitCode.GENERAL if words == "doctor" else ExitCode.USAGE)
        assert "DAGY_API_URL" in out + err
        assert "me:s3cret" not in out + err


@pytest.mark.parametrize("words", [["--quiet", "--verbose"], ["-q", "runs", "-v"], ["runs", "-q", "list", "-v"]])
def test_quiet_and_verbose_contradict_each_other(dagy: Dagy, words: list[str]) -> None:
    code, _, err = dagy(*words)
    assert (code, "contradict each other" in err) == (ExitCode.USAGE, True)


@pytest.mark.parametrize("words", [("-q", "runs"), ("runs", "-q"), ("runs", "list", "--quiet")])
def test_quiet_leaves_results_and_errors(dagy: Dagy, words: tuple[str, ...]) -> None:
    assert dagy(*words) == (ExitCode.SUCCESS, "", "")
    assert dagy("--quiet", "runs", "show", "x")[2].startswith("error: there is no run 'x'")
    assert dagy("runs")[2] != ""


def test_verbose_shows_where_an_error_came_from(dagy: Dagy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in dagy("runs", "show", "x")[2]
    assert "Traceback" in dagy("--verbose", "runs", "show", "x")[2]
    monkeypatch.setenv("DAGY_LOCAL_VERBOSE", "yes")
    assert "Traceback" in dagy("runs", "show", "x")[2]
    monkeypatch.setenv("DAGY_LOCAL_VERBOSE", "perhaps")
    code, _, err = dagy("runs", "show", "x")
    assert (code, "DAGY_LOCAL_VERBOSE is 'perhaps'" in err) == (ExitCode.USAGE, True)


def test_a_defect_is_said_to_be_one_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dagy.cli.runs", None)  # so that it can't be imported
    assert app.run(["runs"]) is ExitCode.GENERAL
    err = capsys.readouterr().err
    assert "This is a defect in Dagy; add --verbose" in err
    assert "Traceback" not in err


# The real program, in odd surroundings.

program = pytest.mark.program


@pytest.fixture
def used(deployed: str, dagy: Dagy, workplace: Path) -> Path:
    """A folder with a deployment, a schedule and a run, all with names that mean to do harm."""
    dagy("deployments", "tag", deployed, "team=data")
    dagy("schedules", "create", deployed, "--interval", "1h")
    dagy("run", deployed, "--detach", "--param", "url=é\x1b]0;owned\x07\x1b[2J\u202e")
    return workplace


@program
@pytest.mark.parametrize("words", LISTINGS)
def test_a_reader_that_went_away_is_no_error_to_speak_of(used: Path, words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dagy", *words.split()],
            cwd=used,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@program
def test_a_locale_without_letters_gets_escapes(used: Path) -> None:
    for words in ("runs show latest", "runs list"):
        done = python_m_dagy(
            *words.split(), cwd=used, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii"
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.isascii()
        assert done.stdout


@program
def test_without_a_home_the_local_folder_that_is_named_is_used(used: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "HOME"}
    done = subprocess.run(
        [sys.executable, "-m", "dagy", "runs", "list"],
        cwd=used,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def on_a_terminal(*words: str, cwd: Path, **environment: str) -> tuple[int, str]:
    """The program on a terminal: its exit code, and all that it wrote there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "dagy", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "LC_ALL": "C.UTF-8", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as started:
        os.close(theirs)
        wrote = b""
        try:
            while piece := os.read(ours, 65_536):
                wrote += piece
        except OSError:  # EIO: the other end is closed
            pass
        finally:
            os.close(ours)
    return started.returncode, wrote.decode().replace("\r\n", "\n")


@program
@pytest.mark.parametrize(("columns", "has_lines"), [("20", False), ("200", True)])
def test_a_table_fits_its_terminal(used: Path, columns: str, has_lines: bool) -> None:
    code, out = on_a_terminal("runs", "list", cwd=used, COLUMNS=columns)
    assert code == 0
    assert "\x1b" not in out
    assert ("┏" in out) is has_lines
    assert out.startswith("RUN  ") is not has_lines


@program
def test_names_and_values_move_no_cursor(used: Path) -> None:
    code, out = on_a_terminal("runs", "show", "latest", cwd=used)
    assert code == 0
    assert "owned" in out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)


@program
def test_an_error_is_coloured_unless_colours_are_not_wanted(workplace: Path) -> None:
    assert "\x1b[31merror: " in on_a_terminal("runs", "show", "x", cwd=workplace)[1]
    assert "\x1b" not in on_a_terminal("runs", "show", "x", cwd=workplace, NO_COLOR="1")[1]


@program
def test_what_takes_long_is_told_on_a_terminal_and_wiped_again(workplace: Path) -> None:
    code, out = on_a_terminal("deploy", "my_flows.py", cwd=workplace)
    assert code == 0
    assert "\r\x1b[Kbuilding my_flows.py" in out
    assert out.rindex("\r\x1b[K") < out.index("web_scraper: web_scraper 1.0.0 is deployed")
    assert "\x1b" not in on_a_terminal("deploy", "my_flows.py", "--quiet", cwd=workplace)[1]
