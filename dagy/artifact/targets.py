"""What an artifact can be built for: which wheels run there, and how much fits.

Lambda's images, which containers are made of too, have glibc 2.34 for Python 3.12 and later; the older ones have 2.26,
which takes wheels for `manylinux2014`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dagy.errors import ArtifactError, did_you_mean

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class BuildTarget:
    """A place where artifacts run."""

    name: str
    description: str
    machine: str | None = None  # "x86_64"; None: whatever this machine is, so nothing is resolved or fetched
    zipped_limit: int | None = None  # bytes of the layer's file; None: no limit
    unzipped_limit: int | None = None  # bytes of all that is unpacked there
    pythons: tuple[str, ...] = ()  # those that it has, "3.12"; empty: any
    old_pythons: int = 0  # the minor version up to which its images have an old C library

    @property
    def is_local(self) -> bool:
        """Whether it is this machine, with the packages that are installed here."""
        return self.machine is None

    def glibc(self, python_version: str) -> tuple[int, int]:
        """The version of the C library that wheels may need there, under Python `"3.12"`."""
        return (2, 34) if _minor(python_version) > self.old_pythons else (2, 17)

    def platforms(self, python_version: str) -> tuple[str, ...]:
        """The platform tags of wheels that run there, the best first: `manylinux_2_34_x86_64`."""
        _, newest = self.glibc(python_version)
        tags = [f"manylinux_2_{minor}_{self.machine}" for minor in range(newest, 16, -1)]
        older = [*(f"manylinux_2_{minor}" for minor in range(16, 4, -1))] if self.machine == "x86_64" else []
        legacy = ["manylinux2014", *(["manylinux2010", "manylinux1"] if self.machine == "x86_64" else [])]
        return (*tags, *(f"{each}_{self.machine}" for each in [*older, *legacy]), f"linux_{self.machine}")

    def check_python(self, python_version: str) -> None:
        """Raise `ArtifactError` when it has no Python `"3.12"`."""
        if self.pythons and python_version not in self.pythons:
            raise ArtifactError(
                f"the target {self.name!r} has no Python {python_version}; "
                f"build with one of {', '.join(self.pythons)}, or for the target 'ecs'"
            )


LOCAL = BuildTarget("local", "this machine, with the packages that are installed here")


def _lambda(name: str, description: str, machine: str) -> BuildTarget:
    pythons = ("3.11", "3.12", "3.13", "3.14")
    return BuildTarget(name, description, machine, 250 * _MIB, 250 * _MIB, pythons, old_pythons=11)


TARGETS: Mapping[str, BuildTarget] = MappingProxyType(
    {
        each.name: each
        for each in (
            LOCAL,
            _lambda("lambda", "AWS Lambda on x86_64", "x86_64"),
            _lambda("lambda-arm64", "AWS Lambda on arm64", "aarch64"),
            BuildTarget("ecs", "containers of AWS ECS on x86_64", "x86_64", 10 << 30, 20 << 30, old_pythons=11),
        )
    }
)


def target_called(name: str) -> BuildTarget:
    """The target of that name; `ArtifactError` names its neighbour, or those there are."""
    found = TARGETS.get(name)
    if found is None:
        hint = did_you_mean(name, TARGETS) or f"; the targets are {', '.join(TARGETS)}"
        raise ArtifactError(f"there is no target {name!r}{hint}")
    return found


def _minor(python_version: str) -> int:
    return int(python_version.partition(".")[2])
