"""`KEY=VALUE` as it is typed."""

from __future__ import annotations

from collections.abc import Iterable

import click


def pairs_of(given: Iterable[str], option: str) -> dict[str, str]:
    """The values by key of texts such as "team=data"; a usage error for what is none, or is given twice."""
    found: dict[str, str] = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not key or not equals:
            raise click.UsageError(f"{option} {each!r} is not of the form KEY=VALUE, such as team=data")
        if key in found:
            raise click.UsageError(f"{option} {key!r} is given twice")
        found[key] = value
    return found
