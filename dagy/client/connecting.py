"""Which control plane a client means: a server when there is an address, else the one in this process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

# Their names are loaded when they are asked for: a client needs one way or the other.
from dagy import client, control
from dagy.profiles import Credentials, Profile, Profiles, checked_url
from dagy.settings import Settings

if TYPE_CHECKING:
    from dagy.client.embedded import EmbeddedTransport
    from dagy.client.transport import AsyncTransport, Transport
    from dagy.control import ControlPlane


@dataclass(frozen=True, slots=True)
class Connection:
    """Where requests go, and with which token."""

    local_dir: Path
    api_url: str | None  # None: the control plane is in this process
    token: str | None = field(default=None, repr=False)
    database_url: str | None = field(
        default=None, repr=False
    )  # of an embedded control plane; None: a file in local_dir
    wakes_workers: bool = True  # whether an embedded control plane starts a worker for a run

    @classmethod
    def of(cls, api_url: str | None, *, profile: str | None, token: str | None, local_dir: Path | None) -> Connection:
        """The connection that is asked for; what is None follows from the environment and the profiles.

        With neither an `api_url` nor a `profile`, a `local_dir` of its own means the control plane in that folder.
        """
        settings = Settings.read()
        if local_dir is not None and api_url is None and profile is None:
            chosen = Profile()
        elif api_url is not None:
            chosen = Profile(profile, checked_url(api_url, "api_url"))
        else:
            chosen = Profiles.read(settings.local_dir).resolve(profile)
        if token is None and chosen.api_url is not None:
            found = Credentials(settings.local_dir).token(chosen)
            token = None if found is None else found.secret
        return cls(
            local_dir=(local_dir or settings.local_dir).absolute(),
            api_url=chosen.api_url,
            token=token,
            database_url=settings.database_url,
            wakes_workers=settings.auto_worker,
        )

    def transport(self) -> Transport:
        """What takes requests there. Opens nothing yet."""
        return self._embedded() if self.api_url is None else client.HttpTransport(self.api_url, token=self.token)

    def async_transport(self) -> AsyncTransport:
        """What takes requests there from an event loop. Opens nothing yet."""
        if self.api_url is None:
            return client.AsyncEmbeddedTransport(self._embedded())
        return client.AsyncHttpTransport(self.api_url, token=self.token)

    def _embedded(self) -> EmbeddedTransport:
        return client.EmbeddedTransport(self._open_plane, wake=self._wake if self.wakes_workers else None)

    def _open_plane(self) -> ControlPlane:
        return control.open_plane(self.local_dir, self.database_url)

    def _wake(self) -> None:
        client.wake_worker(self.local_dir)
