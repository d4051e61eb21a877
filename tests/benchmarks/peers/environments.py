"""The other engines, at fixed versions, and the folder that keeps a virtual environment for each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_NUMPY = "numpy==2.4.6"

# What pip installs for each; the first is the engine itself.
PEERS: Mapping[str, Sequence[str]] = {
    "hamilton": ("apache-hamilton==1.90.0", _NUMPY),
    "dask": ("dask==2026.8.0", _NUMPY),
    "luigi": ("luigi==3.8.1", _NUMPY),
    "prefect": ("prefect==3.8.8", "fastapi==0.139.0", _NUMPY),  # newer ones of fastapi break its server
}


def interpreter(peer: str) -> Path:
    """The Python that has `peer`; installs it when it is not there. `CalledProcessError` when it can't be."""
    pins = PEERS[peer]
    folder = _cache() / pins[0].replace("==", "-")
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    if not stamp.is_file() or stamp.read_text("utf-8") != "\n".join(pins):
        print(f"installing {', '.join(pins)} into {folder}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *pins], check=True)
        stamp.write_text("\n".join(pins), "utf-8")
    return python


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dagy-benchmarks"
