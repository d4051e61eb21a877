"""Which files go into an artifact: the flow's module, and the local modules that it reaches by import.

Only Python modules under the flow's folder are ever looked at, so caches, `.env`, keys and `.git` stay out by
construction; and they are found in the text alone, so nothing is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dagy.artifact.imports import Import, imports_of
from dagy.artifact.source import RESERVED_MODULES, Source, encode_python, read_python
from dagy.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class ModuleFile:
    """One module that goes into an artifact."""

    path: str  # in the artifact, with forward slashes: "package/module.py"
    content: bytes
    elsewhere: tuple[Import, ...]  # what it imports that is not a local module


def module_files(source: Source) -> tuple[ModuleFile, ...]:
    """The flow's module and every local module that it reaches, sorted by path.

    `ArtifactError` when one lies outside the flow's folder or hides a module of the standard library.
    """
    root = source.path.parent
    main = f"{source.module}.py"
    texts = {main: source.text}
    found: list[ModuleFile] = []
    todo = [main]
    while todo:
        path = todo.pop()
        elsewhere = []
        for each in imports_of(texts[path], where=str(source.path if path == main else root / path)):
            local = _local_files(root, path, each)
            if not local:
                elsewhere.append(each)
            for reached in local:
                if reached not in texts:
                    texts[reached] = read_python(_inside_root(root, reached))
                    todo.append(reached)
        found.append(ModuleFile(path, encode_python(texts[path]), tuple(elsewhere)))
    return tuple(sorted(found, key=lambda file: file.path))


def _local_files(root: Path, importer: str, wanted: Import) -> list[str]:
    """The files under `root`, relative to it, that this import runs; none when the module is not a local one."""
    parts = [*_package(importer, wanted), *filter(None, wanted.module.split("."))]
    if not wanted.level and parts[0] in RESERVED_MODULES:
        if _one_file(root, parts[:1]) and parts[0] not in {"dagy", "dagy_nb"}:
            raise ArtifactError(
                f"{_one_file(root, parts[:1])!r}, beside the flow, hides the module {parts[0]!r} of Python; rename it"
            )
        return []
    files: dict[str, None] = {}
    for target in [parts, *([*parts, name] for name in wanted.names)]:
        for end in range(1, len(target) + 1):
            if file := _one_file(root, target[:end]):
                files[file] = None
    return list(files)


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


def _one_file(root: Path, parts: list[str]) -> str | None:
    """The file, relative to `root`, that importing this one dotted name runs."""
    path = PurePosixPath(*parts)
    for candidate in (path / "__init__.py", path.with_name(f"{path.name}.py")):
        if (root / candidate).is_file():
            return str(candidate)
    return None


def _inside_root(root: Path, path: str) -> Path:
    real = (root / path).resolve()
    if not real.is_relative_to(root.resolve()):
        raise ArtifactError(f"{str(root / path)!r} is a link to {str(real)!r}, outside the folder of the flow; copy it")
    return real
