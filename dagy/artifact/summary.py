"""What is said of an artifact once it is built: plain facts, for people and for programs."""

from __future__ import annotations

from typing import NamedTuple

from dagy.artifact.data_files import LeftOut

_MOST_NAMED = 5  # files


class Summary(NamedTuple):
    """The facts of an artifact. Sizes are in bytes."""

    path: str  # absolute
    flow_name: str
    flow_version: str
    build_id: str
    code_hash: str
    target: str
    python_version: str
    files: tuple[str, ...]
    requirements: tuple[str, ...]
    size: int
    sha256: str
    layer: str | None = None
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()  # sentences on what may not be as it is meant
    packages: str = ""  # a table of what the packages weigh; empty when there are none
    is_new: bool = True

    def to_json(self) -> dict[str, object]:
        """All of it, plain."""
        return self._asdict() | {"left_out": [each._asdict() for each in self.left_out]}

    def __str__(self) -> str:
        named = self.files if len(self.files) <= _MOST_NAMED else (*self.files[: _MOST_NAMED - 1], "...")
        lines = {
            "build id": self.build_id,
            "code hash": f"sha256:{self.code_hash[:16]}",
            "python": self.python_version,
            "target": self.target if self.target != "local" else "",
            "files": f"{len(self.files)} ({', '.join(named)})",
            "requirements": ", ".join(self.requirements) or "none",
            "size": f"{self.size:,} bytes",
            "layer": self.layer.rpartition("/")[2] + ", beside it" if self.layer else "",
        }
        facts = [f"  {label:13} {value}" for label, value in lines.items() if value]
        facts += [f"  {'' if number else 'left out':13} {each}" for number, each in enumerate(self.left_out)]
        head = f"{'built' if self.is_new else 'unchanged:'} {self.flow_name} {self.flow_version}"
        return "\n".join([head, *facts, *(["", self.packages] if self.packages else [])])
