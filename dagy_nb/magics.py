"""The magics: parse the line, call, display; nothing else.

`%%dagy_task` is an input transformer, not a cell magic: it turns the cell's first line into the line magic of the same
name, and the rest runs as an ordinary cell, so that line numbers, tracebacks, completion and the debugger stay right.
"""

from __future__ import annotations

import functools
import linecache
import re
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.error import UsageError
from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand, output_can_be_silenced

from dagy import Flow, LocalOptions, Task, artifact, parameter_texts
from dagy.drawing import markup_line, markup_lines
from dagy.errors import DagyError, DefinitionError, ParameterError, RunError, did_you_mean
from dagy_nb.cells import Cell
from dagy_nb.checking import Check
from dagy_nb.completion import Known, complete
from dagy_nb.deploying import Deployed
from dagy_nb.directives import (
    FlowDirective,
    NodeDirective,
    TaskDirective,
    find_directive,
    flow_help,
    near_miss,
    node_help,
    task_help,
    written_directive,
)
from dagy_nb.drift import Drift
from dagy_nb.lines import parsers
from dagy_nb.linters import hint_for
from dagy_nb.node_forms import NodeForm
from dagy_nb.node_pages import NodePage, NodeRow
from dagy_nb.notebook import FailedCell, Notebook, kind_of
from dagy_nb.notebook_path import PathFinder
from dagy_nb.registry import NotebookTask
from dagy_nb.run_history import PastRun
from dagy_nb.running import NotebookRun
from dagy_nb.screen import IPythonScreen
from dagy_nb.session import Session
from dagy_nb.staleness import export_notes
from dagy_nb.tables import NO_MATH, Listing, html_table, text_lines

if TYPE_CHECKING:
    from dagy.artifact import Artifact, Source
    from dagy.backends import Route
    from dagy.spec import FlowSpec
    from dagy_nb.export import Export

T = TypeVar("T")

_VARIABLE = re.compile(r"\{([^\W\d]\w*)\}")
_IS_HELP = re.compile(r"\s*%%?dagy\w*\?{1,2}\s*$")  # such a cell only asks for help
_CELL_MAGICS = (("dagy_task", task_help), ("dagy_flow", flow_help), ("dagy_node", node_help))
# What a run can't be given when it is `--again`: it has what the last run had.
_NOT_AGAIN = ("--form", "--fresh", "--max-workers", "--isolation", "--record", "--resume")
_HELP_HEAD = ("MAGIC", "WHAT IT DOES")
_HELP_MORE = "Each has help: %dagy_run? or %dagy_run -h. As a function: import dagy_nb; dagy_nb.run(...)"


def _magic(method: Callable[[Any, Namespace], T]) -> Callable[[Any, str], T | None]:
    """The line magic of the method's name: its line is parsed, `-h` answered, and a user's mistake told in one line.

    Its help, for `%dagy_run?` too, is the parser's.
    """
    parser = parsers()[method.__name__]

    @functools.wraps(method)
    def call(self: DagyMagics, line: str) -> T | None:
        def act() -> T | None:
            given = parser.parse_line(line)
            if given.help:
                self.session.screen.show({"text/plain": parser.format_help()})
                return None
            return method(self, given)

        return self.answered(act)

    call.__doc__ = parser.format_help()
    line_magic(call)
    return call


