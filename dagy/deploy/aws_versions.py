"""Which published versions may be removed: of functions, whose code takes room, and of machines, which may have 1,000.

What began on a version goes on with it, so one is kept for two weeks after the next one came.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from dagy.aws import FunctionVersion, MachineVersion

KEPT = timedelta(days=14)

_PUBLISHED = "published "  # a function's version has no time of its own: its description is this, and when


def published(now: datetime) -> str:
    """The description of a version of a function that is published now."""
    return f"{_PUBLISHED}{now:%Y-%m-%dT%H:%M:%SZ}"


def old_versions(versions: Sequence[FunctionVersion], used: Collection[str], now: datetime) -> list[FunctionVersion]:
    """Those that may be removed, of a function's, the oldest first: not `used`, and followed by one for long enough.

    What nobody knows the time of, because somebody else published it, stays.
    """
    return [
        each
        for each, following in pairwise(versions)
        if each.version not in used and (at := _published_at(following)) is not None and now - at > KEPT
    ]


def old_machine_versions(
    versions: Sequence[MachineVersion], used: Collection[str], now: datetime
) -> list[MachineVersion]:
    """Those that may be removed, of a state machine's: as of `old_versions`; `used` are ARNs."""
    return [
        each for each, following in pairwise(versions) if each.arn not in used and now - following.created_at > KEPT
    ]


def _published_at(version: FunctionVersion) -> datetime | None:
    try:
        return datetime.fromisoformat(version.description.removeprefix(_PUBLISHED))
    except ValueError:
        return None
