"""After this failure, wait how long, or give up: a policy as a value that decides and does nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from dagy.errors import DefinitionError, shown

# A number of seconds, one for each retry (the last one repeats), or a function that is given the number of retries and
# returns such a list.
RetryDelay: TypeAlias = float | Sequence[float] | Callable[[int], float | Sequence[float]]
RetryCondition: TypeAlias = Callable[[Exception], bool]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Try up to `retries` more, waiting `delays` seconds between tries.

    The last delay repeats; none means no wait. Jitter only lengthens: each wait becomes
    `delay + delay * jitter * U[0, 1)`. `condition` is asked whether an error is worth another try.
    """

    retries: int = 0
    delays: tuple[float, ...] = ()
    jitter: float = 0.0
    condition: RetryCondition | None = None

    def decide(self, failures: int, error: BaseException, chance: float) -> float | None:
        """Seconds to wait after `failures` failures, or None to give up. `chance` is uniform in [0, 1)."""
        if failures > self.retries or not isinstance(error, Exception) or not self._is_worth_it(error):
            return None
        return self.wait(failures, chance)

    def wait(self, failures: int, chance: float) -> float:
        """Seconds between failure number `failures` and the next try."""
        if not self.delays:
            return 0.0
        delay = self.delays[min(failures, len(self.delays)) - 1]
        return delay + delay * self.jitter * chance

    def _is_worth_it(self, error: Exception) -> bool:
        if self.condition is None:
            return True
        try:
            return bool(self.condition(error))
        except BaseException as broken:  # noqa: BLE001 (user code: its failure must not hide the task's)
            error.add_note(f"not retried, because retry_condition_fn raised {shown(broken)}")
            return False


@dataclass(frozen=True, slots=True)
class RetryGroup:
    """Failures in a row after which the wait is the same."""

    first: int  # the number of its first failure, from 1
    count: int  # how many failures
    delay: float  # seconds from such a failure to the next try


def retry_groups(retries: int, delays: Sequence[float]) -> tuple[RetryGroup, ...]:
    """The failures that are followed by another try, in order, by the wait that follows them.

    It says exactly what a `RetryPolicy` waits without jitter, in as few parts as can be.
    """
    groups: list[RetryGroup] = []
    failure = 1
    while failure <= retries:
        delay = delays[min(failure, len(delays)) - 1] if delays else 0.0
        last = failure
        while last < min(retries, len(delays)) and delays[last] == delay:
            last += 1
        if last >= len(delays):  # the last delay repeats
            last = retries
        groups.append(RetryGroup(failure, last - failure + 1, delay))
        failure = last + 1
    return tuple(groups)


def longest_wait(retries: int, delays: Sequence[float], jitter: float = 0.0) -> float:
    """Seconds that all tries wait for each other at most."""
    return sum(group.count * group.delay for group in retry_groups(retries, delays)) * (1 + jitter)


def retry_group_of(groups: Sequence[RetryGroup], failure: int) -> int | None:
    """The number, from 1, of the group that failure number `failure` is in; None: no other try follows it."""
    for number, group in enumerate(groups, 1):
        if group.first <= failure < group.first + group.count:
            return number
    return None


def retry_policy(
    retries: int,
    delay: RetryDelay | None,
    jitter: float | None,
    condition: RetryCondition | None,
    *,
    of: str,
) -> RetryPolicy:
    """The policy that the four retry parameters of a task mean; `DefinitionError` names the one that is wrong.

    `of` names the task in the message.
    """
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise DefinitionError(f"{of}: retries must be a whole number, 0 or more, not {retries!r}")
    jitter = 0.0 if jitter is None else jitter
    if not _is_seconds(jitter) or jitter > 1:
        raise DefinitionError(f"{of}: retry_jitter_factor must lie between 0.0 and 1.0, not {jitter!r}")
    if condition is not None and not callable(condition):
        raise DefinitionError(f"{of}: retry_condition_fn must be a function of the exception, not {condition!r}")
    return RetryPolicy(retries, _delays(delay, retries, of), float(jitter), condition)


def _delays(delay: RetryDelay | None, retries: int, of: str) -> tuple[float, ...]:
    if delay is None:
        return ()
    if callable(delay):
        try:
            given = delay(retries)
        except Exception as error:
            raise DefinitionError(f"{of}: retry_delay_seconds({retries}) raised {error!r}") from error
    else:
        given = delay
    delays: list[object] = (
        list(given) if isinstance(given, Sequence) and not isinstance(given, str | bytes) else [given]
    )
    for each in delays:
        if not _is_seconds(each):
            raise DefinitionError(f"{of}: retry_delay_seconds must be seconds, 0 or more, not {each!r}")
    return tuple(float(each) for each in delays)  # type: ignore[arg-type]  # _is_seconds has looked


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