@magics_class
class DagyMagics(Magics):
    """Everything that `%load_ext dagy_nb` adds."""

    shell: InteractiveShell

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        screen = IPythonScreen(shell)
        finder = PathFinder(screen.kernel_id, shell.user_ns)
        self.notebook = Notebook(shell.user_ns, path=finder.told() or Path("notebook.ipynb"))
        self.session = Session(self.notebook, screen, finder, self.answered)
        self._is_hinted = False  # of the project's linters
        self._is_source = False  # of the flows that the cells make, for whoever builds them
        self._running: ExecutionInfo | None = None
        self._waits_for: tuple[str, ...] = ()  # of the cell that runs: without these it could not, and did not
        # Of the cell that runs; `shell.execution_count` is one ahead, or not yet, as IPython's version has it.
        self._number = 0

    # ---- what the kernel tells

    def transform(self, lines: list[str]) -> list[str]:
        """The cell's lines, the directive's line made the line magic of its name."""
        first = next((index for index, line in enumerate(lines) if line.strip()), None)
        found = None if first is None else written_directive(lines[first])
        if first is None or found is None:
            return lines
        kind, rest = found[0], found[1].strip()
        space = "" if rest.startswith("?") or not rest else " "  # IPython wants one there, not a tab or a `;`
        magic = f"%dagy_{kind}{space}{rest}\n"
        if self._is_only_kept("".join(lines)):
            return [*lines[:first], magic]
        return [*lines[:first], magic, *lines[first + 1 :]]

    def before_cell(self, info: ExecutionInfo) -> None:
        """A cell is about to run."""
        self._running = info
        self._waits_for = ()
        self._number = len(self._history())
        self.notebook.deleted(_deleted_cells(self.shell))
        if info.store_history and not info.silent:
            self.notebook.about_to_replace(info.cell_id or "")

    def after_cell(self, result: ExecutionResult) -> None:
        """A cell has run: keep it, if it ran well."""
        info = result.info
        if info is None or info.silent or not info.store_history or _IS_HELP.match(info.raw_cell or ""):
            return
        if not result.success:
            self._cell_failed(self._cell(info, result.execution_count))
            return
        cell, filename = self._cell(info, result.execution_count), self._filename(info, result)
        waits_for = self._waits_for
        try:
            defined = self.notebook.keep(cell, filename, has_run=not waits_for)
        except DagyError as error:
            if written_directive(cell.source.lstrip()):  # its function can't be a task, which only shows now
                mistake = result.error_in_exec = UsageError(str(error))
                self.shell.showtraceback((UsageError, mistake, None))
            self._cell_failed(cell)
            return  # else a cell that IPython can run and Dagy can't read, which no flow can need
        # Not before there is something to build: it takes a while to load.
        if not self._is_source and (self.notebook.flow_names() or self.notebook.has_nodes):
            artifact.provide_sources(source_of_flow)
            self._is_source = True
        if waits_for:  # IPython has only seen its first line: tracebacks need the others
            lines = [f"{line}\n" for line in info.raw_cell.splitlines()]
            linecache.cache[filename] = (len(info.raw_cell), None, lines, filename)
        if defined is not None:
            hint = self._linter_hint() if cell.source.lstrip().startswith("%%") else []
            self.session.screen.show(_lines([*self.session.card(defined, waits_for), *hint]))
        elif written := self.session.written_nodes(cell):
            self.session.screen.show(_lines(written))
        elif missed := near_miss(cell.source):
            self.session.screen.show(_lines([missed]))

    @context_matcher()
    def complete(self, context: CompletionContext) -> SimpleMatcherResult:
        """What IPython's completer asks: what may come at the cursor of one of our lines."""
        known = Known(
            flows=self.session.flow_names,
            tasks=self.session.task_names,
            parameters=self.notebook.parameter_names,
            runs=self.session.run_ids,
            deployments=self.session.deployment_names,
            nodes=self.session.node_types,
        )
        try:
            found = complete(context.full_text, context.cursor_line, context.cursor_position, known)
        except DagyError:  # cells that don't fit, a history that can't be read: other magics say so
            found = None
        if found is None:
            return SimpleMatcherResult(completions=[], suppress=False)
        return SimpleMatcherResult(
            completions=[SimpleCompletion(each, type="magic") for each in found.texts],
            matched_fragment=found.fragment,
            suppress=True,
            ordered=True,
        )

    def bundle_of_flow(self, flow: Flow[..., Any]) -> dict[str, str]:
        """How a flow is shown as a cell's value; what says why it can't be drawn names the cell and its line."""
        bundle = flow._repr_mimebundle_()
        return {kind: self.notebook.with_labels(text) for kind, text in bundle.items()}

    def adopt_history(self) -> None:
        """Keep the cells that ran before the extension was loaded: the imports are often among them.

        Those that failed are not, where this version of IPython remembers which they were.
        """
        history = self._history()
        failed = getattr(self.shell.history_manager, "exceptions", {})  # by the cell's number
        for number in range(1, len(history) - 1):  # the last one is the cell that loads the extension
            try:
                if number not in failed and not written_directive(history[number].lstrip()):
                    self.notebook.keep(Cell("", history[number], f"cell [{number}]"), "")
            except DagyError:
                continue  # no flow can need what can't be read

    # ---- magics

    @no_var_expand
    @line_cell_magic
    def dagy_task(self, line: str, cell: str | None = None) -> None:
        """Make a cell a task."""
        self._check_running_cell("dagy_task", task_help, is_alone=cell is None)

    @no_var_expand
    @line_cell_magic
    def dagy_flow(self, line: str, cell: str | None = None) -> None:
        """Make a cell a flow."""
        self._check_running_cell("dagy_flow", flow_help, is_alone=cell is None)

    @no_var_expand
    @line_cell_magic
    def dagy_node(self, line: str, cell: str | None = None) -> None:
        """Make a cell a node."""
        self._check_running_cell("dagy_node", node_help, is_alone=cell is None)

    @output_can_be_silenced
    @_magic
    def dagy_dag(self, given: Namespace) -> Flow[..., Any]:
        """Draw a flow."""
        return _drawable(self.session.drawn(given.flow))

    @no_var_expand
    @output_can_be_silenced
    @_magic
    def dagy_run(self, given: Namespace) -> NotebookRun | None:
        """Run a flow."""
        if given.deployment is not None:
            return self._run_deployment(given)
        if given.profile is not None:
            raise DefinitionError("--profile says where a deployment is; add --deployment NAME, or leave it out")
        self._tell_what_is_stale(is_exported=given.fresh)
        name = given.flow and str(_filled(given.flow, self.shell.user_ns))
        must_complete = not (given.no_raise or given.no_fail_fast)
        if given.again:
            return self._run_again(name, given, must_complete=must_complete)
        flow = self.session.flow(name)
        parameters = _parameters(flow, given.param, self.shell.user_ns)
        if not given.form and not given.resume:
            _refuse_missing(flow, parameters, self.shell.user_ns)
        options = LocalOptions(
            max_workers=given.max_workers,
            fail_fast=False if given.no_fail_fast else None,
            isolation=given.isolation,
            record=given.record,
            resume=given.resume and str(_filled(given.resume, self.shell.user_ns)),
        )
        if given.form:
            if given.fresh:
                raise DefinitionError("a form runs the flow in this process; leave --form or --fresh out")
            self.session.show_form(flow, parameters, **options)
            return None
        return self.session.run(
            flow, parameters, background=given.background, fresh=given.fresh, must_complete=must_complete, **options
        )

    @output_can_be_silenced
    @_magic
    def dagy_watch(self, given: Namespace) -> NotebookRun:
        """Show a run of a deployment."""
        return self.session.watch(given.run, background=given.background, profile=given.profile)

    @_magic
    def dagy_cancel(self, given: Namespace) -> None:
        """Cancel a run."""
        cancelled = self.session.cancel(given.run, profile=given.profile)
        told = [f"cancelling {each}" for each in cancelled] or ["no run is under way"]
        self.session.screen.show({"text/plain": "\n".join(told)})

    @output_can_be_silenced
    @_magic
    def dagy_tasks(self, given: Namespace) -> Listing[NotebookTask]:
        """List the tasks."""
        return self.session.tasks()

    @output_can_be_silenced
    @_magic
    def dagy_nodes(self, given: Namespace) -> Listing[NodeRow] | NodePage | NodeForm:
        """List node types, or show one."""
        text = " ".join(given.text)
        if given.form:
            if not text:
                raise DefinitionError("--form needs a node's type, such as %dagy_nodes read_csv --form")
            return self.session.node_form(text, {})
        return self.session.nodes(text, category=given.category, accepts=given.accepts, gives=given.gives)

    @output_can_be_silenced
    @_magic
    def dagy_runs(self, given: Namespace) -> Listing[PastRun]:
        """List the runs."""
        return self.session.past_runs(given.flow, limit=given.limit, profile=given.profile)

    @_magic
    def dagy_logs(self, given: Namespace) -> None:
        """Show what tasks wrote."""
        text = self.session.logs(given.run, task=given.task, profile=given.profile)
        self.session.screen.show(_text(text or "nothing was written"))

    @output_can_be_silenced
    @_magic
    def dagy_check(self, given: Namespace) -> Check:
        """Say what is out of date."""
        return self.session.check()

    @output_can_be_silenced
    @_magic
    def dagy_status(self, given: Namespace) -> Listing[Drift]:
        """Say what was edited since the last build."""
        return self.session.status(given.flow, output_dir=given.output_dir, profile=given.profile)

    @_magic
    def dagy_export(self, given: Namespace) -> None:
        """Write the notebook as a module."""
        export = self._exported(given.file, force=given.force)
        if given.file is None:
            self.session.screen.show(_text(export.text))
            if export.warnings:
                self.session.screen.show(_lines([*export.warnings]))
            return
        left_out = [f"left out of it: {each.label}, {each.reason}" for each in export.left_out]
        written = f"wrote {given.file} with {', '.join(export.flows)}"
        self.session.screen.show(_lines([written, *export.warnings, *left_out]))

    @_magic
    def dagy_load(self, given: Namespace) -> None:
        """Put a task's source into the next cell."""
        loaded = self.session.load(given.task, run=given.run)
        self.shell.set_next_input(loaded.text, replace=False)
        if loaded.note:
            self.session.screen.show(_lines([loaded.note]))

    @output_can_be_silenced
    @_magic
    def dagy_build(self, given: Namespace) -> Artifact:
        """Build an artifact."""
        graph = self.session.graph_called(given.flow)
        name = self.session.flow(given.flow).name
        export = self._exported() if graph is None else self.session.export_graph(graph)
        built = self.session.build(graph or name, export=export, **_build_options(given))
        self._tell_of_export(export, is_graph=graph is not None)
        if given.prove:
            self.session.screen.show(self.session.screen.bundle_of(self.session.prove(built)))
        return built

    @output_can_be_silenced
    @_magic
    def dagy_plan(self, given: Namespace) -> Route:
        """Show where on AWS a flow would run."""
        return self.session.plan(given.flow, executor=given.executor)

    @no_var_expand
    @output_can_be_silenced
    @_magic
    def dagy_deploy(self, given: Namespace) -> Deployed:
        """Deploy a flow."""
        flow, graph = self.session.flow(given.flow), self.session.graph_called(given.flow)
        export = self._exported() if graph is None else self.session.export_graph(graph)
        deployed = self.session.deploy(
            graph or flow.name,
            name=given.name and str(_filled(given.name, self.shell.user_ns)),
            namespace=given.namespace,
            tags=_tags(given.tag),
            schedule=given.schedule,
            timezone=given.timezone,
            parameters=_parameters(flow, given.param, self.shell.user_ns),
            force=given.force,
            dry_run=given.dry_run,
            must_prove=not given.no_prove,
            profile=given.profile,
            executor=given.executor,
            image=given.image,
            export=export,
            **_build_options(given),
        )
        self._tell_of_export(export, is_graph=graph is not None)
        return deployed

    @_magic
    def dagy_reset(self, given: Namespace) -> None:
        """Forget cells."""
        gone = self.notebook.forget(given.task)
        told = "the task cells and flow cells are forgotten; run those to keep again"
        if given.task is not None:
            told = f"{gone[0].label} is forgotten; run it to keep it again"
        self.session.screen.show({"text/plain": told})

    @_magic
    def dagy(self, given: Namespace) -> None:
        """List the magics."""
        if given.notebook is not None:
            self.session.name_file(Path(given.notebook))
        rows = [(f"%%{name}", help_text().partition("\n\n")[2].partition("\n")[0]) for name, help_text in _CELL_MAGICS]
        rows += [(f"%{name}", each.summary) for name, each in parsers().items()]
        self.session.screen.show(
            {
                "text/plain": "\n".join([*text_lines(_HELP_HEAD, rows), "", _HELP_MORE]),
                "text/html": f"{html_table(_HELP_HEAD, rows)}<p>{markup_line(_HELP_MORE)}</p>",
            }
        )

    # ---- parts of the above

    def _run_deployment(self, given: Namespace) -> NotebookRun:
        """A run of a deployment; the options that say how a run here is made are refused."""
        ignored = [each for each in (*_NOT_AGAIN, "--again") if getattr(given, each[2:].replace("-", "_"))]
        if given.flow is not None or ignored:
            more = [*([repr(given.flow)] if given.flow is not None else []), *ignored]
            raise DefinitionError(
                f"a deployment says what is run, and a worker how; leave {' and '.join(more)} out, or --deployment"
            )
        name = str(_filled(given.deployment, self.shell.user_ns))
        values: dict[str, Any] = {}
        if given.param:
            spec = self.session.deployment_spec(name, profile=given.profile)
            values = _deployed_parameters(spec, given.param, self.shell.user_ns)
        return self.session.run_deployment(
            name,
            values,
            background=given.background,
            must_complete=not (given.no_raise or given.no_fail_fast),
            profile=given.profile,
        )

    def _tell_of_export(self, export: Export, *, is_graph: bool) -> None:
        """What may not mean in the artifact what was meant."""
        uncalled = () if is_graph else self.session.uncalled(export)
        loose = f"{'task' if len(uncalled) == 1 else 'the tasks'} {', '.join(map(repr, uncalled))}"
        joined = f"%dagy_run {self.notebook.name} runs the task cells, joined by their names"
        told = [*export.warnings, *([f"no flow calls {loose}; {joined}"] if uncalled else [])]
        if told:
            self.session.screen.show(_lines(told))

    def _run_again(self, name: str | None, given: Namespace, *, must_complete: bool) -> NotebookRun:
        ignored = [each for each in _NOT_AGAIN if getattr(given, each[2:].replace("-", "_"))]
        if ignored:
            raise DefinitionError(
                f"a run again has the options of the last run, and can't take {' and '.join(ignored)}; "
                f"leave {'it' if len(ignored) == 1 else 'them'} out, or --again"
            )
        last = self.session.last_run
        if name is not None and last is not None and name != last.spec.name:
            raise DefinitionError(f"the last run was of flow {last.spec.name!r}, not of {name!r}; leave --again out")
        parameters = None
        if given.param and last is not None:
            flow = self.session.flow(last.spec.name)
            parameters = _parameters(flow, given.param, self.shell.user_ns)
        return self.session.run_again(
            last, parameters=parameters, background=given.background, must_complete=must_complete
        )

    def _exported(self, file: str | None = None, *, force: bool = False) -> Export:
        """The export; where there is none, what is out of date is told above the reason, as it may be the reason."""
        try:
            return self.session.export(file, force=force)
        except DagyError:
            self._tell_what_is_stale(is_exported=False)
            raise

    def _cell_failed(self, cell: Cell) -> None:
        """One line under the error of a cell that flows have not, or not like this."""
        found = self.notebook.failed(cell)
        if isinstance(found, FailedCell):
            self.session.screen.show(_lines([f"not kept as a {found.kind}: the cell failed"]))
        elif found is not None and found.defined is not None:
            what = kind_of(found.defined)
            named = f" {found.name!r}" if found.name else ""
            self.session.screen.show(_lines([f"the {what}{named} stays what it was before this edit: the cell failed"]))

    def _linter_hint(self) -> list[str]:
        """What to know of the project's linters, with the first cell that they would skip and never again."""
        if self._is_hinted:
            return []
        self._is_hinted = True
        hint = hint_for(self.notebook.path.absolute().parent)
        return [hint] if hint else []

    def _tell_what_is_stale(self, *, is_exported: bool) -> None:
        """One line before a run, when a cell is not what it was when it ran; of what is exported for it another one."""
        self.session.look()
        held = [each.label for each in self.notebook.cells] if is_exported else []
        told = export_notes(self.session.findings(), held)
        if told:
            self.session.screen.show(_lines([*told]))

    def _check_running_cell(self, magic: str, help_text: Callable[[], str], *, is_alone: bool) -> None:
        """`is_alone`: the cell's first line was made a line magic, so that the rest of it runs by itself."""
        info = self._running
        found = None if info is None else self.answered(lambda: find_directive(info.raw_cell or ""))
        directive = None if found is None else found[0]
        if info is None or not isinstance(directive, TaskDirective | FlowDirective | NodeDirective) or not is_alone:
            raise UsageError(f"%%{magic} must be the first line of its cell; move what stands above into its own cell")
        if directive.help_wanted:
            self.session.screen.show({"text/plain": help_text()})
            return
        defined = self.answered(lambda: self.notebook.check(self._cell(info, self._number)))
        self._waits_for = self.notebook.waits_for(defined)  # before it runs: it may delete what it needs
        self.notebook.about_to_run(defined)

    def answered(self, action: Callable[[], T]) -> T:
        """What `action` returns; a user's mistake becomes IPython's `UsageError`, which shows no traceback."""
        try:
            return action()
        except RunError:
            raise
        except DagyError as error:
            raise UsageError(self.notebook.with_labels(str(error))) from None

    def _is_only_kept(self, source: str) -> bool:
        """Whether the cell can't run on its own: it is kept then, and runs with its flow."""
        try:
            return bool(self.notebook.waits_for(self.notebook.check(Cell("", source, "this cell"))))
        except DagyError:
            return False  # the magic will say what is wrong

    def _history(self) -> list[str]:
        """The cells that ran, as typed, after an empty text; the one that runs is the last, once it has begun."""
        manager = self.shell.history_manager
        return [] if manager is None else manager.input_hist_raw

    def _cell(self, info: ExecutionInfo, number: int | None) -> Cell:
        return Cell(info.cell_id or "", info.raw_cell or "", f"cell [{number}]")

    def _filename(self, info: ExecutionInfo, result: ExecutionResult) -> str:
        source = info.raw_cell or ""
        transformed = getattr(info, "transformed_cell", None) or self.shell.transform_cell(source)
        return self.shell.compile.get_code_name(source, transformed, result.execution_count or 0)


