"""What an artifact says of itself: `dagy.json`.

A `Manifest` is a value; its `code_hash` follows from the rest of it, so two artifacts with the same hash hold the same
code, spec, requirements and Python version, and behave the same. Which cells of a notebook the code came from does not
change what it does, so it is in the manifest and not in the hash.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from dagy.errors import ArtifactError, SpecError
from dagy.spec import FlowSpec, Json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MANIFEST_NAME = "dagy.json"
SCHEMA_VERSION = 3  # 1 had no cells; 2 had no target, no lock, and no flow in a package
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"  # of this Python
LOCAL_TARGET = "local"  # the machine itself

# Compiled when a manifest is read: a build only writes one.
_SHA256 = r"[0-9a-f]{64}"
_ENTRY_POINT = r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<variable>[^\W\d]\w*)"
_REQUIREMENT = r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*"
_WHEEL = r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl"
_TARGET = r"[a-z][a-z0-9-]{0,40}"
_PYTHON_VERSION = r"3\.\d{1,3}"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of an artifact."""

    path: str  # with forward slashes
    size: int  # in bytes
    sha256: str  # 64 lower-case hex digits


@dataclass(frozen=True, slots=True)
class CellEntry:
    """One cell of the notebook that an artifact was built from: one whose code is in it."""

    id: str  # the notebook's own
    sha256: str  # of the cell's source in UTF-8, as 64 lower-case hex digits
    names: tuple[str, ...] = ()  # what it defines there, sorted

    @classmethod
    def of(cls, cell_id: str, source: str, names: Iterable[str] = ()) -> CellEntry:
        """The entry of the cell with this source."""
        return cls(cell_id, hashlib.sha256(source.encode(errors="replace")).hexdigest(), tuple(sorted(set(names))))


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


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an artifact holds and how it is run."""

    spec: FlowSpec
    entry_point: str  # "package.module:variable", where the `Flow` is
    python_version: str  # "3.11"
    requirements: tuple[str, ...]  # "name==version", sorted
    files: tuple[FileEntry, ...]  # sorted by path; the manifest itself is not among them
    dagy_version: str
    cells: tuple[CellEntry, ...] = ()  # of the notebook that it was built from, in order; not part of the `code_hash`
    target: str = LOCAL_TARGET  # the platform that it was built for
    lock: tuple[LockedWheel, ...] = ()  # what its dependency layer holds, sorted by name; empty for the machine itself
    schema_version: int = SCHEMA_VERSION

    @property
    def flow_name(self) -> str:
        """The name of the flow."""
        return self.spec.name

    @property
    def flow_version(self) -> str:
        """The version that the flow's author gave it."""
        return self.spec.version

    @property
    def module(self) -> str:
        """The dotted name of the module that defines the flow."""
        return self.entry_point.partition(":")[0]

    @property
    def module_path(self) -> str:
        """Which of the artifact's files is that module."""
        return _module_path(self.module, {file.path for file in self.files})

    @property
    def code_hash(self) -> str:
        """SHA-256, in hex, of all that changes what the flow does; not of the archive's bytes."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def build_id(self) -> str:
        """The first 12 hex digits of the `code_hash`."""
        return self.code_hash[:12]

    def to_json(self) -> str:
        """The text of `dagy.json`; the same manifest gives the same text."""
        derived: dict[str, Json] = {
            "flow_name": self.flow_name,
            "flow_version": self.flow_version,
            "build_id": self.build_id,
            "code_hash": self.code_hash,
        }
        content = derived | self._content()
        if self.schema_version > 1:
            content["cells"] = [asdict(cell) | {"names": list(cell.names)} for cell in self.cells]
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """The manifest that `text` holds; `ArtifactError` says what is wrong with it."""
        data = _parsed(text)
        version = data.get("schema_version")
        if type(version) is int and version > SCHEMA_VERSION:
            raise ArtifactError(
                f"the manifest's schema_version is {version}, and this Dagy reads {SCHEMA_VERSION}; upgrade dagy"
            )
        document = _document(text)
        try:
            spec = FlowSpec.model_validate(document.spec)
        except SpecError as error:
            raise ArtifactError(f"the manifest's spec is broken: {error}") from error
        manifest = cls(
            spec, document.entry_point, document.python_version, document.requirements, document.files,
            document.dagy_version, document.cells, document.target, document.lock, document.schema_version,
        )  # fmt: skip
        _check(manifest, document)
        return manifest

    def _content(self) -> dict[str, Json]:
        content: dict[str, Json] = {
            "schema_version": self.schema_version,
            "dagy_version": self.dagy_version,
            "python_version": self.python_version,
            "entry_point": self.entry_point,
            "requirements": list(self.requirements),
            "files": [asdict(file) for file in self.files],
            "spec": self.spec.model_dump(),
        }
        if self.schema_version > 2:
            content |= {"target": self.target, "lock": [asdict(wheel) for wheel in self.lock]}
        return content


@dataclass(frozen=True, slots=True)
class _Document:
    """The JSON document, every field of it required but those that earlier versions had not."""

    flow_name: str
    flow_version: str
    build_id: str
    code_hash: str
    schema_version: Literal[1, 2, 3]
    dagy_version: str
    python_version: str
    entry_point: str
    requirements: tuple[str, ...]
    files: tuple[FileEntry, ...]
    spec: dict[str, Any]
    cells: tuple[CellEntry, ...] = ()
    target: str = LOCAL_TARGET
    lock: tuple[LockedWheel, ...] = ()


def _parsed(text: str | bytes) -> Mapping[str, Json]:
    try:
        data = json.loads(text, object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"the manifest is not JSON that can be read: {error}") from error
    if not isinstance(data, dict):
        raise ArtifactError("the manifest is not a JSON object")
    return data


def _no_key_twice(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    data = dict(pairs)
    if len(data) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"the key {counts.most_common(1)[0][0]!r} is there twice")
    return data


def _document(text: str | bytes) -> _Document:
    from pydantic import ValidationError

    try:
        return _adapter().validate_json(text, strict=True)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the document"
        raise ArtifactError(f"the manifest is broken: {where}: {fault['msg']}") from error


@cache
def _adapter() -> TypeAdapter[_Document]:
    from pydantic import ConfigDict, TypeAdapter

    for each in (FileEntry, CellEntry, LockedWheel, _Document):
        each.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[union-attr]  # pydantic reads it there
    return TypeAdapter(_Document)


def _module_path(module: str, paths: Container[str]) -> str:
    """The file of a dotted module name among `paths`; where it should be when it is not there."""
    stem = module.replace(".", "/")
    package = f"{stem}/__init__.py"
    return package if package in paths else f"{stem}.py"


def _check(manifest: Manifest, document: _Document) -> None:
    """Refuse what is well formed and yet can't be an artifact that Dagy built."""
    paths = [file.path for file in manifest.files]
    if not re.fullmatch(_ENTRY_POINT, manifest.entry_point) or manifest.module_path not in paths:
        raise ArtifactError(f"the entry point {manifest.entry_point[:200]!r} is not in a module of the artifact")
    if paths != sorted(set(paths)) or MANIFEST_NAME in paths:
        raise ArtifactError("the manifest's files are not in order, or one is listed twice")
    for file in manifest.files:
        if not re.fullmatch(_SHA256, file.sha256) or file.size < 0:
            raise ArtifactError(f"the manifest's entry for {file.path!r} has no proper size and SHA-256")
    _check_cells(manifest)
    for requirement in manifest.requirements:
        if not re.fullmatch(_REQUIREMENT, requirement):
            raise ArtifactError(f"the requirement {requirement!r} is not of the form name==version")
    _check_lock(manifest)
    if not re.fullmatch(_PYTHON_VERSION, manifest.python_version):
        raise ArtifactError(f"the manifest's python_version {manifest.python_version!r} is not of the form 3.11")
    for name in ("flow_name", "flow_version", "build_id", "code_hash"):
        if getattr(document, name) != getattr(manifest, name):
            raise ArtifactError(f"the manifest's {name} does not fit the rest of it: it was changed after the build")


