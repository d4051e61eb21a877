"""The magics: parse the line, call, display; nothing else.

`%%dagy_task` is an input transformer, not a cell magic: it turns the cell's first line into the line magic of the same
name, and the rest runs as an ordinary cell, so that line numbers, tracebacks, completion and the debugger stay right.
"""

from __future__ import annotations

import argparse
import linecache
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from IPython.core.error import UsageError
from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand, output_can_be_silenced
from IPython.core.magic_arguments import argument, magic_arguments

from dagy import Flow
from dagy.artifact import Artifact
from dagy.drawing import markup_line, markup_lines
from dagy.errors import DagyError, DefinitionError, RunError, did_you_mean
from dagy_nb.cells import Cell
from dagy_nb.directives import find_directive, flow_help, split_line, task_help
from dagy_nb.notebook import Notebook
from dagy_nb.running import NotebookRun
from dagy_nb.screen import IPythonScreen
from dagy_nb.session import Session

T = TypeVar("T")

_VARIABLE = re.compile(r"\{([^\W\d]\w*)\}")
_DIRECTIVE_LINE = re.compile(r"(?:%%|#\|[ \t]*)(dagy_(?:task|flow))(?!\w)(.*)")


@magics_class
class DagyMagics(Magics):
    """Everything that `%load_ext dagy_nb` adds."""

    shell: InteractiveShell

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.notebook = Notebook(shell.user_ns, path=_notebook_path())
        self.session = Session(self.notebook, IPythonScreen(shell))
        self._running: ExecutionInfo | None = None
        self._number = (
            0  # of the cell that runs; `shell.execution_count` is one ahead, or not yet, as IPython's version has it
        )

    # ---- what the kernel tells

    def transform(self, lines: list[str]) -> list[str]:
        """The cell's lines, the directive's line made the line magic of its name."""
        first = next((index for index, line in enumerate(lines) if line.strip()), None)
        found = None if first is None else _DIRECTIVE_LINE.match(lines[first])
        if first is None or found is None:
            return lines
        magic = f"%{found[1]}{found[2]}\n"
        if self._is_only_kept("".join(lines)):
            return [*lines[:first], magic]
        return [*lines[:first], magic, *lines[first + 1 :]]

    def before_cell(self, info: ExecutionInfo) -> None:
        """A cell is about to run."""
        self._running = info
        self._number = len(self._history())

    def after_cell(self, result: ExecutionResult) -> None:
        """A cell has run: keep it, if it ran well."""
        info = result.info
        if not result.success or info is None or info.silent or not info.store_history:
            return
        cell, filename = self._cell(info, result.execution_count), self._filename(info, result)
        try:
            waits_for = self.notebook.waits_for(self.notebook.check(cell))
            defined = self.notebook.keep(cell, filename)
        except DagyError as error:
            if _DIRECTIVE_LINE.match(cell.source.lstrip()):  # its function can't be a task, which only shows now
                mistake = result.error_in_exec = UsageError(str(error))
                self.shell.showtraceback((UsageError, mistake, None))
            return  # else a cell that IPython can run and Dagy can't read, which no flow can need
        if waits_for:  # IPython has only seen its first line: tracebacks need the others
            lines = [f"{line}\n" for line in info.raw_cell.splitlines()]
            linecache.cache[filename] = (len(info.raw_cell), None, lines, filename)
        if defined is not None:
            self.session.screen.show(_lines(self.session.card(defined, waits_for)))

    def adopt_history(self) -> None:
        """Keep the cells that ran before the extension was loaded: the imports are often among them."""
        history = self._history()
        for number in range(1, len(history) - 1):  # the last one is the cell that loads the extension
            try:
                if find_directive(history[number]) is None:
                    self.notebook.keep(Cell("", history[number], f"cell [{number}]"), "")
            except DagyError:
                continue  # no flow can need what can't be read

    # ---- magics

    @no_var_expand
    @line_magic
    def dagy_task(self, line: str) -> None:
        """Make a cell a task."""
        self._check_running_cell("dagy_task", task_help)

    @no_var_expand
    @line_magic
    def dagy_flow(self, line: str) -> None:
        """Make a cell a flow."""
        self._check_running_cell("dagy_flow", flow_help)

    @magic_arguments()
    @argument("flow", nargs="?", help="the flow; may be left out where the notebook has only one")
    @output_can_be_silenced
    @line_magic
    def dagy_dag(self, line: str) -> Flow[..., Any]:
        """Draw a flow, without running any of its tasks."""
        arguments = _parsed(self.dagy_dag, line)
        return self.answered(lambda: _drawable(self.session.flow(arguments.flow)))

    @magic_arguments()
    @argument("flow", nargs="?", help="the flow; may be left out where the notebook has only one")
    @argument("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="a value for a parameter")
    @argument("--max-workers", type=int, default=None, metavar="N", help="how many tasks may run at once")
    @argument(
        "--no-fail-fast",
        action="store_true",
        help="go on with what does not need a task that failed, and let the cell succeed",
    )
    @argument("--isolation", choices=["thread", "process"], help="where tasks run that do not say it themselves")
    @argument("--record", action="store_true", help="keep the run in the history, where `dagy runs` finds it")
    @argument("--resume", metavar="RUN", help="go on where that run ended; what completed there is not run again")
    @argument("-b", "--background", action="store_true", help="return at once, while the run goes on")
    @argument("--no-raise", action="store_true", help="let the cell succeed even if the run does not complete")
    @no_var_expand
    @output_can_be_silenced
    @line_magic
    def dagy_run(self, line: str) -> NotebookRun:
        """Run a flow and show every task live. Waits for the end, unless --background is given.

        `run = %dagy_run` gives the run: `run["task"]` is what a task returned, `run.cancel()` stops it.
        `--param rows={table}` gives the parameter the notebook's variable of that name, whatever it is.
        `--resume RUN` goes on with a run that was recorded (`run.run_id` names it), and says what is in the way when a
        cell whose result it would use has been edited since.
        """
        arguments = _parsed(self.dagy_run, line)

        def run() -> NotebookRun:
            name = arguments.flow and str(_filled(arguments.flow, self.shell.user_ns))
            flow = self.session.flow(name)
            return self.session.run(
                flow,
                _parameters(flow, arguments.param, self.shell.user_ns),
                max_workers=arguments.max_workers,
                fail_fast=not arguments.no_fail_fast,
                isolation=arguments.isolation,
                record=arguments.record,
                resume=arguments.resume,
                background=arguments.background,
                must_complete=not (arguments.no_raise or arguments.no_fail_fast),
            )

        return self.answered(run)

    @magic_arguments()
    @argument("file", nargs="?", help="the module to write, such as flow.py; without it the text is shown")
    @argument("-f", "--force", action="store_true", help="replace a file that is there")
    @line_magic
    def dagy_export(self, line: str) -> None:
        """Write the notebook's flows, and all they need, as a Python module."""
        arguments = _parsed(self.dagy_export, line)
        export = self.answered(lambda: self.session.export(arguments.file, force=arguments.force))
        if arguments.file is None:
            self.session.screen.show(
                {"text/plain": export.text, "text/html": f"<pre>{markup_lines(export.text)}</pre>"}
            )
            return
        left_out = [f"left out of it: {each.label}, {each.reason}" for each in export.left_out]
        written = f"wrote {arguments.file} with {', '.join(export.flows)}"
        self.session.screen.show(_lines([written, *left_out, *export.warnings]))

    @magic_arguments()
    @argument("flow", nargs="?", help="the flow; may be left out where the notebook has only one")
    @argument("-o", "--output-dir", default="dist", metavar="DIR", help="the folder to write to (default: dist)")
    @output_can_be_silenced
    @line_magic
    def dagy_build(self, line: str) -> Artifact:
        """Build a flow's artifact: a ZIP with the same bytes whenever the same cells are built."""
        arguments = _parsed(self.dagy_build, line)
        return self.answered(lambda: self.session.build(arguments.flow, output_dir=arguments.output_dir))

    @line_magic
    def dagy_reset(self, line: str) -> None:
        """Forget the task cells and flow cells of this notebook; variables and functions stay, a `@flow` among them."""
        self.notebook.forget()
        self.session.screen.show({"text/plain": "the task cells and flow cells are forgotten; run those to keep again"})

    # ---- parts of the above

    def _check_running_cell(self, magic: str, help_text: Callable[[], str]) -> None:
        info = self._running
        found = None if info is None else self.answered(lambda: find_directive(info.raw_cell or ""))
        if info is None or found is None:
            raise UsageError(f"%%{magic} must be the first line of its cell; move what stands above into its own cell")
        if found[0].help_wanted:
            self.session.screen.show({"text/plain": help_text()})
            return
        self.answered(lambda: self.notebook.check(self._cell(info, self._number)))

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


def load(shell: InteractiveShell) -> None:
    """Add the magics to `shell`, and forget those of an earlier loading."""
    unload(shell)
    magics = DagyMagics(shell)
    magics.adopt_history()
    shell.register_magics(magics)
    shell.events.register("pre_run_cell", magics.before_cell)
    shell.events.register("post_run_cell", magics.after_cell)
    shell.input_transformer_manager.cleanup_transforms.append(magics.transform)


def unload(shell: InteractiveShell) -> None:
    """Take the magics away from `shell` again, if they are there."""
    magics = shell.magics_manager.registry.pop(DagyMagics.__name__, None)
    if magics is None:
        return
    for name in DagyMagics.magics["line"]:
        shell.magics_manager.magics["line"].pop(name, None)
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


def _parsed(magic: Any, line: str) -> argparse.Namespace:
    try:
        words = split_line(line.rstrip().removesuffix(";"))  # which only silences the output
        arguments: argparse.Namespace = magic.parser.parse_args(words)
    except UsageError as error:
        options = [each for action in magic.parser._actions for each in action.option_strings]
        given = [each.partition("=")[0] for each in line.split() if each.startswith("-")]
        wrong = next((each for each in given if each not in options), "")
        hint = did_you_mean(wrong, options) if "unrecognized" in str(error) else ""
        raise UsageError(f"{error}{hint}; %{magic.__name__}? shows the options") from None
    except ValueError as error:
        raise UsageError(f"%{magic.__name__} {line}: {error}") from None
    return arguments


def _parameters(flow: Flow[..., Any], given: list[str], variables: Mapping[str, object]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, text in flow.parameters.named_texts(given).items():
        value = _filled(text, variables)
        values[name] = value if _VARIABLE.fullmatch(text) else flow.parameters.parse_text(name, str(value))
    return values


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


def _lines(lines: list[str]) -> dict[str, object]:
    first, *rest = map(markup_line, lines)
    return {
        "text/plain": "\n".join(lines),
        "text/html": f'<div style="font-size:12px;opacity:.75">{first}'
        + "".join(f"<br/>⚠ {each}" for each in rest)
        + "</div>",
    }


def _notebook_path() -> Path:
    """The notebook's file, as far as the kernel can know it."""
    return Path(os.environ.get("JPY_SESSION_NAME") or "notebook.ipynb")
