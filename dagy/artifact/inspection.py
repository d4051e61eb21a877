"""What is in an artifact, whether it is whole, and how two of them differ. Nothing of an artifact is executed here."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dagy import drawing
from dagy.artifact.archive import OpenArtifact, open_artifact
from dagy.artifact.manifest import FileEntry, Manifest
from dagy.errors import ArtifactError
from dagy.spec import FlowSpec, Json, ParameterSpec

_MOST_DIFFED_BYTES = 200_000  # of a text whose lines are compared
_MOST_LINES = 200  # of one file's difference


@dataclass(frozen=True, slots=True)
class Inspection:
    """What an artifact says of itself, and the digest of its file."""

    path: Path
    size: int  # in bytes
    sha256: str  # of the whole file
    manifest: Manifest

    def to_json(self) -> dict[str, Json]:
        """All of it, plain."""
        manifest = self.manifest
        return {
            "path": str(self.path),
            "size": self.size,
            "sha256": self.sha256,
            "flow_name": manifest.flow_name,
            "flow_version": manifest.flow_version,
            "build_id": manifest.build_id,
            "code_hash": manifest.code_hash,
            "entry_point": manifest.entry_point,
            "target": manifest.target,
            "python_version": manifest.python_version,
            "dagy_version": manifest.dagy_version,
            "schema_version": manifest.schema_version,
            "requirements": list(manifest.requirements),
            "lock": [{"name": each.name, "file_name": each.file_name, "size": each.size} for each in manifest.lock],
            "files": [{"path": each.path, "size": each.size, "sha256": each.sha256} for each in manifest.files],
            "cells": [{"id": each.id, "names": list(each.names)} for each in manifest.cells],
            "spec": manifest.spec.model_dump(),
        }

    def __str__(self) -> str:
        manifest = self.manifest
        facts = {
            "build id": manifest.build_id,
            "code hash": f"sha256:{manifest.code_hash}",
            "file": f"sha256:{self.sha256}, {self.size:,} bytes",
            "entry point": manifest.entry_point,
            "target": manifest.target,
            "python": manifest.python_version,
            "dagy": manifest.dagy_version,
            "cells": f"{len(manifest.cells)} of a notebook" if manifest.cells else "",
        }
        lines = [f"{manifest.flow_name} {manifest.flow_version}"]
        lines += [f"  {label:13} {value}" for label, value in facts.items() if value]
        lines += ["files", *(f"  {each.size:>11,}  {each.path}" for each in manifest.files)]
        lines += ["requirements", *(f"  {each}" for each in manifest.requirements or ("none",))]
        if manifest.lock:
            lines += ["wheels", *(f"  {each.size:>11,}  {each.file_name}" for each in manifest.lock)]
        return "\n".join([*lines, "graph", *(f"  {line}" for line in drawing.text_tree(manifest.spec).splitlines())])


def inspect(path: Path) -> Inspection:
    """What is in the artifact at `path`; its structure and its names hold, its files' contents are not looked at.

    `MissingArtifactError` when there is none, `ArtifactError` when it is not one to trust.
    """
    with open_artifact(path) as artifact:
        return _inspection(artifact)


def verify(path: Path, *, sha256: str | None = None) -> Inspection:
    """What is in the artifact at `path`, every byte of which is as it was built. `ArtifactError` says what is not.

    Whoever can change the files can write a manifest that fits them: that it is the very artifact you built, only the
    `sha256` of its whole file tells, when you know it from elsewhere and give it.
    """
    with open_artifact(path) as artifact:
        artifact.verify()
        found = _inspection(artifact)
    if sha256 is not None and sha256.removeprefix("sha256:").lower() != found.sha256:
        raise ArtifactError(f"{path} is not that artifact: its SHA-256 is {found.sha256}, and not {sha256!r}")
    return found


def diff(first: Path, second: Path) -> tuple[str, ...]:
    """A sentence or a block of lines for each way in which the second artifact differs from the first; none: the same.

    Texts that changed are shown line by line. Errors as `verify`.
    """
    with open_artifact(first) as old, open_artifact(second) as new:
        old.verify()
        new.verify()
        return (*_changed_facts(old.manifest, new.manifest), *_changed_files(old, new))


def _inspection(artifact: OpenArtifact) -> Inspection:
    with artifact.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Inspection(artifact.path, file.tell(), digest, artifact.manifest)


def _changed_facts(old: Manifest, new: Manifest) -> Iterator[str]:
    for label, was, now in (
        ("flow", old.flow_name, new.flow_name),
        ("version", old.flow_version, new.flow_version),
        ("entry point", old.entry_point, new.entry_point),
        ("target", old.target, new.target),
        ("python", old.python_version, new.python_version),
        ("dagy", old.dagy_version, new.dagy_version),
    ):
        if was != now:
            yield f"{label}: {was} -> {now}"
    yield from _changed_packages(_pins(old), _pins(new), "requirement")
    before, after = ({each.name: each.file_name for each in manifest.lock} for manifest in (old, new))
    yield from _changed_packages(before, after, "wheel")
    yield from _changed_spec(old.spec, new.spec)


def _pins(manifest: Manifest) -> dict[str, str]:
    return {name: version for name, _, version in (each.partition("==") for each in manifest.requirements)}


def _changed_packages(old: Mapping[str, str], new: Mapping[str, str], what: str) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys(), key=str.casefold):
        match old.get(name), new.get(name):
            case None, after:
                yield f"{what} added: {name} {after}"
            case before, None:
                yield f"{what} removed: {name} {before}"
            case before, after if before != after:
                yield f"{what} changed: {name} {before} -> {after}"


def _changed_spec(old: FlowSpec, new: FlowSpec) -> Iterator[str]:
    yield from _changed_parts(_parameters(old), _parameters(new), "parameter")
    before, after = ({task.id: task for task in spec.tasks} for spec in (old, new))
    yield from _changed_parts(before, after, "task")
    if old.options != new.options:
        yield f"flow options: {old.options} -> {new.options}"
    if old.static != new.static:
        yield f"static parameters: {old.static} -> {new.static}"
    if old.result != new.result:
        yield "the flow returns something else"
    if old.description != new.description:
        yield "the flow's description changed"


def _parameters(spec: FlowSpec) -> dict[str, ParameterSpec]:
    return {each.name: each for each in spec.parameters}


def _changed_parts(old: Mapping[str, object], new: Mapping[str, object], what: str) -> Iterator[str]:
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in new:
            yield f"{what} removed: {name}"
        elif name not in old:
            yield f"{what} added: {name}"
        elif old[name] != new[name]:
            yield f"{what} changed: {name} ({', '.join(_changed_fields(old[name], new[name]))})"


def _changed_fields(old: object, new: object) -> list[str]:
    names = getattr(type(old), "__dataclass_fields__", {})
    return [name for name in names if getattr(old, name) != getattr(new, name)]


def _changed_files(old: OpenArtifact, new: OpenArtifact) -> Iterator[str]:
    before, after = ({each.path: each for each in artifact.manifest.files} for artifact in (old, new))
    for path in sorted(before.keys() | after.keys()):
        match before.get(path), after.get(path):
            case None, FileEntry() as added:
                yield f"file added: {path} ({added.size:,} bytes)"
            case FileEntry() as removed, None:
                yield f"file removed: {path} ({removed.size:,} bytes)"
            case FileEntry() as was, FileEntry() as now if was.sha256 != now.sha256:
                yield f"file changed: {path} ({was.size:,} -> {now.size:,} bytes)"
                lines = _changed_lines(_text(old, was), _text(new, now))
                if lines:
                    yield "\n".join(lines)


def _text(artifact: OpenArtifact, entry: FileEntry) -> str | None:
    """The file's text; None when it is not a small text."""
    if entry.size > _MOST_DIFFED_BYTES:
        return None
    content = b"".join(artifact.chunks(entry))
    try:
        return None if b"\0" in content else content.decode()
    except UnicodeDecodeError:
        return None


def _changed_lines(old: str | None, new: str | None) -> list[str]:
    if old is None or new is None:
        return []
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=2))[2:]
    more = len(lines) - _MOST_LINES
    return lines if more <= 0 else [*lines[:_MOST_LINES], f"... and {more} more lines"]
