"""Keys for the API. A secret is shown once, when it is made; what is kept is its SHA-256 and its first characters."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection

from dagy.control import tables
from dagy.control.names import checked_name
from dagy.control.records import KeyInfo
from dagy.control.timing import checked_time
from dagy.errors import ParameterError, did_you_mean, shown

if TYPE_CHECKING:
    from dagy.control.store import AnyRow


SCOPES = (
    "artifacts.read",
    "artifacts.write",
    "deployments.read",
    "deployments.write",
    "flows.read",
    "flows.write",
    "keys.read",
    "keys.write",
    "runs.read",
    "runs.trigger",
    "runs.work",  # what a worker does: claim, renew, report
    "schedules.read",
    "schedules.write",
)

_BEGIN = "dagy_sk_"
_SECRET = re.compile(r"dagy_sk_[A-Za-z0-9_-]{43}")
_PREFIX = len(_BEGIN) + 6
_NOTED_EVERY = timedelta(minutes=1)  # how exactly the last use is kept
_KEYS = tables.keys.c


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret of 256 random bits, and the id of its key."""

    key_id: str
    text: str

    @classmethod
    def new(cls) -> Secret:
        """One that nobody has seen."""
        return cls(f"key-{secrets.token_hex(6)}", _BEGIN + secrets.token_urlsafe(32))

    def __repr__(self) -> str:
        return f"Secret({self.key_id!r})"


def create(
    db: Connection, now: datetime, secret: Secret, name: str, scopes: Sequence[str], expires_at: datetime | None
) -> KeyInfo:
    """The key of that secret. Raises `ParameterError` for a name, a scope or a time that can't be."""
    values = {
        "key_id": secret.key_id,
        "name": checked_name("key's name", name, slashes=True),
        "prefix": secret.text[:_PREFIX],
        "digest": _digest(secret.text),
        "scopes": _checked_scopes(scopes),
        "created_at": now,
        "expires_at": _checked_end(expires_at, now),
    }
    known = sa.select(tables.keys).where(_KEYS.key_id == secret.key_id)
    if db.execute(known).first() is None:
        db.execute(sa.insert(tables.keys).values(values))
    return _key(db.execute(known).one())


def keys(db: Connection) -> list[KeyInfo]:
    """All keys, the oldest first."""
    return [_key(row) for row in db.execute(sa.select(tables.keys).order_by(_KEYS.created_at, _KEYS.key_id))]


def delete(db: Connection, key_id: str) -> None:
    """Let the key count no more; one that is not there is no mistake."""
    if isinstance(key_id, str) and key_id.isascii() and "\0" not in key_id:
        db.execute(sa.delete(tables.keys).where(_KEYS.key_id == key_id))


def key_of(db: Connection, now: datetime, secret: str) -> KeyInfo | None:
    """The key with that secret; None when there is none, or when it has expired."""
    if not isinstance(secret, str) or not _SECRET.fullmatch(secret):
        return None
    given = _digest(secret)
    found = None
    for row in db.execute(sa.select(tables.keys).where(_KEYS.prefix == secret[:_PREFIX])):
        if hmac.compare_digest(row.digest, given):
            found = row
    if found is None or (found.expires_at is not None and found.expires_at <= now):
        return None
    return _key(found)


def is_noted(key: KeyInfo, now: datetime) -> bool:
    """Whether the key's last use is kept exactly enough as it is."""
    return key.last_used_at is not None and now - key.last_used_at < _NOTED_EVERY


def note_use(db: Connection, now: datetime, key_id: str) -> None:
    """Keep that the key was used."""
    db.execute(sa.update(tables.keys).where(_KEYS.key_id == key_id).values(last_used_at=now))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _checked_scopes(scopes: Sequence[str]) -> list[str]:
    if isinstance(scopes, str) or not isinstance(scopes, Sequence):
        raise ParameterError(f"scopes are a list, such as ['runs.read'], not {shown(scopes)}")
    for each in scopes:
        if each not in SCOPES:
            hint = did_you_mean(each, SCOPES) if isinstance(each, str) else ""
            raise ParameterError(f"there is no scope {shown(each)}{hint or '; there are ' + ', '.join(SCOPES)}")
    return sorted(set(scopes))


def _checked_end(expires_at: datetime | None, now: datetime) -> datetime | None:
    end = checked_time("expires_at", expires_at)
    if end is not None and end <= now:
        raise ParameterError(f"expires_at is past: {end.isoformat()}")
    return end


def _key(row: AnyRow) -> KeyInfo:
    return KeyInfo(
        row.key_id, row.name, row.prefix, tuple(row.scopes), row.created_at, row.expires_at, row.last_used_at
    )
