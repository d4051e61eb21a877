"""The SDK keeps a user's types: mypy's verdict on `api.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.program

ROOT = Path(__file__).resolve().parents[2]


def test_mypy_sees_the_users_own_types_through_the_decorators() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "tests/typing/api.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=110)
    assert done.stdout + done.stderr == "Success: no issues found in 1 source file\n"
