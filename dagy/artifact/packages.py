"""The packages of an artifact: what its code and its project ask for, made exact for one target.

For this machine each is pinned to what is installed here, and nothing is looked up. For another, uv or pip choose
wheels for that platform, as near to what is installed here as it allows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dagy.artifact.declared import Declared, read_declared
from dagy.artifact.dependencies import Reached, check_reached, foreign_imports, reached
from dagy.artifact.fetching import wheel_path
from dagy.artifact.files import ModuleFile
from dagy.artifact.installed import Distribution, Installed, files_of, installed, normalized
from dagy.artifact.installers import Installer, Wanted
from dagy.artifact.manifest import LockedWheel
from dagy.artifact.own_code import RUNTIME_REQUIREMENTS, own_code
from dagy.artifact.resolving import resolve
from dagy.artifact.sizes import PackageSize, Sizes
from dagy.artifact.source import Source
from dagy.artifact.targets import LOCAL, BuildTarget, target_called
from dagy.artifact.wheels import members
from dagy.errors import ArtifactError
from dagy.settings import Settings
from dagy.version import __version__

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

_FROM_IMPORTS = "the imports that the code reaches"
_OURS = frozenset({"dagy", "dagy-nb"})


@dataclass(frozen=True, slots=True)
class Packages:
    """What an artifact needs besides its own code."""

    target: BuildTarget = LOCAL
    python_version: str = PYTHON_VERSION
    origin: str = _FROM_IMPORTS  # what says so, for people
    requirements: tuple[str, ...] = ()  # "name==version", sorted
    lock: tuple[LockedWheel, ...] = ()  # the wheels of them, sorted by name; empty for this machine
    sizes: Sizes = field(default_factory=lambda: Sizes((), LOCAL))
    evidence: tuple[Path, ...] = ()  # all this holds while these are as they were: there or not, size, time of change
    warnings: tuple[str, ...] = ()  # sentences
    wheels: tuple[Path, ...] = ()  # the files of the lock, in the same order


def packages_of(
    files: Sequence[ModuleFile],
    source: Source,
    *,
    requirements: Path | None = None,
    target: str = "local",
    local_dir: Path | None = None,
    declared: Declared | None = None,
    using: Installer | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Packages:
    """What the modules `files` of the flow in `source` need on the target of that name.

    What is declared counts before what the imports tell: `read_declared` is asked, unless its answer is given.
    `local_dir` keeps wheels and choices; None: where the settings say. `ArtifactError` names what can't be had, and the
    way out, and so it does when the target can't take as much.
    """
    place = target_called(target)
    place.check_python(PYTHON_VERSION)
    said = read_declared(source, requirements) if declared is None else declared
    imports = foreign_imports(files)
    if place.is_local and not imports and not said.requirements:
        return Packages(origin=said.origin or _FROM_IMPORTS, evidence=said.paths, warnings=said.warnings)
    folder = Settings.read().local_dir if local_dir is None else local_dir
    here = installed(folder)
    found = reached(imports, here)
    base = Packages(
        target=place, origin=said.origin or _FROM_IMPORTS, evidence=(*said.paths, *here.paths), warnings=said.warnings
    )
    if place.is_local:
        return _installed_here(base, found, said, here)
    wanted = Wanted(
        requirements=(*_asked(base, found, said), *RUNTIME_REQUIREMENTS),
        target=place,
        python_version=PYTHON_VERSION,
        constraints=said.constraints,
        index_options=said.index_options,
        folder=source.path.parent,
    )
    wanted = replace(wanted, preferred=_versions_here(wanted.requirements, here))
    lock = resolve(wanted, folder, hashes=said.hashes, using=using, on_progress=on_progress)
    return _locked(base, found, said, here, lock, tuple(wheel_path(folder, each) for each in lock))


def _installed_here(base: Packages, found: Sequence[Reached], said: Declared, here: Installed) -> Packages:
    """The packages pinned to what is installed."""
    check_reached(found)
    asked = [_parsed(each) for each in said.requirements] if said.requirements is not None else None
    if asked is None:
        wanted = {each.key: each for one in found for each in one.distributions}
        names = list(wanted)
    else:
        asked = [each for each in asked if _is_meant(each)]
        wanted = {}
        for each in asked:
            for distribution in _with_extras(each, _fitting(each, said.origin, here), here):
                wanted[distribution.key] = distribution
        names = list(wanted)
    needed = here.needed_by(names)
    return replace(
        base,
        requirements=_pins(wanted.values()),
        sizes=Sizes.of((_size_here(each) for each in needed), LOCAL),
        warnings=(
            *base.warnings,
            *_uncovered(found, said, {each.key for each in needed}),
            *(_of_this_machine(each) for each in needed if each.folder),
        ),
    )


def _asked(base: Packages, found: Sequence[Reached], said: Declared) -> tuple[str, ...]:
    """What is asked of the resolver."""
    if said.requirements is not None:
        return tuple(each for each in said.requirements if normalized(_parsed(each).name) not in _OURS)
    check_reached(found)
    distributions = {each.key: each for one in found for each in one.distributions}
    for each in distributions.values():
        if each.folder:
            raise ArtifactError(
                f"{_of_this_machine(each)}; a package of that name on an index may be another's, so it is not looked "
                f"for: build a wheel of it, put it where uv or pip find it, and declare {each.requirement!r}"
            )
    public = (replace(each, version=each.version.partition("+")[0]) for each in distributions.values())
    return _pins(public)


def _locked(
    base: Packages,
    found: Sequence[Reached],
    said: Declared,
    here: Installed,
    lock: tuple[LockedWheel, ...],
    wheels: tuple[Path, ...],
) -> Packages:
    """The packages as the lock has them, with their sizes and Dagy's own beside them."""
    own = sum(map(len, own_code().values()))
    sizes = Sizes.of(
        [
            *(
                PackageSize(each.name, each.version, sum(one.size for one in members(path)), each.size)
                for each, path in zip(lock, wheels, strict=True)
            ),
            PackageSize("dagy", __version__, own, own),
        ],
        base.target,
    )
    sizes.check()
    return replace(
        base,
        requirements=tuple(each.requirement for each in lock),
        lock=lock,
        sizes=sizes,
        evidence=(*base.evidence, *wheels),
        warnings=(*base.warnings, *_uncovered(found, said, {each.name for each in lock})),
        wheels=wheels,
    )


