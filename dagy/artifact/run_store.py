"""What lasts of a run that goes on in the cloud: both ends read and write it, and no one keeps it open.

Below `<store>/<run_id>/` lie, each written once and by whoever comes first unless it says otherwise:

| name | what it is |
|---|---|
| `parameters.json` | parameters that are too large for a payload |
| `begun.json` | when, where and with which parameters the run began |
| `tasks/<task>/outcome.json`, `tasks/<task>/items/<n>.json` | an `Outcome`, with the result if that is small |
| `tasks/<task>/tries/...` | which attempts failed and are to be tried again |
| `tasks/<task>/count.json`, `indices.json` | how many items a mapped task has; the list of their numbers |
| `results/<key>` | what tasks of a whole flow returned, in batches |
| `events/<key>` | events as JSON, in batches; keys begin with the time, so they come in order |
| `stop.json`, `failed.json` | that the run is to stop, and why; which task failed first, when that ends the run |
| `answer.json` | how the run ended, as the handler answers |

Beside the runs, `_scheduled/<deployment>/` has a name for each run that a schedule began.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from dagy.artifact.outcomes import Outcome
from dagy.artifact.references import Values
from dagy.engine.reasons import not_begun, stopped
from dagy.errors import StoreError, shown
from dagy.spec import Json
from dagy.states import State, cancelled
from dagy.values import ABSENT, Encoded

OVERLAP_SECONDS = 60  # for which batches of events may become visible after later ones
READS_AT_ONCE = 16
_INLINE_ITEM = 2_048  # bytes of JSON of an item's result that the mapped task's outcome repeats

_OUTCOME = re.compile(r"tasks/(?P<task>[^/]+)/(?:outcome|items/(?P<item>\d+))\.json")

_T = TypeVar("_T")


class EarlyEnd(NamedTuple):
    """Why a run starts nothing more: somebody asked for that, or something failed."""

    reason: str = ""
    is_out_of_time: bool = False
    first_failure: str = ""

    @property
    def stop_reason(self) -> str:
        """Why what runs is told to stop."""
        return self.reason or stopped(self.first_failure)

    def never(self, *, again: bool = False) -> State:
        """The state of what was not started yet, or not `again`."""
        return cancelled(self.reason) if self.reason else not_begun(self.first_failure, again=again)


class RunStore:
    """The part of a store that belongs to one run. All of it raises `StoreError` when the store does not answer."""

    def __init__(self, values: Values | str, run_id: str) -> None:
        self.values = Values(values) if isinstance(values, str) else values
        self.run_id = run_id
        self._root = Values.name_of(run_id)
        self._writer = os.urandom(4).hex()  # many write into one run at once
        self._count = itertools.count()

    # ---- the beginning

    def begin(self, begun: Mapping[str, Json]) -> bool:
        """The run begins now; False when it has begun already. `at` (seconds since the epoch) is added.

        Who begins it says `parameters` and `references`, `code_hash`, `fail_fast`, `by`, and what else is known:
        `until` (when it is over at the latest), `request_id`, `log_group`, `log_stream`, `task_arn`, `resume`, ...
        """
        return self._write_new("begun.json", {"run_id": self.run_id, "at": time.time(), **begun})

    def begun(self) -> dict[str, Json] | None:
        """What `begin` was told, and `at`; None when the run has not begun."""
        begun: dict[str, Json] | None = self._read("begun.json")
        return begun

    def put_parameters(self, parameters: Mapping[str, Json]) -> None:
        """Leave the run's parameters here before it begins; they count when its payload has none."""
        self._write_new("parameters.json", dict(parameters))

    def parameters(self) -> dict[str, Json] | None:
        """The parameters that were left here."""
        found: dict[str, Json] | None = self._read("parameters.json")
        return found

    def note_scheduled(self, deployment: str, told: Mapping[str, Json]) -> None:
        """A schedule of the deployment began this run: let `scheduled` find it."""
        name = f"_scheduled/{Values.name_of(deployment)}/{time.time_ns():020d}-{self._root}.json"
        self.values.store.write_new(name, _encoded({"run_id": self.run_id, **told}))

    # ---- how tasks ended

    def outcome(self, task: str, item: int | None = None) -> Outcome | None:
        """How the task, or the item of it, ended; None when it has not."""
        return self.outcomes([(task, item)])[0]

    def outcomes(self, wanted: Sequence[tuple[str, int | None]]) -> list[Outcome | None]:
        """How these tasks, or items of tasks, ended, in the same order."""
        found = self.read_all([_outcome_name(task, item) for task, item in wanted])
        return [None if each is None else Outcome.from_json(each) for each in found]

    def keep_outcome(self, task: str, outcome: Outcome, item: int | None = None) -> bool:
        """Let this be how it ended; False when it has ended already."""
        return self._write_new(_outcome_name(task, item), outcome.to_json())

    def carried(self, value: object, task: str, item: int | None = None, *, called: str) -> dict[str, Json]:
        """A result, as an outcome has it. Raises `TravelError` for what can't be kept."""
        place = ("items", str(item)) if item is not None else ("value",)
        name = f"{place[-1]}-{os.urandom(8).hex()}"  # whoever comes first counts: nobody overwrites another's
        return self.values.carried(value, self.run_id, "tasks", task, *place[:-1], name, called=called)

    def value_of(self, task: str, outcome: Outcome) -> object:
        """What a task that has completed returned."""
        if outcome.result is None:
            raise StoreError(f"what task {task!r} returned in run {self.run_id!r} was not kept")
        items = outcome.result.get("items")
        if items is None:
            return self.values.opened(outcome.result)
        large = [number for number, each in enumerate(items) if each is None]
        found = dict(zip(large, self.outcomes([(task, number) for number in large]), strict=True))
        carried = [each if each is not None else _result_of(found[number]) for number, each in enumerate(items)]
        return [None if each is ABSENT else each for each in at_once(self.values.opened, carried)]

    def mapped_result(self, items: Iterable[Outcome | None]) -> dict[str, Json]:
        """The result of a mapped task, whose items have these outcomes; what is large stays where it is."""
        results = (_result_of(each) for each in items)
        return {"items": [each if len(json.dumps(each)) <= _INLINE_ITEM else None for each in results]}

    def keep_count(self, task: str, count: int, *, indices: bool) -> None:
        """The mapped task has so many items; with `indices` their numbers are listed for who iterates over them."""
        if indices:
            self._write_new(f"{_folder(task)}/indices.json", list(range(count)))
        self._write_new(f"{_folder(task)}/count.json", {"count": count, "at": time.time()})

    def indices_key(self, task: str) -> str:
        """Where in the store's bucket the numbers of the items are listed."""
        prefix = urlsplit(self.values.url or "").path.strip("/")
        return f"{prefix}/{self._root}/{_folder(task)}/indices.json".lstrip("/")

    def count(self, task: str) -> int | None:
        """How many items the mapped task has; None when they were not counted."""
        found = self._read(f"{_folder(task)}/count.json")
        return None if found is None else int(found["count"])

    def keep_try(self, task: str, item: int | None, failures: int, told: Mapping[str, Json]) -> bool:
        """Failure number `failures` is followed by another try; False when that is known already."""
        return self._write_new(f"{_folder(task)}/tries/{_item(item)}/{failures}.json", told)

    def tries(self, task: str, item: int | None) -> int:
        """How many failures were followed by another try."""
        return sum(1 for _ in self._names(f"{_folder(task)}/tries/{_item(item)}/"))

    def add_results(self, results: Mapping[str, Json]) -> None:
        """What tasks of a whole flow returned, by their `result_key`, as `carried` gives it."""
        self._add("results", results)

    def results(self) -> tuple[dict[str, Mapping[str, Json]], dict[str, dict[int, Mapping[str, Json]]]]:
        """All that the run's tasks have returned, as carried: by task, and by mapped task and item."""
        tasks: dict[str, Mapping[str, Json]] = {}
        items: dict[str, dict[int, Mapping[str, Json]]] = {}
        for batch in self.read_all(list(self._names("results/"))):
            for name, carried in (batch or {}).items():
                _add_result(tasks, items, *name.split("/"), result=carried)
        kept = [matched for name in self._names("tasks/") if (matched := _OUTCOME.fullmatch(name))]
        for matched, found in zip(kept, self.read_all([each[0] for each in kept]), strict=True):
            outcome = Outcome.from_json(found)
            if outcome.result is not None and "items" not in outcome.result:  # else its items say it
                _add_result(tasks, items, *filter(None, matched.groups()), result=outcome.result)
        return tasks, items

    # ---- what ends it early

    def ask_to_stop(self, reason: str, *, is_out_of_time: bool = False) -> bool:
        """Start nothing more of the run and stop what runs, as soon as that is seen; False when it was asked before."""
        return self._write_new("stop.json", {"reason": reason, "is_out_of_time": is_out_of_time, "at": time.time()})

    def stop_reason(self) -> str | None:
        """Why the run is to stop; None when nobody has asked for that."""
        found = self._read("stop.json")
        return None if found is None else str(found["reason"])

    def note_failure(self, name: str) -> bool:
        """`name` failed, and with that the run; False when another was first."""
        return self._write_new("failed.json", {"name": name, "at": time.time()})

    def early_end(self) -> EarlyEnd | None:
        """What ends the run early, if something does."""
        stop, failure = self.read_all(["stop.json", "failed.json"])
        if stop is not None:
            return EarlyEnd(reason=str(stop["reason"]), is_out_of_time=bool(stop["is_out_of_time"]))
        return None if failure is None else EarlyEnd(first_failure=str(failure["name"]))

    # ---- events

    def add_events(self, events: Sequence[Mapping[str, Json]]) -> None:
        """Add a batch of events, as `dagy.runs.event_to_json` gives them; their `seq` is left out."""
        self._add("events", [{name: value for name, value in each.items() if name != "seq"} for each in events])

    def event_keys(self, after: str | None = None) -> Iterator[str]:
        """The keys of the batches after that one, in order; each begins with 20 digits of nanoseconds.

        Many write at once, so a key may appear later than one that follows it: look again from `OVERLAP_SECONDS` back.
        """
        return self._keys("events/", after)

    def event_batch(self, key: str) -> list[dict[str, Json]]:
        """The events of a batch, without `seq`."""
        found: list[dict[str, Json]] | None = self._read(f"events/{key}")
        if found is None:
            raise StoreError(f"there are no events {key!r} in run {self.run_id!r}")
        return found

    def events(
        self, after: str | None = None, seen: Container[str] = ()
    ) -> Iterator[tuple[str, list[dict[str, Json]]]]:
        """The batches after that key, and those that came late before it, but for those whose keys are in `seen`."""
        if after is not None:
            after = f"{max(0, int(after[:20]) - OVERLAP_SECONDS * 10**9):020d}"
        for key in self.event_keys(after):
            if key not in seen:
                yield key, self.event_batch(key)

    # ---- the end

    def is_first_to_end(self) -> bool:
        """Whether nobody has ended the run before, so that its last hooks are to be called."""
        return self._write_new("ending.json", {"at": time.time()})

    def keep_answer(self, answer: Mapping[str, Json]) -> bool:
        """The run has ended so; False when it had ended already."""
        return self._write_new("answer.json", answer)

    def answer(self) -> dict[str, Json] | None:
        """How the run ended: `state`, `message`, and `result` (for `Values.opened`) or `error`; None: it has not."""
        answer: dict[str, Json] | None = self._read("answer.json")
        return answer

    # ---- objects

    def read_all(self, names: Sequence[str]) -> list[Any]:
        """What lies under these names of the run, None where nothing does; many are read at once."""
        return at_once(self._read, names)

    def _read(self, name: str) -> Any:
        content = self.values.store.read_if_there(f"{self._root}/{name}")
        try:
            return None if content is None else json.loads(content)
        except ValueError as error:
            raise StoreError(f"{name!r} of run {self.run_id!r} is damaged: {shown(content)}") from error

    def _write_new(self, name: str, document: Json) -> bool:
        return self.values.store.write_new(f"{self._root}/{name}", _encoded(document))

    def _add(self, kind: str, document: Json) -> None:
        # A writer's own keys come in order, however fast they follow each other.
        self._write_new(f"{kind}/{time.time_ns():020d}-{self._writer}-{next(self._count):06d}", document)

    def _names(self, prefix: str) -> Iterator[str]:
        return (f"{prefix}{key}" for key in self._keys(prefix, None))

    def _keys(self, prefix: str, after: str | None) -> Iterator[str]:
        whole = f"{self._root}/{prefix}"
        names = self.values.store.names(whole, None if after is None else f"{whole}{after}")
        return (name.removeprefix(whole) for name in names)


