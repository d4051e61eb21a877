"""A flow's spec as JSON that `FlowSpec.model_validate_json` reads, written without loading what reads it.

What has its default is left out. A run is recorded before its first task starts, and loading pydantic for that would
take longer than most runs do.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any

from dagy.spec import FlowSpec

_KEPT = frozenset({"kind", "schema_version"})  # what tells readers how to read


def spec_json(spec: FlowSpec) -> str:
    """`spec` as JSON."""
    return json.dumps(spec, default=_fields, separators=(",", ":"))


def _fields(value: Any) -> dict[str, object]:
    found = {}
    for name, default in _defaults(type(value)):
        each = getattr(value, name)
        if each is not default and each != default:
            found[name] = each
    return found


@functools.cache
def _defaults(kind: type) -> tuple[tuple[str, object], ...]:
    """The fields of a dataclass, each with the default that need not be written."""
    nothing = object()
    found = []
    for field in dataclasses.fields(kind):
        default = field.default
        if default is dataclasses.MISSING:
            default = field.default_factory() if field.default_factory is not dataclasses.MISSING else nothing
        found.append((field.name, nothing if field.name in _KEPT or default is dataclasses.MISSING else default))
    return tuple(found)