def _parsed(requirement: str) -> Requirement:
    from packaging.requirements import Requirement

    return Requirement(requirement)


def _is_meant(requirement: Requirement) -> bool:
    """Whether it is for this machine, and not Dagy itself, whose version the manifest holds."""
    return normalized(requirement.name) not in _OURS and (requirement.marker is None or requirement.marker.evaluate())


def _fitting(requirement: Requirement, origin: str, here: Installed) -> Distribution:
    """The installed distribution that the requirement asks for."""
    found = here.called(requirement.name)
    if found is None:
        raise ArtifactError(
            f"{origin} asks for {str(requirement)!r}, which is not installed here; pip install {str(requirement)!r}, "
            "so that its version is known, or build for another target"
        )
    if not requirement.specifier.contains(found.version, prereleases=True):
        raise ArtifactError(
            f"{origin} asks for {str(requirement)!r}, and {found.requirement} is installed here; "
            f"pip install {str(requirement)!r}, so that what runs here is what is built"
        )
    return found


def _with_extras(requirement: Requirement, found: Distribution, here: Installed) -> list[Distribution]:
    """The distribution, and those of its extras that are asked for."""
    if not requirement.extras:
        return [found]
    plain = {each.key for each in here.needed_by([found.name])}
    extras = here.needed_by([f"{found.name}[{','.join(requirement.extras)}]"])
    return [found, *(each for each in extras if each.key not in plain)]


def _versions_here(requirements: Iterable[str], here: Installed) -> dict[str, str]:
    """What is installed of all that the requirements need, by name: versions that the flow is known to run with."""
    names = [f"{each.name}[{','.join(each.extras)}]" for each in map(_parsed, requirements)]
    return {each.key: each.version.partition("+")[0] for each in here.needed_by(names) if not each.url}


def _uncovered(found: Sequence[Reached], said: Declared, covered: set[str]) -> list[str]:
    """A sentence for each reached import that what is declared does not bring."""
    if said.requirements is None:
        return []
    sentences: dict[str, None] = {}
    for each in found:
        keys = {distribution.key for distribution in each.distributions}
        if each.wanted.optional or keys & covered or normalized(each.module) in covered:
            continue
        name = min(keys, default=each.module)
        sentences[f"{each.place}: {each.module!r} is imported, and {said.origin} does not ask for {name!r}"] = None
    return list(sentences)


def _of_this_machine(distribution: Distribution) -> str:
    how = "in place (editable)" if distribution.is_editable else "from a file"
    return f"{distribution.name} is installed {how}, of {distribution.folder}: no other machine can get it from there"


def _pins(distributions: Iterable[Distribution]) -> tuple[str, ...]:
    pins = (each.requirement for each in distributions if each.key not in _OURS)
    return tuple(sorted(pins, key=str.casefold))


def _size_here(distribution: Distribution) -> PackageSize:
    return PackageSize(distribution.key, distribution.version, sum(size for _, size in files_of(distribution)))
