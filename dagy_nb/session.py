"""What the magics do, as plain functions of the notebook: the same for a magic, a script and a test."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Unpack

from dagy import Executor, Flow, LocalOptions, artifact, backends, deploy, drawing, nodes
from dagy.drawing import ago, text_tree
from dagy.errors import (
    DagyError,
    DefinitionError,
    ExportError,
    MissingExtraError,
    NetworkError,
    NodeGraphError,
    NotebookError,
    ParameterError,
    UnknownRunError,
    did_you_mean,
)
from dagy.nodes import FlowNode, definition_of, node_registry
from dagy.settings import Settings
from dagy_nb.cells import Cell, FlowCell, NodeCell, TaskCell
from dagy_nb.checking import Check
from dagy_nb.deployed_runs import (
    DeployedCode,
    deployment_names,
    deployments_of,
    first_state,
    follow,
    manifest_of,
    output_of_run,
    recent_runs,
    spec_of,
)
from dagy_nb.deploying import LOCAL, Deployed, NotProvenError, edited_since
from dagy_nb.directives import NodeDirective
from dagy_nb.drift import Drift, drifts
from dagy_nb.drift import listing as drift_listing
from dagy_nb.export import EXPORT_MARK, Export, export_module
from dagy_nb.fresh import folder_of, start_fresh
from dagy_nb.loading import cell_of, is_statements, task_body, task_inputs
from dagy_nb.names import unused
from dagy_nb.node_forms import NodeForm
from dagy_nb.node_pages import NodePage, NodeRow, card_of, node_listing, origin_of
from dagy_nb.notebook import Defined, Notebook
from dagy_nb.notebook_file import has_file_id, saved_notebook
from dagy_nb.notebook_path import PathFinder
from dagy_nb.planes import Planes
from dagy_nb.proof import Proof, prove
from dagy_nb.registry import NotebookTask, notebook_tasks
from dagy_nb.registry import listing as task_listing
from dagy_nb.run_history import PastRun, output_of, past_run, past_runs, run_called
from dagy_nb.run_history import listing as run_listing
from dagy_nb.running import NotebookRun, Screen, Whose
from dagy_nb.runs import RunForm, Runs
from dagy_nb.staleness import Finding, export_notes, findings, marks, renamed, twice
from dagy_nb.tables import Listing

if TYPE_CHECKING:
    from dagy.artifact import Artifact, Manifest, Source
    from dagy.backends import Measured, Route
    from dagy.client import DagyClient
    from dagy.control import RunInfo
    from dagy.nodes import NodeGraph
    from dagy.spec import FlowSpec, Json


_NOTEBOOK = "__main__"  # the module that a notebook's names are in
_MEASURED = 3  # runs, at most, that a plan looks at


class DrawnFlow(Flow[..., Any]):
    """A flow that shows itself with marks on the tasks that are out of date. In all else it is that flow."""

    def __init__(self, flow: Flow[..., Any], marks: Mapping[str, str]) -> None:
        self.__dict__.update(vars(flow))
        self.marks = marks  # {the name of a task: one or two words}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        try:
            spec = self.spec
        except DagyError:
            return super()._repr_mimebundle_()  # which says why it can't be drawn
        marked = {each.id: self.marks[each.name] for each in spec.tasks if each.name in self.marks}
        return {"text/html": drawing.flow_html(spec, marks=marked), "text/plain": text_tree(spec, marks=marked)}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A task's source for a cell, and what to know about it."""

    text: str
    note: str = ""


