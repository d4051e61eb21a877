"""A deploy to AWS may fail, or be killed, at every call: made again, it ends where one that never failed does."""

from __future__ import annotations

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

SCHEDULED: dict[str, Any] = {"schedule": "0 6 * * 1-5", "parameters": {"limit": 3}}
EVERY = bool(os.environ.get("DAGY_EXAMPLES"))  # every call in every way; else every call in one way of each kind


class KilledError(BaseException):
    """What nobody catches: the process is gone at that point."""


WAYS: dict[str, tuple[str, BaseException]] = {  # when, and what the caller gets
    "refused": ("before", CloudError("it failed", operation="Any", code="InternalFailure")),
    "done, and answered with an error": ("after", CloudError("it failed", operation="Any", code="ServiceException")),
    "throttled": ("before", CloudError("too many", operation="Any", code="ThrottlingException")),
    "done, and the answer is lost": ("after", NetworkError("the line went dead")),
    "denied": ("before", AuthError("not allowed")),
    "killed before": ("before", KilledError()),
    "killed after": ("after", KilledError()),
}
USUAL = ("denied", "done, and the answer is lost", "killed after")


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
    """Deploys to an account with nothing in it; the last one is the one that fails."""

    def __init__(self, executor: str, changed: bool, tmp_path: Path, folder: Path) -> None:
        self._executor, self._mixed = executor, executor == "step-functions"
        self._changed, self._tmp_path, self._folder = changed, tmp_path, folder

    def client(self, name: str) -> DagyClient:
        shutil.copytree(self._folder, self._tmp_path / name)
        return DagyClient(transport=EmbeddedTransport(open_plane(self._tmp_path / name)))

    def before(self, cloud: Cloud, client: DagyClient) -> None:
        if self._changed:
            self._deploy(cloud, client, "x = 1\n", b"slow")

    def last(self, cloud: Cloud, client: DagyClient) -> bool:
        """Whether there was anything to do."""
        return self._deploy(cloud, client, "x = 2\n", b"quick", **SCHEDULED)

    def _deploy(self, cloud: Cloud, client: DagyClient, code: str, packages: bytes, **options: Any) -> bool:
        path = artifact_on_disk(self._tmp_path, code, packages, mixed=self._mixed)
        made = deploy_artifact(path, client=client, aws=cloud.aws, executor=self._executor, **options)
        return not made.skipped


@pytest.mark.parametrize("executor", ["lambda", "step-functions", "ecs"])
@pytest.mark.parametrize("changed", [False, True], ids=["first", "changed"])
def test_a_deploy_that_failed_at_any_call_is_made_again(
    _account: Cloud, signed_in: None, empty: Path, tmp_path: Path, executor: str, changed: bool
) -> None:
    story = Story(executor, changed, tmp_path, empty)
    with _account.fresh() as cloud:
        client = story.client("clean")
        story.before(cloud, client)
        cloud.forget()
        story.last(cloud, client)
        calls, clean = list(cloud.calls), on_aws(cloud, client)
    mutating = [number for number, call in enumerate(calls) if call.is_mutating]
    assert len(mutating) >= (5 if executor != "ecs" else 3)
    for way in WAYS if EVERY else USUAL:
        for number in range(len(calls)) if EVERY else mutating:
            with _account.fresh() as cloud:
                client = story.client(f"{way} {number}")
                story.before(cloud, client)
                ran_before = [each.resources for each in client.deployments()]
                Fault(cloud, number, way)
                with pytest.raises(type(WAYS[way][1])):
                    story.last(cloud, client)
                if ran_before and calls[number] != calls[-1]:
                    (now,) = client.deployments()
                    assert now.resources == ran_before[0] or now.resources.keys() - ran_before[0].keys()
                story.last(cloud, client)
                assert on_aws(cloud, client) == clean, (way, number, calls[number])
                cloud.forget()
                assert not story.last(cloud, client)
                assert cloud.changes == []
