"""What each command prints and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from dagy.artifact import read_manifest
from dagy.cli import app
from dagy.cli.app import ExitCode
from dagy.version import __version__

pytestmark = pytest.mark.program

ROOT = Path(__file__).resolve().parents[2]

FLOWS = """
from dagy import flow, task


@task
def fetch(url: str) -> str:
    return "<p>" + url


@task
def parse(html: str, limit: int = 3) -> dict:
    if "bad" in html:
        raise ValueError("no title in " + html)
    return {"title": html[:limit]}


@task
def apart() -> int:
    return 7


@flow(name="web_scraper", version="1.0.0")
def web_scraper(url: str, limit: int = 3):
    apart()
    return parse(fetch(url), limit)
"""


@pytest.fixture(autouse=True)
def _forget_what_was_imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)
    yield
    for name in sys.modules.keys() - modules:
        if not name.startswith(("dagy", "pydantic")):
            del sys.modules[name]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with `my_flows.py` in it."""
    (tmp_path / "my_flows.py").write_text(FLOWS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def python_m_dagy(*args: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dagy", *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["--version"]) is ExitCode.SUCCESS
    assert capsys.readouterr().out == f"dagy {__version__}\n"


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]])
def test_the_help_lists_every_command_with_an_example(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(args) is ExitCode.SUCCESS
    text = capsys.readouterr().out
    assert "dagy run my_flows.py:web_scraper --param url=https://example.com" in text
    assert all(f"\n  {name} " in text for name in ("build", "draw", "export", "run"))


@pytest.mark.parametrize("name", ["build", "draw", "export", "run"])
def test_a_commands_help_has_an_example_and_the_summary_of_the_list(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run([name, "--help"]) is ExitCode.SUCCESS
    assert f"Examples:\n    dagy {name} " in capsys.readouterr().out
    command = app.dagy.get_command(click.Context(app.dagy), name)
    assert command is not None
    app.run([])
    assert f"{name}  " in (listed := capsys.readouterr().out)
    assert command.get_short_help_str(100) in listed


@pytest.mark.parametrize(
    ("lines", "heavy"),
    [
        (
            ["--version", "", "--help"],
            ["sqlite3", "logging", "importlib.metadata", "pydantic", "dagy.flows", "zipfile"],
        ),
        (["run my_flows.py --param url=x"], ["dagy.profiles", "dagy.client", "dagy.control", "dagy.deploy"]),
    ],
)
def test_what_is_used_most_loads_nothing_heavy(here: Path, lines: list[str], heavy: list[str]) -> None:
    program = (
        "import sys; from dagy.cli import app\n"
        f"for line in {lines}: app.run(line.split())\n"
        f"heavy = {[*heavy, 'asyncio', 'sqlalchemy', 'httpx', 'yaml', 'tabulate']}\n"
        "print([each for each in heavy if each in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_an_unknown_command_is_a_usage_error_that_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["biuld"]) is ExitCode.USAGE
    assert "there is no command 'biuld'; did you mean 'build'?" in capsys.readouterr().err


def test_build_prints_what_it_built_and_the_path_last(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["build", "my_flows.py:web_scraper"]) is ExitCode.SUCCESS
    lines = capsys.readouterr().out.splitlines()
    path = Path(lines[-1])
    manifest = read_manifest(path)
    assert path == Path("dist/web_scraper") / manifest.build_id / "artifact.zip"
    assert lines[0] == "built web_scraper 1.0.0"
    assert f"  build id      {manifest.build_id}" in lines
    assert f"  code hash     sha256:{manifest.code_hash[:16]}" in lines
    assert "  files         1 (my_flows.py)" in lines
    assert "  requirements  none" in lines


def test_build_writes_where_it_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["build", "my_flows.py", "--output-dir", "out/here"]) is ExitCode.SUCCESS
    assert Path(capsys.readouterr().out.splitlines()[-1]).is_relative_to("out/here/web_scraper")


def test_run_prints_progress_on_stderr_and_the_result_on_stdout(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["run", "my_flows.py:web_scraper", "--param", "url=x", "--max-workers", "1"]) is ExitCode.SUCCESS
    out, err = capsys.readouterr()
    assert "web_scraper: COMPLETED in " in out
    assert "{'title': '<p>'}" in out
    assert "▶ fetch\n" in err
    assert "✓ fetch " in err
    assert err.index("✓ fetch") < err.index("▶ parse") < err.index("✓ parse")


def test_an_artifact_runs_as_its_source_does(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app.run(["build", "my_flows.py"])
    path = (here / capsys.readouterr().out.splitlines()[-1]).rename(tmp_path / "artifact.zip")
    (here / "my_flows.py").unlink()
    assert app.run(["run", str(path), "--param", "url=x", "--param", "limit=2"]) is ExitCode.SUCCESS
    assert "{'title': '<p'}" in capsys.readouterr().out


def test_a_failed_run_shows_the_users_frames_alone_and_ends_with_one(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["run", "my_flows.py", "--param", "url=bad"]) is ExitCode.GENERAL
    out, err = capsys.readouterr()
    assert "✗ parse FAILED: ValueError: no title in <p>bad" in err
    assert 'my_flows.py", line 13, in parse\n    raise ValueError("no title in " + html)' in err
    assert err.count("  File ") == 1
    assert "web_scraper: FAILED" in out


def test_without_fail_fast_everything_independent_still_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = app.run(["run", "my_flows.py", "--param", "url=bad", "--no-fail-fast"])
    assert code is ExitCode.GENERAL
    assert "✓ apart" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "'url'; add --param url=..."),
        (["--param", "url"], "--param 'url' is not of the form NAME=VALUE"),
        (["--param", "=x"], "--param '=x' is not of the form NAME=VALUE"),
        (["--param", "url=x", "--param", "url=y"], "--param 'url' is given twice"),
        (["--param", "url=x", "--param", "limt=3"], "'limt'; did you mean 'limit'?"),
        (["--param", "url=x", "--param", "limit=many"], "'limit' can't be 'many'"),
        (["--max-workers", "0"], "--max-workers"),
        (["--workers", "2"], "No such option"),
    ],
)
def test_a_run_that_is_typed_wrong_is_a_usage_error_that_names_it(
    here: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    assert app.run(["run", "my_flows.py", *args]) is ExitCode.USAGE
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""
    assert "Traceback" not in err
    assert "▶" not in err


def test_the_text_of_a_parameter_is_read_by_its_annotation(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["run", "my_flows.py", "--param", "url=5=5", "--param", "limit=6"]) is ExitCode.SUCCESS
    assert "{'title': '<p>5=5'}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["build", "run", "draw"])
@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("nowhere.py", ExitCode.NOT_FOUND, "there is no file 'nowhere.py'"),
        ("web-scraper", ExitCode.NOT_FOUND, "target is FILE.py[:FLOW]"),
        ("my_flows.py:web_scrapper", ExitCode.NOT_FOUND, "did you mean 'web_scraper'?"),
        ("my_flows.py:", ExitCode.USAGE, "names no flow after the colon"),
        ("two.py", ExitCode.USAGE, "two.py defines 2 flows; name one:\n  two.py:one\n  two.py:two"),
        ("none.py", ExitCode.USAGE, "defines no flow"),
        ("broken.py", ExitCode.GENERAL, "broken.py, line 1: SyntaxError"),
        ("data.toml", ExitCode.USAGE, "nothing here reads '.toml'"),
        (".", ExitCode.USAGE, "is a folder"),
    ],
)
def test_a_target_that_is_no_flow_is_told_without_a_traceback_of_ours(
    here: Path, capsys: pytest.CaptureFixture[str], command: str, target: str, code: ExitCode, message: str
) -> None:
    flow = "@flow\ndef {}():\n    pass\n"
    (here / "two.py").write_text("from dagy import flow\n" + flow.format("one") + flow.format("two"))
    (here / "none.py").write_text("")
    (here / "broken.py").write_text("def (:\n")
    (here / "data.toml").write_text("")
    assert app.run([command, target]) is code
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""
    assert f"{os.sep}dagy{os.sep}" not in err


