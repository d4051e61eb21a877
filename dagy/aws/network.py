"""EC2: the subnets that containers run in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dagy.aws.clients import Clients
from dagy.aws.refusals import NotThereError


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet."""

    id: str
    vpc: str
    zone: str
    has_public_ips: bool
    """Whether what starts in it gets a public address by itself."""


class Network:
    """The subnets of the account in the region.

    All raise `AuthError`, `NetworkError` and `CloudError`.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def subnets(self, ids: Sequence[str] = ()) -> tuple[Subnet, ...]:
        """The subnets with these ids, sorted by zone; without any, the default VPC's, if there is one.

        An id that there is not is left out.
        """
        wanted: Any = {"SubnetIds": list(ids)} if ids else {"Filters": [{"Name": "default-for-az", "Values": ["true"]}]}
        try:
            pages = list(self._clients.of("ec2").get_paginator("describe_subnets").paginate(**wanted))
        except NotThereError:
            known = [self.subnets([each]) for each in ids] if len(ids) > 1 else []
            return tuple(each for one in known for each in one)
        found = [
            Subnet(each["SubnetId"], each["VpcId"], each["AvailabilityZone"], each.get("MapPublicIpOnLaunch", False))
            for page in pages
            for each in page["Subnets"]
        ]
        return tuple(sorted(found, key=lambda each: (each.zone, each.id)))
