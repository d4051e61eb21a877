"""Whether a linter or formatter of the project will misread `%%dagy_task` cells, which it takes for no Python."""

from __future__ import annotations

import re
from pathlib import Path

_CONFIGURED = re.compile(r"(?m)^\[tool\.(ruff|black)\b")

_HINT = (
    "{name} configures {tools}, which skip cells that begin with %% (and `ruff --fix` deletes imports that only such "
    "cells use); begin them with `#| dagy_task` instead, which does the same and is plain Python"
)


def hint_for(folder: Path) -> str:
    """What a user of `%%dagy_task` should know who works in `folder`; empty when no tool is configured there.

    The nearest `pyproject.toml` at or above the folder counts, as it does for the tools.
    """
    for place in (folder, *folder.parents):
        path = place / "pyproject.toml"
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        tools = " and ".join(dict.fromkeys(_CONFIGURED.findall(text)))
        return _HINT.format(name=path.name, tools=tools) if tools else ""
    return ""
