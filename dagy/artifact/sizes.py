"""How large packages are, against what a target takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dagy.artifact.targets import TARGETS, BuildTarget
from dagy.errors import ArtifactError
from dagy.spec import Json

_MIB = 1 << 20
_HEADS = ("package", "version", "zipped", "unzipped", "share")


class TooLargeError(ArtifactError):
    """The packages are more than the target takes."""


class PackageSize(NamedTuple):
    """The size of one package, in bytes."""

    name: str
    version: str
    unzipped: int | None  # None: it is not here yet
    zipped: int | None = None  # None: it is not here as a file


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of all packages, the largest first. As a text it is a table."""

    packages: tuple[PackageSize, ...]
    target: BuildTarget

    @classmethod
    def of(cls, packages: Iterable[PackageSize], target: BuildTarget) -> Sizes:
        """The sizes of these packages."""
        return cls(tuple(sorted(packages, key=lambda each: (-(each.unzipped or 0), each.name))), target)

    @property
    def unzipped(self) -> int:
        """Bytes of all packages together, as far as they are here."""
        return sum(each.unzipped or 0 for each in self.packages)

    @property
    def zipped(self) -> int | None:
        """The same as they are packed; None when they are not."""
        known = [each.zipped for each in self.packages if each.zipped is not None]
        return sum(known) if len(known) == len(self.packages) else None

    def check(self) -> None:
        """Raise `TooLargeError` when the target does not take as much, with what takes the most and a way out."""
        for what, size, limit in (
            ("unzipped", self.unzipped, self.target.unzipped_limit),
            ("zipped", self.zipped, self.target.zipped_limit),
        ):
            if size is not None and limit is not None and size > limit:
                largest = ", ".join(f"{each.name} {_mib(each.unzipped)}" for each in self.packages[:3])
                raise TooLargeError(
                    f"the packages are {_mib(size)} {what}, and {self.target.description} takes {_mib(limit)}; the "
                    f"largest are {largest}; do without one of them{_way_out(size, what)}"
                )

    def to_json(self) -> Json:
        """The same as data: sizes in bytes."""
        return {
            "target": self.target.name,
            "packages": [each._asdict() for each in self.packages],
            "zipped": self.zipped,
            "unzipped": self.unzipped,
            "zipped_limit": self.target.zipped_limit,
            "unzipped_limit": self.target.unzipped_limit,
        }

    def __str__(self) -> str:
        if not self.packages:
            return "no packages"
        is_known = all(each.unzipped is not None for each in self.packages)
        total = self.unzipped if is_known else 0
        rows = [
            (each.name, each.version, _mib(each.zipped), _mib(each.unzipped), _share(each.unzipped, total))
            for each in self.packages
        ]
        count = f"{len(self.packages)} package{'s' if len(self.packages) > 1 else ''}"
        feet = [(count, "", _mib(self.zipped), _mib(total if is_known else None), "")]
        limits = self.target.zipped_limit, self.target.unzipped_limit
        if any(limits):
            verdict = "too large" if limits[1] is not None and total > limits[1] else ""
            feet.append((f"limit of {self.target.name}", "", _mib(limits[0]), _mib(limits[1]), verdict))
        return _table(rows, feet, packed=self.zipped is not None)


def _way_out(size: int, what: str) -> str:
    """Another target that takes it."""
    for each in TARGETS.values():
        limit = each.unzipped_limit if what == "unzipped" else each.zipped_limit
        if not each.is_local and limit is not None and size <= limit:
            return f", or build for {each.description}: --target {each.name}"
    return ""


def _table(rows: Sequence[Sequence[str]], feet: Sequence[Sequence[str]], *, packed: bool) -> str:
    kept = [index for index in range(len(_HEADS)) if packed or _HEADS[index] != "zipped"]
    lines = [[line[index] for index in kept] for line in (_HEADS, *rows, *feet)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = [
        "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([texts[0], rule, *texts[1 : len(rows) + 1], rule, *texts[len(rows) + 1 :]])


def _mib(size: int | None) -> str:
    if size is None:
        return ""
    return f"{size / _MIB:,.1f} MiB" if size < 1024 * _MIB else f"{size / 1024 / _MIB:,.1f} GiB"


def _share(size: int | None, total: int) -> str:
    return f"{100 * size / total:.0f} %" if total and size is not None else ""
