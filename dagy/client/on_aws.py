"""What a deployment's resources on AWS are: the account and region, the store of its runs, and what these returned."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagy.aws  # its names are loaded when they are asked for: a run here needs none
from dagy.artifact.references import BucketStore, Values
from dagy.artifact.run_store import RunStore, at_once
from dagy.control.records import RunInfo
from dagy.errors import ResultGoneError
from dagy.spec import Json
from dagy.values import ABSENT, Deferred

if TYPE_CHECKING:
    from dagy.aws import Aws, LogLine

_EARLY = timedelta(seconds=60)  # before a run tells that it has begun, what begins it may have written already


def aws_at(resources: Mapping[str, Json]) -> Aws:
    """AWS where a deployment with these resources is."""
    return dagy.aws.Aws(region=str(resources["region"]), endpoint_url=resources.get("endpoint_url"))


def values_at(resources: Mapping[str, Json], aws: Aws) -> Values:
    """The store of a deployment with these resources."""
    url = str(resources["store"])
    return Values(url, BucketStore(url, aws)) if url.startswith("s3:") else Values(url)


def store_of(info: RunInfo) -> RunStore:
    """The store of the run."""
    return RunStore(values_at(info.resources, aws_at(info.resources)), info.run_id)


def stored_result(info: RunInfo, *, trusted: bool) -> object:
    """What the run, which has completed, returned, as it lies in its store. A pickle is read only when it is trusted.

    Raises `ResultGoneError` when it is not there, or a pickle; `AuthError`, `NetworkError`, `StoreError`.
    """
    store = store_of(info)
    answer = store.answer()
    carried = None if answer is None else answer.get("result")
    if carried is None:
        raise ResultGoneError(
            f"what run {info.run_id!r} returned is no longer in {info.resources['store']!r}; run it again"
        )
    if not trusted:
        _refuse_pickle(carried, f"run {info.run_id!r}", "run.trusted_result()")
    return store.values.opened(carried)


def stored_task_results(info: RunInfo, tasks: Sequence[str], *, trusted: bool = False) -> dict[str, Deferred]:
    """What these tasks of the run, which have completed, returned, by id; each is read when it is asked for.

    To read one raises as `stored_result`.
    """
    store = store_of(info)
    whole, items = store.results()
    found: dict[str, Deferred] = {}
    for task in tasks:
        if task in whole:
            found[task] = _Stored(store.values, task, whole[task], trusted=trusted)
        elif task in items:
            found[task] = _Stored(
                store.values, task, [items[task][each] for each in sorted(items[task])], trusted=trusted
            )
    return found


class _Stored(Deferred):
    """A task's result in the store: as it is carried, or that of each of its items."""

    __slots__ = ("_carried", "_found", "_task", "_trusted", "_values")

    def __init__(
        self,
        values: Values,
        task: str,
        carried: Mapping[str, Json] | Sequence[Mapping[str, Json]],
        *,
        trusted: bool,
    ) -> None:
        self._values = values
        self._task = task
        self._carried = carried
        self._trusted = trusted
        self._found: tuple[object] | None = None

    def value(self) -> object:
        """The value, read the first time."""
        if self._found is None:
            parts = [self._carried] if isinstance(self._carried, Mapping) else self._carried
            if not self._trusted:
                for each in parts:
                    _refuse_pickle(each, f"task {self._task!r}", "trusted=True")
            read = at_once(self._values.opened, parts)
            is_one = isinstance(self._carried, Mapping)
            self._found = (read[0] if is_one else [None if each is ABSENT else each for each in read],)
        return self._found[0]


def _refuse_pickle(carried: Mapping[str, Json], whose: str, how: str) -> None:
    if carried.get("codec") == "pickle":
        raise ResultGoneError(
            f"what {whose} returned is kept as a pickle, and reading one runs what whoever wrote it chose; "
            f"if you trust all who may write to the bucket: {how}"
        )


def log_lines(info: RunInfo) -> Iterator[LogLine]:
    """What CloudWatch has of the run, in order of time: of functions the lines that name it, of a container all.

    Raises `AuthError`, `NetworkError`, `CloudError`, `StoreError`.
    """
    aws = aws_at(info.resources)
    begun = store_of(info).begun() or {}
    group = str(begun.get("log_group") or info.resources["log_group"])
    since = datetime.fromtimestamp(begun["at"], UTC) - _EARLY if begun else info.created_at
    if (task := begun.get("task_arn")) and info.executor == "ecs":
        family = str(info.resources["task_definition"]).rpartition("/")[2].partition(":")[0]
        stream = f"{family}/{info.resources['container']}/{str(task).rpartition('/')[2]}"
        yield from aws.logs.read(group, streams=stream, since=since)
        return
    names = [each for each in (info.run_id, begun.get("request_id")) if each]  # AWS's own lines have only the second
    found = [aws.logs.read(group, containing=str(each), since=since) for each in names]
    last = ""
    for line in heapq.merge(*found, key=lambda each: (each.at, each.id)):
        if line.id != last:
            yield line
        last = line.id
