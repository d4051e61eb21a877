"""What the parts of the stand-in share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dagy.testing.local_aws.functions import Functions


@dataclass(frozen=True, slots=True)
class World:
    """One stand-in: where it answers, where it keeps its files, and what runs in it."""

    endpoint_url: str
    home: Path  # removed at the end
    variables: dict[str, str]  # that every program has that is started here
    functions: Functions
    most_events: int = 25_000  # of a state machine's execution; then it fails
    tokens: dict[str, object] = field(default_factory=dict)  # what was asked for once already, by its client token
