"""A run of a flow as it is deployed, asked for from the flow's own code."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from dagy.artifact import refuse_while_loading
from dagy.client import DagyClient, Run
from dagy.control.records import Deployment
from dagy.deploy.comparing import is_deployed_code
from dagy.errors import ConflictError, UnknownDeploymentError
from dagy.flows import Flow
from dagy.spec import Json

logger = logging.getLogger(__name__)

_told: set[tuple[str, str, str]] = set()  # of which flow and deployment it was said already that they differ


def run_deployed(
    flow: Flow[..., Any],
    parameters: Mapping[str, Json],
    *,
    deployment: str | None = None,
    idempotency_key: str | None = None,
    client: DagyClient | None = None,
) -> Run:
    """Ask for a run of the deployment, or of the one that the flow has; see `Flow.run`."""
    refuse_while_loading("flow.run()")
    client = client or DagyClient()
    found = client.deployment(deployment) if deployment is not None else _own_deployment(flow, client)
    told = (flow.name, found.reference, found.code_hash)
    if told not in _told and is_deployed_code(flow, found, client) is False:
        _told.add(told)
        logger.warning(
            "flow %r is other code here than as the deployment %r, which is what runs; %s.deploy() takes this over",
            flow.name,
            found.reference,
            flow.function.__name__,
        )
    return client.create_run(found.reference, parameters, idempotency_key=idempotency_key)


def _own_deployment(flow: Flow[..., Any], client: DagyClient) -> Deployment:
    found = client.deployments(flow=flow.name)
    called = flow.function.__name__
    if not found:
        known = [each.reference for each in client.deployments()]
        raise UnknownDeploymentError(flow.name, known, remedy=f"deploy the flow first: {called}.deploy()")
    if len(found) > 1:
        for each in found:
            if each.reference == flow.deployed_as:
                return each
        names = [repr(each.reference) for each in found]
        raise ConflictError(
            f"flow {flow.name!r} is deployed as {', '.join(names)}; say which: {called}.run(deployment={names[0]})"
        )
    return found.items[0]
