"""Brings a store's tables to what this dagy knows, in one transaction, whoever comes first.

A store that is up to date costs one look at its version. A new one gets the tables as they are now; an older one is
migrated by Alembic, which is loaded only then.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from dagy.control.tables import METADATA
from dagy.errors import StoreError
from dagy.runs.faults import point

if TYPE_CHECKING:
    from sqlalchemy import Connection

REVISIONS = ("0001", "0002")  # every version there was, the oldest first
HEAD = REVISIONS[-1]
MIGRATIONS = Path(__file__).parent / "migrations"

# Alembic's own, made here too so that Alembic need not be loaded for it.
_VERSION = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def version_of(db: Connection) -> str | None:
    """The version of the store's tables; None where there are none yet."""
    if not sa.inspect(db).has_table(_VERSION.name):
        return None
    return db.execute(sa.select(_VERSION.c.version_num)).scalar()


def bring_up_to_date(db: Connection, called: str) -> None:
    """Make or migrate the tables. The caller holds the writer's lock, and commits.

    Raises `StoreError`, which calls the store what `called` says, for one that a newer dagy has made.
    """
    version = version_of(db)
    if version == HEAD:
        return
    sa.event.listen(db, "after_cursor_execute", lambda *_: point("control.migration"))
    if version is None:
        METADATA.create_all(db, checkfirst=False)
        _VERSION.create(db, checkfirst=False)
        db.execute(sa.insert(_VERSION).values(version_num=HEAD))
    elif version in REVISIONS:
        migrate(db)
    else:
        raise StoreError(
            f"{called} was made by a newer dagy (its version is {version!r}, this dagy knows {HEAD!r}); upgrade dagy"
        )


def migrate(db: Connection, *, to: str = "head") -> None:
    """Carry out the migrations from the store's version to the version `to`, with Alembic."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = db
    command.upgrade(config, to)
