"""The control planes that a session asks: a server's, or the one on this machine, which the first deploy makes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from dagy import client

if TYPE_CHECKING:
    from dagy.client import Connection, DagyClient

PLANE_FILE = "control.db"  # of the control plane on this machine, in the local folder


class Planes:
    """The clients of one session, each kept until `close`: a run that is followed asks its own all the time."""

    def __init__(self, connect: Callable[[Connection], DagyClient] | None = None) -> None:
        self._connect = connect or (lambda connection: client.DagyClient(transport=connection.transport()))
        self._clients: dict[Connection, DagyClient] = {}
        self._lock = threading.Lock()

    def client(self, profile: str | None = None) -> DagyClient:
        """What asks the control plane that `profile` means, or the one that the settings mean.

        One on this machine is made where there is none yet. Raises `SettingsError` for a profile that is not known.
        """
        return self._client_of(_connection(profile))

    def client_if_any(self, profile: str | None = None) -> DagyClient | None:
        """The same, or None where nothing was ever deployed: to look makes nothing."""
        connection = _connection(profile)
        return self._client_of(connection) if _is_there(connection) else None

    def local_client_if_any(self) -> DagyClient | None:
        """The same, and None too where asking would go over the network: for what may not take long."""
        connection = _connection(None)
        return self._client_of(connection) if connection.api_url is None and _is_there(connection) else None

    def close(self) -> None:
        """Give back what the clients hold."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for each in clients:
            each.close()

    def _client_of(self, connection: Connection) -> DagyClient:
        with self._lock:
            if connection not in self._clients:
                self._clients[connection] = self._connect(connection)
            return self._clients[connection]


def _connection(profile: str | None) -> Connection:
    return client.Connection.of(None, profile=profile, token=None, local_dir=None)


def _is_there(connection: Connection) -> bool:
    is_elsewhere = connection.api_url is not None or connection.database_url is not None
    return is_elsewhere or (connection.local_dir / PLANE_FILE).exists()
