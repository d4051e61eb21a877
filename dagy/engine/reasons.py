"""What is said of what did not complete, in one place: a run says the same of itself wherever it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dagy.states import State, StateType, cancelled, completed, failed, retrying, skipped, timed_out

REUSED = completed("its result is that of an earlier run")

SKIPPED_BEFORE = skipped("as in an earlier run")

_ENDED = {StateType.FAILED: "failed", StateType.TIMED_OUT: "timed out", StateType.CRASHED: "crashed"}


def not_started(cause: str, kind: StateType) -> State:
    """The state of what needs the task `cause`, which ended as `kind`."""
    if kind in _ENDED:
        return skipped(f"not started, because {cause!r} {_ENDED[kind]}")
    return cancelled(f"not started, because {cause!r} was not")


def without(cause: str) -> State:
    """The state of what needs the task `cause`, which was skipped because there was nothing for it to do."""
    return skipped(f"not started, because {cause!r} was skipped")


def other_way(cause: str) -> str:
    """Why a task has nothing to do that takes an output that `cause`, which has completed, left out."""
    return f"not started, because {cause!r} took another way"


def gave_nothing(cause: str) -> str:
    """Why a task has nothing to do that takes what `cause` returned, which is nothing."""
    return f"not started, because {cause!r} gave nothing"


def no_item(name: str) -> str:
    """Why a mapped task, or an item of it, has nothing to do that goes through its input `name`."""
    return f"not started, because there is nothing in {name!r}"


def no_time(seconds: float, left: float, *, again: bool = False) -> State:
    """The state of what may take `seconds`, when the run has only so many `left`."""
    what = "tried again" if again else "started"
    return cancelled(f"not {what}: it may take {seconds:g} s, and the run has {max(0.0, left):.0f} s left")


def stopped(first_failure: str) -> str:
    """Why what ran was told to stop, when nobody asked for it."""
    return f"stopped because {first_failure!r} failed"


def not_begun(first_failure: str, *, again: bool = False) -> State:
    """The state of what a run that ends at its first failure does not start any more."""
    return cancelled(f"not {'tried again' if again else 'started'}, because {first_failure!r} failed")


def tried_again(state: State, failures: int, retries: int) -> State:
    """The state between an attempt that ended in `state` and the next one."""
    return retrying(f"attempt {failures} of {retries + 1}: {state.message}")


def fault(name: str, state: State) -> str:
    """How one item of a mapped task failed."""
    return f"{name} {_ENDED[state.type]}: {state.message}"


def items_failed(failures: int, count: int, first_fault: str) -> State:
    """The state of a mapped task, some of whose items failed."""
    return failed(f"{failures} of {count} items failed; {first_fault}")


def run_time_up(seconds: float) -> str:
    """Why a run ends whose surroundings gave it so many seconds."""
    return f"the {seconds:.0f} s that the run has are up"


def flow_time_up(seconds: float) -> str:
    """Why a run ends whose flow may take so many seconds."""
    return f"the flow ran out of time after {seconds:g} s"


def run_end(
    states: Mapping[str, State], *, cancel_reason: str | None = None, is_out_of_time: bool = False, left_out: str = ""
) -> State:
    """How a run ends whose tasks ended so. `left_out` says which task there was no time for, and why."""
    ends: dict[StateType, list[str]] = {}
    for task, state in states.items():
        ends.setdefault(state.type, []).append(task)
    bad = [task for kind in _ENDED for task in ends.get(kind, ())]
    if cancel_reason is not None and (bad or StateType.CANCELLED in ends):
        return timed_out(cancel_reason) if is_out_of_time else cancelled(cancel_reason)
    if bad:
        return failed(f"{len(bad)} of {len(states)} tasks failed: {some(bad)}")
    return timed_out(left_out) if left_out else completed()


def some(names: Sequence[str]) -> str:
    """The first few of `names`, and how many more there are."""
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