def scheduled(values: Values, deployment: str, after: str | None = None) -> Iterator[tuple[str, dict[str, Json]]]:
    """The runs that schedules of the deployment began, after that key, oldest first: a key, and what was noted."""
    prefix = f"_scheduled/{Values.name_of(deployment)}/"
    for name in values.store.names(prefix, None if after is None else f"{prefix}{after}"):
        content = values.store.read_if_there(name)
        if content is not None:
            yield name.removeprefix(prefix), json.loads(content)


def at_once(read: Callable[[Any], _T], each_of: Sequence[Any]) -> list[_T]:
    """`read` of each, in order; many at once, because what is read is far away."""
    if len(each_of) < 2:
        return [read(each) for each in each_of]
    with _threads()(min(READS_AT_ONCE, len(each_of))) as threads:
        return list(threads.map(read, each_of))


@functools.cache
def _threads() -> Any:
    from concurrent.futures import ThreadPoolExecutor  # not loaded by what reads one thing

    return ThreadPoolExecutor


def result_key(task: str, item: int | None) -> str:
    """What a result is called in a batch of them."""
    return Values.name_of(task) if item is None else f"{Values.name_of(task)}/{item}"


def _add_result(
    tasks: dict[str, Mapping[str, Json]],
    items: dict[str, dict[int, Mapping[str, Json]]],
    task: str,
    item: str | None = None,
    *,
    result: Mapping[str, Json],
) -> None:
    if item is None:
        tasks[unquote(task)] = result
    else:
        items.setdefault(unquote(task), {})[int(item)] = result


def _outcome_name(task: str, item: int | None) -> str:
    return f"{_folder(task)}/outcome.json" if item is None else f"{_folder(task)}/items/{item}.json"


def _folder(task: str) -> str:
    return f"tasks/{Values.name_of(task)}"


def _item(item: int | None) -> str:
    return "whole" if item is None else str(item)


def _result_of(outcome: Outcome | None) -> Mapping[str, Json]:
    if outcome is None or outcome.result is None:
        raise StoreError("what an item of a mapped task returned was not kept")
    return outcome.result


def _encoded(document: Json) -> Encoded:
    return Encoded("json", (json.dumps(document).encode(),))
