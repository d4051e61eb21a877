"""The door to AWS: signed in to one account in one region, and through it to each service.

    aws = Aws(region="eu-central-1")
    aws.functions.get("dagy-etl")

It reads AWS's own environment variables and files, the endpoints' URLs among them, so it goes to a stand-in where these
say so. Each service is narrow: what Dagy needs of it, in frozen values. A client is made when it is first needed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from dagy.aws.buckets import Bucket
from dagy.aws.clients import Call, Clients, account_of, is_stand_in
from dagy.aws.containers import Containers
from dagy.aws.functions import Functions
from dagy.aws.logs import Logs
from dagy.aws.network import Network
from dagy.aws.schedules import Schedules
from dagy.aws.stacks import Stacks
from dagy.aws.state_machines import StateMachines


class Aws:
    """One account in one region. Nothing is loaded or sent before something is asked for; threads may share it.

    `region` and `profile` (AWS's own) are what AWS's variables and files say when they are None; `endpoint_url` is for
    all services. `before_call` is told of each call before it is sent, and `on_call` once it has ended, well or not;
    the caller gets what they raise, and what `before_call` raises keeps the call from being sent.

    Raises, whatever is asked: `AuthError` when nobody is signed in or it is not allowed, `NetworkError` when no answer
    comes, `SettingsError` when no region is named, `CloudError` for all else that AWS refuses, and `MissingExtraError`
    without boto3.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        before_call: Callable[[Call], None] | None = None,
        on_call: Callable[[Call], None] | None = None,
    ) -> None:
        self._clients = Clients(region, profile, endpoint_url, before_call, on_call)

    @property
    def region(self) -> str:
        """The region's name: `eu-central-1`."""
        return self._clients.region

    @cached_property
    def account(self) -> str:
        """The account's twelve digits; STS is asked once."""
        return account_of(self._clients)

    @property
    def is_stand_in(self) -> bool:
        """Whether calls go somewhere else than to AWS itself."""
        return is_stand_in(self._clients.of("sts").meta.endpoint_url)

    def bucket(self, name: str, *, owner: str | None = None) -> Bucket:
        """The bucket of that name, which must belong to the account `owner`; None: to this one."""
        return Bucket(self._clients, name, lambda: owner or self.account)

    @cached_property
    def functions(self) -> Functions:
        """Lambda."""
        return Functions(self._clients)

    @cached_property
    def state_machines(self) -> StateMachines:
        """Step Functions."""
        return StateMachines(self._clients, lambda: self.account)

    @cached_property
    def containers(self) -> Containers:
        """ECS on Fargate."""
        return Containers(self._clients)

    @cached_property
    def schedules(self) -> Schedules:
        """EventBridge Scheduler."""
        return Schedules(self._clients)

    @cached_property
    def stacks(self) -> Stacks:
        """CloudFormation."""
        return Stacks(self._clients)

    @cached_property
    def logs(self) -> Logs:
        """CloudWatch Logs."""
        return Logs(self._clients)

    @cached_property
    def network(self) -> Network:
        """EC2, of which only the subnets."""
        return Network(self._clients)

    def tagged(self, key: str, value: str) -> tuple[str, ...]:
        """The ARNs of all in the region that has this tag, sorted; a moment after it was tagged."""
        client: Any = self._clients.of("resourcegroupstaggingapi")
        pages = client.get_paginator("get_resources").paginate(TagFilters=[{"Key": key, "Values": [value]}])
        return tuple(sorted(each["ResourceARN"] for page in pages for each in page["ResourceTagMappingList"]))
