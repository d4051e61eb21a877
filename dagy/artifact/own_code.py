"""What of Dagy goes where a flow runs: the modules of the running package, and what these need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dagy.errors import ArtifactError

# What a flow needs to run, as `pyproject.toml` has it. The rest of Dagy's requirements are for building and deploying.
RUNTIME_REQUIREMENTS = ("cloudpickle>=3.0", "psutil>=5.9.6", "pydantic>=2.10", "tblib>=3.0")

_STAYS_HERE = frozenset(
    {"__main__.py", "__pycache__", "backends", "cli", "client", "control", "deploy", "server", "testing", "worker"}
)


def own_code() -> Mapping[str, bytes]:
    """The modules by their paths, such as `dagy/flows.py`, sorted."""
    package = Path(__file__).resolve().parents[1]
    try:
        paths = [path for path in package.rglob("*.py") if not _STAYS_HERE & set(path.relative_to(package).parts)]
        return {f"dagy/{path.relative_to(package).as_posix()}": path.read_bytes() for path in sorted(paths)}
    except OSError as error:
        raise ArtifactError(f"Dagy's own code in {str(package)!r} can't be read: {error.strerror or error}") from error
