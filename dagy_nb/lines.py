"""What follows a magic's name on its line: one parser a magic, which also gives its help and what may be completed.

The word that stands for a value in the help says what the value is: FLOW, TASK, RUN, NAME=VALUE, FILE, DIR.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from dagy.errors import DefinitionError, did_you_mean
from dagy.executors import EXECUTORS
from dagy.nodes import DataType, NodeCategory
from dagy_nb.directives import split_line

TARGETS = ("local", "lambda", "lambda-arm64", "ecs")  # what an artifact may be for

_TYPES = [str(each) for each in DataType]
_FLOW_HELP = "the flow; may be left out where the notebook has only one; a node graph's variable or .json file too"
_RUN_HELP = 'the run: its id, the start or the end of it, or "latest"'


class LineParser(argparse.ArgumentParser):
    """The parser of one magic's line. It raises our error, never exits, and looks the same on every terminal."""

    def __init__(self, magic: str, summary: str, more: str = "") -> None:
        self.arguments: list[argparse.Action] = []
        self.magic = magic
        self.summary = summary
        super().__init__(
            prog=f"%{magic}",
            description=f"{summary}\n\n{more}".rstrip(),
            add_help=False,
            allow_abbrev=False,
            formatter_class=functools.partial(argparse.RawDescriptionHelpFormatter, width=100, max_help_position=36),
        )
        self.color = False  # Python 3.14 colours help by what the terminal can do
        self.add_argument("-h", "--help", action="store_true", help="show this text")

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """As `argparse` has it; the argument is among `arguments` too."""
        made = super().add_argument(*names, **settings)
        self.arguments.append(made)
        return made

    @property
    def option_names(self) -> tuple[str, ...]:
        """All options, long and short."""
        return tuple(name for each in self.arguments for name in each.option_strings)

    def parse_line(self, line: str) -> argparse.Namespace:
        """What the line says; `help` is true when it asks for help. Raises `DefinitionError` with the remedy."""
        try:
            words = split_line(line.rstrip().removesuffix(";"))  # which only silences the output
        except ValueError as error:
            raise DefinitionError(f"{self.prog} {line}: {error}") from None
        if asks_for_help(words):
            return argparse.Namespace(help=True)
        self._words = words
        return self.parse_args(words)

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the line, and the nearest option there is."""
        given = [each.partition("=")[0] for each in self._words if each.startswith("-")]
        wrong = next((each for each in given if each not in self.option_names), "")
        hint = did_you_mean(wrong, self.option_names) if "unrecognized" in message else ""
        raise DefinitionError(f"{message}{hint}; {self.prog}? shows the options")

    _words: Sequence[str] = ()


def asks_for_help(words: Sequence[str]) -> bool:
    """Is one of the words `-h` or `--help`?"""
    return "-h" in words or "--help" in words


@functools.cache
def parsers() -> Mapping[str, LineParser]:
    """The parsers of all line magics, by the magic's name, in the order in which `%dagy` lists them."""
    made = (
        _dag(), _run(), _watch(), _cancel(), _tasks(), _nodes(), _runs(), _logs(), _check(), _status(), _export(),
        _load(), _build(), _plan(), _deploy(), _reset(), _dagy(),
    )  # fmt: skip
    return {each.magic: each for each in made}


def _dag() -> LineParser:
    parser = LineParser("dagy_dag", "Draw a flow, without running any of its tasks.")
    parser.add_argument("flow", nargs="?", metavar="FLOW", help=_FLOW_HELP)
    return parser


