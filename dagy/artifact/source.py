"""`FILE[:FLOW]` -> code -> the flow that it defines.

Reading and loading are two steps: `read_source` only reads, so that showing and exporting a file runs nothing of it;
`load_flow` runs the module's text, because a flow is what that text makes.
"""

from __future__ import annotations
import __future__

import ast
import importlib
import inspect
import itertools
import keyword
import linecache
import os
import re
import sys
import tokenize
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import decode_source, module_from_spec, spec_from_loader
from io import BytesIO
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Literal, NamedTuple, TypeAlias

from dagy.artifact.imports import imports_of
from dagy.artifact.loading import loading, stepped_aside
from dagy.artifact.manifest import CellEntry
from dagy.errors import CodeFailedError, DagyError, SourceError, UnknownFlowError
from dagy.flows import Flow

Roots: TypeAlias = Literal["flows", "tasks", "all"]  # what of a file is wanted, with all that it needs

READERS = "dagy.readers"  # the entry-point group of functions that turn another kind of file into a module's text

# What a user's file can't be imported as: code that is loaded already would be hidden by it.
RESERVED_MODULES = sys.stdlib_module_names | {"__main__", "dagy", "dagy_nb", "sitecustomize", "usercustomize"}

_INIT = "__init__.py"
_TARGET = re.compile(r"(?P<path>.+?\.\w+):(?P<flow>[^/\\]*)")


class MissingSourceError(SourceError, FileNotFoundError):
    """The file is not there."""


class SeveralFlowsError(SourceError):
    """A file defines several flows and none was named; `known` holds their names."""

    def __init__(self, path: Path, known: tuple[str, ...]) -> None:
        self.known = known
        choices = "\n".join(f"  {path}:{name}" for name in known)
        super().__init__(f"{path} defines {len(known)} flows; say which one you mean:\n{choices}")


class Target(NamedTuple):
    """What `FILE[:FLOW]` says: a file, and a flow in it or None for the only one there is."""

    path: Path
    flow: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Code as text: the file it was read from, the name to import it under, and the text of the module."""

    path: Path  # absolute
    module: str  # "flows", or "package.flows" for a module that is part of a package
    text: str
    cells: tuple[CellEntry, ...] = ()  # of a notebook: those whose code is in the text
    left_out: tuple[str, ...] = ()  # of a notebook: a sentence for each thing that is not in the text, and why
    warnings: tuple[str, ...] = ()  # of a notebook: sentences on what may not mean what was meant

    @property
    def root(self) -> Path:
        """The folder that the code is imported from: the one above the topmost package, or the file's own."""
        return self.path.parents[self.module.count(".") + self.is_package]

    @property
    def is_package(self) -> bool:
        """Whether the module is a package itself: an `__init__.py`."""
        return self.path.name == _INIT

    @property
    def relative_path(self) -> str:
        """Where the module stands below `root`, with forward slashes."""
        stem = self.module.replace(".", "/")
        return f"{stem}/{_INIT}" if self.is_package else f"{stem}.py"


class Reading(NamedTuple):
    """What a reader makes of a file that is not a Python module: the text of one, and how it came about."""

    text: str
    cells: tuple[CellEntry, ...] = ()
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def parse_target(text: str) -> Target:
    """The parts of `FILE[:FLOW]`, such as `my_flows.py:web_scraper`; `SourceError` when one of them is empty."""
    match = _TARGET.fullmatch(text)
    if match and not match["flow"]:
        raise SourceError(f"{text!r} names no flow after the colon; leave the colon out, or name the flow")
    if not text:
        raise SourceError("the target is empty; give a file, such as my_flows.py or my_flows.py:my_flow")
    return Target(Path(match["path"]), match["flow"]) if match else Target(Path(text))


