"""Which installed distributions a flow needs: those that hold the modules it imports, and those its nodes ask for."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dagy.artifact.imports import Import
from dagy.artifact.installed import Distribution, Installed, files_of
from dagy.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class Reached:
    """An import of a module that is neither the flow's own nor of Python or Dagy, and what holds the module here."""

    wanted: Import
    path: str  # of the file with the import, in the artifact
    distributions: tuple[Distribution, ...]  # none: the module is not installed, or belongs to no package

    @property
    def module(self) -> str:
        """The top-level module."""
        return self.wanted.module.partition(".")[0]

    @property
    def place(self) -> str:
        """`etl.py, line 3`."""
        return f"{self.path}, line {self.wanted.line}"

    @property
    def use(self) -> str:
        """How it is used: `imported`."""
        return "imported"


@dataclass(frozen=True, slots=True)
class AskedFor(Reached):
    """A distribution that a node asks for by its name, or that of a module in it, as if there were an import of it."""

    @property
    def module(self) -> str:
        """The name of the distribution."""
        return self.wanted.module

    @property
    def place(self) -> str:
        """`node 'read_csv'`."""
        return self.path

    @property
    def use(self) -> str:
        """How it is used: `needed`."""
        return "needed"


def reached(imports: Iterable[tuple[str, Import]], here: Installed) -> tuple[Reached, ...]:
    """What each of the imports, and of what nodes ask for, needs of what is installed."""
    return tuple(_reached(path, each, here) for path, each in imports)


def _reached(path: str, wanted: Import, here: Installed) -> Reached:
    if wanted.line:
        return Reached(wanted, path, tuple(_holders(wanted, here)))
    found = here.called(wanted.module)
    return AskedFor(wanted, path, tuple(_holders(wanted, here)) if found is None else (found,))


def check_reached(imports: Iterable[Reached], declared: str = "") -> None:
    """Raise `ArtifactError` for the first import that nothing here provides, unless the code goes on without it.

    `declared` names what says which packages to use, all of which are installed; empty when nothing does.
    """
    for each in imports:
        if each.distributions or each.wanted.optional:
            continue
        if isinstance(each, AskedFor):
            remedy = f"add it to {declared}" if declared else f"install it with: pip install {each.module}"
            raise ArtifactError(f"{each.place} needs {each.module!r}, which is not installed; {remedy}")
        origin = _origin(each.module)
        if origin is None:
            remedy = f"add the package that holds it to {declared}" if declared else "install the package that holds it"
            raise ArtifactError(
                f"{each.place}: module {each.module!r} is not installed; {remedy}, or "
                "import it inside try/except ImportError when the flow can do without"
            )
        raise ArtifactError(
            f"{each.place}: module {each.module!r} ({origin}) belongs to no installed package and is not under the "
            "folder of the flow, so its version is unknown; install it as a package, or move it beside the flow"
        )


def _holders(wanted: Import, here: Installed) -> Sequence[Distribution]:
    top = wanted.module.partition(".")[0]
    found = here.holding(top)
    if len(found) > 1:  # a namespace, such as `google`, that several distributions share
        return _sharing(wanted, found)
    return found or _in_place(top, here)


def _sharing(wanted: Import, candidates: list[Distribution]) -> list[Distribution]:
    """Those of `candidates` that hold the module itself; all of them when no file tells."""
    module = wanted.module.replace(".", "/")
    parts = [f"{module}/{name}" for name in wanted.names]
    for paths in (parts, [module]):
        found = [each for each in candidates if _holds_one_of(paths, each)]
        if found:
            return found
    return candidates


def _holds_one_of(paths: Iterable[str], distribution: Distribution) -> bool:
    beginnings = tuple(f"{path}{end}" for path in paths for end in ("/", ".py", ".so", ".cpython-", ".abi3."))
    return any(path.startswith(beginnings) for path, _ in files_of(distribution))


def _in_place(top: str, here: Installed) -> list[Distribution]:
    """The distribution that was installed from the folder where the module is: one that is being developed."""
    folders = {each.folder: each for each in here.distributions.values() if each.is_editable and each.folder}
    if not folders:
        return []
    origin = _origin(top)
    found = [folders[parent] for parent in Path(origin).resolve().parents if parent in folders] if origin else []
    return found[:1]


def _origin(top: str) -> str | None:
    """Where the module would be imported from; None when it is nowhere."""
    if top in sys.modules:
        module = sys.modules[top]
        return getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "already imported")
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), "a folder without __init__.py")
