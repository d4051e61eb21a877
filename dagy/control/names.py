"""What may name a thing in the control plane, and what may be kept with it: checked before it reaches a database.

A name goes into URLs, commands and messages, so it holds no slash, no control character and nothing that a database
would refuse. A reference is a deployment's name with its namespace before it: `team/project/etl`.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping

from dagy.control.record_json import json_text
from dagy.errors import ParameterError, shown
from dagy.spec import Json
from dagy.values import is_json

LONGEST_NAME = 200  # characters
MOST_TAGS = 100
MOST_BYTES = 5_000_000  # of a run's parameters, or of a result, as JSON


def checked_name(kind: str, name: object, *, slashes: bool = False) -> str:
    """`name`, the name of what `kind` says, such as "deployment". Raises `ParameterError`, which says what is wrong."""
    if not isinstance(name, str) or not name or len(name) > LONGEST_NAME:
        raise ParameterError(f"the {kind} {shown(name)} is no text of 1 to {LONGEST_NAME} characters")
    if name != name.strip() or any(unicodedata.category(each) in _UNNAMEABLE for each in name):
        raise ParameterError(f"the {kind} {name!r} has a control character in it, or a space at an end; leave it out")
    if not slashes and "/" in name:
        namespace, _, rest = name.rpartition("/")
        remedy = (
            f"give the namespace {namespace!r} apart from the name {rest!r}" if namespace and rest else "leave it out"
        )
        raise ParameterError(f"the {kind} {name!r} has a slash in it, which parts a namespace from a name; {remedy}")
    return name


def checked_namespace(namespace: object) -> str:
    """`namespace`: "", or names with slashes between them. Raises `ParameterError`."""
    if namespace == "":
        return ""
    name = checked_name("namespace", namespace, slashes=True)
    if any(part in ("", ".", "..") or part != part.strip() for part in name.split("/")):
        raise ParameterError(f"the namespace {name!r} is not of the form team/project")
    return name


def split_reference(reference: object, kind: str = "deployment") -> tuple[str | None, str]:
    """A thing's namespace and name; None for a namespace that is not given. Raises `ParameterError`."""
    namespace, slash, name = reference.rpartition("/") if isinstance(reference, str) else ("", "", reference)
    return (checked_namespace(namespace) if slash else None), checked_name(kind, name)


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """`tags`: short texts by short names. Raises `ParameterError`."""
    if not isinstance(tags, Mapping) or len(tags) > MOST_TAGS:
        raise ParameterError(f"tags are a dict of at most {MOST_TAGS} texts by name, not {shown(tags)}")
    for name, value in tags.items():
        checked_name("tag", name, slashes=True)
        if value != "":
            checked_name(f"value of the tag {name!r}", value, slashes=True)
    return dict(tags)


def checked_json(what: str, value: Json) -> Json:
    """`value`, which is JSON and of a size to be kept. Raises `ParameterError`, which calls it `what`."""
    if not is_json(value):
        raise ParameterError(
            f"{what} is {shown(value)}, which JSON can't hold; "
            "give texts, finite numbers, booleans, None, and lists and dicts of these"
        )
    try:
        size = len(json_text(value))
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or nested very deep
        raise ParameterError(f"{what} is {shown(value)}, which can't be written as JSON: {error}") from error
    if size > MOST_BYTES:
        raise ParameterError(
            f"{what} takes {size:,} bytes as JSON, more than {MOST_BYTES:,}; keep it in a file instead"
        )
    return value


def digest(value: Json) -> str:
    """The SHA-256, in hex, of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


_UNNAMEABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, halves of surrogate pairs, line separators
