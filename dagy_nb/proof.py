"""The proof that an artifact does what the notebook does: it runs in a clean process, and the results are compared."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from dagy import artifact as artifacts
from dagy.drawing import counted, markup_line, plain_lines
from dagy.errors import DefinitionError, ResultGoneError
from dagy_nb.cells import Cell
from dagy_nb.comparing import compare
from dagy_nb.fresh import ModulePlaces
from dagy_nb.tables import html_table

if TYPE_CHECKING:
    from dagy import RunResult
    from dagy.artifact import Artifact

Verdict: TypeAlias = Literal["equal", "differs", "not comparable", "missing"]

_SIGNS: Mapping[Verdict, str] = {"equal": "✓", "differs": "✗", "not comparable": "?", "missing": "✗"}
_HINT = "a task that uses chance, the time or what is outside differs each time: give it a seed, or its input"


class NotebookRun(Protocol):
    """What a run of the notebook is asked for here."""

    @property
    def done(self) -> bool:
        """Whether it has ended."""

    def wait(self, timeout: float | None = None) -> RunResult:
        """How it went."""


@dataclass(frozen=True, slots=True)
class TaskProof:
    """How one task's result in the clean process compares with the notebook's."""

    task: str
    verdict: Verdict
    where: str = ""  # the path to the first difference
    detail: str = ""

    def __str__(self) -> str:
        where, detail = f" at {self.where}" if self.where else "", f": {self.detail}" if self.detail else ""
        return f"{_SIGNS[self.verdict]} {self.task}: {self.verdict}{where}{detail}"


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of it; `print(proof)` tells."""

    flow_name: str
    build_id: str
    tasks: tuple[TaskProof, ...]
    clean: RunResult  # of the clean process
    notebook: RunResult

    @property
    def agrees(self) -> bool:
        """Whether nothing differs and nothing is missing. What can't be compared doesn't count against it."""
        return all(each.verdict in ("equal", "not comparable") for each in self.tasks)

    @property
    def summary(self) -> str:
        """The outcome in a line."""
        total = counted(len(self.tasks), "task")
        counts = {verdict: sum(each.verdict == verdict for each in self.tasks) for verdict in _SIGNS}
        if counts["equal"] == len(self.tasks):
            return f"proven: {self.flow_name} {self.build_id} gives the notebook's results in a clean process ({total})"
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        outcome = "nothing differs" if self.agrees else "not proven"
        return f"{outcome}: {self.flow_name} {self.build_id} in a clean process, {told} of {total}"

    @property
    def hints(self) -> tuple[str, ...]:
        """What may help; none when all is equal."""
        found = [_HINT] if any(each.verdict == "differs" for each in self.tasks) else []
        if not self.clean.state.is_completed:
            found.insert(0, f"the clean run ended {self.clean.state}")
        return tuple(found)

    def __str__(self) -> str:
        lines = [self.summary, *(f"  {each}" for each in self.tasks), *(f"  {each}" for each in self.hints)]
        return plain_lines("\n".join(lines))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        rows = [(f"{_SIGNS[each.verdict]} {each.verdict}", each.task, each.where, each.detail) for each in self.tasks]
        hints = "".join(f"<p>{markup_line(each)}</p>" for each in self.hints)
        table = html_table(("result", "task", "where", "what"), rows)
        summary = f"<p><strong>{markup_line(self.summary)}</strong></p>"
        return {"text/html": f'<div class="dagy-proof">{summary}{table}{hints}</div>', "text/plain": str(self)}


def prove(
    artifact: Artifact,
    run: NotebookRun | None,
    *,
    directory: Path | None = None,
    namespace: Mapping[str, object] | None = None,
    cells: Sequence[Cell] = (),
) -> Proof:
    """Run the artifact in a clean process with the parameters of `run`, and compare the results task by task.

    Waits for the end. The process works in `directory` (where this one does, if not said); `namespace` holds the
    notebook's names, for results that are of its own classes; `cells` are for tracebacks to name. Nothing of the
    notebook is run: `DefinitionError` when `run`, the notebook's last, is None, goes on, or is of another flow. Raises
    what `start_clean` raises; `KeyboardInterrupt` ends the clean process too.
    """
    name = artifact.manifest.flow_name
    if run is None:
        raise DefinitionError(f"there is no run to compare with; run the flow first: %dagy_run {name}")
    if not run.done:
        raise DefinitionError("the run to compare with goes on; wait for its end: run.wait()")
    mine = run.wait()
    if mine.flow_name != name:
        raise DefinitionError(f"the last run was of flow {mine.flow_name!r}; run the flow first: %dagy_run {name}")
    module = f"{artifact.manifest.module}.py"
    with _new_figures_closed():
        clean = artifacts.start_clean(
            artifact,
            mine.parameters,
            directory=directory,
            fail_fast=False,
            namespace=namespace,
            place_of=ModulePlaces(_text_of(artifact, module), module, cells).place_of,
        )
        try:
            theirs = clean.wait()
        except BaseException:
            clean.cancel("interrupted")
            raise
        return compared(artifact, mine, theirs)


def compared(artifact: Artifact, mine: RunResult, theirs: RunResult) -> Proof:
    """The proof that two runs make: `mine` of the notebook, `theirs` of the artifact in a clean process."""
    ids = list(dict.fromkeys([*(task.id for task in artifact.manifest.spec.tasks), *mine.task_runs]))
    proofs = tuple(_task_proof(each, mine, theirs) for each in ids)
    return Proof(artifact.manifest.flow_name, artifact.manifest.build_id, proofs, theirs, mine)


def _task_proof(task: str, notebook: RunResult, clean: RunResult) -> TaskProof:
    mine, theirs = notebook.task_runs.get(task), clean.task_runs.get(task)
    if mine is None or theirs is None:
        return TaskProof(task, "missing", detail=f"only the {'clean run' if mine is None else 'notebook'} has it")
    if not (mine.state.is_completed and theirs.state.is_completed):
        same = str(mine.state) == str(theirs.state)  # one that failed for another reason is another result
        told = str(mine.state) if same else f"{mine.state} in the notebook, {theirs.state} in the clean run"
        return TaskProof(task, "not comparable" if same else "differs", detail=f"no result: {told}" if same else told)
    try:
        value, other = notebook[task], clean[task]
    except ResultGoneError as error:
        return TaskProof(task, "not comparable", detail=str(error))
    for each in (value, other):
        if isinstance(each, artifacts.Unreadable):
            return TaskProof(task, "not comparable", detail=f"it can't be read here: {each.reason}")
    found = compare(value, other)
    return TaskProof(task, found.verdict, found.where, "; ".join(each for each in (found.detail, found.note) if each))


@contextlib.contextmanager
def _new_figures_closed() -> Iterator[None]:
    """Close the figures of pyplot that are opened meanwhile: to read one back opens it, and the notebook would show it.

    They stay as values.
    """
    before = _open_figures()
    try:
        yield
    finally:
        for number in _open_figures() - before:
            sys.modules["matplotlib.pyplot"].close(number)


def _open_figures() -> set[int]:
    """The numbers of pyplot's figures; none while it is not loaded."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    return set() if pyplot is None else set(pyplot.get_fignums())


def _text_of(artifact: Artifact, path: str) -> str:
    with artifacts.open_artifact(artifact.path) as opened:
        entry = next(each for each in opened.manifest.files if each.path == path)
        return b"".join(opened.chunks(entry)).decode(errors="replace")
