"""Which distributions are installed for this Python, and which modules each of them holds.

To find that out takes a good part of a second where much is installed, so it is kept in a file, which is good for as
long as the folders that hold the packages are as they were.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from dagy.artifact.half_made import write_whole
from dagy.errors import ArtifactError

if TYPE_CHECKING:
    import importlib.metadata

    from packaging.requirements import Requirement

_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Distribution:
    """One installed distribution."""

    name: str  # as it calls itself: "PyYAML"
    version: str
    modules: tuple[str, ...]  # top-level names that it holds a part of: "yaml"
    location: str  # the folder of its metadata
    url: str = ""  # where it was installed from, when that was not an index
    is_editable: bool = False

    @property
    def key(self) -> str:
        """Its name as indexes compare it: "pyyaml"."""
        return normalized(self.name)

    @property
    def requirement(self) -> str:
        """`name==version`."""
        return f"{self.name}=={self.version}"

    @property
    def folder(self) -> Path | None:
        """The folder on this machine that it was installed from; None when it was not."""
        parts = urlsplit(self.url)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None


@dataclass(frozen=True, slots=True)
class Installed:
    """All that is installed. It holds for as long as `paths` are as they were."""

    distributions: Mapping[str, Distribution]  # by key
    paths: tuple[Path, ...]  # the folders that hold packages

    def called(self, name: str) -> Distribution | None:
        """The distribution of that name, however it is spelled."""
        return self.distributions.get(normalized(name))

    def holding(self, module: str) -> list[Distribution]:
        """Those that hold a part of the top-level module, in the order of their names."""
        return [each for each in self.distributions.values() if module in each.modules]

    def needed_by(self, names: Iterable[str]) -> tuple[Distribution, ...]:
        """The distributions of `names` (each may have extras: `pandas[parquet]`) and all that they need, sorted.

        What they need and is not installed is left out.
        """
        from packaging.requirements import Requirement

        seen: set[tuple[str, str]] = set()
        todo = [Requirement(name) for name in names]
        while todo:
            wanted = todo.pop()
            found = self.called(wanted.name)
            if found is None:
                continue
            for extra in ("", *wanted.extras):
                if (found.key, extra) not in seen:
                    seen.add((found.key, extra))
                    todo += [each for each in requires(found) if applies(each, extra)]
        keys = {key for key, _ in seen}
        return tuple(self.distributions[key] for key in sorted(keys))


def normalized(name: str) -> str:
    """The name of a distribution as indexes compare it: "PyYAML" -> "pyyaml"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(local_dir: Path, path: Sequence[str] | None = None) -> Installed:
    """What is installed on `path` (by default `sys.path`), from the file that keeps it or found again."""
    folders = _folders(sys.path if path is None else path)
    stamp = _stamp(folders)
    kept = local_dir / "installed" / f"{hashlib.sha256(_key(folders).encode()).hexdigest()[:20]}.json"
    found = _read(kept, stamp)
    if found is None:
        found = tuple(_found(folders))
        _keep(kept, stamp, found)
    return Installed({each.key: each for each in found}, tuple(map(Path, folders)))


def requires(distribution: Distribution) -> tuple[Requirement, ...]:
    """What it says that it needs, with its markers."""
    return _requires(distribution.location)


def files_of(distribution: Distribution) -> tuple[tuple[str, int], ...]:
    """The path, relative to where its modules are, and the size in bytes of each file that it installed.

    Compiled copies of modules are left out: where they come from is what a target gets.
    """
    record = _metadata(distribution.location).read_text("RECORD") or ""
    found = []
    for line in record.splitlines():
        path, _, rest = _unquoted(line)
        if path and "__pycache__/" not in path:
            size = rest.rpartition(",")[2]
            found.append((path, int(size) if size.isdigit() else 0))
    return tuple(found)


def applies(requirement: Requirement, extra: str) -> bool:
    """Whether it is needed here, with this extra (`""`: with none)."""
    if requirement.marker is None:
        return not extra
    here = requirement.marker.evaluate({"extra": extra})
    return here if not extra else here and not requirement.marker.evaluate({"extra": ""})


