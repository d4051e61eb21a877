"""What the dependency layer of pandas, numpy and pyarrow costs, against uv alone and against copying the same bytes.

It needs the network, or whatever index the settings of uv name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from uv import find_uv_bin

from dagy.artifact.files import module_files
from dagy.artifact.layer import write_layer
from dagy.artifact.manifest import PYTHON_VERSION
from dagy.artifact.packages import Packages, packages_of
from dagy.artifact.source import read_source
from dagy.artifact.targets import TARGETS
from dagy.artifact.wheels import members

from .measuring import Effort, Row, in_turns, row_of_extra, row_of_ratio

_TARGET = TARGETS["ecs"]
_CODE = "import numpy\nimport pandas\nimport pyarrow\n"


def dependency_layers(effort: Effort) -> Iterator[Row]:
    """Of one flow, for a target that is not this machine."""
    with tempfile.TemporaryDirectory(prefix="dagy-bench-") as temporary:
        place = _Place(Path(temporary))
        packages = place.packages("warm")
        layer, copied = in_turns(effort, lambda: place.layer(packages), lambda: place.copy(packages))
        yield row_of_ratio("layer from wheels that are kept", layer, copied, called="to copy the bytes", target=2.0)
        warm, uv_warm = in_turns(effort, lambda: place.build("warm"), lambda: place.uv("uv-warm"))
        yield row_of_ratio(
            "packages and layer, wheels kept", warm, uv_warm, called="uv pip install, warm", target=1, shows_cpu=False
        )
        again, nothing = in_turns(effort, lambda: place.again("warm"), lambda: None)
        yield row_of_extra("packages and layer, both kept", again, nothing, called="", target=0.2)
        slow = replace(effort, rounds=max(1, effort.rounds // 4))
        cold, uv_cold = in_turns(slow, place.build_cold, place.uv_cold)
        yield row_of_ratio(
            "packages and layer, nothing kept",
            cold,
            uv_cold,
            called="uv pip install, cold",
            target=1.5,
            shows_cpu=False,
        )


class _Place:
    """A folder with the flow, and a function for each of the things that are measured."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "etl.py").write_text(_CODE, encoding="utf-8")
        self._source = read_source(folder / "etl.py")
        self._files = module_files(self._source)

    def packages(self, local: str) -> Packages:
        return packages_of(self._files, self._source, target=_TARGET.name, local_dir=self._folder / local)

    def layer(self, packages: Packages) -> None:
        shutil.rmtree(self._folder / "warm/layers", ignore_errors=True)
        write_layer(packages, self._folder / "layer.zip", local_dir=self._folder / "warm")

    def copy(self, packages: Packages) -> None:
        """The packed bytes of every file, one after the other, into one file that is safe on disk."""
        with (self._folder / "copy").open("wb", buffering=1 << 20) as target:
            for path in packages.wheels:
                content = memoryview(path.read_bytes())
                for each in members(path):
                    target.write(content[each.offset : each.offset + each.packed_size])
            target.flush()
            os.fsync(target.fileno())

    def build(self, local: str) -> None:
        shutil.rmtree(self._folder / local / "layers", ignore_errors=True)
        self.again(local)

    def again(self, local: str) -> None:
        write_layer(self.packages(local), self._folder / "layer.zip", local_dir=self._folder / local)

    def build_cold(self) -> None:
        shutil.rmtree(self._folder / "cold", ignore_errors=True)
        shutil.rmtree(self._folder / "cold-cache", ignore_errors=True)
        before = os.environ.get("UV_CACHE_DIR")
        os.environ["UV_CACHE_DIR"] = str(self._folder / "cold-cache")
        try:
            self.again("cold")
        finally:
            os.environ.pop("UV_CACHE_DIR")
            if before is not None:
                os.environ["UV_CACHE_DIR"] = before

    def uv(self, cache: str) -> None:
        """The same packages, installed into a folder for the same platform."""
        target = self._folder / "installed"
        shutil.rmtree(target, ignore_errors=True)
        _, glibc = _TARGET.glibc(PYTHON_VERSION)
        command = [
            str(find_uv_bin()), "pip", "install", "--quiet", "--target", str(target), "--only-binary", ":all:",
            "--python-platform", f"x86_64-manylinux_2_{glibc}", "--python-version", PYTHON_VERSION,
            "--cache-dir", str(self._folder / cache), *self.packages("warm").requirements,
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)

    def uv_cold(self) -> None:
        shutil.rmtree(self._folder / "uv-cold", ignore_errors=True)
        self.uv("uv-cold")
