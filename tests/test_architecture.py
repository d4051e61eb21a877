"""The code keeps to the map: rows import upwards, doors are where they should be, nothing goes in a circle.

The rules read the source (AST) and import nothing. An import under `if TYPE_CHECKING:` never runs, so it counts neither
for the direction nor for a circle; `dagy_nb` must keep to public names even there.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Each row may import the rows above it. A folder is one name here, and its modules may import one another.
ROWS = (
    ("errors", "lazy", "version"),
    ("states", "retry", "settings", "graph"),
    ("profiles", "local_artifact", "executors"),
    ("hooks", "spec", "values"),
    ("parameters", "digests"),
    ("program", "drawing", "fingerprint", "parameter_texts"),
    ("engine",),
    ("runs",),
    ("tasks",),
    ("flows",),
    ("aws",),
    ("artifact",),
    ("nodes",),
    ("control",),
    ("client", "server"),
    ("backends",),
    ("deploy", "worker"),
    ("testing",),
    ("cli",),
    ("__init__", "__main__"),
)

# Where a third-party package may be imported at all, and what may be imported inside a function, for lightness.
# The key is a module, or a folder for all that is in it.
DOORS: Mapping[str, frozenset[str]] = {
    "dagy.errors": frozenset({"difflib", "reprlib"}),
    "dagy.spec": frozenset({"pydantic", "pydantic_core"}),
    "dagy.parameters": frozenset({"pydantic", "pydantic_core"}),
    "dagy.values": frozenset({"cloudpickle", "numpy", "pandas", "polars", "pyarrow"}),
    "dagy.digests": frozenset({"pyarrow"}),
    "dagy.fingerprint": frozenset({"importlib.metadata"}),
    "dagy.drawing": frozenset({"graphviz"}),
    "dagy.settings": frozenset({"pathlib"}),
    "dagy.engine": frozenset(
        {"asyncio", "cloudpickle", "concurrent.futures", "ctypes", "psutil", "subprocess", "tblib", "tempfile"}
    ),
    "dagy.runs": frozenset({"asyncio", "sqlite3"}),
    "dagy.control": frozenset({"alembic", "cronsim", "psycopg", "pydantic", "sqlite3", "sqlalchemy"}),
    "dagy.artifact": frozenset(
        {
            "asyncio",
            "concurrent.futures",
            "importlib.metadata",
            "mmap",
            "netrc",
            "packaging",
            "pydantic",
            "pydantic_core",
            "subprocess",
            "tblib",
            "tomllib",
            "urllib.error",
            "urllib.request",
            "uv",
        }
    ),
    "dagy.aws": frozenset({"boto3", "botocore", "concurrent.futures"}),
    "dagy.artifact.bootstrap": frozenset({"boto3"}),  # it runs where Dagy is not yet
    "dagy.nodes": frozenset(
        {"asyncio", "importlib.metadata", "logging", "pathlib", "pydantic", "pydantic_core", "tempfile"}
    ),
    "dagy.nodes.library": frozenset(
        {
            "email.message",
            "httpcore",
            "httpx",
            "ipaddress",
            "jinja2",
            "narwhals",
            "openpyxl",
            "pandas",
            "polars",
            "pyarrow",
            "socket",
            "sqlalchemy",
        }
    ),
    "dagy.client": frozenset({"asyncio", "httpx", "pydantic"}),
    "dagy.local_artifact": frozenset({"hashlib", "mimetypes", "pathlib"}),
    "dagy.profiles": frozenset({"yaml"}),
    "dagy.deploy": frozenset({"cronsim", "pydantic", "yaml"}),
    "dagy.worker": frozenset({"importlib.metadata"}),
    "dagy.testing.local_aws": frozenset({"awslambdaric", "boto3", "botocore", "jsonata", "moto", "psutil", "werkzeug"}),
    "dagy.server.app": frozenset({"starlette", "uvicorn"}),
    "dagy.cli": frozenset({"click", "importlib.metadata", "json", "logging", "tabulate", "yaml"}),
    "dagy_nb.cells": frozenset({"IPython"}),
    "dagy_nb.magics": frozenset({"IPython"}),
    "dagy_nb.completion": frozenset({"IPython"}),
    "dagy_nb.deploying": frozenset({"zoneinfo"}),
    "dagy_nb.export": frozenset({"ruff"}),
    "dagy_nb.figures": frozenset({"IPython"}),
    "dagy_nb.node_forms": frozenset({"ipywidgets"}),
    "dagy_nb.notebook_file": frozenset({"nbformat"}),
    "dagy_nb.notebook_path": frozenset({"http.client", "urllib.request"}),
    "dagy_nb.nbconvert_exporter": frozenset({"nbconvert", "nbformat", "traitlets"}),
    "dagy_nb.previews": frozenset({"nh3"}),
    "dagy_nb.screen": frozenset({"IPython"}),
    "dagy_nb.widgets": frozenset({"anywidget", "ipywidgets", "traitlets"}),
    "dagy_nb.worker": frozenset({"IPython", "traitlets"}),
}

# Where a module is imported by a name that is only known as the program runs.
IMPORTS_BY_NAME = frozenset(
    {
        "dagy.lazy",
        "dagy_nb",
        "dagy_nb.nbconvert_exporter",
        "dagy.artifact.clean_process",
        "dagy.artifact.source",
        "dagy.cli.app",
        "dagy.cli.load",
        "dagy.nodes.graph_kinds",
        "dagy.program",
        "dagy.artifact.handler",
        "dagy.engine.processes.functions",
        "dagy.testing.local_aws.server",
        "dagy.engine.processes.surroundings",
    }
)

# What `dagy_nb`, like any user, may import from.
PUBLIC = frozenset(
    {
        "dagy",
        "dagy.artifact",
        "dagy.backends",
        "dagy.client",
        "dagy.control",
        "dagy.deploy",
        "dagy.digests",
        "dagy.drawing",
        "dagy.engine",
        "dagy.errors",
        "dagy.executors",
        "dagy.fingerprint",
        "dagy.graph",
        "dagy.nodes",
        "dagy.parameter_texts",
        "dagy.parameters",
        "dagy.program",
        "dagy.runs",
        "dagy.settings",
        "dagy.spec",
        "dagy.states",
        "dagy.testing",
        "dagy.values",
    }
)

PRINTS = "dagy.cli.output"

HEAVY = (
    "asyncio",
    "pydantic",
    "sqlite3",
    "importlib.metadata",
    "boto3",
    "botocore",
    "IPython",
    "httpx",
    "sqlalchemy",
    "yaml",
    "tabulate",
)


# The rules over the real code.


def test_the_code_keeps_to_the_map() -> None:
    modules = read_modules(ROOT)
    assert {"dagy.errors", "dagy.spec", "dagy.graph"} <= modules.keys()
    assert "\n".join(faults(modules)) == ""


def test_the_contributors_guide_shows_these_rows() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    block = next(each for each in guide.split("```") if each.startswith("\nerrors"))
    shown = [line.partition("  ")[0].split() for line in block.strip().splitlines()]
    assert [list(row) for row in ROWS[:-1]] == shown[: shown.index(["cli"]) + 1]


def test_importing_flow_and_task_loads_nothing_heavy() -> None:
    program = (
        "import sys; before = set(sys.modules)\n"
        "import dagy; dagy.flow; dagy.task\n"
        f"print([each for each in {HEAVY!r} if each in sys.modules and each not in before])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


# The rules themselves can fail: each of these trees holds one fault.


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            {"dagy/errors.py": "", "dagy/states.py": "from dagy.errors import DagyError"}, [], id="upwards-is-right"
        ),
        pytest.param(
            {"dagy/errors.py": "from dagy.states import State", "dagy/states.py": ""},
            ["dagy/errors.py:1: 'errors' may not import 'states', which stands below it"],
            id="downwards",
        ),
        pytest.param(
            {"dagy/states.py": "import dagy.retry", "dagy/retry.py": ""},
            ["dagy/states.py:1: 'states' may not import 'retry', its neighbour"],
            id="neighbour",
        ),
        pytest.param(
            {"dagy/__init__.py": "", "dagy/flows.py": "from . import cli", "dagy/cli/__init__.py": ""},
            ["dagy/flows.py:1: 'flows' may not import 'cli', which stands below it"],
            id="relative-downwards",
        ),
        pytest.param(
            {"dagy/__init__.py": "__all__ = ['flow']", "dagy/tasks.py": "from dagy import flow"},
            ["dagy/tasks.py:1: 'tasks' may not import '__init__', which stands below it"],
            id="through-the-front-door",
        ),
        pytest.param({"dagy/oddments.py": ""}, ["dagy/oddments.py:1: 'oddments' stands in no row"], id="in-no-row"),
        pytest.param(
            {"dagy/errors.py": "import dagy_nb.cells", "dagy_nb/cells.py": ""},
            ["dagy/errors.py:1: dagy may not import dagy_nb"],
            id="dagy-imports-the-extension",
        ),
        pytest.param(
            {
                "dagy/engine/a.py": "from dagy.engine import b",
                "dagy/engine/b.py": "from dagy.engine.c import Event",
                "dagy/engine/c.py": "import dagy.engine.a",
                "dagy/engine/__init__.py": "",
            },
            ["a circle of imports: dagy.engine.a -> dagy.engine.b -> dagy.engine.c -> dagy.engine.a"],
            id="circle",
        ),
        pytest.param(
            {
                "dagy/engine/a.py": "from dagy.engine import b",
                "dagy/engine/b.py": "import typing\nif typing.TYPE_CHECKING:\n    from dagy.engine import a",
            },
            [],
            id="a-circle-of-annotations-is-none",
        ),
        pytest.param(
            {"dagy/flows.py": "def run():\n    from dagy.engine import runner", "dagy/engine/runner.py": ""},
            ["dagy/flows.py:2: imports dagy.engine.runner inside a function; our own modules are imported at the top"],
            id="own-module-in-a-function",
        ),
        pytest.param(
            {"dagy/graph.py": "class A:\n    async def run(self):\n        import json"},
            ["dagy/graph.py:3: imports json inside a function, and has no door for it"],
            id="standard-library-in-a-function",
        ),
        pytest.param(
            {"dagy/spec.py": "def load():\n    from pydantic import TypeAdapter"}, [], id="a-door-is-right"
        ),
        pytest.param(
            {"dagy/graph.py": "import numpy as np"},
            ["dagy/graph.py:1: imports numpy, and has no door for it"],
            id="third-party-without-a-door",
        ),
        pytest.param(
            {"dagy/graph.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy"},
            [],
            id="third-party-in-annotations-is-right",
        ),
        pytest.param(
            {"dagy/graph.py": "import importlib\nx = importlib.import_module('dagy.cli')"},
            ["dagy/graph.py:2: imports a module by name"],
            id="import-by-name",
        ),
        pytest.param(
            {"dagy/cli/run.py": "print('done')", "dagy/cli/output.py": "print('done')"},
            ["dagy/cli/run.py:1: prints; only dagy.cli.output does"],
            id="print",
        ),
        pytest.param(
            {"dagy/__init__.py": "__all__ = ['flow']", "dagy_nb/cells.py": "from dagy import flow, errors, Secret",
             "dagy/errors.py": ""},
            ["dagy_nb/cells.py:1: dagy.Secret is not public"],
            id="private-name",
        ),
        pytest.param(
            {"dagy/engine/__init__.py": "__all__ = ['Event']", "dagy/engine/machine.py": "", "dagy_nb/live.py":
             "from dagy.engine import Event\nfrom dagy.engine.machine import step\nimport dagy.engine.machine"},
            [
                "dagy_nb/live.py:2: dagy.engine.machine is not a public module",
                "dagy_nb/live.py:3: dagy.engine.machine is not a public module",
            ],
            id="private-module",
        ),
        pytest.param(
            {"dagy/drawing/__init__.py": "__all__ = ['svg']", "dagy/drawing/svg.py": "", "dagy_nb/live.py":
             "from dagy.drawing import svg"},
            [],
            id="public-name-that-is-a-module-too",
        ),
        pytest.param(
            {"dagy/errors.py": "class DagyError(Exception): ...\n_x = 1\nfrom pathlib import Path",
             "dagy_nb/cells.py": "from dagy.errors import DagyError, _x, Path"},
            ["dagy_nb/cells.py:1: dagy.errors._x is not public", "dagy_nb/cells.py:1: dagy.errors.Path is not public"],
            id="public-names-without-all",
        ),
        pytest.param(
            {"dagy/engine/runner.py": "", "dagy_nb/live.py":
             "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from dagy.engine.runner import Runner"},
            ["dagy_nb/live.py:3: dagy.engine.runner is not a public module"],
            id="private-module-in-annotations",
        ),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found(tmp_path: Path, files: Mapping[str, str], expected: list[str]) -> None:
    for name, source in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, "utf-8")
    assert expected == faults(read_modules(tmp_path))


# How the source is read.


@dataclass(frozen=True)
class Import:
    """One name that a module imports."""

    target: str  # the module: "dagy.spec"
    name: str | None  # the name taken from it, when that is no module itself
    line: int
    where: Literal["top", "function", "typing"]

    @property
    def ours(self) -> bool:
        return self.target.partition(".")[0] in ("dagy", "dagy_nb")


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str  # "dagy.engine.machine"; a folder's own is "dagy.engine"
    path: str  # from the root: "dagy/engine/machine.py"
    tree: ast.Module
    imports: tuple[Import, ...]

    @functools.cached_property
    def calls(self) -> list[tuple[str, int]]:
        """The name of each function that is called, and the line."""
        called = [(each.func, each.lineno) for each in ast.walk(self.tree) if isinstance(each, ast.Call)]
        return [
            (func.id if isinstance(func, ast.Name) else func.attr, line)
            for func, line in called
            if isinstance(func, ast.Name | ast.Attribute)
        ]

    @property
    def place(self) -> str:
        """Its name in `ROWS`."""
        return self.name.partition(".")[2].partition(".")[0] or "__init__"

    @property
    def public_names(self) -> set[str]:
        """`__all__`, or else what is defined here without a leading underscore."""
        defined: set[str] = set()
        for node in self.tree.body:
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    defined.add(name)
                case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                    return set(ast.literal_eval(value))
                case ast.Assign(targets=targets):
                    defined |= {each.id for each in targets if isinstance(each, ast.Name)}
                case ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value):
                    return set(ast.literal_eval(value))
                case ast.AnnAssign(target=ast.Name(id=name)):
                    defined.add(name)
        return {each for each in defined if not each.startswith("_")}


def read_modules(root: Path) -> dict[str, Module]:
    """Every module of both packages under `root`, by name."""
    paths = sorted(path for package in ("dagy", "dagy_nb") for path in (root / package).rglob("*.py"))
    names = {path: module_name(path.relative_to(root)) for path in paths}
    known = set(names.values())
    modules = {}
    for path, name in names.items():
        tree = ast.parse(path.read_text("utf-8"), str(path))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        imports = tuple(imports_in(tree, package=package, known=known, where="top"))
        modules[name] = Module(name, path.relative_to(root).as_posix(), tree, imports)
    return modules


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_in(
    node: ast.AST, *, package: str, known: set[str], where: Literal["top", "function", "typing"]
) -> Iterator[Import]:
    """What `node` imports, at any depth."""
    match node:
        case ast.Import(names=names):
            for each in names:
                yield Import(each.name, None, node.lineno, where)
            return
        case ast.ImportFrom(module=module, names=names, level=level):
            base = module or ""
            if level:
                above = package.split(".")[: len(package.split(".")) - level + 1]
                base = ".".join([*above, *([module] if module else [])])
            for each in names:
                inner = f"{base}.{each.name}"
                yield (
                    Import(inner, None, node.lineno, where)
                    if inner in known
                    else Import(base, each.name, node.lineno, where)
                )
            return
        case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"), body=body, orelse=orelse):
            for statement in body:
                yield from imports_in(statement, package=package, known=known, where="typing")
            for statement in orelse:
                yield from imports_in(statement, package=package, known=known, where=where)
            return
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            where = "function"
        case _:
            pass
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):  # which holds no statement
            yield from imports_in(child, package=package, known=known, where=where)


# The rules. Each yields a sentence for each fault.


def faults(modules: Mapping[str, Module]) -> list[str]:
    """Everything in `modules` that does not keep to the map."""
    found = []
    for module in modules.values():
        for rule in (direction, hidden_imports, doors, imports_by_name, printing):
            found += [f"{module.path}:{line}: {text}" for line, text in rule(module)]
        if module.name.partition(".")[0] == "dagy_nb":
            found += [f"{module.path}:{line}: {text}" for line, text in private_names(module, modules)]
    return found + circles(modules)


def direction(module: Module) -> Iterator[tuple[int, str]]:
    """A module of `dagy` imports from rows above its own."""
    if module.name.partition(".")[0] != "dagy":
        return
    row_of = {name: row for row, names in enumerate(ROWS) for name in names}
    if module.place not in row_of:
        yield 1, f"{module.place!r} stands in no row"
        return
    for each in module.imports:
        if each.where != "top" or not each.ours:
            continue
        package, _, rest = each.target.partition(".")
        place = rest.partition(".")[0] or "__init__"
        if package == "dagy_nb":
            yield each.line, "dagy may not import dagy_nb"
        elif place in row_of and place != module.place and row_of[place] >= row_of[module.place]:
            relation = "its neighbour" if row_of[place] == row_of[module.place] else "which stands below it"
            yield each.line, f"{module.place!r} may not import {place!r}, {relation}"


def hidden_imports(module: Module) -> Iterator[tuple[int, str]]:
    """Our own modules are imported at the top."""
    for each in module.imports:
        if each.where == "function" and each.ours:
            yield each.line, f"imports {each.target} inside a function; our own modules are imported at the top"


def doors(module: Module) -> Iterator[tuple[int, str]]:
    """Third-party packages come in at doors, and so does whatever is imported inside a function."""
    open_for = {name for door, names in DOORS.items() if within(module.name, door) for name in names}
    for each in module.imports:
        third_party = not each.ours and each.target.partition(".")[0] not in sys.stdlib_module_names
        inside = each.where == "function"
        if each.ours or each.where == "typing" or not (third_party or inside):
            continue
        full = f"{each.target}.{each.name}" if each.name else each.target  # from importlib import metadata
        if not any(within(full, allowed) for allowed in open_for):
            yield each.line, f"imports {each.target}{' inside a function' if inside else ''}, and has no door for it"


def imports_by_name(module: Module) -> Iterator[tuple[int, str]]:
    """A module that is imported by name escapes the other rules, so it is rare."""
    if module.name not in IMPORTS_BY_NAME:
        for line in calls(module, {"import_module", "__import__"}):
            yield line, "imports a module by name"


def printing(module: Module) -> Iterator[tuple[int, str]]:
    """Only one module prints."""
    if module.name != PRINTS:
        for line in calls(module, {"print"}):
            yield line, f"prints; only {PRINTS} does"


def private_names(module: Module, modules: Mapping[str, Module]) -> Iterator[tuple[int, str]]:
    """The extension uses of `dagy` what any user can."""
    for each in module.imports:
        if not within(each.target, "dagy"):
            continue
        package, _, name = each.target.rpartition(".")
        if package in PUBLIC and package in modules and name in modules[package].public_names:
            continue  # `from dagy.drawing import svg`: the function, which has the name of its module
        if each.target not in PUBLIC:
            yield each.line, f"{each.target} is not a public module"
        elif each.name and each.target in modules and each.name not in modules[each.target].public_names:
            yield each.line, f"{each.target}.{each.name} is not public"


def circles(modules: Mapping[str, Module]) -> list[str]:
    """A sentence for each circle of imports at the top, named from its first module in the alphabet."""
    needs = {
        name: sorted({each.target for each in module.imports if each.where == "top" and each.target in modules})
        for name, module in modules.items()
    }
    found: set[tuple[str, ...]] = set()
    for start in needs:
        paths: list[tuple[str, ...]] = [(start,)]
        seen: set[str] = set()
        while paths:
            path = paths.pop(0)
            for target in needs[path[-1]]:
                if target == start:
                    least = path.index(min(path))
                    found.add((*path[least:], *path[:least]))
                elif target not in seen:
                    seen.add(target)
                    paths.append((*path, target))
    return [f"a circle of imports: {' -> '.join((*each, each[0]))}" for each in sorted(found)]


def calls(module: Module, names: set[str]) -> Iterator[int]:
    """The lines that call a function of one of these names."""
    return (line for name, line in module.calls if name in names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")
