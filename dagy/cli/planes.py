"""The control plane that a command means: the one of `--profile`, or the one on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import dagy.client  # its names are loaded when they are asked for: most commands need none
from dagy.cli import output
from dagy.errors import NetworkError
from dagy.profiles import Profiles
from dagy.settings import Settings
from dagy.spec import FlowSpec

if TYPE_CHECKING:
    from dagy.client import DagyClient
    from dagy.control import Deployment, Page

T = TypeVar("T")

FILE_NAME = "control.db"  # the embedded control plane's, in the local folder
_PAGE = 200


@contextmanager
def connected(profile: str | None) -> Iterator[DagyClient]:
    """A client of the control plane; one on this machine is made where there is none yet."""
    with dagy.client.DagyClient(profile=profile) as client:
        yield client


@contextmanager
def connected_if_any(profile: str | None) -> Iterator[DagyClient | None]:
    """A client of the control plane, or None where there is none yet on this machine: looking makes nothing."""
    if is_there(profile):
        with connected(profile) as client:
            yield client
    else:
        yield None


@contextmanager
def connected_beside_history(profile: str | None) -> Iterator[DagyClient | None]:
    """As `connected_if_any`, for a command that shows what was recorded here, too.

    So it is None as well, and a note says so, where a server that was not asked for by name can't be reached.
    """
    with connected_if_any(profile) as client:
        if client is None or client.is_local or profile is not None:
            yield client
            return
        try:
            client.health()
        except NetworkError as error:
            output.note(f"note: without the runs of deployments: {error}", color="yellow")
            client = None
        yield client


def is_there(profile: str | None) -> bool:
    """Whether there is a control plane to ask."""
    settings = Settings.read()
    if settings.database_url is not None or (settings.local_dir / FILE_NAME).exists():
        return True
    return not Profiles.read(settings.local_dir).resolve(profile).is_local


def local_store(settings: Settings) -> str:
    """What holds the control plane of this machine, such as a file's path; never with a password."""
    if settings.database_url is None:
        return str(settings.local_dir / FILE_NAME)
    try:
        parts = urlsplit(settings.database_url)
    except ValueError:
        return "DAGY_DATABASE_URL"
    return f"{parts.path.lstrip('/')} on {parts.hostname or 'this machine'} (DAGY_DATABASE_URL)"


def spec_of_deployment(client: DagyClient, deployment: Deployment) -> FlowSpec:
    """The flow that the deployment stands for now."""
    return FlowSpec.model_validate(
        client.flow_spec(
            deployment.flow_name,
            namespace=deployment.namespace,
            version=deployment.flow_version,
            revision=deployment.revision,
        )
    )


def taken(limit: int, page_after: Callable[[int, str | None], Page[T]]) -> list[T]:
    """The first `limit` of what comes page by page; `page_after(limit, after)` asks for one."""
    found: list[T] = []
    after: str | None = None
    while len(found) < limit:
        page = page_after(min(_PAGE, limit - len(found)), after)
        found += page.items
        after = page.next
        if after is None:
            break
    return found[:limit]
