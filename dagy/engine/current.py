"""What the calling code runs as: which task of which run.

Nothing is noted for each task: a run is asked, and looks which of its attempts the calling thread is at.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TypeAlias

from dagy.hooks import RunContext

Answer: TypeAlias = Callable[[], RunContext | None]

_ANSWER: contextvars.ContextVar[Answer | None] = contextvars.ContextVar("dagy_current", default=None)


def current_context() -> RunContext | None:
    """What the calling code runs as, when it is a task's: in a thread, on an event loop, in a process, in the cloud.

    `name`, `task_id`, `item` and `attempt` are the task's, `parameters` are what the run of the flow was given. None
    outside of tasks, and in threads that a task starts itself.
    """
    answer = _ANSWER.get()
    return None if answer is None else answer()


def answer_with(answer: Answer) -> None:
    """From here on, in this context, `current_context` gives what `answer` does."""
    _ANSWER.set(answer)
