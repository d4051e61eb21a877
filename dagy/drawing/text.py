"""A flow as a tree of text, for terminals and screen readers.

Under each task stand the tasks that need it. A task that several need stands once, where it is met first, and is only
named after that. Where just one task follows, it stands below its forerunner without indentation, so that a long chain
is a plain list; where the tree would still grow too deep, it goes on further down.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from dagy.drawing.escape import plain_line
from dagy.drawing.labels import Marks, States, kinds, names, summary
from dagy.drawing.ports import Connectors, connectors
from dagy.drawing.style import PALETTE
from dagy.graph import downstream_of, ordered
from dagy.spec import FlowSpec, TaskSpec
from dagy.states import StateType

_DEEPEST = 12  # levels of indentation
_NAMED = 3  # tasks that stand elsewhere are named one by one up to this many


def text_tree(
    spec: FlowSpec,
    states: States | None = None,
    *,
    details: Mapping[str, str] | None = None,
    marks: Marks | None = None,
) -> str:
    """The flow as lines of text, the first of which sums it up; without a newline at the end.

    With `states` each task has its state's sign and word, tasks not named being pending; `details` holds a few words
    more for some, and `marks` one or two that set some apart, which stand in brackets. A node has what comes in at its
    connectors and what goes out: `left ← read, right ← split.rest → frame: dataframe`. Raises `CycleError` when the
    tasks need each other in a circle.
    """
    lines = [plain_line(summary(spec, states, marks))]
    if spec.description:
        lines.append(plain_line(spec.description.strip().partition("\n")[0]))
    tree = _Tree(spec, None if states is None else kinds(states), details or {}, marks or {})
    tree.grow()
    return "\n".join([*lines, *tree.lines])


@dataclass(slots=True)
class _Tree:
    spec: FlowSpec
    states: Mapping[str, StateType] | None
    details: Mapping[str, str]
    marks: Marks
    lines: list[str] = field(default_factory=list)
    nodes: Mapping[str, Connectors] = field(default_factory=dict)

    def grow(self) -> None:
        """Write a line for each task, and for each time that one is met again."""
        self.nodes = connectors(self.spec)
        tasks = {task.id: task for task in self.spec.tasks}
        needs = {name: [each for each in task.needs if each in tasks] for name, task in tasks.items()}
        ordered(needs, flow=self.spec.name)  # raises when they go in a circle
        following = downstream_of(needs)
        label = {name: plain_line(given) for name, given in names(self.spec).items()}
        beginnings = deque(name for name, given in needs.items() if not given)
        drawn: set[str] = set()
        while beginnings:
            todo = [(beginnings.popleft(), "", "")]  # a task, what stands before it, and before what is under it
            if todo[0][0] in drawn:
                continue
            while todo:
                name, before, under = todo.pop()
                if name in drawn:
                    self.lines.append(f"{before}{label[name]} ↑ see above")
                    continue
                drawn.add(name)
                self.lines.append(before + self._line(tasks[name], label[name]))
                old = [label[each] for each in following[name] if each in drawn]
                fresh = [each for each in following[name] if each not in drawn]
                if not old and len(fresh) == 1:
                    todo.append((fresh[0], f"{under}↓ ", under))
                    continue
                if len(under) >= 3 * _DEEPEST:
                    beginnings.extend(fresh)
                    self._name([f"{label[each]} ↓ see below" for each in fresh], under, last=not old)
                    fresh = []
                if len(old) > _NAMED:
                    old = [f"{', '.join(old[:_NAMED])} and {len(old) - _NAMED:,} more"]
                self._name([f"{each} ↑ see above" for each in old], under, last=not fresh)
                for place, each in enumerate(reversed(fresh)):
                    branch, below = ("├─ ", "│  ") if place else ("└─ ", "   ")
                    todo.append((each, under + branch, under + below))

    def _name(self, others: list[str], under: str, *, last: bool) -> None:
        """Name tasks that stand elsewhere; `last`: nothing comes after them on this level."""
        for place, each in enumerate(others):
            self.lines.append(f"{under}{'└─ ' if last and place == len(others) - 1 else '├─ '}{each}")

    def _line(self, task: TaskSpec, label: str) -> str:
        words = [label]
        if self.states is not None:
            look = PALETTE[self.states.get(task.id, StateType.PENDING)]
            words = [f"{look.sign} {label}", look.label]
        if self.marks.get(task.id):
            words.append(f"[{plain_line(self.marks[task.id])}]")
        if self.details.get(task.id):
            words.append(plain_line(self.details[task.id]))
        if task.id in self.nodes:
            words.append(_passing(self.nodes[task.id]))
        if task.group:
            words.append(f"in {plain_line('/'.join(task.group))}")
        return " · ".join(filter(None, words))


def _passing(node: Connectors) -> str:
    """What comes in at a node's connectors, and what goes out."""
    comes = ", ".join(f"{port.label} ← {', '.join(port.ends)}" for port in node.inbound if port.joined)
    goes = ", ".join(port.words for port in node.outbound)
    return " ".join(filter(None, [comes, goes and f"→ {goes}"]))
