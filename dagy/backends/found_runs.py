"""Runs that schedules on AWS began: nobody asked the control plane for them, so they are looked for and told to it.

Such a run leaves a name beside the runs of its deployment's store. To look is one call for each deployment that has a
schedule there; what is known already is not looked at again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from dagy.artifact.run_store import OVERLAP_SECONDS, scheduled
from dagy.backends.running import Connect
from dagy.client.on_aws import values_at
from dagy.client.runs import KnownRun
from dagy.control import Page
from dagy.control.records import LOCAL, Deployment, RunInfo
from dagy.errors import DagyError
from dagy.spec import Json

logger = logging.getLogger(__name__)

LOOK_SECONDS = 30.0  # between two looks

_PAGE = 200


class RunPage(Protocol):
    """Some runs, as a client gives them."""

    @property
    def items(self) -> Sequence[KnownRun]:
        """The newest first."""


class ImportsRuns(Protocol):
    """What runs are made known to: of a `DagyClient`, that part."""

    def deployments(self, *, limit: int = 50, after: str | None = None) -> Page[Deployment]:
        """All deployments, page by page."""

    def runs(self, *, deployment: str, limit: int = 20) -> RunPage:
        """The newest runs of a deployment."""

    def import_run(
        self, reference: str, run_id: str, parameters: Mapping[str, Json], *, started_at: datetime
    ) -> RunInfo:
        """Make the run known; what is known stays as it is."""


class FoundRuns:
    """Looks for such runs; for one thread."""

    def __init__(self, client: ImportsRuns, connect: Connect) -> None:
        self._client = client
        self._connect = connect
        self._after: dict[str, str] = {}  # by deployment: the key from which on is looked

    def look(self) -> list[RunInfo]:
        """Make known what is new. A deployment whose place on AWS can't be looked at is passed over, and logged."""
        found: list[RunInfo] = []
        for deployment in self._scheduled():
            try:
                found += self._look_at(deployment)
            except DagyError as error:
                logger.info("the runs that schedules began of %r can't be seen: %s", deployment.reference, error)
        return found

    def _look_at(self, deployment: Deployment) -> Iterator[RunInfo]:
        reference = deployment.reference
        if reference not in self._after:
            self._after[reference] = self._newest_known(reference)
        values = values_at(deployment.resources, self._connect(deployment.resources))
        for key, told in scheduled(values, reference, self._after[reference]):
            started = int(key[:20])
            info = self._client.import_run(
                reference, str(told["run_id"]), told.get("parameters") or {}, started_at=_time(started)
            )
            self._after[reference] = _key_before(started)
            if not info.status.is_final and not info.tries:
                yield info

    def _newest_known(self, reference: str) -> str:
        """Where to begin: at the newest run that was found before, as far as that can be told."""
        for run in self._client.runs(deployment=reference, limit=_PAGE).items:
            if run.info.trigger == "schedule" and run.info.started_at is not None:
                return _key_before((run.info.started_at - _EPOCH) // timedelta(microseconds=1) * 1000)
        return ""

    def _scheduled(self) -> Iterator[Deployment]:
        """The deployments that AWS has a schedule of."""
        after: str | None = None
        while True:
            page = self._client.deployments(limit=_PAGE, after=after)
            for each in page.items:
                if each.executor != LOCAL and each.resources.get("schedule"):
                    yield each
            after = page.next
            if after is None:
                return


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _key_before(nanoseconds: int) -> str:
    """A key of a while before then: names may appear a little later than others that follow them."""
    return f"{max(0, nanoseconds - OVERLAP_SECONDS * 10**9):020d}"


def _time(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