DagyMagics.dagy_task.__doc__ = task_help()
DagyMagics.dagy_flow.__doc__ = flow_help()
DagyMagics.dagy_node.__doc__ = node_help()


def add_magics(shell: InteractiveShell) -> None:
    """Add the magics to `shell`, and forget those of an earlier loading."""
    remove_magics(shell)
    magics = DagyMagics(shell)
    magics.adopt_history()
    shell.register_magics(magics)
    for name, _ in _CELL_MAGICS:  # what IPython looks for when `%%dagy_task` is not the first line
        shell.magics_manager.magics["line"][f"%{name}"] = getattr(magics, name)
    if shell.Completer is not None:
        shell.Completer.custom_matchers.append(magics.complete)
    if shell.display_formatter is not None:
        shell.display_formatter.mimebundle_formatter.for_type(Flow, magics.bundle_of_flow)
    shell.events.register("pre_run_cell", magics.before_cell)
    shell.events.register("post_run_cell", magics.after_cell)
    shell.input_transformer_manager.cleanup_transforms.append(magics.transform)


def remove_magics(shell: InteractiveShell) -> None:
    """Take the magics away from `shell` again, if they are there."""
    magics = shell.magics_manager.registry.pop(DagyMagics.__name__, None)
    if magics is None:
        return
    magics.session.close()
    for kind in ("line", "cell"):
        for name in DagyMagics.magics[kind]:
            shell.magics_manager.magics[kind].pop(name, None)
            shell.magics_manager.magics[kind].pop(f"%{name}", None)
    if shell.Completer is not None:
        shell.Completer.custom_matchers.remove(magics.complete)
    if shell.display_formatter is not None:
        shell.display_formatter.mimebundle_formatter.pop(Flow, None)
    shell.events.unregister("pre_run_cell", magics.before_cell)
    shell.events.unregister("post_run_cell", magics.after_cell)
    shell.input_transformer_manager.cleanup_transforms.remove(magics.transform)
    shell.configurables.remove(magics)


