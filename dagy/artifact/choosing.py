"""Packages as they are installed here: found from imports or declarations, and pinned to their versions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dagy.artifact.declared import Declared
from dagy.artifact.dependencies import Reached, check_reached, reached
from dagy.artifact.imports import Import
from dagy.artifact.installed import Distribution, Installed, files_of, installed, normalized
from dagy.artifact.packages import Packages
from dagy.artifact.sizes import PackageSize, Sizes
from dagy.errors import ArtifactError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

OWN_NAMES = frozenset({"dagy", "dagy-nb"})  # whose version the manifest holds


def as_installed(known: Packages, imports: Iterable[tuple[str, Import]], said: Declared, local_dir: Path) -> Packages:
    """The packages pinned to what is installed here. `ArtifactError` names what is not, and what does not fit."""
    here = installed(local_dir)
    found = reached(imports, here)
    check_reached(found)
    if said.requirements is None:
        wanted = by_key(found)
    else:
        asked = [each for each in map(parsed, said.requirements) if _is_meant(each)]
        wanted = {one.key: one for each in asked for one in _with_extras(each, _fitting(each, said.origin, here), here)}
    needed = here.needed_by(wanted)
    return replace(
        known,
        origin=said.origin or known.origin,
        requirements=pins(wanted.values()),
        sizes=Sizes.of(map(_size_here, needed), known.target),
        evidence=(*known.evidence, *here.paths),
        warnings=(
            *known.warnings,
            *uncovered(found, said, {each.key for each in needed}),
            *(of_this_machine(each) for each in needed if each.folder),
        ),
    )


def by_key(found: Iterable[Reached]) -> dict[str, Distribution]:
    """The distributions that the imports need, each once."""
    return {each.key: each for one in found for each in one.distributions}


def uncovered(found: Sequence[Reached], said: Declared, covered: set[str]) -> list[str]:
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


def of_this_machine(distribution: Distribution) -> str:
    """A sentence on a distribution that was installed from a folder or a file of this machine."""
    how = "in place (editable)" if distribution.is_editable else "from a file"
    return f"{distribution.name} is installed {how}, of {distribution.folder}: no other machine can get it from there"


def pins(distributions: Iterable[Distribution]) -> tuple[str, ...]:
    """`name==version` for each, sorted, without Dagy itself."""
    pins = (each.requirement for each in distributions if each.key not in OWN_NAMES)
    return tuple(sorted(pins, key=str.casefold))


def parsed(requirement: str) -> Requirement:
    """The requirement, which `declared` has checked."""
    from packaging.requirements import Requirement

    return Requirement(requirement)


def _is_meant(requirement: Requirement) -> bool:
    """Whether it is for this machine, and not Dagy itself, whose version the manifest holds."""
    return normalized(requirement.name) not in OWN_NAMES and (
        requirement.marker is None or requirement.marker.evaluate()
    )


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


def _size_here(distribution: Distribution) -> PackageSize:
    return PackageSize(distribution.key, distribution.version, sum(size for _, size in files_of(distribution)))
