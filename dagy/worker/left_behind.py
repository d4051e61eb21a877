"""What a worker that died had not told any more: how its runs ended, as far as the history on this machine knows."""

from __future__ import annotations

import logging
from pathlib import Path

from dagy.control.records import Report
from dagy.engine import Event, RunChanged
from dagy.errors import ConflictError, DagyError, StoreError, UnknownRunError
from dagy.runs import History, event_to_json, owner_from_text
from dagy.runs.owners import is_alive
from dagy.states import State, StateType, crashed
from dagy.worker.claims import ClaimNote, ClaimNotes
from dagy.worker.reporting import ReportsTo, portions
from dagy.worker.working_folder import remove_copies

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 10.0  # how long the process of a run goes on, at most, once its worker is gone


def tell_what_was_left(client: ReportsTo, notes: ClaimNotes, local_dir: Path) -> None:
    """Tell the control plane of runs whose worker died after they had begun, and of their end.

    Of those that had not begun there is nothing to tell: the control plane queues them again. What can't be told now is
    left for the next time.
    """
    for note in notes:
        if _is_at_work(note):
            continue
        try:
            if _tell(client, note, local_dir):
                remove_copies(local_dir, note)
        except ConflictError as error:  # it was seen to already
            logger.debug("run %s: %s", note.run_id, error)
        except UnknownRunError:  # it is of another control plane, whose workers share this folder
            continue
        except DagyError as error:
            logger.warning("run %s can't be reported yet: %s", note.run_id, error)
            continue
        notes.remove(note)


def _tell(client: ReportsTo, note: ClaimNote, local_dir: Path) -> bool:
    """Whether there was something to tell: the run had begun, and has ended."""
    with History(local_dir) as history:
        client.renew(note.run_id, note.fence, lease_seconds=_PATIENCE_SECONDS)  # raises if there is nothing to tell
        if not history.has(note.run_id):
            return False
        record = history.run(note.run_id)
        if record.ended_at is None:  # its process is about to find out that it is alone
            raise StoreError("its process has not ended yet")
        events = [event_to_json(_with_end(each)) for each in history.events(note.run_id)]
    for part in portions(events):
        client.report(note.run_id, note.fence, Report(tuple(part)))
    state = _end(record.state)
    client.report(note.run_id, note.fence, Report(status=state.type, message=state.message))
    return True


def _with_end(event: Event) -> Event:
    return event._replace(state=_end(event.state)) if isinstance(event, RunChanged) else event


def _end(state: State) -> State:
    """How a run stands whose worker died: what it came to by itself counts, and not that it was stopped."""
    if state.type in {StateType.CANCELLED, StateType.CRASHED}:
        return crashed("its worker is gone; what ran may have had effects")
    return state


def _is_at_work(note: ClaimNote) -> bool:
    try:
        return is_alive(owner_from_text(note.worker)) != "no"
    except StoreError:
        return False