def current_magics() -> DagyMagics:
    """What the running notebook has loaded; `UsageError` when it has not."""
    shell = get_ipython()
    magics: DagyMagics | None = None if shell is None else shell.magics_manager.registry.get(DagyMagics.__name__)
    if magics is None:
        raise UsageError("no notebook is at hand; run %load_ext dagy_nb in one first")
    return magics


def source_of_flow(flow: Flow[..., Any]) -> Source | None:
    """The code of a flow of the running notebook, for whoever builds it; None for any other flow."""
    shell = get_ipython()
    magics: DagyMagics | None = None if shell is None else shell.magics_manager.registry.get(DagyMagics.__name__)
    return None if magics is None else magics.session.source_of(flow)


def _build_options(given: Namespace) -> dict[str, Any]:
    """How an artifact is to be built, as `Session.build` takes it."""
    return {
        "output_dir": given.output_dir,
        "target": given.target,
        "requirements": given.requirements,
        "include": tuple(given.include),
    }


def _tags(given: list[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not key or not equals:
            raise ParameterError(f"--tag {each!r} is not of the form KEY=VALUE, such as --tag team=data")
        if key in tags:
            raise ParameterError(f"--tag {key!r} is given twice")
        tags[key] = value
    return tags


def _parameters(flow: Flow[..., Any], given: list[str], variables: Mapping[str, object]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, text in flow.parameters.named_texts(given).items():
        value = _filled(text, variables)
        values[name] = value if _VARIABLE.fullmatch(text) else flow.parameters.parse_text(name, str(value))
    return values


def _deployed_parameters(spec: FlowSpec, given: list[str], variables: Mapping[str, object]) -> dict[str, Any]:
    """The same for a deployed flow."""
    whole: dict[str, Any] = {}
    pairs = []
    for each in given:
        name, equals, text = each.partition("=")
        if _VARIABLE.fullmatch(text) and name in {each.name for each in spec.parameters}:
            whole[name] = _filled(text, variables)
        else:
            pairs.append(f"{name}{equals}{_filled(text, variables)}")
    return {**parameter_texts.values_of(spec, pairs), **whole}


def _refuse_missing(flow: Flow[..., Any], given: Mapping[str, object], variables: Mapping[str, object]) -> None:
    """Say how a parameter without a value gets the notebook's variable of its name, where there is one."""
    missing = [each.name for each in flow.parameters.specs() if each.required and each.name not in given]
    known = [name for name in missing if name in variables and not isinstance(variables[name], Flow | Task)]
    if known:
        options = " ".join(f"-p {name}={{{name}}}" for name in known)
        names = ", ".join(map(repr, missing))
        raise ParameterError(f"flow {flow.name!r} needs a value for {names}; {options} gives it the notebook's own")


def _filled(text: str, variables: Mapping[str, object]) -> object:
    """`text` with the notebook's variables for `{name}`; `{name}` alone is the variable itself. Other braces stay."""

    def value_of(name: str) -> object:
        if name not in variables:
            raise DefinitionError(f"{text!r}: the notebook has no variable {name!r}{did_you_mean(name, variables)}")
        return variables[name]

    alone = _VARIABLE.fullmatch(text)
    return value_of(alone[1]) if alone else _VARIABLE.sub(lambda each: str(value_of(each[1])), text)


def _drawable(flow: Flow[..., Any]) -> Flow[..., Any]:
    """`flow`, drawn once, so that what stops it from being drawn is said here."""
    _ = flow.spec
    return flow


def _text(text: str) -> dict[str, object]:
    return {"text/plain": text, "text/html": f"<pre>{markup_lines(text)}</pre>"}


def _lines(lines: list[str]) -> dict[str, object]:
    first, *rest = map(markup_line, lines)
    return {
        "text/plain": "\n".join(lines),
        "text/html": f'<div class="{NO_MATH}" style="font-size:12px;opacity:.75">{first}'
        + "".join(f"<br/>⚠ {each}" for each in rest)
        + "</div>",
    }


def _deleted_cells(shell: InteractiveShell) -> list[str]:
    """The ids of the cells that the page has deleted since it last ran one, as JupyterLab and Notebook tell it."""
    parent: object = getattr(getattr(shell, "kernel", None), "get_parent", dict)()
    metadata = parent.get("metadata") if isinstance(parent, dict) else None
    ids = metadata.get("deletedCells") if isinstance(metadata, dict) else None
    return [each for each in ids if isinstance(each, str)] if isinstance(ids, list) else []
