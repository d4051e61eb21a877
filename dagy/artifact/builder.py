"""From a flow's source to its artifact: which files, which requirements, one archive."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast

from dagy.artifact.archive import MAX_FILE_BYTES, check_amount, fault_of_name, read_manifest, write_artifact
from dagy.artifact.data_files import DataFiles, LeftOut, fault_of_data
from dagy.artifact.declared import Declared, read_declared
from dagy.artifact.drawn import Drawn, drawn
from dagy.artifact.files import ModuleFile, module_files
from dagy.artifact.loading import refuse_while_loading
from dagy.artifact.manifest import PYTHON_VERSION, FileEntry, Manifest
from dagy.artifact.options import BuildOptions
from dagy.artifact.origin import provided_source, source_of
from dagy.artifact.packages import Packages, asked_by_nodes, packages_of
from dagy.artifact.rebuilding import Declaration, Request, known_build, remember
from dagy.artifact.snapshots import Snapshot
from dagy.artifact.source import Source, flow_aside, own_file, parse_target, read_source
from dagy.artifact.summary import Summary
from dagy.errors import ArtifactError
from dagy.flows import Flow
from dagy.lazy import lazily
from dagy.settings import Settings
from dagy.spec import FlowSpec
from dagy.version import __version__

LAYER_NAME = "dependencies.zip"

_load, _ = lazily(__name__, {"write_layer": "dagy.artifact.layer"})  # most artifacts have none
_MAIN = "__main__"
_NAMED_FILE = re.compile(r"""["'](\w[\w./-]*\.\w{1,10})["']""")  # a text in code that looks like the name of a file
_CODE = (".py", ".ipynb")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A built artifact: where it is, what it holds, and its size in bytes."""

    path: Path
    manifest: Manifest
    size: int
    sha256: str  # of the whole file
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False)  # data files that a pattern matched, and why
    warnings: tuple[str, ...] = field(default=(), compare=False)  # sentences on what may not be as it is meant
    packages: Packages | None = field(default=None, compare=False)  # what it depends on; None when it was only opened
    layer: Path | None = None  # the file with the packages, beside it; None where they are installed already
    is_new: bool = field(default=True, compare=False)  # False: the very same one was there already

    @property
    def flow_name(self) -> str:
        """The name of the flow."""
        return self.manifest.flow_name

    @property
    def flow_version(self) -> str:
        """The version that the flow's author gave it."""
        return self.manifest.flow_version

    @property
    def code_hash(self) -> str:
        """SHA-256, in hex, of all that changes what the flow does."""
        return self.manifest.code_hash

    @property
    def build_id(self) -> str:
        """The first 12 hex digits of the `code_hash`."""
        return self.manifest.build_id

    @property
    def summary(self) -> Summary:
        """The facts of it, plain."""
        manifest = self.manifest
        return Summary(
            str(self.path),
            manifest.flow_name,
            manifest.flow_version,
            manifest.build_id,
            manifest.code_hash,
            manifest.target,
            manifest.python_version,
            tuple(file.path for file in manifest.files),
            manifest.requirements,
            self.size,
            self.sha256,
            None if self.layer is None else str(self.layer),
            self.left_out,
            self.warnings,
            "" if self.packages is None or not self.manifest.requirements else str(self.packages.sizes),
            is_new=self.is_new,
        )

    def __str__(self) -> str:
        return str(self.summary)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": f"{self}\n{self.path}"}


def build_artifact(
    flow: Flow[..., Any] | str | Path,
    *,
    output_dir: str | Path = "dist",
    include: Iterable[str] = (),
    requirements: str | Path | None = None,
    target: str = "local",
    on_step: Callable[[str], None] | None = None,
) -> Artifact:
    """Package a flow, or the flow that `FILE[:FLOW]` names, as `<output_dir>/<flow>/<build_id>/artifact.zip`.

    `include` are patterns of data files (`data/*.csv`), relative to the folder of the flow's file, and add to those
    that `[tool.dagy] include` declares. `requirements` is a requirements file that says what to install. `target` is
    the platform that it is for. `on_step` is told what is being done.

    A file that was built before and has not changed since, with all that it needs, is not loaded again. Raises
    `ArtifactError` for what can't go in, and what reading and loading the code raises.
    """
    refuse_while_loading("build_artifact")
    if isinstance(include, str):
        raise ArtifactError(f"include is {include!r}; give a list of patterns, such as [{include!r}]")
    options = BuildOptions(tuple(include), None if requirements is None else Path(requirements).absolute(), target)
    destination = Path(output_dir).absolute()
    if isinstance(flow, Flow):
        if (provided := provided_source(flow)) is None:
            return build(source_of(flow), flow, destination, options, on_step=on_step)
        with flow_aside(provided, flow.name) as found:
            return build(provided, found, destination, options, on_step=on_step)
    local_dir = Settings.read().local_dir
    request = Request.here(str(flow), destination, options)
    if (known := known_build(request, local_dir)) is not None:
        built = open_built(Path(known.path))
        return replace(built, left_out=known.left_out, warnings=known.warnings, is_new=False)
    wanted = parse_target(str(flow))
    snapshot = Snapshot()
    snapshot.look(wanted.path.absolute())
    source = read_source(wanted.path)
    with _in_its_folder(source), drawn(source, wanted.flow, options, on_step) as found:
        made = _Build(source, found, destination, options, snapshot, on_step or _say_nothing)
        artifact = made.artifact()
        for module in list(sys.modules.values()):  # the flow is drawn by what is in them
            if (path := own_file(module)) is not None:
                snapshot.look(path)
        for path in found.files:
            snapshot.look(path)
    remember(request, artifact.summary, snapshot, made.declaration, local_dir)
    return artifact


def build(
    source: Source,
    flow: Flow[..., Any],
    output_dir: Path,
    options: BuildOptions = BuildOptions(),  # noqa: B008 (a value)
    *,
    on_step: Callable[[str], None] | None = None,
) -> Artifact:
    """Write `<output_dir>/<flow>/<build_id>/artifact.zip` and return it.

    `flow` is what `load_flow(source)` gave, or one whose `source_of` is `source`. The same code, data, dependencies and
    Python version give the same path and the same bytes, wherever and whenever it is built. `ArtifactError` names what
    can't go in.
    """
    return _Build(source, Drawn.of(flow), output_dir, options, Snapshot(), on_step or _say_nothing).artifact()


def open_built(path: Path) -> Artifact:
    """The artifact at `path`, which was built before. Its contents are not verified: see `dagy.artifact.inspection`.

    `MissingArtifactError` when there is none, `ArtifactError` when it is not one to trust.
    """
    return _as_artifact(path, read_manifest(path))


def newest_artifact(flow: str, output_dir: Path) -> Artifact | None:
    """The artifact of the flow that was built last below `output_dir`; None when there is none.

    It is not verified. Raises `ArtifactError` when it is broken.
    """
    found = [(path.stat().st_mtime_ns, path) for path in (output_dir / folder_name(flow)).glob("*/artifact.zip")]
    if not found:
        return None
    return open_built(max(found)[1])


def folder_name(flow: str) -> str:
    """The flow's name as the name of a folder: what a path gives a meaning to becomes `_`."""
    return re.sub(r"[^\w.-]", "_", flow)[:100].strip(".") or "flow"


class _Build:
    """One build: it reads, then writes."""

    def __init__(
        self,
        source: Source,
        flow: Drawn,
        output_dir: Path,
        options: BuildOptions,
        snapshot: Snapshot,
        say: Callable[[str], None],
    ) -> None:
        self._source = source
        self._flow = flow
        self._output_dir = output_dir
        self._options = options
        self._snapshot = snapshot
        self._say = say
        self.declaration: Declaration | None = None  # of the data files, once they are found

    def artifact(self) -> Artifact:
        """What is built, once it is written."""
        source, options = self._source, self._options
        entry_point = f"{source.module}:{self._variable()}"
        self._say("reading the code")
        declared = read_declared(source, options.requirements)
        files = module_files(source, self._snapshot)
        code = {file.path: file.content for file in files}
        data = self._data_files(declared, without=code)
        contents: dict[str, bytes | Path] = {**dict(data.files), **code}
        check_amount(len(contents), sum(map(_size, contents.values())))
        packages = packages_of(
            files,
            source,
            asked=asked_by_nodes(self._flow.spec, code),
            target=options.target,
            declared=declared,
            on_progress=self._say,
        )
        for path in packages.evidence:
            self._snapshot.look(path)
        manifest = Manifest(
            spec=_named(self._flow.spec, source.module),
            entry_point=entry_point,
            python_version=PYTHON_VERSION,
            requirements=packages.requirements,
            files=tuple(self._entry(path, contents[path]) for path in sorted(contents)),
            dagy_version=__version__,
            cells=source.cells,
            target=options.target,
            lock=packages.lock,
        )
        self._snapshot.check()
        path, is_new = self._written(manifest, contents, packages)
        return replace(
            _as_artifact(path, manifest),
            left_out=data.left_out,
            warnings=(*packages.warnings, *_forgotten(files, contents, source)),
            packages=packages,
            is_new=is_new,
        )

    def _variable(self) -> str:
        """The name of the flow at the top level of its module."""
        variable = self._flow.variable
        if variable is None or self._flow.module not in (self._source.module, _MAIN):
            raise ArtifactError(
                f"flow {self._flow.spec.name!r} is not a name at the top level of {self._source.path}, so it can't be "
                "found there again; define it at the top level with @flow"
            )
        return variable

    def _written(
        self, manifest: Manifest, contents: Mapping[str, bytes | Path], packages: Packages
    ) -> tuple[Path, bool]:
        """Where the artifact is, with its layer before it: one that is there is complete; and whether it is new."""
        self._say("writing the artifact")
        path = self._output_dir / folder_name(manifest.flow_name) / manifest.build_id / "artifact.zip"
        if manifest.lock:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_layer = cast("Callable[..., Path]", _load("write_layer"))
            write_layer(packages, path.with_name(LAYER_NAME), on_progress=self._say)
        is_new = write_artifact(path, manifest, contents)
        with contextlib.suppress(OSError):  # it may be another user's
            path.touch()  # one that was there already is the newest all the same: see `newest_artifact`
        return path, is_new

    def _data_files(self, declared: Declared, *, without: Iterable[str]) -> DataFiles:
        """The declared data files, without those that no artifact can hold or that are in it already."""
        source, include = self._source, (*declared.include, *self._options.include)
        if not include:
            return DataFiles()
        self.declaration = Declaration(include, str(source.path.parent), str(source.root), str(self._output_dir))
        found = self.declaration.found()
        refused = {name: reason for name, path in found.files if (reason := _refusal(name, path))}
        others = {*refused, *without}
        files = tuple((name, path) for name, path in found.files if name not in others)
        left_out = (*found.left_out, *(LeftOut(name, refused[name]) for name in refused))
        return DataFiles(files, tuple(sorted(left_out, key=lambda each: each.path)))

    def _entry(self, name: str, content: bytes | Path) -> FileEntry:
        if isinstance(content, bytes):
            return FileEntry(name, len(content), hashlib.sha256(content).hexdigest())
        return self._snapshot.read(content, lambda path: _entry_of_file(name, path))


def _as_artifact(path: Path, manifest: Manifest) -> Artifact:
    layer = path.with_name(LAYER_NAME) if manifest.lock else None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Artifact(path, manifest, file.tell(), digest, layer=layer)


def _forgotten(files: Iterable[ModuleFile], contents: Container[str], source: Source) -> Iterator[str]:
    """A sentence for each file beside the code that the code names and that nothing declares."""
    named = {(file.path, name) for file in files for name in _NAMED_FILE.findall(file.content.decode(errors="ignore"))}
    for path, name in sorted(named):
        place = PurePosixPath(path).parent / name
        if str(place) in contents or ".." in place.parts or name.endswith(_CODE) or fault_of_data(place.name):
            continue
        if (source.root / place).is_file():
            yield f"{path} names {name!r}, which is not in the artifact; if it is needed, build with --include {name}"


def _size(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _refusal(name: str, path: Path) -> str:
    if fault := fault_of_name(name):
        return f"its name {fault}"
    if path.stat().st_size > MAX_FILE_BYTES:
        return f"larger than {MAX_FILE_BYTES >> 20} MiB; keep it in a bucket and read it from there"
    return ""


def _entry_of_file(name: str, path: Path) -> FileEntry:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return FileEntry(name, file.tell(), digest)
    except OSError as error:
        raise ArtifactError(f"{str(path)!r} can't be read: {error.strerror or error}") from error


def _named(spec: FlowSpec, module: str) -> FlowSpec:
    """The spec of a flow whose module was the program itself, as it is where it is imported."""
    prefix = f"{_MAIN}:"
    if not any(task.function.startswith(prefix) for task in spec.tasks):
        return spec
    tasks = (replace(task, function=re.sub(f"^{prefix}", f"{module}:", task.function)) for task in spec.tasks)
    return replace(spec, tasks=tuple(tasks))


@contextlib.contextmanager
def _in_its_folder(source: Source) -> Iterator[None]:
    """A notebook's code is loaded in the notebook's folder, as Jupyter does; a module's where the caller is."""
    with contextlib.nullcontext() if source.path.suffix == ".py" else contextlib.chdir(source.path.parent):
        yield


def _say_nothing(step: str) -> None:
    """Nobody asked."""
