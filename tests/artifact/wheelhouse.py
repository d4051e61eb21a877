"""Wheels of a few bytes, and an index of them, so that no test needs a network."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dagy.artifact.installed import files_of, installed
from dagy.artifact.installers import Wanted
from dagy.artifact.own_code import RUNTIME_REQUIREMENTS
from dagy.artifact.wheels import FoundWheel
from dagy.errors import ArtifactError

EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass
class Wheelhouse:
    """A folder of wheels."""

    folder: Path

    def add(
        self,
        name: str,
        version: str = "1.0",
        *,
        tag: str = "py3-none-any",
        requires: Iterable[str] = (),
        files: Mapping[str, bytes] | None = None,
        unlisted: Mapping[str, bytes] | None = None,
        record: str | None = None,
        info: str | None = None,
    ) -> Path:
        """A wheel of that name, with `files`, and `unlisted` ones that its RECORD is silent about."""
        self.folder.mkdir(exist_ok=True)
        folder = info or f"{name}-{version}.dist-info"
        contents = {
            **({f"{name}/__init__.py": b"NAME = 1\n" * 40} if files is None else files),
            f"{folder}/METADATA": _metadata(name, version, requires),
            f"{folder}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
        }
        listed = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in contents.items())
        contents |= unlisted or {}
        contents[f"{folder}/RECORD"] = (listed + f"{folder}/RECORD,,\n" if record is None else record).encode()
        path = self.folder / f"{name}-{version}-{tag}.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for each, data in contents.items():
                archive.writestr(zipfile.ZipInfo(each, EPOCH), data, zipfile.ZIP_DEFLATED)
        return path

    def add_what_dagy_needs(self) -> None:
        """Wheels of the names and lowest versions that a layer needs for Dagy itself."""
        for each in RUNTIME_REQUIREMENTS:
            name, _, version = each.partition(">=")
            self.add(name, version)

    def add_installed(self, name: str) -> None:
        """A wheel of what is installed here under that name, and of all that it needs."""
        self.folder.mkdir(exist_ok=True)
        for each in installed(self.folder.parent / "local").needed_by([name]):
            where = Path(each.location).parent
            (tag,) = re.findall(r"(?m)^Tag: (.*)", (Path(each.location) / "WHEEL").read_text())[:1]
            path = self.folder / f"{each.key.replace('-', '_')}-{each.version}-{tag}.whl"
            held = {name for name, _ in files_of(each) if not name.startswith(("..", "/")) and (where / name).is_file()}
            with zipfile.ZipFile(path, "w") as archive:
                for name in sorted(held):
                    if name.endswith("/RECORD"):  # it lists what was made here, too
                        lines = (where / name).read_text().splitlines(keepends=True)
                        archive.writestr(name, "".join(line for line in lines if line.rsplit(",", 2)[0] in held))
                    else:
                        archive.write(where / name, name)

    def serve(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let uv and pip find these wheels, and nothing else."""
        for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {
            "UV_FIND_LINKS": str(self.folder),
            "UV_OFFLINE": "1",
            "UV_CACHE_DIR": str(self.folder.parent / "uv-cache"),
            "PIP_FIND_LINKS": str(self.folder),
            "PIP_NO_INDEX": "1",
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_CACHE_DIR": str(self.folder.parent / "pip-cache"),
        }.items():
            monkeypatch.setenv(name, value)


@dataclass
class Chosen:
    """An installer that chooses every wheel of a folder, and remembers what it was asked."""

    folder: Path
    asked: list[Wanted] = field(default_factory=list)
    name: str = "test"

    def resolve(self, wanted: Wanted) -> tuple[FoundWheel, ...]:
        """All wheels."""
        self.asked.append(wanted)
        return tuple(found(path) for path in sorted(self.folder.glob("*.whl")))

    def make_environment(self, folder: Path, python: Path, requirements: Iterable[str]) -> None:
        """Not here."""
        raise ArtifactError(f"no environment with {requirements} for {python} in {folder}")


def found(path: Path) -> FoundWheel:
    """The wheel at `path`, as an index would tell of it."""
    name, version = path.name.split("-")[:2]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return FoundWheel(name.replace("_", "-").lower(), version, path.as_uri(), digest)


def _metadata(name: str, version: str, requires: Iterable[str]) -> bytes:
    lines = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
        *(f"Requires-Dist: {each}" for each in requires),
    ]
    return ("\n".join(lines) + "\n").encode()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