def read_source(path: Path, *, roots: Roots = "flows") -> Source:
    """The code in the file at `path`, none of it executed.

    A `.py` file is decoded as Python decodes it; another suffix is read by the entry point of that name in the group
    `dagy.readers`, a function of a path that gives a `Reading`. It gives what the flows need, unless other `roots` are
    wanted, which it takes by name. `MissingSourceError` when there is no such file; `SourceError` when it can't be read
    as code.
    """
    if not path.exists():
        raise MissingSourceError(f"there is no file {str(path)!r} (looked in {Path.cwd()})")
    if path.is_dir():
        raise SourceError(f"{str(path)!r} is a folder; name the file in it that defines the flow")
    if not path.is_file():
        raise SourceError(f"{str(path)!r} is not a regular file")
    absolute = path.absolute()
    if path.suffix == ".py":
        text = read_python(absolute)
        return Source(absolute, _name_in_package(absolute, text) or module_name(path), text)
    found = _read_by_plugin(absolute, roots)
    return Source(absolute, module_name(path), found.text, found.cells, found.left_out, found.warnings)


def read_python(path: Path) -> str:
    """The text of a Python file, its encoding found as Python finds it, its line ends made `\\n`."""
    try:
        return decode_source(path.read_bytes())
    except OSError as error:
        raise SourceError(f"{str(path)!r} can't be read: {error.strerror or error}") from error
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise SourceError(
            f"{str(path)!r} is not text that Python can read ({error}); save it as UTF-8, or declare its encoding"
        ) from error


def encode_python(text: str) -> bytes:
    """The bytes of a module's text, in the encoding that the text itself declares."""
    encoding, _ = tokenize.detect_encoding(BytesIO(text.encode(errors="replace")).readline)
    return text.encode(encoding)


def module_name(path: Path) -> str:
    """The name to import the file's code under: its own as far as Python allows it."""
    name = re.sub(r"\W", "_", path.stem)
    if not name.isidentifier():
        name = f"flow_{name}"
    return f"{name}_flow" if name in RESERVED_MODULES or keyword.iskeyword(name) else name


def _name_in_package(path: Path, text: str) -> str | None:
    """The dotted name of a module that is part of a package; None for one that stands alone.

    A file that imports what lies beside it as if there was no package is meant to stand alone, whatever lies there.
    """
    folders = list(itertools.takewhile(_is_package_folder, path.parents))
    if not folders or folders[-1].name in RESERVED_MODULES:
        return None
    try:
        imports = imports_of(text, where=str(path))
    except SourceError:  # it will say so when it is loaded
        imports = ()
    tops = {each.module.partition(".")[0] for each in imports if not each.level} - RESERVED_MODULES
    root = folders[-1].parent
    if any(_has_module(path.parent, top) and not _has_module(root, top) for top in tops):
        return None
    packages = [folder.name for folder in reversed(folders)]
    if path.name == _INIT:
        return ".".join(packages)
    return ".".join([*packages, path.stem]) if path.stem.isidentifier() else None


def _is_package_folder(folder: Path) -> bool:
    name = folder.name
    return name.isidentifier() and not keyword.iskeyword(name) and (folder / _INIT).is_file()


def _has_module(folder: Path, name: str) -> bool:
    return (folder / f"{name}.py").is_file() or (folder / name).is_dir()


def load_flow(source: Source, name: str | None = None) -> Flow[..., Any]:
    """Run the module's text and return the flow it defines: the only one, or the one called `name`.

    The module stays in `sys.modules`, and the file's folder stays first in `sys.path`, because tasks import what they
    need when they run. `SourceError` when the text can't be run or defines no flow (what the text raised is the
    `__cause__`), `SeveralFlowsError` when there is a choice to make, `UnknownFlowError` when `name` is not there.
    """
    flows = _flows_in(_load(source))
    if not flows:
        raise SourceError(f"{source.path} defines no flow; decorate a function with @flow")
    by_name = {flow.name: flow for flow in flows.values()}
    if name is None:
        if len(flows) > 1:
            raise SeveralFlowsError(source.path, tuple(sorted(by_name)))
        return next(iter(flows.values()))
    found = by_name.get(name) or flows.get(name)
    if found is None:
        raise UnknownFlowError(name, sorted(by_name), where=str(source.path))
    return found


