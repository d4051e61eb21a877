"""A deploy may fail or be killed at every step: made again, it ends where one that never failed does."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

import dagy.control.artifacts
import dagy.deploy.deploying
from dagy.artifact import Artifact
from dagy.client import DagyClient, EmbeddedTransport
from dagy.control import ControlPlane, open_plane
from dagy.control.api import Request, Response
from dagy.deploy import deploy_artifact
from dagy.errors import NetworkError

from .states import state

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

    def send(self, request: Request) -> Response:
        if request.method == "GET":
            return super().send(request)
        self.changes += 1
        if self.changes != self._number:
            return super().send(request)
        if self._when == "after":
            super().send(request)
        raise NetworkError("the line went dead")


def told(client: DagyClient, artifacts: dict[str, Artifact], *deploys: tuple[str, dict[str, Any]]) -> None:
    for name, options in deploys:
        deploy_artifact(artifacts[name].path, client=client, **options)


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_a_deploy_makes_as_many_changes_as_it_says(
    new_plane: Callable[[], ControlPlane], artifacts: dict[str, Artifact], story: Story
) -> None:
    plane = new_plane()
    told(DagyClient(transport=EmbeddedTransport(plane)), artifacts, *story.before)
    transport = Failing(plane, 0, "before")
    told(DagyClient(transport=transport), artifacts, story.last)
    assert transport.changes == story.changes


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("story", "number"),
    [
        pytest.param(story, number, id=f"{name}-{number}")
        for name, story in STORIES.items()
        for number in range(1, story.changes + 1)
    ],
)
def test_a_deploy_that_failed_anywhere_is_made_again(
    new_plane: Callable[[], ControlPlane],
    artifacts: dict[str, Artifact],
    story: Story,
    number: int,
    when: Literal["before", "after"],
) -> None:
    clean, plane = DagyClient(transport=EmbeddedTransport(new_plane())), new_plane()
    client = DagyClient(transport=EmbeddedTransport(plane))
    for each in (clean, client):
        told(each, artifacts, *story.before)
    ran_before = [(each.reference, each.code_hash) for each in client.deployments()]
    failing = Failing(plane, number, when)
    with pytest.raises(NetworkError) as caught:
        told(DagyClient(transport=failing), artifacts, story.last)
    assert "Deploy again to go on" in caught.value.__notes__[0]
    for reference, code_hash in ran_before:  # whatever runs now runs the one code or the other, whole
        assert client.deployment(reference).code_hash in (code_hash, artifacts[story.last[0]].code_hash)
    told(clean, artifacts, story.last)
    told(client, artifacts, story.last)
    assert state(client) == state(clean)
    again = {name: value for name, value in story.last[1].items() if name != "force"}
    assert deploy_artifact(artifacts[story.last[0]].path, client=client, **again).skipped


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
    new_plane: Callable[[], ControlPlane], artifacts: dict[str, Artifact], tmp_path: Path, point: str, number: int
) -> None:
    clean = DagyClient(transport=EmbeddedTransport(new_plane()))
    folder = tmp_path / "killed"
    told(clean, artifacts, ("first", {"tags": {"old": "yes"}}), ("second", SCHEDULED))
    with open_plane(folder) as plane:
        told(DagyClient(transport=EmbeddedTransport(plane)), artifacts, ("first", {"tags": {"old": "yes"}}))
    assert deploy_and_die(folder, artifacts["second"], SCHEDULED, f"{point}:{number}") == -signal.SIGKILL
    with open_plane(folder) as plane:
        client = DagyClient(transport=EmbeddedTransport(plane))
        assert client.deployment("etl").flow_version in ("1.0.0", "2.0.0")
        told(client, artifacts, ("second", SCHEDULED))
        assert state(client) == state(clean)
        assert deploy_artifact(artifacts["second"].path, client=client, **SCHEDULED).skipped


def test_the_places_where_a_deploy_may_be_killed_are_those_that_are_tried() -> None:
    assert POINTS == ["artifacts.before_rename", "deploy.after_step", "deploy.before_step"]
