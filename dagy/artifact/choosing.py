"""Packages as they are installed here: found from imports or declarations, and pinned to their versions.

Where something else is declared than what is installed, `own_environment` has the say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from dagy.artifact.declared import Declared
from dagy.artifact.dependencies import AskedFor, Reached, check_reached, reached
from dagy.artifact.imports import Import
from dagy.artifact.installed import Distribution, Installed, applies, files_of, installed, normalized, requires
from dagy.artifact.packages import Packages
from dagy.artifact.sizes import PackageSize, Sizes
from dagy.lazy import lazily

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from dagy.artifact.installers import Installer

OWN_NAMES = frozenset({"dagy", "dagy-nb"})  # whose version the manifest holds


def as_installed(
    known: Packages,
    imports: Iterable[tuple[str, Import]],
    said: Declared,
    local_dir: Path,
    project: Path,
    *,
    using: Installer | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Packages:
    """The packages pinned to what is installed here, or to what is declared where that is something else.

    `ArtifactError` names what is not installed and not declared, and what is declared and can't be had.
    """
    here = installed(local_dir)
    found = reached(imports, here)
    said = with_nodes(said, found)
    asked = [each for each in map(parsed, said.requirements or ()) if _is_meant(each)]
    if not all(is_satisfied(each, here) for each in asked):
        choose = cast("Callable[..., Packages]", _load("as_resolved"))
        return choose(known, found, said, asked, here, local_dir, project, using=using, on_progress=on_progress)
    check_reached(found, said.origin)
    if said.requirements is None:
        wanted = by_key(found)
    else:
        wanted = {one.key: one for each in asked for one in _with_extras(each, here)}
    needed = here.needed_by(wanted)
    return replace(
        known,
        origin=said.origin or known.origin,
        requirements=pins(wanted.values()),
        sizes=Sizes.of(map(size_here, needed), known.target),
        evidence=(*known.evidence, *here.paths),
        warnings=(
            *known.warnings,
            *uncovered(found, said, {each.key for each in needed}),
            *(of_this_machine(each) for each in needed if each.folder),
        ),
    )


_load, _ = lazily(__name__, {"as_resolved": "dagy.artifact.own_environment"})  # most projects get by without it


def with_nodes(said: Declared, found: Iterable[Reached]) -> Declared:
    """What is declared, and of what is installed here the distributions that nodes ask for beside it.

    Nothing imports these, so nobody thinks of declaring them. A requirements file says it all: nothing is added to it.
    """
    if said.requirements is None or said.is_whole:
        return said
    named = {normalized(parsed(each).name) for each in said.requirements}
    more = {
        one.name: None
        for each in found
        if isinstance(each, AskedFor)
        for one in each.distributions
        if one.key not in named and not one.folder
    }
    return replace(said, requirements=(*said.requirements, *more))


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
        sentences[f"{each.place}: {each.module!r} is {each.use}, and {said.origin} does not ask for {name!r}"] = None
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


def is_satisfied(requirement: Requirement, here: Installed) -> bool:
    """Whether what is installed is what the requirement asks for, with its extras."""
    found = here.called(requirement.name)
    if found is None or not requirement.specifier.contains(found.version, prereleases=True):
        return False
    extras = [each for extra in requirement.extras for each in requires(found) if applies(each, extra)]
    return all(here.called(each.name) is not None for each in extras)


def size_here(distribution: Distribution) -> PackageSize:
    """The size of an installed distribution."""
    return PackageSize(distribution.key, distribution.version, sum(size for _, size in files_of(distribution)))


def _is_meant(requirement: Requirement) -> bool:
    """Whether it is for this machine, and not Dagy itself, whose version the manifest holds."""
    return normalized(requirement.name) not in OWN_NAMES and (
        requirement.marker is None or requirement.marker.evaluate()
    )


def _with_extras(requirement: Requirement, here: Installed) -> list[Distribution]:
    """The installed distribution, and those of its extras that are asked for."""
    found = here.distributions[normalized(requirement.name)]
    if not requirement.extras:
        return [found]
    plain = {each.key for each in here.needed_by([found.name])}
    extras = here.needed_by([f"{found.name}[{','.join(requirement.extras)}]"])
    return [found, *(each for each in extras if each.key not in plain)]
