"""The error of a run as its record has it."""

from __future__ import annotations


class RecordedError(Exception):
    """What an exception said, when the exception itself is not kept."""