@contextmanager
def flow_aside(source: Source, name: str | None = None) -> Iterator[Flow[..., Any]]:
    """The flow that `load_flow` gives, to be looked at: afterwards `sys.path` and the user's modules are as they were.

    So a module of this name that is in use stays what it is, and what the flow imports of its own folder is read anew
    the next time, as it is then.
    """
    existing = sys.modules.pop(source.module, None)
    try:
        with stepped_aside(), aside(source.root):
            yield load_flow(source, name)
    finally:
        sys.modules.pop(source.module, None)
        if existing is not None:
            sys.modules[source.module] = existing
        _attach(source.module)


@contextmanager
def aside(root: Path) -> Iterator[None]:
    """Put `sys.path`, and the user's modules in the folder `root`, back at the end of the `with` block as they were."""
    path, before = list(sys.path), set(sys.modules)
    try:
        yield
    finally:
        sys.path[:] = path
        new = [each for each in sys.modules.keys() - before if _is_below(root, each)]
        for each in new:
            sys.modules.pop(each, None)
        for each in new:
            _attach(each)


def load_module(source: Source, *, called: str) -> ModuleType:
    """Run the text of `source` as a module called `called`.

    The module stays in `sys.modules`, and its folder in `sys.path`, so `called` should be the name of no other. Where
    the text says which cell a part of it comes from (`# cell ID`), tracebacks show that part as a file of its own:
    `etl.ipynb, cell ID`. Raises `CodeFailedError`; what the text raised is its `__cause__`.
    """
    module = ModuleType(called)
    module.__file__ = str(source.path)
    _add_folder(source)
    with _put_back_on_failure(called, module), loading(source.path):
        flags = 0
        for name, text in _parts(source):
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
            try:
                code = compile(text, name, "exec", flags=flags, dont_inherit=True)
                flags |= code.co_flags & _FUTURE_FLAGS
                exec(code, vars(module))
            except (Exception, SystemExit) as error:  # whatever the user's code raises
                raise CodeFailedError(_failure(name, error)) from error
    return module


def own_file(module: ModuleType) -> Path | None:
    """The file of a module that was not installed; None of one that was, or that is in no file."""
    installed = (os.path.dirname(os.__file__), *(path for path in sys.path if path.endswith("-packages")))  # noqa: PTH120 (texts)
    file = getattr(module, "__file__", None)
    return Path(file) if isinstance(file, str) and not file.startswith(installed) else None


_CELL_MARK = re.compile(r"# cell (?P<id>\S+)")
_FUTURE_FLAGS = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)