class Session:
    """A notebook, and the screen it shows things on."""

    def __init__(
        self,
        notebook: Notebook,
        screen: Screen,
        finder: PathFinder | None = None,
        answered: Callable[[Callable[[], Any]], Any] = lambda action: action(),
    ) -> None:
        """`answered` calls what a form may raise a user's mistake in, and tells it as the notebook does."""
        self.notebook = notebook
        self.answered = answered
        self.screen = screen
        self.finder = finder  # None: the notebook's file is not looked for
        self._seen: tuple[Path, int, int] | None = None  # the file as it was read last: where, when written, how large
        self.runs = Runs(notebook, screen)
        self.planes = Planes()
        self._past: dict[str, PastRun] = {}  # by run id, of runs that have ended
        self._inputs: tuple[str, object] | None = None  # the variable that `load` made, and its value

    @property
    def last_run(self) -> NotebookRun | None:
        """The newest run, however it ended; None before the first one."""
        return self.runs.last

    def flow(self, flow: str | Flow[..., Any] | NodeGraph | None = None) -> Flow[..., Any]:
        """The flow of that name, or the only one; a `Flow` is itself. See `Notebook.flow` for the errors.

        A `NodeGraph`, the name of a variable that holds one, and the path of its document are the graph's flow. Raises
        `NodeGraphError` with all that is wrong with the graph.
        """
        graph = self.graph_called(flow)
        if graph is not None:
            return graph.flow()
        return flow if isinstance(flow, Flow) else self.notebook.flow(flow)  # type: ignore[arg-type]  # no graph

    def flow_names(self) -> list[str]:
        """What a flow may be called by here: those of the cells, and the variables that hold node graphs."""
        return [*self.notebook.flow_names(), *self._graphs()]

    def _graphs(self) -> dict[str, NodeGraph]:
        """The variables that hold node graphs."""
        variables = list(self.notebook.namespace.items())
        return {name: each for name, each in variables if isinstance(each, nodes.NodeGraph) and name[0] != "_"}

    def graph_called(self, flow: object) -> NodeGraph | None:
        """The node graph that `flow` is or names, where it names no flow; see `flow`."""
        if isinstance(flow, str) and flow not in self.notebook.flow_names():
            return self._graph(flow)
        is_flow = flow is None or isinstance(flow, str | Flow)
        return flow if not is_flow and isinstance(flow, nodes.NodeGraph) else None

    def _graph(self, name: str) -> NodeGraph | None:
        """The node graph that a variable holds, or a document that ends in ".json"; None for any other name."""
        value = self.notebook.namespace.get(name)
        if isinstance(value, nodes.NodeGraph):
            return value
        return nodes.NodeGraph.load(Path(name).expanduser()) if name.endswith(".json") else None

    def run(
        self,
        flow: str | Flow[..., Any] | NodeGraph | None = None,
        parameters: Mapping[str, Any] = MappingProxyType({}),
        *,
        background: bool = False,
        fresh: bool = False,
        must_complete: bool = True,
        **options: Unpack[LocalOptions],
    ) -> NotebookRun:
        """Run a flow and show every task live; `parameters` are the flow's, `options` those of `run_local`.

        `fresh` runs what would be exported, in a clean process of its own. Waits for the end, unless `background`.
        Raises `TaskFailedError` or `RunCancelledError` when the run that it waited for did not complete, unless
        `must_complete` is off.
        """
        self.look()
        self._remember_runs()
        flow = self.flow(flow)
        if not fresh:
            return self.runs.start(flow, parameters, background=background, must_complete=must_complete, **options)
        if options.pop("resume", None) is not None:
            raise DefinitionError(
                "a run in a clean process can't go on with another one; leave --resume or --fresh out"
            )
        begun = start_fresh(
            self._exported(),
            flow.name,
            parameters,
            path=self.notebook.path,
            cells=self.notebook.cells,
            namespace=self.notebook.namespace,
            **_of_a_fresh_run(options),
        )
        return self.runs.follow(begun, background=background, must_complete=must_complete)

    def run_deployment(
        self,
        deployment: str,
        parameters: Mapping[str, Json] = MappingProxyType({}),
        *,
        flow: object = None,
        background: bool = False,
        must_complete: bool = True,
        profile: str | None = None,
    ) -> NotebookRun:
        """Have a worker run the deployment of that name, and show it live as any other run; else as `run`.

        Raises `UnknownDeploymentError`, `ParameterError` for what its flow does not take, what asking the control plane
        may raise, and `DefinitionError` when a `flow` is named too.
        """
        if flow is not None:
            raise DefinitionError(f"deployment {deployment!r} says what is run; leave the flow out, or the deployment")
        self._remember_runs()
        asked = self.planes.client(profile)
        run = asked.create_run(deployment, parameters)
        return self._followed(asked, run.info, "worker", background=background, must_complete=must_complete)

    def deployment_spec(self, deployment: str, *, profile: str | None = None) -> FlowSpec:
        """The flow that the deployment stands for now. Raises `UnknownDeploymentError`."""
        asked = self.planes.client(profile)
        return spec_of(asked, asked.deployment(deployment))

    def watch(self, run: str | None = None, *, background: bool = False, profile: str | None = None) -> NotebookRun:
        """Show a run of a deployment live, whoever began it; without a name the latest. Else as `run`.

        It goes on when the cell is interrupted, and its failure is not raised. Raises `UnknownRunError`.
        """
        self._remember_runs()
        held = {each.run_id: each for each in self.runs.all()}
        if run in held:
            return held[run]
        asked = self.planes.client_if_any(profile)
        if asked is None:
            raise UnknownRunError(run or "latest", list(held))
        info = asked.run_info(run or "latest")
        if info.run_id in held:
            return held[info.run_id]
        return self._followed(asked, info, "elsewhere", background=background, must_complete=False)

    def _followed(
        self, asked: DagyClient, info: RunInfo, whose: Whose, *, background: bool, must_complete: bool
    ) -> NotebookRun:
        handle = follow(asked, info, on_refused=self._tell_refusal, local_dir=Settings.read().local_dir)
        is_mine = info.flow_name in self.notebook.flow_names()
        cells = {each.name: each.cell for each in self.notebook.kept if each.name} if is_mine else {}
        code = DeployedCode(asked, info, lambda: self.notebook.cells if is_mine else ())
        return self.runs.follow(
            handle,
            background=background,
            must_complete=must_complete,
            whose=whose,
            state=first_state(asked, info),
            cells=cells,
            retold=code.retold,
        )

    def _tell_refusal(self, error: DagyError) -> None:
        """A page or an interrupt has asked for a cancel, and nobody could be told."""
        self.screen.show({"text/plain": f"the run can't be cancelled now: {error}"})

    def run_again(
        self,
        run: NotebookRun | None = None,
        *,
        parameters: Mapping[str, Any] | None = None,
        from_start: bool = False,
        background: bool = False,
        must_complete: bool = True,
    ) -> NotebookRun:
        """Run a run again, or the last one; what completed and is the same is not repeated. See `Runs.rerun`."""
        run = run or self.last_run
        if run is None:
            raise DefinitionError("there is no run to run again yet; %dagy_run starts one")
        self.look()
        self._remember_runs()
        return self.runs.rerun(
            run, parameters=parameters, from_start=from_start, background=background, must_complete=must_complete
        )

    def show_form(
        self,
        flow: str | Flow[..., Any] | NodeGraph | None = None,
        parameters: Mapping[str, Any] = MappingProxyType({}),
        **options: Unpack[LocalOptions],
    ) -> RunForm:
        """Show the flow and a form for its parameters, with a Run button. `DefinitionError` where no page shows it."""
        self.look()
        return self.runs.show_form(self.flow(flow), parameters, **options)

    def cancel(self, run: str | None = None, *, profile: str | None = None) -> tuple[str, ...]:
        """Cancel a run, or every one that was begun here and is under way; the ids of those that were.

        A run of a deployment may have been begun anywhere. Raises `UnknownRunError`.
        """
        try:
            return tuple(each.run_id for each in self.runs.cancel(run))
        except UnknownRunError:
            asked = self.planes.client_if_any(profile)
            if run is None or asked is None:
                raise
            info = asked.run_info(run)
            if info.status.is_final:
                return ()
            return (asked.cancel_run(info.run_id, "cancelled in the notebook").run_id,)

    def look(self) -> None:
        """See where the notebook's file is now, and how it was saved last: its cells' order and texts.

        While it can't be read, what was seen last counts.
        """
        path = None if self.finder is None else self.finder.found()
        if path is None:
            return
        if path != self.notebook.path:
            self.notebook.path = path
        try:
            status = path.stat()
            seen = (path, status.st_mtime_ns, status.st_size)
            if seen != self._seen or self.notebook.saved is None:
                self.notebook.arrange(saved_notebook(path))
                self._seen = seen
        except (OSError, NotebookError, MissingExtraError):
            pass  # it is being written, or was renamed: the order seen last is right, and that of the runs may not be

    def findings(self) -> tuple[Finding, ...]:
        """What of the notebook may not be as it looks. Nothing is run."""
        try:
            joined = self.notebook.tasks()
        except DefinitionError:
            joined = ()
        last = self.last_run
        return findings(
            self.notebook.kept,
            joined,
            failed=self.notebook.not_kept,
            saved=self.notebook.saved,
            ran_at=None if last is None else last.started_at,
            has_run=() if last is None else [each.name for each in last.spec.tasks],
        )

    def drawn(self, flow: str | Flow[..., Any] | NodeGraph | None = None) -> DrawnFlow:
        """The flow as a picture, on which what is out of date is marked. Raises what `flow` raises."""
        self.look()
        return DrawnFlow(self.flow(flow), marks(self.findings()))

    def task_names(self) -> list[str]:
        """What the tasks of the notebook's cells are called."""
        return [each.name for each in self.tasks()]

    def tasks(self) -> Listing[NotebookTask]:
        """All tasks of the notebook, however they were written, in notebook order."""
        self.look()
        try:
            joined = self.notebook.tasks()
        except DefinitionError:
            joined = ()
        found = notebook_tasks(self.notebook.kept, joined, self.notebook.namespace, marks(self.findings()))
        return task_listing(found)

    def nodes(
        self, text: str = "", *, category: str | None = None, accepts: str | None = None, gives: str | None = None
    ) -> Listing[NodeRow] | NodePage:
        """The node types that have the words of `text`; the page of the one whose type, or class, `text` is.

        `accepts` and `gives` are data types: only nodes that take such a value, that may give one. Those whose packages
        can't be imported are left out with a warning.
        """
        cells = self.node_cells()
        if not (category or accepts or gives):
            for each in node_registry.find() if text else ():
                if text in (definition_of(each).node_type, each.__name__):
                    return NodePage(each, origin_of(each, cells))
        found = node_registry.find(text, category=category, accepts=accepts, gives=gives)
        filters = {"category": category, "accepts": accepts, "gives": gives}
        asked = [*([repr(text)] if text else []), *(f"--{name} {each}" for name, each in filters.items() if each)]
        hint = did_you_mean(text, self.node_types()) if not found else ""
        nothing = f"no node type fits {' '.join(asked)}{hint}" if asked else "no node type is known"
        return node_listing(found, cells, nothing=nothing)

    def node_types(self) -> list[str]:
        """The node types there are."""
        return [definition_of(each).node_type for each in node_registry.find()]

    def node_cells(self) -> dict[str, str]:
        """For each node type that a cell of this notebook defines, what messages call the cell."""
        return {definition_of(each).node_type: kept.cell.label for kept in self.notebook.kept for each in kept.nodes}

    def written_nodes(self, cell: Cell) -> list[str]:
        """A line for each node class that a cell with `%%dagy_node` writes itself."""
        kept = next((each for each in self.notebook.kept if each.cell == cell), None)
        is_told = kept is not None and isinstance(kept.read.directive, NodeDirective)
        return [card_of(each) for each in kept.nodes] if kept is not None and is_told else []

    def node_form(self, node: str | type[FlowNode] | FlowNode, values: Mapping[str, Any]) -> NodeForm:
        """A form for a node's configuration: of its type, its class, or a node that is configured already.

        Raises `UnknownNodeError`, and `NodeConfigError` for values that its fields don't take.
        """
        given = {**(node.given if isinstance(node, FlowNode) else {}), **values}
        cls = node_registry.get(node) if isinstance(node, str) else node if isinstance(node, type) else type(node)
        return NodeForm(cls, given, is_live=self.screen.is_live, answered=self.answered)

    def past_runs(self, flow: str | None = None, *, limit: int = 20, profile: str | None = None) -> Listing[PastRun]:
        """The runs of this session, the recorded ones and those of deployments, each once, the newest first.

        A control plane that can't be reached is told below the list. `StoreError` when the history can't be read.
        """
        asked = self.planes.client_if_any(profile)
        return self._past_runs(asked, flow, limit)

    def _past_runs(self, asked: DagyClient | None, flow: str | None = None, limit: int = 20) -> Listing[PastRun]:
        if limit < 1:
            raise DefinitionError(f"--limit must be 1 or more, not {limit}")
        self._remember_runs()
        held = {each.run_id: past_run(each) for each in self.runs.all()}
        deployed: Sequence[RunInfo] = ()
        note = ""
        try:
            deployed = () if asked is None else recent_runs(asked, flow, limit)
        except NetworkError as error:
            note = f"without the runs of deployments: {error}"
        mine = (self._past | held).values()
        return run_listing(past_runs(mine, Settings.read().local_dir, deployed, flow=flow, limit=limit), note)

    def run_ids(self) -> list[str]:
        """What a run may be called: the ids, the newest first, and "latest"."""
        return [*(each.run_id for each in self._past_runs(self.planes.local_client_if_any())), "latest"]

    def deployment_names(self) -> list[str]:
        """What deployments may be called by, as far as that is known without the network."""
        asked = self.planes.local_client_if_any()
        return [] if asked is None else deployment_names(asked)

    def logs(self, run: str | None = None, *, task: str | None = None, profile: str | None = None) -> str:
        """What the tasks of a run wrote, or one of them; see `output_of` for the errors."""
        try:
            return output_of(run, self.runs.all(), Settings.read().local_dir, task=task)
        except UnknownRunError:
            asked = self.planes.client_if_any(profile)
            if asked is None:
                raise
            return output_of_run(asked, run or "latest", task=task)

    def status(
        self, flow: str | None = None, *, output_dir: str | Path = "dist", profile: str | None = None
    ) -> Listing[Drift]:
        """Which cells were edited since each flow, or that one, was last built below `output_dir`, and since deployed.

        Raises `UnknownFlowError`, `ArtifactError` for a broken build, and what `export` raises.
        """
        self.look()
        flows = self.notebook.flow_names() if flow is None else (self.flow(flow).name,)
        graphs = [each for each in (self.graph_called(flow), *self._graphs().values()) if each is not None]
        found: list[Drift] = []
        for name in flows:
            newest = artifact.newest_artifact(name, Path(output_dir))
            if newest is None:
                found.append(Drift(name, "never built"))
            else:
                built_at = newest.path.stat().st_mtime
                found += self._drifts(newest.manifest, f"build {newest.manifest.build_id}", built_at, graphs)
        note = ""
        try:
            asked = self.planes.client_if_any(profile)
            if asked is not None:
                for each in deployments_of(asked, flows):
                    what = f"deployment {each.reference}"
                    found += self._drifts(manifest_of(asked, each), what, each.updated_at.timestamp(), graphs)
        except NetworkError as error:
            note = f"without what is deployed: {error}"
        return drift_listing(found, note)

    def _drifts(self, manifest: Manifest, since: str, at: float, graphs: Sequence[NodeGraph]) -> tuple[Drift, ...]:
        """How the cells differ from those that the artifact with this manifest was made of.

        It may have been made of one of the `graphs`: the export that is nearest to it counts.
        """
        module = next((each for each in manifest.files if each.path == manifest.module_path), None)
        labels = {each.id: each.label for each in self.notebook.cells if each.id}
        exports = [(self._exported(), "a cell without an id")] if self.notebook.flow_names() else []
        for graph in graphs:
            if graph.name == manifest.flow_name:
                with contextlib.suppress(NodeGraphError):  # of another variable, broken now
                    exports.append((self.export_graph(graph), "the graph"))
        found = [
            drifts(
                manifest.flow_name,
                export.cells,
                manifest.cells,
                since=since,
                at=at,
                labels=labels,
                is_same_code=module is not None and module.sha256 == hashlib.sha256(export.text.encode()).hexdigest(),
                unnamed=unnamed,
            )
            for export, unnamed in exports
        ]
        return min(found, key=lambda each: sum(drift.change in ("new", "gone") for drift in each))

    def load(self, task: str, *, run: str | None = None) -> Loaded:
        """A task's source for a cell that tries it by hand; with `run`, what it was given there is in `inputs`.

        Of a node graph, the flow that a person would have written.

        No variable is lost: where there is an `inputs` of the user's own, the new one is `inputs_2`. Raises
        `UnknownTaskError`, `UnknownRunError`, `DefinitionError` for a run that goes on, and `ResultGoneError` for an
        input that is not there any more.
        """
        if task not in self.task_names() and (graph := self.graph_called(task)) is not None:
            note = f"run the new cell, and graph {graph.name!r} is a flow of the notebook"
            return Loaded(graph.to_python(module=_NOTEBOOK), note)
        body, cell = task_body(self.notebook, task), cell_of(self.notebook, task)
        # It would define the task a second time, or bind names that tasks make, and is not to count as a cell of its.
        head = f"#| dagy_try  # from task {task!r}{f', {cell}' if cell else ''}\n"
        if run is None:
            note = f"the new cell tries the task by hand, in no flow; take what you change to {cell or 'its module'}"
            return Loaded(f"{head}{body}", note)
        own = {each.run_id: each for each in self.runs.all()}
        run_id = run_called(run, list(own))
        if run_id is not None and not own[run_id].done:
            raise DefinitionError(f"run {run_id!r} is still under way; load what it was given once it has ended")
        found = run if run_id is None else own[run_id].wait()
        inputs = task_inputs(found, task, local_dir=Settings.read().local_dir)
        if self._inputs is None or self.notebook.namespace.get(self._inputs[0]) is not self._inputs[1]:
            self._inputs = (unused("inputs", self.notebook.namespace), inputs)
        name = self._inputs[0]
        self._inputs = (name, inputs)
        self.notebook.namespace[name] = inputs
        if not is_statements(self.notebook, task):
            return Loaded(f"{head}{body}", f"what it was given is in {name!r}: call it with **{name}")
        above = "".join(f"{each} = {name}[{each!r}]\n" for each in inputs)
        return Loaded(f"{head}{above}{body}", f"what it was given is in {name!r}, and the cell takes it from there")

    def name_file(self, path: Path) -> None:
        """Say where the notebook's file is. Raises `NotebookError` when it can't be read."""
        path = path.expanduser().absolute()
        saved_notebook(path)
        if self.finder is not None:
            self.finder.given = path
        self.look()

    def check(self) -> Check:
        """What is out of date, and what an export would say. Each flow is drawn; no task is run, nothing is written."""
        self.look()
        found = self.findings()
        saved = self.notebook.saved
        seen = "the notebook's file is not found, so only what ran is known; %dagy --notebook FILE names it"
        if saved is not None:
            seen = f"{saved.path.name} was saved {ago(max(0.0, time.time() - saved.saved_at))}"
        undrawn = self._undrawn()
        try:
            export = self._exported()
        except DagyError as error:
            refused = (isinstance(error, ExportError) and error.problems) or (str(error),)
            undrawn = tuple(each for each in undrawn if each not in refused)
            return Check(found, refused=refused, undrawn=undrawn, file=seen)
        return Check(
            found,
            warnings=export.warnings,
            left_out=export.left_out,
            flows=export.flows,
            undrawn=undrawn,
            file=seen,
        )

    def export(self, path: str | Path | None = None, *, force: bool = False) -> Export:
        """The notebook's flows, and all they need, as a module; written to `path` when one is given.

        It is made of the cells as they last ran well; its `warnings` say which of them look different now. Raises
        `ExportError`, and `DefinitionError` for a path that can't be written, or where there is a file that Dagy did
        not write and `force` is off.
        """
        self.look()
        export = self._exported()
        export = replace(export, warnings=(*self._notes(export), *self._undrawn(), *export.warnings))
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

    def export_graph(self, graph: NodeGraph) -> Export:
        """A node graph as a module, with the nodes and tasks of this notebook that it has, and all that they need.

        Raises `NodeGraphError`, and what `export` raises.
        """
        self.look()
        others = [each.cell for each in self.notebook.kept if not isinstance(each.defined, FlowCell)]
        drawn = Cell("", graph.to_python(module=_NOTEBOOK), f"graph {graph.name!r}")
        return export_module([*others, drawn], name=graph.name, source_name=self.notebook.path.name)

    def uncalled(self, export: Export) -> tuple[str, ...]:
        """The names of the task cells' tasks that no flow of the export calls."""
        return tuple(each.name for each in self.notebook.tasks() if each.function not in export.tasks)

    def build(
        self,
        flow: str | NodeGraph | None = None,
        *,
        output_dir: str | Path = "dist",
        target: str | None = None,
        requirements: str | Path | None = None,
        include: Sequence[str] = (),
        export: Export | None = None,
    ) -> Artifact:
        """Build the artifact of a flow, or of a node graph, from the cells as they last ran, below `output_dir`.

        `target`, `requirements` and `include` are those of `build_artifact`; paths are relative to the notebook's
        folder. `export` is the notebook as a module, where that has been made already.
        """
        self.look()
        name, written = self.flow(flow).name, self.notebook.flow_names()
        graph = self.graph_called(flow)
        if graph is None and name == self.notebook.name and name not in written:
            raise DefinitionError(
                f"flow {name!r}, the task cells joined by their names, is built where the notebook has no other flow; "
                f"call them in one of {', '.join(written)}, or give those a notebook of their own"
            )
        source = self._source(export or (self._exported() if graph is None else self.export_graph(graph)))
        wanted = None if requirements is None else Path(requirements).absolute()
        options = artifact.BuildOptions(tuple(include), wanted, target or LOCAL)
        with artifact.flow_aside(source, name) as found:
            return artifact.build(source, found, Path(output_dir), options)

    def plan(self, flow: str | NodeGraph | None = None, *, executor: str | Executor | None = None) -> Route:
        """Where on AWS the flow would run, by its spec and by what its completed runs took. Nothing is called.

        Runs of this session count, else those that were recorded here. Raises `BackendError` for what can't be.
        """
        self.look()
        spec = self.flow(flow).spec
        measured = self._measured(spec.name) or backends.measured_from_history(Settings.read().local_dir, spec.name)
        return backends.BackendRouter().route(spec, executor=executor, measured=measured)

    def _measured(self, flow: str) -> Measured | None:
        """What the newest completed runs of the flow in this session took; None when there is none."""
        own = [each for each in self.runs.all() if each.shown.whose == "session" and each.spec.name == flow]
        ended = [each for each in own if each.done and each.state.is_completed][-_MEASURED:]
        return backends.measured_in(each.shown.handle.events(follow=False) for each in ended) if ended else None

    def source_of(self, flow: Flow[..., Any]) -> Source | None:
        """The notebook as a module, where `flow` is one of its flows; None for another. Raises what `export` raises.

        Of a node graph with nodes or tasks of this notebook, the module that has them and the graph.
        """
        function = inspect.unwrap(flow.function)
        graph = getattr(function, "graph", None)
        if isinstance(graph, nodes.NodeGraph):
            own = self.node_cells()
            is_mine = any(each.type in own or each.type.startswith(f"{_NOTEBOOK}:") for each in graph.nodes)
            return self._source(self.export_graph(graph)) if is_mine else None
        is_ours = getattr(function, "__globals__", {}).get("__name__") == self.notebook.namespace.get("__name__")
        if not is_ours or flow.name not in self._flow_names():
            return None
        self.look()
        return self._source(self._exported())

    def _flow_names(self) -> set[str]:
        """What the notebook's flows call themselves."""
        names = self.notebook.flow_names()
        own = (self.notebook.namespace.get(each) for each in names)
        return {*names, *(each.name for each in own if isinstance(each, Flow))}

    def _source(self, export: Export) -> Source:
        path = self.notebook.path.absolute()
        return artifact.Source(path, artifact.module_name(path), export.text, export.cells)

    def deploy(
        self,
        flow: str | NodeGraph | None = None,
        *,
        name: str | None = None,
        namespace: str | None = None,
        tags: Mapping[str, str] = MappingProxyType({}),
        schedule: str | None = None,
        timezone: str | None = None,
        parameters: Mapping[str, Json] = MappingProxyType({}),
        force: bool = False,
        dry_run: bool = False,
        must_prove: bool = True,
        profile: str | None = None,
        executor: str | Executor | None = None,
        image: str | None = None,
        target: str | None = None,
        requirements: str | Path | None = None,
        include: Sequence[str] = (),
        output_dir: str | Path = "dist",
        export: Export | None = None,
    ) -> Deployed:
        """Build a flow from the cells as they last ran, and let the deployment `name` stand for it; see `Flow.deploy`.

        `target` is what suits the place where its runs run, unless it is given.

        Before anything is changed the artifact is proven: it runs in a clean process, and its results are compared with
        those of the flow's newest run here, unless its cells have changed since, or `must_prove` is off. Where they
        differ `NotProvenError` is raised and nothing is deployed. Code that is deployed already is not proven again.
        """

        def built_for(target: str) -> Artifact:
            return self.build(
                flow, output_dir=output_dir, target=target, requirements=requirements, include=include, export=export
            )

        place = deploy.place_of(executor, image, profile)
        built = deploy.built_for(place, built_for, target)
        asked = self.planes.client(profile)
        if namespace is None:
            namespace = deploy.default_namespace(self.notebook.path)

        def deployed(*, dry_run: bool) -> deploy.DeployResult:
            return deploy.deploy_artifact(
                built.path,
                name,
                namespace=namespace,
                tags=tags,
                schedule=schedule,
                timezone=timezone,
                parameters=parameters,
                force=force,
                profile=profile,
                client=asked,
                executor=executor,
                image=image,
                measured=self._measured(built.flow_name),
                dry_run=dry_run,
            )

        result, proof, unproven = deployed(dry_run=True), None, ""
        if not result.skipped and not dry_run:
            is_new = result.deployment is None or result.deployment.code_hash != built.code_hash
            if must_prove and is_new:
                proof, unproven = self._proof_of(built, export)
                if proof is not None and not proof.agrees:
                    raise NotProvenError(proof)
            result = deployed(dry_run=False)
        schedules = () if result.deployment is None else asked.schedules(deployment=result.reference)
        return Deployed(result, built, proof, unproven, tuple(schedules))

    def _proof_of(self, built: Artifact, export: Export | None) -> tuple[Proof | None, str]:
        """The proof against the flow's newest run here; or None, and why there is no run to compare with."""
        name = built.flow_name
        own = [each for each in self.runs.all() if each.shown.whose == "session" and each.spec.name == name]
        ended = [each for each in own if each.done and each.state.is_completed]
        if not ended:
            return None, f"not proven: no run of it here has completed; %dagy_run {name} first has it proven"
        run = ended[-1]
        ids = {each.id for each in (export or self._exported()).cells}
        changed = edited_since(self.notebook.kept, ids, run.started_at)
        if changed:
            told = ", ".join(changed[:3]) + (" and more" if len(changed) > 3 else "")
            return None, f"not proven: {told} changed since the last run; %dagy_run {name} first has it proven"
        return self._proof_against(run, built), ""

    def _exported(self) -> Export:
        """The notebook as a module, without a word about what is out of date."""
        return export_module(self.notebook.cells, name=self.notebook.name, source_name=self.notebook.path.name)

    def _notes(self, export: Export) -> tuple[str, ...]:
        """What of the notebook the export does not have as it looks."""
        ids = {each.id for each in export.cells}
        cells = self.notebook.cells
        return export_notes(self.findings(), [each.label for each in cells if each.id in ids or not has_file_id(each)])

    def _undrawn(self) -> tuple[str, ...]:
        """Why flows of the notebook can't be drawn, so not run either; those apart that only lack a value."""
        found = []
        for name in self.notebook.flow_names():
            try:
                _ = self.notebook.flow(name).spec
            except ParameterError:
                continue
            except DagyError as error:
                told = self.notebook.with_labels(str(error))
                found.append(told if repr(name) in told else f"flow {name!r}: {told}")
        return tuple(found)

    def _remember_runs(self) -> None:
        """Note what is to be listed of runs that have ended: nobody may hold them any more when they are asked for."""
        self._past |= {each.run_id: past_run(each) for each in self.runs.all() if each.done}

    def prove(self, artifact: Artifact) -> Proof:
        """Run the artifact in a clean process, and compare its results with those of the last run, task by task.

        Raises `DefinitionError` when there is no such run of its flow, or it goes on.
        """
        return self._proof_against(self.last_run, artifact)

    def _proof_against(self, run: NotebookRun | None, artifact: Artifact) -> Proof:
        return prove(
            artifact,
            run,
            directory=folder_of(self.notebook.path),
            namespace=self.notebook.namespace,
            cells=self.notebook.cells,
        )

    def close(self) -> None:
        """Cancel what is under way here, and let go of what pages and control planes are asked with."""
        self.runs.close()
        if all(each.done or each.shown.whose == "session" for each in self.runs.all()):
            self.planes.close()

    def card(self, defined: Defined, waits_for: Sequence[str] = ()) -> list[str]:
        """What a cell has become, in a line for people; a further line for each thing that may not be meant.

        `waits_for` are the names without which the cell did not run on its own.
        """
        kept = self.notebook.kept
        notes = [str(each) for each in (*twice(kept, defined.cell), *renamed(kept, defined.cell))]
        if isinstance(defined, NodeCell):
            return [card_of(each) for kept_cell in kept if kept_cell.defined is defined for each in kept_cell.nodes]
        try:
            joined = next((each for each in self.notebook.tasks() if each.cell is defined), None)
        except DefinitionError as error:  # two cells that don't fit: a flow can't be drawn until that is mended
            return [f"task {defined.name!r}", *(notes or [str(error)])]
        if joined is None:
            return [f"flow {defined.name or self.notebook.name!r}", *notes]
        takes = [
            each.parameter if each.task == each.parameter else f"{each.parameter} from {each.task}"
            for each in joined.wires
            if each.task is not None
        ]
        asks = [each.parameter for each in joined.wires if each.task is None]
        first = f"task {joined.name!r}"
        first += f" takes {', '.join(takes)}" if takes else ""
        first += f"; parameter{'s' if len(asks) > 1 else ''} {', '.join(asks)}" if asks else ""
        if waits_for:
            is_returning = isinstance(defined, TaskCell) and defined.returns
            why = "because it returns a value" if is_returning else f"because tasks make {', '.join(waits_for)}"
            first += f"; not run here, {why}: %dagy_run runs it"
        races = joined.races if self.notebook.has_own_flow else ()
        return [first, *notes, *races, *joined.problems]


def _of_a_fresh_run(options: LocalOptions) -> dict[str, Any]:
    """The options that a run in a process of its own takes."""
    taken = ("max_workers", "fail_fast", "isolation", "record")
    return {name: value for name, value in options.items() if name in taken}
