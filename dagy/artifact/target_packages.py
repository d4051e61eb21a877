"""Packages for another machine: wheels for its platform, chosen as near to what is installed here as it allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from dagy.artifact.choosing import OWN_NAMES, by_key, of_this_machine, parsed, pins, uncovered, with_nodes
from dagy.artifact.declared import Declared
from dagy.artifact.dependencies import Reached, check_reached, reached
from dagy.artifact.fetching import wheel_path
from dagy.artifact.imports import Import
from dagy.artifact.installed import Installed, installed, normalized
from dagy.artifact.installer_errors import NoFitError
from dagy.artifact.installers import Installer, Wanted
from dagy.artifact.manifest import PYTHON_VERSION
from dagy.artifact.nearest_versions import refuse_with_nearest
from dagy.artifact.own_code import RUNTIME_REQUIREMENTS, own_code
from dagy.artifact.packages import Packages
from dagy.artifact.resolving import choice_path, resolve
from dagy.artifact.sizes import PackageSize, Sizes
from dagy.artifact.wheels import members
from dagy.errors import ArtifactError
from dagy.version import __version__


def as_locked(
    known: Packages,
    imports: Iterable[tuple[str, Import]],
    said: Declared,
    local_dir: Path,
    project: Path,
    *,
    using: Installer | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Packages:
    """The packages as wheels for the target of `known`; what Dagy itself needs there is among them.

    Settings of uv and pip are looked for in the folder `project`. `ArtifactError` names what can't be had, and the way
    out, and so it does when the target can't take as much.
    """
    here = installed(local_dir)
    found = reached(imports, here)
    said = with_nodes(said, found)
    requirements = (*_asked(found, said), *RUNTIME_REQUIREMENTS)
    wanted = Wanted(
        requirements=requirements,
        target=known.target,
        python_version=PYTHON_VERSION,
        constraints=said.constraints,
        preferred=_versions_here(requirements, here),
        index_options=said.index_options,
        folder=project,
    )
    try:
        lock = resolve(wanted, local_dir, hashes=said.hashes, using=using, on_progress=on_progress)
    except NoFitError as error:
        refuse_with_nearest(error, wanted, said, using=using, on_progress=on_progress)
    wheels = tuple(wheel_path(local_dir, each) for each in lock)
    own = sum(map(len, own_code().values()))
    sizes = Sizes.of(
        [
            *(
                PackageSize(each.name, each.version, sum(one.size for one in members(path)), each.size)
                for each, path in zip(lock, wheels, strict=True)
            ),
            PackageSize("dagy", __version__, own, own),
        ],
        known.target,
    )
    sizes.check()
    return replace(
        known,
        origin=said.origin or known.origin,
        requirements=tuple(each.requirement for each in lock),
        lock=lock,
        wheels=wheels,
        sizes=sizes,
        evidence=(*known.evidence, *here.paths, choice_path(wanted, local_dir), *wheels),
        warnings=(*known.warnings, *uncovered(found, said, {each.name for each in lock})),
    )


def _asked(found: Sequence[Reached], said: Declared) -> tuple[str, ...]:
    """What is asked of the installer."""
    if said.requirements is not None:
        return tuple(each for each in said.requirements if normalized(parsed(each).name) not in OWN_NAMES)
    check_reached(found)
    distributions = by_key(found).values()
    for each in distributions:
        if each.folder:
            raise ArtifactError(
                f"{of_this_machine(each)}; a package of that name on an index may be another's, so it is not looked "
                f"for: build a wheel of it, put it where uv or pip find it, and declare {each.requirement!r}"
            )
    public = (replace(each, version=each.version.partition("+")[0]) for each in distributions)
    return pins(public)


def _versions_here(requirements: Iterable[str], here: Installed) -> dict[str, str]:
    """What is installed of all that the requirements need, by name: versions that the flow is known to run with."""
    names = [f"{each.name}[{','.join(each.extras)}]" for each in map(parsed, requirements)]
    return {each.key: each.version.partition("+")[0] for each in here.needed_by(names) if not each.url}
