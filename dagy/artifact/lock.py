"""One wheel of a lock: which file, byte for byte, a package is taken from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LockedWheel:
    """A wheel that was chosen for a target. It says what the file is, and not where it was found."""

    name: str  # of the package, normalized: "python-dateutil"
    version: str
    file_name: str  # "python_dateutil-2.9.0-py3-none-any.whl"
    sha256: str  # of the file, as 64 lower-case hex digits
    size: int  # of the file, in bytes

    @property
    def requirement(self) -> str:
        """`name==version`."""
        return f"{self.name}=={self.version}"
