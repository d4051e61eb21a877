"""Drawing a flow in the environment that it declares, because its code needs what is not installed here."""

from __future__ import annotations

import contextlib
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from dagy.artifact.declared import read_declared
from dagy.artifact.drawing_process import CHOICE_NAME, DRAWN_NAME, ORDER_NAME, REFUSAL_NAME
from dagy.artifact.drawn import Drawn
from dagy.artifact.environments import environment_with
from dagy.artifact.files import module_files
from dagy.artifact.manifest import PYTHON_VERSION
from dagy.artifact.packages import packages_of
from dagy.artifact.source import SeveralFlowsError, Source
from dagy.engine.processes.errors import unpack_error
from dagy.engine.processes.packing import Packed
from dagy.errors import CodeFailedError, DagyError, SourceError, UnknownFlowError, sentence
from dagy.settings import Settings
from dagy.spec import FlowSpec

_CHILD = (
    "import sys; root, folder = sys.argv[1:]; del sys.argv[1:]; sys.path.append(root); "
    "from dagy.artifact.drawing_process import main; main(folder)"
)
_LAST_LINES = 20  # of what the process said, when it died


def drawn_elsewhere(
    source: Source,
    name: str | None,
    requirements: Path | None,
    failure: CodeFailedError,
    say: Callable[[str], None] | None = None,
) -> Drawn:
    """The flow, drawn in the environment that is declared for it.

    Raises `failure`, which loading it here raised, when nothing is declared that is not here; what loading it there
    raises; and `ArtifactError` when the environment can't be had.
    """
    declared = read_declared(source, requirements)
    if not declared.requirements:
        raise failure
    local_dir = Settings.read().local_dir
    packages = packages_of(module_files(source), source, declared=declared, local_dir=local_dir, on_progress=say)
    python = environment_with(packages.requirements, PYTHON_VERSION, local_dir, say)
    if python == Path(sys.executable):
        raise failure
    if say is not None:
        say("reading the code in an environment of its own")
    with tempfile.TemporaryDirectory(prefix="dagy-drawing-") as folder:
        return _drawn_by(python, source, name, Path(folder))


def _drawn_by(python: Path, source: Source, name: str | None, folder: Path) -> Drawn:
    (folder / ORDER_NAME).write_text(json.dumps([str(source.path), source.module, source.text, name]), "utf-8")
    root = str(Path(__file__).resolve().parents[2])  # where dagy is, should it not be installed there
    try:
        done = subprocess.run(
            [str(python), "-P", "-c", _CHILD, root, str(folder)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
    except OSError as error:
        raise SourceError(f"{str(python)!r} can't be started: {error.strerror or error}") from error
    with contextlib.suppress(FileNotFoundError):
        spec, module, variable, files = json.loads((folder / DRAWN_NAME).read_text("utf-8"))
        return Drawn(FlowSpec.model_validate(spec), module, variable, tuple(map(Path, files)))
    with contextlib.suppress(FileNotFoundError):
        known = json.loads((folder / CHOICE_NAME).read_text("utf-8"))
        if name is None:
            raise SeveralFlowsError(source.path, tuple(known))
        raise UnknownFlowError(name, known, where=str(source.path))
    raise _refusal(folder) or SourceError(
        f"the process that loads {source.path} died with exit code {done.returncode}\n{_last_lines(done.stdout)}"
    )


def _refusal(folder: Path) -> DagyError | None:
    """Why the flow could not be drawn; None when the process did not come to say so."""
    try:
        error = unpack_error(Packed(*pickle.loads((folder / REFUSAL_NAME).read_bytes())))
    except FileNotFoundError:
        return None
    return error if isinstance(error, DagyError) else SourceError(sentence(error))


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_LAST_LINES:])
