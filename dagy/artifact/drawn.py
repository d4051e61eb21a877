"""A flow as it was drawn: what an artifact says of it. Its code was loaded here, or in an environment of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dagy.artifact.options import BuildOptions
from dagy.artifact.source import Source, flow_aside, variable_of
from dagy.errors import CodeFailedError
from dagy.flows import Flow
from dagy.lazy import lazily
from dagy.spec import FlowSpec


@dataclass(frozen=True, slots=True)
class Drawn:
    """A flow's graph, and where the flow is found again."""

    spec: FlowSpec
    module: str  # of the flow's function: "__main__", "package.flows"
    variable: str | None  # the flow's name at the top level of the module; None when it has none
    files: tuple[Path, ...] = ()  # what was loaded to draw it and was not installed

    @classmethod
    def of(cls, flow: Flow[..., Any]) -> Drawn:
        """The flow as it is in memory."""
        return cls(flow.spec, flow.function.__module__, variable_of(flow))


@contextmanager
def drawn(
    source: Source, name: str | None, options: BuildOptions, say: Callable[[str], None] | None = None
) -> Iterator[Drawn]:
    """The flow that `flow_aside` gives, drawn.

    Where its code can't be loaded here, and it is declared that it needs something else than what is here, it is loaded
    in an environment that has that. Raises what loading it raises, and `ArtifactError` when there can be no such
    environment.
    """
    with ExitStack() as stack:
        try:
            flow = stack.enter_context(flow_aside(source, name))
        except CodeFailedError as error:
            draw = cast("Callable[..., Drawn]", _load("drawn_elsewhere"))
            found = draw(source, name, options.requirements, error, say)
        else:
            found = Drawn.of(flow)
        yield found


_load, _ = lazily(__name__, {"drawn_elsewhere": "dagy.artifact.drawn_elsewhere"})