def _folders(path: Sequence[str]) -> tuple[str, ...]:
    """Those on the path that hold packages. The others, such as the working directory, change too often to be asked."""
    found = dict.fromkeys(os.path.abspath(each) for each in path)  # noqa: PTH100 (a link stays one)
    return tuple(each for each in found if _holds_packages(each))


def _holds_packages(folder: str) -> bool:
    try:
        return any(name.endswith((".dist-info", ".egg-info")) for name in os.listdir(folder))  # noqa: PTH208 (names only)
    except OSError:
        return False


def _key(folders: Iterable[str]) -> str:
    return json.dumps([_SCHEMA, sys.version_info[:2], *folders])


def _stamp(folders: Iterable[str]) -> list[int]:
    return [Path(each).stat().st_mtime_ns for each in folders]


def _read(path: Path, stamp: list[int]) -> tuple[Distribution, ...] | None:
    """What the file keeps; None when it is not there, broken, or out of date."""
    try:
        data = json.loads(path.read_text("utf-8"))
        if data["stamp"] != stamp:
            return None
        return tuple(Distribution(**{**each, "modules": tuple(each["modules"])}) for each in data["distributions"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _keep(path: Path, stamp: list[int], found: Iterable[Distribution]) -> None:
    text = json.dumps({"stamp": stamp, "distributions": [asdict(each) for each in found]})
    with contextlib.suppress(OSError):  # it is found again the next time
        write_whole(path, text.encode())


def _found(folders: Sequence[str]) -> Iterator[Distribution]:
    from importlib.metadata import MetadataPathFinder

    seen = set()
    for each in MetadataPathFinder.find_distributions(_context(folders)):
        location = getattr(each, "_path", None)  # there is no public name for where the metadata is
        name, version = each.metadata["Name"], each.metadata["Version"]
        if not name or not version or location is None or normalized(name) in seen:
            continue  # an uninstall that was cut short leaves such; the first on the path is the one that is imported
        seen.add(normalized(name))
        url, is_editable = _direct_url(each)
        yield Distribution(name, version, _modules(each), str(location), url, is_editable)


def _context(folders: Sequence[str]) -> importlib.metadata.DistributionFinder.Context:
    from importlib.metadata import DistributionFinder

    return DistributionFinder.Context(path=list(folders))


def _modules(distribution: importlib.metadata.Distribution) -> tuple[str, ...]:
    """The top-level names that it holds: what its files say, and what it says of itself."""
    named = set((distribution.read_text("top_level.txt") or "").split())
    for line in (distribution.read_text("RECORD") or "").splitlines():
        path, _, _ = _unquoted(line)
        first, slash, _ = path.partition("/")
        if path.endswith((".py", ".so", ".pyd")) and not first.startswith((".", "__pycache__")):
            named.add(first if slash else first.partition(".")[0])
    return tuple(sorted(name for name in named if name.isidentifier()))


def _unquoted(line: str) -> tuple[str, str, str]:
    """A line of a RECORD: the path, and the rest after the comma. A path with a comma is in quotes."""
    if line.startswith('"'):
        path, mark, rest = line[1:].partition('",')
        return path.replace('""', '"'), mark, rest
    return line.partition(",")


def _direct_url(distribution: importlib.metadata.Distribution) -> tuple[str, bool]:
    """Where it came from when that was no index (`direct_url.json`, PEP 610), and whether it is a folder in place."""
    try:
        data = json.loads(distribution.read_text("direct_url.json") or "{}")
        return str(data.get("url", "")), bool(data.get("dir_info", {}).get("editable"))
    except (ValueError, AttributeError):
        return "", False


@functools.lru_cache(maxsize=1024)
def _requires(location: str) -> tuple[Requirement, ...]:
    from packaging.requirements import InvalidRequirement, Requirement

    found = []
    for line in _metadata(location).requires or ():
        with contextlib.suppress(InvalidRequirement):  # an old package's own way of saying it
            found.append(Requirement(line))
    return tuple(found)


def _metadata(location: str) -> importlib.metadata.Distribution:
    from importlib.metadata import Distribution

    try:
        return Distribution.at(location)
    except OSError as error:
        raise ArtifactError(f"the package at {location!r} can't be read: {error.strerror or error}") from error