def _parts(source: Source) -> Iterator[tuple[str, str]]:
    """The text from one cell's mark to the next, each with what to call it; all of it where it can't be taken apart."""
    lines = source.text.splitlines(keepends=True)
    try:
        statements = ast.parse(source.text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # it will say so when it is compiled
        statements = []
        lines = [source.text]
    inside = {number for each in statements for number in range(each.lineno, (each.end_lineno or each.lineno) + 1)}
    name, start = str(source.path), 0
    for index, line in enumerate(lines):
        mark = _CELL_MARK.fullmatch(line.rstrip())
        if mark and index + 1 not in inside:
            yield name, "".join(lines[start:index])
            name, start = f"{source.path}, cell {mark['id']}", index + 1
    yield name, "".join(lines[start:])


def variable_of(flow: Flow[..., Any]) -> str | None:
    """The name that holds `flow` at the top level of its module; None when no name does."""
    top_level = getattr(inspect.unwrap(flow.function), "__globals__", {})
    return next((name for name, value in top_level.items() if value is flow), None)


class TextLoader(SourceFileLoader):
    """Imports a module from the text of a `Source`, whatever its file holds by now."""

    def __init__(self, source: Source) -> None:
        super().__init__(source.module, str(source.path))
        self.source = source

    def get_source(self, fullname: str) -> str:
        """The text that is run."""
        return self.source.text

    def get_code(self, fullname: str) -> CodeType:
        """The text, compiled."""
        return self.source_to_code(self.source.text, self.path)


def _load(source: Source) -> ModuleType:
    _add_folder(source)
    existing = sys.modules.get(source.module)
    with loading(source.path):
        _import_package(source)
    imported = sys.modules.get(source.module)
    if imported is not None and imported is not existing and _is_of_file(imported, source):
        return imported  # its own package has imported it just now
    if existing is not None and not _may_replace(existing, source):
        raise SourceError(
            f"{source.path.name!r} has the name of the module {source.module!r}, which is in use; rename the file"
        )
    spec = spec_from_loader(source.module, TextLoader(source))
    assert spec is not None
    assert spec.loader is not None
    if source.is_package:
        spec.submodule_search_locations = [str(source.path.parent)]
    module = module_from_spec(spec)
    filename = str(source.path)
    # Without a time of change the entry is never compared with the file, which may hold a notebook or a later edit.
    linecache.cache[filename] = (len(source.text), None, source.text.splitlines(keepends=True), filename)
    with _put_back_on_failure(source.module, module), loading(source.path):
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # whatever the user's code raises
            raise CodeFailedError(_failure(str(source.path), error)) from error
    _attach(source.module)
    return module


def _import_package(source: Source) -> None:
    """Import the packages that the module is part of, as Python does before it imports the module."""
    package = source.module.rpartition(".")[0]
    if not package:
        return
    try:
        found = importlib.import_module(package)
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise CodeFailedError(_failure(str(source.path), error)) from error
    folder = source.path.parents[source.is_package]
    if str(folder) not in map(str, getattr(found, "__path__", ())):
        where = getattr(found, "__file__", None) or "another folder"
        raise SourceError(
            f"{source.path} is part of the package {package!r}, and the package of that name is {where}; rename one"
        )


def _attach(name: str) -> None:
    """Make the module that `sys.modules` has under the dotted `name`, or none, what its package says it is."""
    package, _, last = name.rpartition(".")
    parent, module = sys.modules.get(package), sys.modules.get(name)
    if parent is None:
        return
    if module is not None:
        setattr(parent, last, module)
    elif isinstance(getattr(parent, last, None), ModuleType):
        delattr(parent, last)


def _add_folder(source: Source) -> None:
    folder = str(source.root)
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _may_replace(module: ModuleType, source: Source) -> bool:
    return isinstance(module.__loader__, TextLoader) or _is_of_file(module, source)


def _is_below(root: Path, name: str) -> bool:
    """Whether the module of that name is the user's own, and of a file in that folder."""
    file = own_file(sys.modules[name])
    return file is not None and file.is_relative_to(root) and name.partition(".")[0] not in RESERVED_MODULES


def _is_of_file(module: ModuleType, source: Source) -> bool:
    return getattr(module, "__file__", None) == str(source.path)


@contextmanager
def _put_back_on_failure(name: str, module: ModuleType) -> Iterator[None]:
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        yield
    except BaseException:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        raise


def _failure(filename: str, error: BaseException) -> str:
    what = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SyntaxError) and error.filename == filename:
        return f"{filename}, line {error.lineno}: {what}"
    lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == filename]
    where = f"{filename}, line {lines[-1]}" if lines else filename
    return f"{where}: could not be loaded: {what}"


def _flows_in(module: ModuleType) -> dict[str, Flow[..., Any]]:
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, Flow) and value.function.__module__ == module.__name__
    }


def _read_by_plugin(path: Path, roots: Roots) -> Reading:
    from importlib.metadata import entry_points

    suffix = path.suffix.lower()
    found = entry_points(group=READERS, name=suffix)
    if not found:
        known = ", ".join(sorted({".py", *entry_points(group=READERS).names}))
        remedy = "install it with: pip install 'dagy[notebook]'" if suffix == ".ipynb" else f"what can be read: {known}"
        raise SourceError(f"nothing here reads {suffix or 'files without a suffix'!r} ({str(path)!r}); {remedy}")
    entry = next(iter(found))
    try:
        reader: Callable[..., Reading | str] = entry.load()
        reading = reader(path) if roots == "flows" else reader(path, roots=roots)
    except DagyError:
        raise
    except Exception as error:  # a plug-in's code
        raise SourceError(f"{str(path)!r} can't be read by {entry.value}: {error}") from error
    return Reading(reading) if isinstance(reading, str) else reading
