"""A deploy to AWS may fail, or be killed, at every call: made again, it ends where one that never failed does.

DAGY_EXAMPLES has every call of every backend fail in every way; else those of a state machine with a container, which
are of every kind there is, and those that change something.
"""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from dagy.aws import Call
from dagy.client import DagyClient, EmbeddedTransport
from dagy.control import open_plane
from dagy.deploy import deploy_artifact
from dagy.errors import AuthError, CloudError, NetworkError

from .clouds import Cloud, artifact_on_disk, on_aws

EVERY = "DAGY_EXAMPLES" in os.environ
pytestmark = [pytest.mark.program, *([pytest.mark.timeout(3600)] if EVERY else [])]

BACKENDS = ["step-functions", "lambda", "ecs"] if EVERY else ["step-functions"]
SCHEDULED: dict[str, Any] = {"timezone": "Europe/Berlin", "parameters": {"limit": 3}}


class KilledError(BaseException):
    """What nobody catches: the process is gone at that point."""


WAYS: dict[str, tuple[str, BaseException]] = {  # when, and what the caller gets
    "refused": ("before", CloudError("it failed", operation="Any", code="InternalFailure")),
    "done, and answered with an error": ("after", CloudError("it failed", operation="Any", code="ServiceException")),
    "throttled": ("before", CloudError("too many", operation="Any", code="ThrottlingException")),
    "done, and the answer is lost": ("after", NetworkError("the line went dead")),
    "denied": ("before", AuthError("not allowed")),
    "killed": ("after", KilledError()),
}


class Fault:
    """Lets the call with this number go wrong, counted from 0; afterwards all goes well."""

    def __init__(self, cloud: Cloud, number: int, way: str) -> None:
        self._cloud, self._left = cloud, number
        when, self._error = WAYS[way]
        if when == "before":
            cloud.before = self
        else:
            cloud.after = self

    def __call__(self, _: Call) -> None:
        self._left -= 1
        if self._left < 0:
            self._cloud.before = self._cloud.after = None
            raise self._error


class Story:
    """Deploys of one flow, with other code, packages and times by turns."""

    def __init__(self, cloud: Cloud, client: DagyClient, folder: Path, executor: str) -> None:
        self.cloud, self.client = cloud, client
        self._executor, self._paths = executor, dict[str, Path]()
        for turn in ("a", "b"):
            mixed = executor == "step-functions"
            self._paths[turn] = artifact_on_disk(folder, f"x = {turn!r}\n", turn.encode(), mixed=mixed)

    def deploy(self, turn: str) -> bool:
        """Whether there was anything to do."""
        schedule = {"a": "0 6 * * *", "b": "0 7 * * *"}[turn]
        path, aws = self._paths[turn], self.cloud.aws
        made = deploy_artifact(
            path, client=self.client, aws=aws, executor=self._executor, schedule=schedule, **SCHEDULED
        )
        self.done = str(made.plan)
        return not made.skipped

    def clean(self, turn: str) -> tuple[list[Call], dict[str, Any]]:
        """The calls of a deploy that does not fail, and its end."""
        self.cloud.forget()
        self.deploy(turn)
        calls = list(self.cloud.calls)
        return calls, on_aws(self.cloud, self.client)

    def fails_and_is_made_again(self, turn: str, number: int, way: str, end: dict[str, Any]) -> None:
        """It ends as one that did not fail, and there is nothing left to do."""
        Fault(self.cloud, number, way)
        with pytest.raises(type(WAYS[way][1])):
            self.deploy(turn)
        self.deploy(turn)
        assert on_aws(self.cloud, self.client) == end, (way, number)
        self.cloud.forget()
        assert not self.deploy(turn), self.done
        assert self.cloud.changes == []


def failing(calls: list[Call]) -> list[int]:
    """The numbers of the calls that are to fail."""
    return [number for number, call in enumerate(calls) if call.is_mutating or EVERY]


@pytest.mark.parametrize("executor", BACKENDS)
def test_a_first_deploy_that_failed_at_any_call_is_made_again(
    account: Cloud, signed_in: None, empty: Path, tmp_path: Path, executor: str
) -> None:
    planes = itertools.count()

    def story() -> Story:
        folder = tmp_path / str(next(planes))
        shutil.copytree(empty, folder)
        return Story(account, DagyClient(transport=EmbeddedTransport(open_plane(folder))), tmp_path, executor)

    with account.fresh():
        calls, end = story().clean("a")
    ways = itertools.cycle(WAYS)
    for number in failing(calls):
        for way in WAYS if EVERY else itertools.islice(ways, 2):  # one before it is done, and one after
            with account.fresh():
                story().fails_and_is_made_again("a", number, way, end)


@pytest.mark.parametrize("executor", BACKENDS)
def test_a_deploy_of_changes_that_failed_at_any_call_is_made_again(
    cloud: Cloud, client: DagyClient, tmp_path: Path, executor: str
) -> None:
    story = Story(cloud, client, tmp_path, executor)
    for turn in "bab":  # from then on the files and the layers of both are there, and the calls are always the same
        story.deploy(turn)
    ends = {turn: story.clean(turn) for turn in "ab"}
    turns = itertools.cycle("ab")
    for number in failing(ends["a"][0]):
        for way in WAYS:
            turn = next(turns)
            story.fails_and_is_made_again(turn, number, way, ends[turn][1])