def test_code_that_raises_while_it_is_loaded_shows_its_own_frames(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "raising.py").write_text("def f():\n    1 / 0\n\nf()\n")
    assert app.run(["draw", "raising.py"]) is ExitCode.GENERAL
    err = capsys.readouterr().err
    assert err.count("  File ") == err.count('raising.py", line') == 2
    assert "line 2: could not be loaded: ZeroDivisionError" in err


@pytest.mark.parametrize("target", ["no.zip", "fake.zip"])
def test_an_artifact_that_is_none_is_told(here: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    (here / "fake.zip").write_text("hello")
    code = app.run(["run", target])
    assert code is (ExitCode.NOT_FOUND if target == "no.zip" else ExitCode.GENERAL)
    assert target in capsys.readouterr().err


@pytest.mark.parametrize(("form", "beginning"), [("svg", "<svg"), ("dot", "digraph")])
def test_draw_writes_a_picture_and_runs_no_task(
    here: Path, capsys: pytest.CaptureFixture[str], form: str, beginning: str
) -> None:
    (here / "my_flows.py").write_text(FLOWS.replace('return "<p>"', 'open("ran", "w"); return "<p>"'))
    assert app.run(["draw", "my_flows.py", "--format", form, "-o", "picture"]) is ExitCode.SUCCESS
    assert beginning in (here / "picture").read_text("utf-8")
    assert app.run(["draw", "my_flows.py"]) is ExitCode.SUCCESS
    assert "parse" in capsys.readouterr().out
    assert not (here / "ran").exists()


def test_drawing_an_artifact_executes_nothing_of_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marker = "import os, pathlib\nif os.environ.get('LOOKING'): pathlib.Path('ran').touch()\n"
    (here / "my_flows.py").write_text(marker + FLOWS)
    app.run(["build", "my_flows.py"])
    path = capsys.readouterr().out.splitlines()[-1]
    done = python_m_dagy("draw", path, cwd=here, LOOKING="1")
    assert done.returncode == 0
    assert "fetch" in done.stdout
    assert not (here / "ran").exists()


@pytest.fixture
def book(here: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A notebook in a folder of its own, and an installed package that reads notebooks of its kind."""
    site = here / "site"
    (site / "books-1.dist-info").mkdir(parents=True)
    (site / "books-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: books\nVersion: 1\n")
    (site / "books-1.dist-info/entry_points.txt").write_text("[dagy.readers]\n.book = books:read\n")
    (site / "books.py").write_text("def read(path):\n    return path.read_text()\n")
    monkeypatch.syspath_prepend(site)
    (here / "books").mkdir()
    (here / "books/pages.txt").write_text("41")
    (here / "books/etl.book").write_text(
        "from pathlib import Path\nfrom dagy import flow, task\n"
        "@task\ndef pages():\n    return int(Path('pages.txt').read_text()) + 1\n"
        "@flow\ndef etl():\n    return pages()\n"
    )
    return "books/etl.book"


def test_a_notebook_runs_in_its_own_folder(here: Path, book: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["run", book]) is ExitCode.SUCCESS
    assert "42" in capsys.readouterr().out
    assert Path.cwd() == here


def test_a_notebook_is_built_to_the_folder_of_the_caller(
    here: Path, book: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["build", f"{book}:etl"]) is ExitCode.SUCCESS
    assert (here / capsys.readouterr().out.splitlines()[-1]).is_file()


def test_export_gives_the_module_and_overwrites_only_when_told(
    here: Path, book: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (here / book).read_text()
    assert app.run(["export", book]) is ExitCode.SUCCESS
    assert capsys.readouterr().out == text
    assert app.run(["export", book, "-o", "etl.py"]) is ExitCode.SUCCESS
    assert (here / "etl.py").read_text() == text
    (here / "etl.py").write_text("mine")
    assert app.run(["export", book, "-o", "etl.py"]) is ExitCode.USAGE
    assert "'etl.py' exists; give --force" in capsys.readouterr().err
    assert (here / "etl.py").read_text() == "mine"
    assert app.run(["export", book, "-o", "etl.py", "--force"]) is ExitCode.SUCCESS
    assert (here / "etl.py").read_text() == text


def test_exporting_a_module_is_a_usage_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["export", "my_flows.py"]) is ExitCode.USAGE
    assert "is a Python module already" in capsys.readouterr().err


def test_text_that_would_move_the_cursor_is_made_visible(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["run", "my_flows.py", "--param", "url=bad\x1b[2J\u202e"]) is ExitCode.GENERAL
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "\u202e" not in out + err


# The real program in a process of its own.


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--version"], 0),
        ([], 0),
        (["run", "my_flows.py", "--param", "url=x"], 0),
        (["run", "my_flows.py", "--param", "url=bad"], 1),
        (["run", "my_flows.py"], 2),
        (["run", "nowhere.py"], 5),
    ],
)
def test_the_exit_status(here: Path, args: list[str], code: int) -> None:
    assert python_m_dagy(*args, cwd=here).returncode == code


def test_a_terminal_that_can_not_show_a_sign_gets_another(here: Path) -> None:
    done = python_m_dagy(
        "run",
        "my_flows.py",
        "--param",
        "url=é",
        "--param",
        "limit=9",
        cwd=here,
        PYTHONIOENCODING="ascii",
        PYTHONUTF8="0",
    )
    assert done.returncode == 0
    assert "> fetch\n" in done.stderr
    assert "+ parse - completed" in done.stdout
    assert "\\xe9" in done.stdout


def test_a_reader_that_went_away_ends_the_program_quietly(here: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "dagy", "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


# Tasks that the test lets go by removing a file: one in a thread, and one that does not want to be cancelled.
WAITING = """
import asyncio, pathlib, time
from dagy import flow, task

@task
def wait(path: str):
    pathlib.Path(path).touch()
    while pathlib.Path(path).exists():
        time.sleep(0.01)

@task
async def resist(path: str):
    pathlib.Path(path).touch()
    while pathlib.Path(path).exists():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            pass

@task
def after(value):
    pass

@flow
def waiting(path: str):
    after(wait(path))

@flow
def resisting(path: str):
    after(resist(path))
"""


def test_a_failure_in_a_notebook_names_its_cell(here: Path) -> None:
    cells = [
        ("maths", "def half(x):\n    return x / 0"),
        ("task", "%%dagy_task\ndef broken(x: int = 1):\n    return half(x)"),
    ]
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {},
        "cells": [
            {"cell_type": "code", "id": each, "metadata": {}, "outputs": [], "execution_count": None, "source": source}
            for each, source in cells
        ],
    }
    (here / "etl.ipynb").write_text(json.dumps(notebook))
    done = python_m_dagy("run", "etl.ipynb", cwd=here)
    assert done.returncode == ExitCode.GENERAL
    assert 'etl.ipynb, cell task, as exported", line' in done.stderr
    assert 'etl.ipynb, cell maths, as exported", line' in done.stderr


@contextmanager
def started_run(folder: Path, flow: str) -> Iterator[subprocess.Popen[str]]:
    """`dagy run` of a flow of `WAITING` whose task has started."""
    (folder / "waiting.py").write_text(WAITING)
    with subprocess.Popen(
        [sys.executable, "-m", "dagy", "run", f"waiting.py:{flow}", "--param", "path=started"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        # Whoever started the tests in the background may have had them ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as program:
        try:
            while not (folder / "started").exists():
                assert program.poll() is None
                os.sched_yield()
            yield program
        finally:
            program.kill()  # a test that fails must not wait for it


@pytest.mark.timeout(30)
def test_an_interrupted_run_says_so_and_starts_nothing_more(here: Path) -> None:
    with started_run(here, "waiting") as program:
        program.send_signal(signal.SIGINT)
        out, err = program.communicate()
    assert program.returncode == ExitCode.CANCELLED
    assert "waiting: CANCELLED" in out
    assert "cancelling; a second Ctrl-C leaves" in err
    assert "▶ after" not in err


@pytest.mark.timeout(30)
def test_a_second_interrupt_leaves_without_waiting(here: Path) -> None:
    with started_run(here, "resisting") as program:
        assert program.stderr is not None
        program.send_signal(signal.SIGINT)
        assert any("cancelling; a second Ctrl-C leaves" in line for line in iter(program.stderr.readline, ""))
        program.send_signal(signal.SIGINT)
        out, _ = program.communicate()
    assert program.returncode == ExitCode.CANCELLED
    assert out == ""