def _check_cells(manifest: Manifest) -> None:
    for cell in manifest.cells:
        if not cell.id or not re.fullmatch(_SHA256, cell.sha256):
            raise ArtifactError(f"the manifest's entry for the cell {cell.id!r} has no id or no proper SHA-256")
    if len({cell.id for cell in manifest.cells}) < len(manifest.cells):
        raise ArtifactError("the manifest lists a cell twice")


def _check_lock(manifest: Manifest) -> None:
    if not re.fullmatch(_TARGET, manifest.target):
        raise ArtifactError(f"the manifest's target {manifest.target[:100]!r} is not the name of one")
    if manifest.schema_version < 3 and (manifest.target != LOCAL_TARGET or manifest.lock):
        raise ArtifactError(f"a manifest of version {manifest.schema_version} has no target and no lock")
    for wheel in manifest.lock:
        if not re.fullmatch(_REQUIREMENT, f"{wheel.name}=={wheel.version}") or not re.fullmatch(
            _WHEEL, wheel.file_name
        ):
            raise ArtifactError(f"the manifest's lock does not name a wheel: {wheel.name!r}, {wheel.file_name!r}")
        if not re.fullmatch(_SHA256, wheel.sha256) or wheel.size < 0:
            raise ArtifactError(f"the manifest's lock has no proper size and SHA-256 for {wheel.file_name!r}")
    if len({wheel.name for wheel in manifest.lock}) < len(manifest.lock):
        raise ArtifactError("the manifest locks a package twice")
