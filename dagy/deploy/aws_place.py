"""Where a deploy goes: to workers, or to AWS, and there to which stack and which of its backends."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from dagy.artifact import Artifact
from dagy.aws import Aws
from dagy.backends import BackendRouter, Measured, Route
from dagy.backends.environment import Environment
from dagy.control.records import Deployment
from dagy.deploy.aws_wanted import sizes_of
from dagy.deploy.infrastructure import environment
from dagy.errors import ArtifactError, SettingsError
from dagy.executors import AUTO, ECS, LOCAL, Executor
from dagy.profiles import AwsTarget, Profiles
from dagy.settings import Settings

TARGET_VARIABLE = "DAGY_AWS_TARGET"  # what to build for, whatever the router says: for a stand-in


@dataclass(frozen=True, slots=True)
class Place:
    """Where on AWS a deploy goes."""

    target: AwsTarget
    executor: Executor | None  # what the deploy asks for; None: what the flow does, or the router finds
    aws: Aws

    def environment(self) -> Environment:
        """What `dagy aws init` made there. One call; raises `CloudError` when there is none."""
        return environment(self.aws, self.target.stack, bucket=self.target.bucket)

    def route(self, artifact: Artifact, measured: Measured | None = None) -> Route:
        """Where there the artifact runs. Raises `BackendError` when it can't as it is asked for."""
        return BackendRouter().route(
            artifact.manifest.spec, executor=self.executor, sizes=sizes_of(artifact), measured=measured
        )


def aws_of(deployment: Deployment) -> Aws:
    """The account and region where the deployment is."""
    at = deployment.resources
    return Aws(region=str(at["region"]), endpoint_url=at.get("endpoint_url"))


def targets_of(place: Place) -> tuple[str, ...]:
    """What to build for, in the order to be tried: what is too large for the first one is built for the next."""
    named = os.environ.get(TARGET_VARIABLE)
    if named:
        return (named,)
    asked = place.executor
    if asked is not None and asked.image is not None:
        return ("ecs",)
    function = "lambda-arm64" if asked is not None and asked.architecture == "arm64" else "lambda"
    may_be_large = function == "lambda" and (asked is None or asked.backend in (AUTO, ECS))
    return (function, "ecs") if may_be_large else (function,)


def checked_target(artifact: Artifact, place: Place) -> Place:
    """The place, with what follows from what the artifact was built for; `ArtifactError` when it does not run there."""
    target = artifact.manifest.target
    again = f"build it for AWS: dagy build --target {targets_of(place)[0]}"
    if target == "local" and not (place.aws.is_stand_in and os.environ.get(TARGET_VARIABLE) == "local"):
        raise ArtifactError(f"{str(artifact.path)!r} was built for this machine, and is to run on AWS; {again}")
    asked = place.executor or Executor(AUTO)
    if target == "ecs":
        if asked.backend not in (AUTO, ECS):
            raise ArtifactError(f"{str(artifact.path)!r} was built for containers, not for {asked.backend!r}; {again}")
        return replace(place, executor=replace(asked, name=ECS) if asked.backend == AUTO else asked)
    if target == "lambda-arm64":
        return replace(place, executor=replace(asked, architecture="arm64"))
    return place


def place_of(
    executor: str | Executor | None, image: str | None, profile: str | None, aws: Aws | None = None
) -> Place | None:
    """Where on AWS a deploy goes that asks for this executor and image; None: to workers.

    Without an executor the profile says it: to AWS when it has a section for it. Raises `SettingsError` when AWS is
    meant and nothing says where.
    """
    meant = Executor.of(executor)
    if image is not None:
        meant = replace(meant or Executor(ECS), image=image)
    if meant is not None and meant.backend == LOCAL:
        return None
    target = Profiles.read(Settings.read().local_dir).resolve(profile).aws
    if target is None:
        if meant is None:
            return None
        raise SettingsError(
            f"executor {meant.name!r} is on AWS, and nothing says where there; make what deploys need with: "
            "dagy aws init, which notes it in the profile (or name a stack in DAGY_AWS_STACK)"
        )
    found = aws or Aws(region=target.region, endpoint_url=target.endpoint_url)
    return Place(target, None if meant is not None and meant.name == AUTO and meant.is_plain else meant, found)