def _run() -> LineParser:
    parser = LineParser("dagy_run", "Run a flow and show every task live.", _RUN_MORE)
    add = parser.add_argument
    add("flow", nargs="?", metavar="FLOW", help=_FLOW_HELP)
    add("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="a value for a parameter")
    add("-b", "--background", action="store_true", help="return at once, while the run goes on")
    add("--form", action="store_true", help="show the graph and a form for the parameters, with a Run button")
    add(
        "--again", action="store_true", help="run the last run again: what completed and did not change is not repeated"
    )
    add("--fresh", action="store_true", help="run what would be exported, in a clean process of its own")
    add("--max-workers", type=int, metavar="N", help="how many tasks may run at once")
    add("--no-fail-fast", action="store_true", help="go on with what a failed task does not stop; the cell succeeds")
    add("--isolation", choices=["thread", "process"], help="where tasks run that do not say it themselves")
    add("--record", action="store_true", help="keep the run in the history, where %%dagy_runs finds it")
    add("--resume", metavar="RUN", help="go on where that run ended; what completed there is not run again")
    add("--no-raise", action="store_true", help="let the cell succeed even if the run does not complete")
    add("--deployment", metavar="DEPLOYMENT", help="have a worker run this deployment, which is shown all the same")
    _add_profile(parser)
    return parser


def _watch() -> LineParser:
    parser = LineParser(
        "dagy_watch",
        "Show a run of a deployment live, whoever began it: a schedule, a command line, another notebook.",
        "The run goes on when the cell is interrupted; the view's button and %dagy_cancel RUN cancel it.",
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help=f"{_RUN_HELP}; else the newest of all deployments")
    parser.add_argument("-b", "--background", action="store_true", help="return at once, while the run goes on")
    _add_profile(parser)
    return parser


def _cancel() -> LineParser:
    parser = LineParser("dagy_cancel", "Cancel a run: nothing more starts, and what runs is stopped.")
    parser.add_argument("run", nargs="?", metavar="RUN", help=f"{_RUN_HELP}; else all that were begun here")
    _add_profile(parser)
    return parser


def _tasks() -> LineParser:
    return LineParser(
        "dagy_tasks", "List the tasks of this notebook, with their cells, what they take and give, and their options."
    )


def _nodes() -> LineParser:
    parser = LineParser(
        "dagy_nodes",
        "List the node types there are, those of this notebook too; or show one, with all that it takes and gives.",
    )
    add = parser.add_argument
    add("text", nargs="*", metavar="NODE", help="a node's type, which shows its page; else words to look for")
    add("--category", choices=[str(each) for each in NodeCategory], metavar="CATEGORY", help="only those of a category")
    add("--accepts", choices=_TYPES, metavar="TYPE", help="only those that take such a value")
    add("--gives", choices=_TYPES, metavar="TYPE", help="only those that may give such a value")
    add("--form", action="store_true", help="show a form for the node's configuration")
    return parser


def _runs() -> LineParser:
    parser = LineParser(
        "dagy_runs", "List the runs of this session, of the history and of deployments, the newest first."
    )
    parser.add_argument("flow", nargs="?", metavar="FLOW", help="only the runs of this flow")
    parser.add_argument("-n", "--limit", type=int, default=20, metavar="N", help="at most so many (default: 20)")
    _add_profile(parser)
    return parser


def _logs() -> LineParser:
    parser = LineParser("dagy_logs", "Show what the tasks of a run printed and logged.")
    parser.add_argument("run", nargs="?", metavar="RUN", help=f"{_RUN_HELP}; else the one that was started last")
    parser.add_argument("-t", "--task", metavar="TASK", help="only what this task wrote")
    _add_profile(parser)
    return parser


def _check() -> LineParser:
    return LineParser(
        "dagy_check",
        "Say what is out of date in this notebook, and what an export would refuse or leave out.",
        "No task is run; each flow is drawn, as %dagy_dag does. Cells count as they ran last; the notebook's file says "
        "how it was saved last.",
    )


def _status() -> LineParser:
    parser = LineParser("dagy_status", "Say which cells were edited since a flow was last built, and since deployed.")
    parser.add_argument("flow", nargs="?", metavar="FLOW", help="only this flow")
    _add_output_dir(parser, "where builds are looked for (default: dist)")
    _add_profile(parser)
    return parser


def _export() -> LineParser:
    parser = LineParser("dagy_export", "Write the notebook's flows, and all they need, as a Python module.")
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="the module to write, such as flow.py; without it the text is shown"
    )
    parser.add_argument("-f", "--force", action="store_true", help="replace a file that is there")
    return parser


def _load() -> LineParser:
    parser = LineParser(
        "dagy_load",
        "Put a task's source into a new cell; with --run, what it was given in a run into `inputs`.",
        "Of a node graph, a variable or its .json file, the flow that a person would have written.",
    )
    parser.add_argument("task", metavar="TASK", help="the task")
    parser.add_argument("-r", "--run", metavar="RUN", help=f"{_RUN_HELP}, of this session or recorded")
    return parser


