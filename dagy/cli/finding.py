"""Runs that schedules on AWS began, made known before runs are listed, without waiting long for AWS."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from dagy import backends
from dagy import client as clients
from dagy.errors import DagyError

if TYPE_CHECKING:
    from dagy.client import DagyClient

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 2.0


def find_runs(client: DagyClient) -> None:
    """Make known what AWS tells of within some seconds; a worker follows it then."""
    if not any(each.resources.get("schedule") for each in client.deployments(limit=200).items):
        return
    finding = threading.Thread(target=_look, args=(client,), name="dagy-finding", daemon=True)
    finding.start()
    finding.join(_PATIENCE_SECONDS)


def _look(client: DagyClient) -> None:
    try:
        if backends.FoundRuns(client, clients.aws_at).look():
            client.keep_awake()
    except DagyError as error:  # what is known is shown all the same
        logger.info("no runs can be looked for: %s", error)
