"""Where a deploy goes: to workers, or to AWS, and there to which stack."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dagy.errors import SettingsError
from dagy.executors import AUTO, ECS, LOCAL, Executor
from dagy.profiles import AwsTarget, Profiles
from dagy.settings import Settings

if TYPE_CHECKING:
    from dagy.aws import Aws
    from dagy.backends.environment import Environment

TARGET_VARIABLE = "DAGY_AWS_TARGET"  # what to build for, whatever the router says: for a stand-in


@dataclass(frozen=True, slots=True)
class Place:
    """Where on AWS a deploy goes."""

    target: AwsTarget
    executor: Executor | None  # what the deploy asks for; None: what the flow does, or the router finds
    aws: Aws | None = None  # the account; None: the one that the target names
    environment: Environment | None = None  # what there is for all deployments, once that was looked up


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
    return Place(target, None if meant is not None and meant.name == AUTO and meant.is_plain else meant, aws)
