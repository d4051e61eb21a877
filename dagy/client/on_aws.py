"""What a deployment's resources on AWS are: the account and region, the store of its runs, and what these returned."""

from __future__ import annotations

from collections.abc import Mapping

from dagy.artifact.references import BucketStore, Values
from dagy.artifact.run_store import RunStore
from dagy.aws import Aws
from dagy.control.records import RunInfo
from dagy.errors import ResultGoneError
from dagy.spec import Json


def aws_at(resources: Mapping[str, Json]) -> Aws:
    """AWS where a deployment with these resources is."""
    return Aws(region=str(resources["region"]), endpoint_url=resources.get("endpoint_url"))


def values_at(resources: Mapping[str, Json], aws: Aws) -> Values:
    """The store of a deployment with these resources."""
    url = str(resources["store"])
    return Values(url, BucketStore(url, aws)) if url.startswith("s3:") else Values(url)


def stored_result(info: RunInfo, *, trusted: bool) -> object:
    """What the run, which has completed, returned, as it lies in its store. A pickle is read only when it is trusted.

    Raises `ResultGoneError` when it is not there, or a pickle; `AuthError`, `NetworkError`, `StoreError`.
    """
    values = values_at(info.resources, aws_at(info.resources))
    answer = RunStore(values, info.run_id).answer()
    carried = None if answer is None else answer.get("result")
    if carried is None:
        raise ResultGoneError(
            f"what run {info.run_id!r} returned is no longer in {info.resources['store']!r}; run it again"
        )
    if not trusted and isinstance(carried, Mapping) and carried.get("codec") == "pickle":
        raise ResultGoneError(
            f"what run {info.run_id!r} returned is kept as a pickle, and reading one runs what whoever wrote it chose; "
            "if you trust all who may write to the bucket: run.trusted_result()"
        )
    return values.opened(carried)
