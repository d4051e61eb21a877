"""What the magics do, as plain functions of the notebook: the same for a magic, a script and a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Unpack

from dagy import Flow, LocalOptions
from dagy.artifact import Artifact, Source, build, load_flow, module_name
from dagy.errors import DefinitionError
from dagy_nb.export import EXPORT_MARK, Export, export_module
from dagy_nb.notebook import Defined, Notebook
from dagy_nb.running import NotebookRun, Screen, completed_result, start_run


class Session:
    """A notebook, and the screen it shows things on."""

    def __init__(self, notebook: Notebook, screen: Screen) -> None:
        self.notebook = notebook
        self.screen = screen
        self.last_run: NotebookRun | None = None  # the newest run, however it ended

    def flow(self, flow: str | Flow[..., Any] | None = None) -> Flow[..., Any]:
        """The flow of that name, or the only one; a `Flow` is itself. See `Notebook.flow` for the errors."""
        return flow if isinstance(flow, Flow) else self.notebook.flow(flow)

    def run(
        self,
        flow: str | Flow[..., Any] | None = None,
        parameters: Mapping[str, Any] = MappingProxyType({}),
        *,
        background: bool = False,
        must_complete: bool = True,
        **options: Unpack[LocalOptions],
    ) -> NotebookRun:
        """Run a flow and show every task live; `parameters` are the flow's, `options` those of `run_local`.

        Waits for the end, unless `background`. Raises `TaskFailedError` or `RunCancelledError` when the run that it
        waited for did not complete, unless `must_complete` is off.
        """
        self.last_run = run = start_run(
            self.flow(flow),
            parameters,
            screen=self.screen,
            cell_of=self.notebook.label_of,
            waits=not background,
            **options,
        )
        if not background:
            run.wait_in_cell()
            if must_complete:
                completed_result(run, self.notebook.label_of)
        return run

    def export(self, path: str | Path | None = None, *, force: bool = False) -> Export:
        """The notebook's flows, and all they need, as a module; written to `path` when one is given.

        Raises `ExportError`, and `DefinitionError` for a path that can't be written, or where there is a file that
        Dagy did not write and `force` is off.
        """
        export = export_module(self.notebook.cells, name=self.notebook.name, source_name=self.notebook.path.name)
        if path is None:
            return export
        path = Path(path).expanduser()
        if path.suffix != ".py":
            raise DefinitionError(f"{str(path)!r} is not the name of a Python module; write for example {path.stem}.py")
        try:
            if path.exists() and not force and not path.read_text("utf-8", errors="replace").startswith(EXPORT_MARK):
                raise DefinitionError(f"{str(path)!r} is there, and Dagy did not write it; add --force to replace it")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(export.text, encoding="utf-8")
        except OSError as error:
            raise DefinitionError(f"{str(path)!r} can't be written: {error.strerror}") from error
        return export

    def build(self, flow: str | None = None, *, output_dir: str | Path = "dist") -> Artifact:
        """Build the artifact of a flow from the cells as they last ran, below `output_dir`."""
        name = self.flow(flow).name
        export = self.export()
        path = self.notebook.path.absolute()
        source = Source(path, module_name(path), export.text)
        return build(source, load_flow(source, name), Path(output_dir))

    def card(self, defined: Defined, waits_for: Sequence[str] = ()) -> list[str]:
        """What a cell has become, in a line for people; a further line for each thing that may not be meant.

        `waits_for` are the names without which the cell did not run on its own.
        """
        try:
            joined = next((each for each in self.notebook.tasks() if each.cell is defined), None)
        except DefinitionError as error:  # two cells that don't fit: a flow can't be drawn until that is mended
            return [f"task {defined.name!r}", str(error)]
        if joined is None:
            return [f"flow {defined.name or self.notebook.name!r}"]
        takes = ", ".join(
            each.parameter if each.task in (None, each.parameter) else f"{each.parameter} from {each.task}"
            for each in joined.wires
        )
        first = f"task {joined.name!r}" + (f" takes {takes}" if takes else "")
        if waits_for:
            first += f"; not run here, because tasks make {', '.join(waits_for)}: %dagy_run runs it"
        return [first, *joined.problems]
