"""Other versions of ipykernel than the installed one, each in a folder of its own that a kernelspec names.

How the messages of a widget reach a busy kernel has changed from version to version, so cancelling is tried on several.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

TRIED = ("6.31.0", "7.3.0", "7.4.0")
OTHER_KERNELS = tuple(each for each in TRIED if each != importlib.metadata.version("ipykernel"))


def kernel_folder(version: str) -> Path:
    """The folder with that version of ipykernel, installed there the first time; what it needs is the environment's."""
    folder = Path(sys.prefix) / "kernels" / f"ipykernel-{version}"
    if folder.is_dir():
        return folder
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--target", str(unfinished), f"ipykernel=={version}"], check=True)
    try:
        unfinished.rename(folder)
    except OSError:
        if not folder.is_dir():  # another process of the tests was quicker
            raise
        shutil.rmtree(unfinished)
    return folder
