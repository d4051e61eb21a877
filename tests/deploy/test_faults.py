"""A deploy may fail or be killed at every step: made again, it ends where one that never failed does."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import pytest

import dagy.control.artifacts
import dagy.deploy.deploying
from dagy.artifact import Artifact
from dagy.client import DagyClient, EmbeddedTransport
from dagy.control import ControlPlane, open_plane
from dagy.control.api import Operation
from dagy.deploy import deploy_artifact
from dagy.errors import NetworkError

from .states import state

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]

SCHEDULED = {"schedule": "0 6 * * *", "parameters": {"number": 3}, "tags": {"env": "prod"}}


@dataclass(frozen=True)
class Story:
    """Deploys one after another; the last one is the one that fails."""

    before: tuple[tuple[str, dict[str, Any]], ...]
    last: tuple[str, dict[str, Any]]
    changes: int  # how many requests of the last one change something


STORIES = {
    "first": Story((), ("first", SCHEDULED), 4),
    "new version": Story((("first", SCHEDULED),), ("second", {**SCHEDULED, "schedule": "0 7 * * *"}), 4),
    "new revision": Story((("first", SCHEDULED),), ("changed", {**SCHEDULED, "force": True}), 3),
    "latest": Story((("latest", {}),), ("latest-changed", {}), 3),
    "back": Story((("first", {}), ("second", {})), ("first", {}), 1),
    "settings": Story((("first", SCHEDULED),), ("first", {"tags": {"env": "test"}}), 2),
    "forced": Story((("first", {}),), ("first", {"force": True}), 3),
    "the same": Story((("first", SCHEDULED),), ("first", SCHEDULED), 0),
}


class Failing(EmbeddedTransport):
    """Fails at the change with this number, counted from 1, before or after it was made."""

    def __init__(self, plane: ControlPlane, number: int, when: Literal["before", "after"]) -> None:
        super().__init__(plane)
        self._number = number
        self._when = when
        self.changes = 0

    def perform(self, operation: Operation[T], arguments: Mapping[str, Any], *, file: Path | None = None) -> T:
        self.changes += operation.method != "GET"
        fails = operation.method != "GET" and self.changes == self._number
        if fails and self._when == "before":
            raise NetworkError("the line went dead")
        found = super().perform(operation, arguments, file=file)
        if fails:
            raise NetworkError("the line went dead")
        return found


@dataclass(frozen=True)
class Played:
    """A story as it goes when nothing fails."""

    before: Path  # the control plane before the last deploy, to be copied
    after: dict[str, object]
    changes: int  # how many requests of the last deploy changed something


@pytest.fixture(scope="module")
def played(
    artifacts: dict[str, Artifact], empty: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Played]:
    """Play a story, once for all tests."""
    folder = tmp_path_factory.mktemp("played")

    @cache
    def play(name: str) -> Played:
        story, before = STORIES[name], folder / f"{name} before"
        shutil.copytree(empty, before)
        with open_plane(before) as plane:
            told(DagyClient(transport=EmbeddedTransport(plane)), artifacts, *story.before)
        shutil.copytree(before, folder / name)
        with open_plane(folder / name) as plane:
            transport = Failing(plane, 0, "before")
            told(DagyClient(transport=transport), artifacts, story.last)
            return Played(before, state(DagyClient(transport=transport)), transport.changes)

    return play


def told(client: DagyClient, artifacts: dict[str, Artifact], *deploys: tuple[str, dict[str, Any]]) -> None:
    for name, options in deploys:
        deploy_artifact(artifacts[name].path, client=client, **options)


@pytest.mark.parametrize("name", STORIES)
def test_a_deploy_makes_as_many_changes_as_it_says(played: Callable[[str], Played], name: str) -> None:
    assert played(name).changes == STORIES[name].changes


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("name", "number"),
    [(name, number) for name, story in STORIES.items() for number in range(1, story.changes + 1)],
)
def test_a_deploy_that_failed_anywhere_is_made_again(
    played: Callable[[str], Played],
    artifacts: dict[str, Artifact],
    tmp_path: Path,
    name: str,
    number: int,
    when: Literal["before", "after"],
) -> None:
    shutil.copytree(played(name).before, tmp_path / "plane")
    last, options = STORIES[name].last
    with open_plane(tmp_path / "plane") as plane:
        client = DagyClient(transport=EmbeddedTransport(plane))
        ran_before = {each.reference: each.code_hash for each in client.deployments()}
        with pytest.raises(NetworkError) as caught:
            told(DagyClient(transport=Failing(plane, number, when)), artifacts, (last, options))
        assert "Deploy again to go on" in caught.value.__notes__[0]
        for reference, code_hash in ran_before.items():  # what runs meanwhile is the one code or the other, whole
            assert client.deployment(reference).code_hash in (code_hash, artifacts[last].code_hash)
        told(client, artifacts, (last, options))
        assert state(client) == played(name).after
        again = {key: value for key, value in options.items() if key != "force"}
        assert deploy_artifact(artifacts[last].path, client=client, **again).skipped


# ---- killed

SOURCES = [Path(str(each.__file__)).read_text() for each in (dagy.deploy.deploying, dagy.control.artifacts)]
POINTS = sorted({name for text in SOURCES for name in re.findall(r'\bpoint\("([a-z_.]+)"\)', text)})

PROGRAM = """
import json, sys
from dagy.client import DagyClient, EmbeddedTransport
from dagy.control import open_plane
from dagy.deploy import deploy_artifact
from pathlib import Path
folder, artifact, options = sys.argv[1:]
client = DagyClient(transport=EmbeddedTransport(open_plane(Path(folder))))
deploy_artifact(artifact, client=client, **json.loads(options))
"""


def deploy_and_die(folder: Path, artifact: Artifact, options: dict[str, Any], faults: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(artifact.path), json.dumps(options)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DAGY_FAULTS": faults},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.mark.program
@pytest.mark.parametrize(
    ("point", "number"),
    [(point, number) for point in POINTS for number in range(1, 2 if point.startswith("artifacts") else 5)],
)
def test_a_deploy_that_was_killed_anywhere_is_made_again(
    played: Callable[[str], Played], artifacts: dict[str, Artifact], tmp_path: Path, point: str, number: int
) -> None:
    folder = tmp_path / "killed"
    shutil.copytree(played("new version").before, folder)
    last, options = STORIES["new version"].last
    assert deploy_and_die(folder, artifacts[last], options, f"{point}:{number}") == -signal.SIGKILL
    with open_plane(folder) as plane:
        client = DagyClient(transport=EmbeddedTransport(plane))
        assert client.deployment("etl").flow_version in ("1.0.0", "2.0.0")
        told(client, artifacts, (last, options))
        assert state(client) == played("new version").after
        assert deploy_artifact(artifacts[last].path, client=client, **options).skipped


def test_the_places_where_a_deploy_may_be_killed_are_those_that_are_tried() -> None:
    assert POINTS == ["artifacts.before_rename", "deploy.after_step", "deploy.before_step"]
