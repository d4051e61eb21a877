"""How an artifact is to be built, beyond which flow it is of."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class BuildOptions(NamedTuple):
    """How an artifact is to be built."""

    include: tuple[str, ...] = ()  # data files: patterns such as "data/*.csv" in the folder of the flow
    requirements: Path | None = None  # a requirements file that says what to install; None: found from the code
    target: str = "local"  # the platform that it is for
