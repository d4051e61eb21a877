"""When nothing fits what is asked for: which versions would, so that the message can name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from dagy.artifact.choosing import parsed
from dagy.artifact.declared import Declared
from dagy.artifact.installed import normalized
from dagy.artifact.installer_errors import NoFitError
from dagy.artifact.installers import Installer, Wanted, installer
from dagy.artifact.own_code import RUNTIME_REQUIREMENTS
from dagy.errors import ArtifactError

if TYPE_CHECKING:
    from packaging.requirements import Requirement


def refuse_with_nearest(
    error: NoFitError,
    wanted: Wanted,
    said: Declared,
    *,
    using: Installer | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> NoReturn:
    """Raise `ArtifactError` with the versions that could be asked for instead, or `error` when there are none."""
    if on_progress:
        on_progress("looking for versions that would do")
    asked = [parsed(each) for each in wanted.requirements if each not in RUNTIME_REQUIREMENTS]
    try:
        found = (using or installer()).resolve(
            replace(wanted, requirements=(*map(_of_any_version, asked), *RUNTIME_REQUIREMENTS))
        )
    except ArtifactError:
        raise error from None
    versions = {each.name: each.version for each in found}
    unmet = {str(each): each for each in asked if not _is_met(each, versions)}
    if not unmet:
        raise error
    instead = [f"{each.name}=={versions[normalized(each.name)]}" for each in unmet.values()]
    remedy = (
        f"in {said.origin}"
        if said.requirements is not None
        else "in a requirements file, with all else that the code imports, and build with --requirements FILE"
    )
    raise ArtifactError(
        f"{_joined(list(unmet))} can't be had for {wanted.place}; what is nearest and would do is {_joined(instead)}: "
        f"ask for {'that' if len(instead) == 1 else 'these'} {remedy}"
    ) from error


def _of_any_version(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    marker = f"; {requirement.marker}" if requirement.marker else ""
    return f"{requirement.name}{extras}{marker}"


def _is_met(requirement: Requirement, versions: Mapping[str, str]) -> bool:
    version = versions.get(normalized(requirement.name))  # None: its marker says that it is not for that place
    return version is None or requirement.specifier.contains(version, prereleases=True)


def _joined(texts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
