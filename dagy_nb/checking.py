"""What `%dagy_check` says: what is out of date, and what an export would say, before anyone asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dagy.drawing import markup_line
from dagy_nb.pieces import LeftOut
from dagy_nb.staleness import Finding


@dataclass(frozen=True, slots=True, repr=False)
class Check:
    """The state of a notebook; shown as a list with the remedies."""

    findings: tuple[Finding, ...] = ()  # what may not be as it looks
    undrawn: tuple[str, ...] = ()  # why flows can't be drawn, so not run either
    refused: tuple[str, ...] = ()  # why it can't be exported
    warnings: tuple[str, ...] = ()  # what may not mean in the export what was meant
    left_out: tuple[LeftOut, ...] = ()  # what the export would not hold
    flows: tuple[str, ...] = ()  # the names under which the export would hold its flows
    file: str = ""  # how the notebook's file was seen: "etl.ipynb, saved 5 min ago"

    @property
    def is_clean(self) -> bool:
        """Is everything up to date, and can it be exported?"""
        return not (self.findings or self.undrawn or self.refused or self.warnings)

    def sections(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """What there is to say, as headings with lines."""
        if self.findings:
            yield "not as it looks", tuple(map(str, self.findings))
        else:
            yield "every cell is as it ran last", ()
        if self.undrawn:
            yield "not every flow can be drawn, so not run either", self.undrawn
        if self.refused:
            yield "an export is refused", self.refused
        else:
            yield f"an export holds {', '.join(self.flows)}", ()
        if self.warnings:
            yield "the export may not mean what you mean", self.warnings
        if self.left_out:
            yield "left out of the export", tuple(f"{each.label}: {each.reason}" for each in self.left_out)
        yield self.file, ()

    def __repr__(self) -> str:
        lines: list[str] = []
        for heading, items in self.sections():
            lines += [heading + (":" if items else ""), *(f"  - {each}" for each in items)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = []
        for heading, items in self.sections():
            parts.append(f"<p>{markup_line(heading)}{':' if items else ''}</p>")
            if items:
                parts.append("<ul>" + "".join(f"<li>{markup_line(each)}</li>" for each in items) + "</ul>")
        return "".join(parts)
