"""Packages of an environment of its own: what is declared, where that is not what is installed here.

Only versions are chosen, as near to what is installed as the declaration allows. The environment is made where the flow
runs: see `environments`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dagy.artifact.choosing import OWN_NAMES, is_satisfied, size_here, uncovered
from dagy.artifact.declared import Declared
from dagy.artifact.dependencies import Reached
from dagy.artifact.installed import Installed, normalized
from dagy.artifact.installer_errors import NoFitError
from dagy.artifact.installers import Installer, Wanted
from dagy.artifact.manifest import PYTHON_VERSION
from dagy.artifact.nearest_versions import refuse_with_nearest
from dagy.artifact.own_code import RUNTIME_REQUIREMENTS
from dagy.artifact.packages import Packages
from dagy.artifact.resolving import choice_path, resolve_versions
from dagy.artifact.sizes import PackageSize, Sizes
from dagy.errors import ArtifactError

if TYPE_CHECKING:
    from packaging.requirements import Requirement


def as_resolved(
    known: Packages,
    found: Sequence[Reached],
    said: Declared,
    asked: Sequence[Requirement],
    here: Installed,
    local_dir: Path,
    project: Path,
    *,
    using: Installer | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Packages:
    """The packages that are `asked` for, and what they need, each of one version that this machine can have.

    What Dagy needs is chosen with them, so that all of it goes together, and then left out where it is as it is here:
    an environment has that anyway. Settings of uv and pip are looked for in the folder `project`. `ArtifactError` names
    what can't be had.
    """
    wanted = Wanted(
        requirements=(*map(str, asked), *RUNTIME_REQUIREMENTS),
        target=known.target,
        python_version=PYTHON_VERSION,
        constraints=said.constraints,
        preferred=_versions_to_keep(asked, here),
        index_options=said.index_options,
        folder=project,
    )
    try:
        versions = resolve_versions(wanted, local_dir, hashes=said.hashes, using=using, on_progress=on_progress)
    except NoFitError as error:
        refuse_with_nearest(error, wanted, said, using=using, on_progress=on_progress)
    except ArtifactError as error:
        raise ArtifactError(f"{said.origin} asks for {_unmet(asked, here)}; {error}") from error
    names = {normalized(each.name) for each in asked}
    own = {each.key: each.version for each in here.needed_by(map(_name, RUNTIME_REQUIREMENTS))}
    versions = {name: version for name, version in versions.items() if name in names or own.get(name) != version}
    return replace(
        known,
        origin=said.origin,
        requirements=tuple(f"{name}=={version}" for name, version in versions.items()),
        sizes=Sizes.of((_size(name, version, here) for name, version in versions.items()), known.target),
        evidence=(*known.evidence, *here.paths, choice_path(wanted, local_dir)),
        warnings=(
            *known.warnings,
            _difference(versions, names, here),
            *uncovered(_placed(found, versions, here), said, set(versions)),
            *_other_sources(versions, here),
        ),
    )


def _name(requirement: str) -> str:
    return requirement.partition(">=")[0]


def _versions_to_keep(asked: Sequence[Requirement], here: Installed) -> dict[str, str]:
    """What is installed from an index, by name, without what would contradict what is asked for."""
    unmet = {normalized(each.name) for each in asked if not is_satisfied(each, here)}
    return {
        key: each.version
        for key, each in here.distributions.items()
        if key not in unmet | OWN_NAMES and not each.url and "+" not in each.version
    }


def _unmet(asked: Sequence[Requirement], here: Installed) -> str:
    """`'humanize==4.9.0' (here is 4.10.0) and 'six' (not installed here)`."""
    texts = []
    for each in asked:
        if not is_satisfied(each, here):
            found = here.called(each.name)
            texts.append(f"{str(each)!r} ({'not installed here' if found is None else f'here is {found.version}'})")
    return " and ".join(texts)


def _difference(versions: Mapping[str, str], asked: Collection[str], here: Installed) -> str:
    """A sentence on what of the versions is not as it is installed here."""
    texts = []
    for name, version in versions.items():
        found = here.called(name)
        if found is None and name in asked:
            texts.append(f"{name} {version} is not installed here")
        elif found is not None and found.version != version:
            texts.append(f"{name} {version} is not what is installed here ({found.version})")
    return f"{', '.join(texts)}: a run gets an environment of its own"


def _placed(found: Sequence[Reached], versions: Mapping[str, str], here: Installed) -> list[Reached]:
    """The imports of which it is known what holds them.

    Which modules a package has that is not here can't be known, so any other import may be of one; but where one has
    the name of an import, that is what it is for.
    """
    imported = {normalized(each.module) for each in found}
    is_open = any(here.called(each) is None and each not in imported for each in versions)
    return [each for each in found if each.distributions or not is_open]


def _other_sources(versions: Mapping[str, str], here: Installed) -> Iterator[str]:
    """A sentence for each package that was installed here from a folder, and comes from an index there."""
    for name, version in versions.items():
        found = here.called(name)
        if found is not None and found.folder:
            yield (
                f"{name} is installed here from {str(found.folder)!r}, and a run gets {name} {version} of an index, "
                "which may be another's"
            )


def _size(name: str, version: str, here: Installed) -> PackageSize:
    found = here.called(name)
    if found is None or found.version != version:
        return PackageSize(name, version, None)
    return size_here(found)
