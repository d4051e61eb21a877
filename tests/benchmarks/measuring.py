"""How a figure is found, and the line of the table that it becomes.

On a busy machine a time says little, and a ratio within one run says more. So what is compared takes turns, round after
round, each round gives one ratio, and the median of these is shown, with the quartiles beside it.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Effort:
    """How many rounds are measured, and which share of the full sizes."""

    rounds: int = 9
    share: float = 1.0

    def size(self, full: int) -> int:
        """`full`, or its share."""
        return max(2, round(full * self.share))

    def slow(self) -> Effort:
        """The effort for what takes seconds a round."""
        return replace(self, rounds=(self.rounds + 1) // 2)

    def fine(self) -> Effort:
        """The effort for differences near the noise."""
        return replace(self, rounds=self.rounds * 3)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds that an action took, a round each: by the clock, and on the processor."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def median(self) -> float:
        """By the clock."""
        return statistics.median(self.wall)

    def scaled(self, factor: float) -> Times:
        """The times by `factor`: of one task, say, or of an ideal."""
        return Times(tuple(each * factor for each in self.wall), tuple(each * factor for each in self.cpu))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table, as texts. `is_met` is None where nothing is to be reached."""

    what: str
    value: str
    limit: str = ""
    ratio: str = ""
    spread: str = ""
    by_cpu: str = ""
    target: str = ""
    is_met: bool | None = None


def in_turns(effort: Effort, *actions: Callable[[], object]) -> tuple[Times, ...]:
    """What each action takes: rounds in which each has its turn, after a round to warm up."""
    wall: list[list[float]] = [[] for _ in actions]
    cpu: list[list[float]] = [[] for _ in actions]
    for number in range(effort.rounds + 1):
        for index, action in enumerate(actions):
            gc.collect()  # what the action before has left is not this one's
            cpu_begun, begun = _cpu(), time.perf_counter()
            action()
            took, cpu_took = time.perf_counter() - begun, _cpu() - cpu_begun
            if number:
                wall[index].append(took)
                cpu[index].append(cpu_took)
    return tuple(Times(tuple(a), tuple(b)) for a, b in zip(wall, cpu, strict=True))


def _cpu() -> float:
    """Seconds of this process on the processor, and of its children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


# ---- rows


def in_unit(seconds: float) -> str:
    """`seconds` for people."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if abs(seconds) >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def row_of_ratio(
    what: str,
    found: Times,
    limit: Times,
    *,
    called: str,
    target: float | None = None,
    shows_cpu: bool = True,
    is_judged_by_cpu: bool = False,
) -> Row:
    """A row that says how many times the limit it is; `target` is the most that is aimed at.

    The processor's time is shown where this process does all the work, and judged by where it never waits.
    """
    ratios = _each(found.wall, limit.wall, lambda a, b: a / b)
    ratio = statistics.median(ratios)
    by_cpu = statistics.median(_each(found.cpu, limit.cpu, lambda a, b: a / b)) if shows_cpu and all(limit.cpu) else 0.0
    return Row(
        what,
        in_unit(found.median),
        f"{in_unit(limit.median)} {called}",
        f"{ratio:.2f}x" if ratio >= 0.01 else f"{ratio:.1g}x",
        _spread(ratios, "{:.2f}".format),
        f"{by_cpu:.2f}x" if by_cpu else "",
        "" if target is None else f"{target:g}x" + (" CPU" if is_judged_by_cpu else ""),
        None if target is None else (by_cpu if is_judged_by_cpu else ratio) <= target,
    )


def row_of_extra(
    what: str, found: Times, without: Times, *, called: str, target: float | None = None, is_judged_by_cpu: bool = False
) -> Row:
    """A row that says how much time is added; `target` is the most that is aimed at, in seconds.

    The processor's time is what judges what is smaller than the clock's noise.
    """
    extras = _each(found.wall, without.wall, lambda a, b: a - b)
    cpu_extras = _each(found.cpu, without.cpu, lambda a, b: a - b)
    judged = statistics.median(cpu_extras if is_judged_by_cpu else extras)
    return Row(
        what,
        in_unit(found.median),
        f"{in_unit(without.median)} {called}",
        _signed(statistics.median(extras)),
        _spread(extras, _signed),
        _signed(statistics.median(cpu_extras)),
        "" if target is None else f"+{in_unit(target)}" + (" CPU" if is_judged_by_cpu else ""),
        None if target is None else judged <= target,
    )


def row_of_time(
    what: str, found: Times, *, target: float | None = None, limit: str = "", is_judged_by_cpu: bool = False
) -> Row:
    """A row that says how long it takes; `target` is the most that is aimed at, in seconds.

    The processor's time is what judges what never waits.
    """
    cpu = statistics.median(found.cpu)
    return Row(
        what,
        in_unit(found.median),
        limit,
        spread=_spread(found.wall, in_unit),
        by_cpu=in_unit(cpu),
        target="" if target is None else in_unit(target) + (" CPU" if is_judged_by_cpu else ""),
        is_met=None if target is None else (cpu if is_judged_by_cpu else found.median) <= target,
    )


def _signed(seconds: float) -> str:
    return ("+" if seconds >= 0 else "") + in_unit(seconds)


def _each(found: Sequence[float], limit: Sequence[float], compare: Callable[[float, float], float]) -> Sequence[float]:
    return [compare(a, b) for a, b in zip(found, limit, strict=True)]


def _spread(values: Sequence[float], text: Callable[[float], str]) -> str:
    """The quartiles."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return f"{text(low)} to {text(high)}"


# ---- memory, of this process


def memory() -> int:
    """Bytes of this process that are in memory now."""
    return _status("VmRSS")


def peak_memory() -> int:
    """The most bytes of this process that were in memory at once."""
    return _status("VmHWM")


def _status(field: str) -> int:
    with Path("/proc/self/status").open() as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
