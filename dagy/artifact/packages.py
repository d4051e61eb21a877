"""The packages of an artifact: what its code and its project ask for, made exact for one target.

Code that needs none is the usual case while a flow is being written, and it loads nothing of what chooses packages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from dagy.artifact.declared import Declared, read_declared
from dagy.artifact.files import ModuleFile
from dagy.artifact.imports import Import
from dagy.artifact.manifest import PYTHON_VERSION, LockedWheel
from dagy.artifact.sizes import Sizes
from dagy.artifact.source import RESERVED_MODULES, Source
from dagy.artifact.targets import LOCAL, BuildTarget, target_called
from dagy.lazy import lazily
from dagy.settings import Settings
from dagy.spec import FlowSpec

if TYPE_CHECKING:
    from dagy.artifact.installers import Installer


@dataclass(frozen=True, slots=True)
class Packages:
    """What an artifact needs besides its own code."""

    target: BuildTarget = LOCAL
    origin: str = "the imports that the code reaches"  # what says so
    requirements: tuple[str, ...] = ()  # "name==version", sorted
    lock: tuple[LockedWheel, ...] = ()  # the wheels of them, sorted by name; empty for this machine
    wheels: tuple[Path, ...] = ()  # the files of the lock, in the same order
    sizes: Sizes = field(default_factory=lambda: Sizes((), LOCAL))
    evidence: tuple[Path, ...] = ()  # all this holds while these are as they were: there or not, size, time of change
    warnings: tuple[str, ...] = ()  # sentences


def packages_of(
    files: Sequence[ModuleFile],
    source: Source,
    *,
    requirements: Path | None = None,
    asked: Iterable[tuple[str, Import]] = (),
    target: str = "local",
    local_dir: Path | None = None,
    declared: Declared | None = None,
    using: Installer | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Packages:
    """What the modules `files` of the flow in `source` need on the target of that name, and what is `asked` for.

    What is declared counts before what the imports tell: `read_declared` is asked, unless its answer is given. For this
    machine they are what is installed here, unless other versions are declared: then those, for an environment of its
    own.
    `local_dir` keeps wheels and choices; None: where the settings say. `ArtifactError` names what can't be had, and the
    way out, and so it does when the target can't take as much.
    """
    place = target_called(target)
    place.check_python(PYTHON_VERSION)
    said = read_declared(source, requirements) if declared is None else declared
    imports = (*_foreign(files), *asked)
    known = Packages(target=place, evidence=said.paths, warnings=said.warnings)
    if place.is_local and not imports and not said.requirements:
        return known
    folder = Settings.read().local_dir if local_dir is None else local_dir
    choose = _later("as_installed" if place.is_local else "as_locked")
    return choose(known, imports, said, folder, source.path.parent, using=using, on_progress=on_progress)


def asked_by_nodes(spec: FlowSpec, own: Iterable[str] = ()) -> tuple[tuple[str, Import], ...]:
    """What the flow's nodes ask for, each with `node 'type'`, as imports that stand in no line.

    What they ask for of the files in `own` is left out: the flow has it.
    """
    here = {path.partition("/")[0].removesuffix(".py") for path in own}
    found = {(node.type, name) for task in spec.tasks if (node := task.node) is not None for name in node.requires}
    return tuple(
        (f"node {node!r}", Import(name, 0, (), 0, optional=False)) for node, name in sorted(found) if name not in here
    )


_load, _ = lazily(__name__, {"as_installed": "dagy.artifact.choosing", "as_locked": "dagy.artifact.target_packages"})


def _later(name: str) -> Callable[..., Packages]:
    return cast("Callable[..., Packages]", _load(name))


def _foreign(files: Iterable[ModuleFile]) -> tuple[tuple[str, Import], ...]:
    """The imports that need a package, each with its file's path."""
    return tuple(
        (file.path, each)
        for file in files
        for each in file.elsewhere
        if not each.level and each.module.partition(".")[0] not in RESERVED_MODULES
    )
