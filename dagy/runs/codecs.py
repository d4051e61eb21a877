"""How a value becomes bytes: JSON where JSON gives it back just as it is, else a pickle."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

from dagy.errors import TravelError, shown
from dagy.parameters import is_json


@dataclass(frozen=True)
class Encoded:
    """A value as bytes."""

    codec: str
    data: bytes

    def write(self, path: Path) -> None:
        """Write it to a new file."""
        path.write_bytes(self.data)


def encode(value: object) -> Encoded:
    """`value` as bytes; `TravelError` if it has no such form."""
    if is_json(value):
        return Encoded("json", json.dumps(value).encode())
    import cloudpickle

    try:
        return Encoded("pickle", cloudpickle.dumps(value, protocol=5))
    except Exception as error:
        raise TravelError(f"{shown(value)} can't be kept: {error}") from error


def read(codec: str, source: bytes | Path) -> object:
    """The value again."""
    data = source.read_bytes() if isinstance(source, Path) else source
    return json.loads(data) if codec == "json" else pickle.loads(data)
