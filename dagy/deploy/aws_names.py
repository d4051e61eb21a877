"""What a deployment's resources are called on AWS: legal everywhere, and never what another deployment's are called."""

from __future__ import annotations

import hashlib
import re

from dagy.backends.limits import LIMITS

ALIAS = "live"  # of the function: what a schedule calls, and what people see as the deployment's version
CONTAINER = "flow"  # in the task definition
DEPLOYMENT_TAG = "dagy:deployment"
FINGERPRINT_TAG = "dagy:fingerprint"  # SHA-256 of all that was wanted when it was made so

_LONGEST = int(LIMITS["lambda.name"].value)  # a schedule's name is as long; a state machine's may be longer
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]+")
_ILLEGAL_IN_A_TAG = re.compile(r"[^\w .:/=+@-]")


def resource_name(prefix: str, reference: str) -> str:
    """The name of the function, machine, task family and schedule of the deployment: `dagy-etl`.

    Where it has to differ from the reference, as in `dagy-team-etl-1f0c9a3b` for `team/etl`, the digits are of that.
    """
    legal = _ILLEGAL.sub("-", reference).strip("-")
    room = _LONGEST - len(prefix)
    if legal == reference and len(legal) <= room:
        return prefix + legal
    digits = hashlib.sha256(reference.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{prefix}{legal[: room - len(digits) - 1].strip('-')}-{digits}"


def layer_name(prefix: str, sha256: str) -> str:
    """The name of the layer that is the file with this digest, and no other."""
    return f"{prefix}layer-{sha256[:16]}"


def deployment_tags(reference: str) -> dict[str, str]:
    """What tells of a resource whose it is, as far as a tag can."""
    return {DEPLOYMENT_TAG: _ILLEGAL_IN_A_TAG.sub("-", reference)[:256]}
