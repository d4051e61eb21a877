"""Which distributions a flow's code needs, each pinned to the version installed here."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence

from dagy.artifact.files import ModuleFile
from dagy.artifact.imports import Import
from dagy.artifact.source import RESERVED_MODULES
from dagy.errors import ArtifactError


def requirements(files: Iterable[ModuleFile]) -> tuple[str, ...]:
    """`name==version` for each distribution that `files` import from, sorted.

    The standard library is left out, and Dagy itself, whose version the manifest holds. An import that is not
    installed is an `ArtifactError`, unless the code goes on without it.
    """
    wanted = [
        (file.path, each)
        for file in files
        for each in file.elsewhere
        if not each.level and each.module.partition(".")[0] not in RESERVED_MODULES
    ]
    if not wanted:
        return ()
    from importlib.metadata import packages_distributions, version

    providers = packages_distributions()
    names = {name for path, each in wanted for name in _distributions(path, each, providers)}
    return tuple(sorted((f"{name}=={version(name)}" for name in names), key=str.casefold))


def _distributions(path: str, wanted: Import, providers: Mapping[str, Sequence[str]]) -> list[str]:
    top = wanted.module.partition(".")[0]
    found = sorted(set(providers.get(top, ())))
    if len(found) > 1:  # a namespace, such as `google`, that several distributions share
        return _sharing(wanted, found)
    if found or wanted.optional:
        return found
    origin = _origin(top)
    if origin is None:
        raise ArtifactError(
            f"{path}, line {wanted.line}: module {top!r} is not installed; install the package that holds it, or "
            "import it inside try/except ImportError when the flow can do without"
        )
    raise ArtifactError(
        f"{path}, line {wanted.line}: module {top!r} ({origin}) belongs to no installed package and is not under the "
        "folder of the flow, so its version is unknown; install it as a package, or move it beside the flow"
    )


def _sharing(wanted: Import, candidates: list[str]) -> list[str]:
    """Those of `candidates` that hold the module itself; all of them when no file tells."""
    from importlib.metadata import files

    paths = [wanted.module.replace(".", "/"), *(f"{wanted.module}.{name}".replace(".", "/") for name in wanted.names)]
    beginnings = tuple(f"{path}{end}" for path in paths[1:] or paths for end in ("/", ".py"))
    holders = [name for name in candidates if any(str(file).startswith(beginnings) for file in files(name) or ())]
    return holders or candidates


def _origin(top: str) -> str | None:
    """Where the module would be imported from; None when it is nowhere."""
    if top in sys.modules:
        return getattr(sys.modules[top], "__file__", None) or "already imported"
    spec = importlib.util.find_spec(top)
    return None if spec is None else spec.origin or "a folder without __init__.py"
