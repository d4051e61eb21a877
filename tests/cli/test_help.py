"""Every command's help, and every example in it, which is really run."""

from __future__ import annotations

import gc
import io
import json
import re
import shlex
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dagy.cli import app
from dagy.cli.app import ExitCode
from dagy.nodes import NodeGraph
from dagy.nodes.library import ReadCsv

from .conftest import FLOWS, Dagy, as_json

pytestmark = pytest.mark.program

ASKING = {"dagy config", "dagy login --profile production", "dagy deployments delete web-scraper"}  # a person
GOES_ON = {"dagy worker"}  # until somebody stops it
ON_AWS = re.compile("dagy aws|--aws|--executor|runs resume")  # what is tried with a stand-in, in tests of its own
ELSEWHERE = {"artifact", "build", "worker"}  # what their help says is tested with them


def commands(command: click.Command, *names: str) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(names), command
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            found = command.get_command(ctx, name)
            assert found is not None
            yield from commands(found, *names, name)


COMMANDS = {name: command for name, command in commands(app.dagy) if name.partition(" ")[0] not in ELSEWHERE}


def examples(name: str) -> list[str]:
    lines = (COMMANDS[name].help or "").partition("Examples:\n")[2].splitlines()
    return [line.strip() for line in lines if line.strip()]


EXAMPLES = [
    (name, line)
    for name in COMMANDS
    for line in examples(name)
    if line not in ASKING | GOES_ON and not ON_AWS.search(line)
]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_with_an_example_of_itself(name: str, dagy: Dagy) -> None:
    code, out, err = dagy(*name.split(), "--help")
    assert (code, err) == (ExitCode.SUCCESS, "")
    assert f"dagy {name}".strip() in "\n".join(examples(name))
    assert all(line in out for line in examples(name) if len(line) < 90)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name])
def test_every_command_sums_itself_up_as_the_list_does(name: str, dagy: Dagy) -> None:
    above = name.rpartition(" ")[0]
    listed = " ".join(dagy(*above.split(), "--help")[1].split())
    assert COMMANDS[name].get_short_help_str(100) in listed


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory and its local state, `local`, with all in them that the examples speak of."""
    folder = tmp_path_factory.mktemp("prepared")
    cell = {"cell_type": "code", "id": "pages", "metadata": {}, "outputs": [], "execution_count": None}
    source = "%%dagy_task\ndef read(pages: int = 1):\n    return pages"
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{**cell, "source": source}]}
    (folder / "data").mkdir()
    (folder / "data/pages.csv").write_text("url\n")
    (folder / "scraper.ipynb").write_text(json.dumps(notebook))
    (folder / "my_flows.py").write_text(
        FLOWS.replace('if "bad" in html', 'if "bad" in html and not Path("mended").exists()').replace(
            "\nfrom", "\nfrom pathlib import Path\nfrom", 1
        )
    )
    NodeGraph("pages").with_node("read", ReadCsv(path="data/pages.csv")).save(folder / "graph.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DAGY_LOCAL_DIR", str(folder / "local"))
        patch.setenv("DAGY_AUTO_WORKER", "0")
        patch.setattr(sys, "path", list(sys.path))
        assert [app.run(shlex.split(line)) for line in PREPARED] == [*[0] * (len(PREPARED) - 1), 1]
        sys.modules.pop("my_flows", None)
    # A connection that is closed later changes files while they are copied.
    for thread in threading.enumerate():
        if thread.name.endswith("-recorder"):
            thread.join(20)
    gc.collect()
    built = next((folder / "dist/web_scraper").iterdir())
    built.rename(built.with_name("0123456789ab"))
    (folder / "mended").touch()
    return folder


PREPARED = (
    "build my_flows.py",
    "deploy my_flows.py --deployment web-scraper --param url=x",
    "deployments tag web-scraper stage=test",
    "schedules create web-scraper --manual",
    "config set staging",
    "config set production --api-url https://dagy.example.com",
    "config use staging",
    "run my_flows.py --param url=bad",  # which fails
)


@pytest.mark.parametrize(("name", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_every_example_works(
    name: str,
    line: str,
    prepared: Path,
    workplace: Path,
    local_dir: Path,
    dagy: Dagy,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(prepared, workplace, dirs_exist_ok=True)
    (workplace / "local").rename(local_dir)
    if line.startswith("dagy run web-scraper"):
        request.getfixturevalue("waking")  # somebody has to run it
    before, _, line = line.rpartition(" | ")
    if before:
        assert before == 'echo "$TOKEN"'
        monkeypatch.setattr("sys.stdin", io.StringIO("dagy_at_1\n"))
    program, *words = shlex.split(line.partition(" > ")[0])
    assert program == "dagy"
    if "SCHEDULE" in words:
        words[words.index("SCHEDULE")] = as_json(dagy("schedules", "list", "--format", "json")[1])[0]["schedule_id"]
    if name == "runs cancel":
        dagy("run", "web-scraper", "--detach")
    code, out, err = dagy(*words)
    assert code is ExitCode.SUCCESS, err
    assert out or err
