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
    found = client.deployment(deployment) if deployment is not None else _only_deployment(flow, client)
    if is_deployed_code(flow, found, client) is False:
        logger.warning(
            "flow %r is other code here than as the deployment %r, which is what runs; %s.deploy() takes this over",
            flow.name,
            found.reference,
            flow.function.__name__,
        )
    return client.create_run(found.reference, parameters, idempotency_key=idempotency_key)


def _only_deployment(flow: Flow[..., Any], client: DagyClient) -> Deployment:
    found = client.deployments(flow=flow.name).items
    called = flow.function.__name__
    if not found:
        known = [each.reference for each in client.deployments()]
        raise UnknownDeploymentError(flow.name, known, remedy=f"deploy the flow first: {called}.deploy()")
    if len(found) > 1:
        names = ", ".join(repr(each.reference) for each in found)
        raise ConflictError(
            f"flow {flow.name!r} is deployed as {names}; say which: {called}.run(deployment={found[0].reference!r})"
        )
    return found[0]