def _build() -> LineParser:
    parser = LineParser(
        "dagy_build", "Build a flow's artifact: a ZIP, the same bytes whenever the same cells are built."
    )
    parser.add_argument("flow", nargs="?", metavar="FLOW", help=_FLOW_HELP)
    _add_build_options(parser)
    parser.add_argument(
        "--prove",
        action="store_true",
        help="run the artifact in a clean process and compare its results, task by task, with the last run's",
    )
    return parser


def _plan() -> LineParser:
    parser = LineParser(
        "dagy_plan",
        "Show where on AWS a flow would run, why, how near to limits, and what it costs.",
        "Nothing is built, called or changed. What tasks took in completed runs here counts.",
    )
    parser.add_argument("flow", nargs="?", metavar="FLOW", help=_FLOW_HELP)
    parser.add_argument("--executor", choices=(*EXECUTORS, "auto"), help="a backend or a tier to plan with")
    return parser


def _deploy() -> LineParser:
    parser = LineParser("dagy_deploy", "Build a flow, prove it, and let a deployment stand for it.", _DEPLOY_MORE)
    add = parser.add_argument
    add("flow", nargs="?", metavar="FLOW", help=_FLOW_HELP)
    add("--name", metavar="DEPLOYMENT", help="the deployment's name (default: the flow's)")
    add("--namespace", metavar="NAMESPACE", help="where it is (default: the notebook's folder below the working one)")
    add("--tag", action="append", default=[], metavar="KEY=VALUE", help="a tag of the deployment")
    add("--schedule", metavar="CRON", help='when it runs by itself: five fields of cron, such as "0 6 * * *"')
    add("--timezone", metavar="TZ", help="of the schedule, such as Europe/Berlin (default: UTC)")
    add("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="a value that its runs are given")
    add("--executor", choices=(*EXECUTORS, "auto", "local"), help="where its runs run: a backend of AWS, or a tier")
    add("--image", metavar="IMAGE", help="a container image of your own to run in, on ECS")
    add("--force", action="store_true", help="deploy what is deployed already; other code as a new revision too")
    add("--dry-run", action="store_true", help="say what would be done, and change nothing")
    add("--no-prove", action="store_true", help="do not compare the artifact's results with the last run's first")
    _add_build_options(parser, target="what suits where its runs run")
    _add_profile(parser)
    return parser


def _reset() -> LineParser:
    parser = LineParser(
        "dagy_reset", "Forget the task and flow cells of this notebook, or one; variables and functions stay."
    )
    parser.add_argument("task", nargs="?", metavar="TASK", help="a task's name, or a cell's number or id")
    return parser


def _dagy() -> LineParser:
    parser = LineParser("dagy", "List what there is.")
    parser.add_argument("--notebook", metavar="FILE", help="say where this notebook's file is, when that is not found")
    return parser


def _add_build_options(parser: LineParser, target: str = "local") -> None:
    _add_output_dir(parser, "the folder to write to (default: dist)")
    parser.add_argument("--target", choices=TARGETS, help=f"what it is for (default: {target})")
    parser.add_argument("--requirements", metavar="FILE", help="a requirements file that says what to install")
    parser.add_argument(
        "--include", action="append", default=[], metavar="GLOB", help="data files to take along, such as 'data/*.csv'"
    )


def _add_profile(parser: LineParser) -> None:
    parser.add_argument("--profile", metavar="PROFILE", help="which control plane to ask (default: as configured)")


def _add_output_dir(parser: LineParser, help_text: str) -> None:
    parser.add_argument("-o", "--output-dir", default="dist", metavar="DIR", help=help_text)


_DEPLOY_MORE = """\
What is deployed already, with these settings, is skipped. Otherwise the artifact is first run in a clean process
and its results are compared with those of the flow's last run here; where they differ nothing is deployed.
Without --schedule the deployment has none, and the tags and parameters are these and no others.
With --executor, or a profile that `dagy aws init` has set up, its runs run on AWS: %dagy_plan says where."""

_RUN_MORE = """\
Waits for the end, unless --background is given. An interrupt cancels the run, a second one stops waiting.

`run = %dagy_run` gives the run: `run["task"]` is what a task returned, `run.cancel()` stops it.
`--param rows={table}` gives the parameter the notebook's variable of that name, whatever it is.
`--resume RUN` goes on with a run that was recorded (`run.run_id` names it), and says what is in the way when a
cell whose result it would use has been edited since.
`--deployment NAME` runs what is deployed, not the cells as they are now; its parameters must be JSON, and it goes
on when the kernel ends."""
