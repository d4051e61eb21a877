"""Which files go into an artifact: the flow's module, and the local modules that it reaches by import.

Only Python modules under the folder that the flow is imported from are ever looked at, so caches, `.env`, keys and
`.git` stay out by construction; and they are found in the text alone, so nothing is run.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dagy.artifact.imports import Import, imports_of
from dagy.artifact.snapshots import Snapshot
from dagy.artifact.source import RESERVED_MODULES, Source, encode_python, read_python
from dagy.errors import ArtifactError


class ModuleFile(NamedTuple):
    """One module that goes into an artifact."""

    path: str  # in the artifact, with forward slashes: "package/module.py"
    content: bytes
    elsewhere: tuple[Import, ...]  # what it imports that is not a local module


def module_files(source: Source, snapshot: Snapshot | None = None) -> tuple[ModuleFile, ...]:
    """The flow's module and every local module that it reaches, sorted by path.

    `snapshot` remembers each file that was read, or that would have been had it been there. `ArtifactError` when one
    lies outside the flow's folder or hides a module of the standard library.
    """
    return _Search(source, snapshot or Snapshot()).files()


class _Search:
    """What is reached from a flow's module, import by import."""

    def __init__(self, source: Source, snapshot: Snapshot) -> None:
        self._source = source
        self._root = source.root
        self._snapshot = snapshot
        self._found: dict[str, bool] = {}  # whether there is a file, by path relative to the root

    def files(self) -> tuple[ModuleFile, ...]:
        root, main = self._root, self._source.relative_path
        texts = {main: self._source.text}
        todo = [main]
        for package in self._packages(main.split("/")[:-1]):
            texts.setdefault(package, self._read(package))
            todo.append(package)
        found: dict[str, ModuleFile] = {}
        while todo:
            path = todo.pop()
            if path in found:
                continue
            elsewhere = []
            for each in imports_of(texts[path], where=str(self._source.path if path == main else root / path)):
                local = self._local_files(path, each)
                if not local:
                    elsewhere.append(each)
                for reached in local:
                    if reached not in texts:
                        texts[reached] = self._read(reached)
                        todo.append(reached)
            found[path] = ModuleFile(path, encode_python(texts[path]), tuple(elsewhere))
        return tuple(found[path] for path in sorted(found))

    def _packages(self, parts: list[str]) -> list[str]:
        """What Python runs before a module in the package of these parts."""
        found = (self._one_file(parts[:end]) for end in range(1, len(parts) + 1))
        return [each for each in found if each is not None]

    def _read(self, path: str) -> str:
        return self._snapshot.read(_inside_root(self._root, path), read_python)

    def _local_files(self, importer: str, wanted: Import) -> list[str]:
        """The files, relative to the root, that this import runs; none when the module is not a local one."""
        parts = [*_package(importer, wanted), *filter(None, wanted.module.split("."))]
        if not wanted.level and parts[0] in RESERVED_MODULES:
            hiding = self._one_file(parts[:1])
            if hiding and parts[0] not in {"dagy", "dagy_nb"}:
                raise ArtifactError(f"{hiding!r}, beside the flow, hides the module {parts[0]!r} of Python; rename it")
            return []
        files: dict[str, None] = {}
        for target in [parts, *([*parts, name] for name in wanted.names)]:
            for end in range(1, len(target) + 1):
                if file := self._one_file(target[:end]):
                    files[file] = None
        return list(files)

    def _one_file(self, parts: list[str]) -> str | None:
        """The file, relative to the root, that importing this one dotted name runs."""
        stem = "/".join(parts)
        return next((each for each in (f"{stem}/__init__.py", f"{stem}.py") if self._is_there(each)), None)

    def _is_there(self, path: str) -> bool:
        if path not in self._found:
            place = self._root / path
            self._found[path] = self._snapshot.look(place) is not None and place.is_file()
        return self._found[path]


def _package(importer: str, wanted: Import) -> list[str]:
    """The parts of the package that a relative import starts from; none for an absolute import."""
    if not wanted.level:
        return []
    parts = list(PurePosixPath(importer).parent.parts)
    up = wanted.level - 1
    if up >= len(parts):
        raise ArtifactError(
            f"{importer}, line {wanted.line}: the relative import leaves the folder of the flow; "
            "write it as an absolute import of a module beside the flow"
        )
    return parts[: len(parts) - up]


def _inside_root(root: Path, path: str) -> Path:
    real = (root / path).resolve()
    if not real.is_relative_to(root.resolve()):
        raise ArtifactError(f"{str(root / path)!r} is a link to {str(real)!r}, outside the folder of the flow; copy it")
    return real
