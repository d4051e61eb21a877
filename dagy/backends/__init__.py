"""Where a flow runs once it is deployed to AWS: which backend, why, within which limits, and how its runs are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

if TYPE_CHECKING:
    from dagy.backends.found_runs import FoundRuns
    from dagy.backends.limits import LIMITS, Limit, LimitUse
    from dagy.backends.measuring import measured_from_history, measured_in
    from dagy.backends.router import BackendRouter
    from dagy.backends.routes import Cost, CostItem, Measured, Route, Sizes, TaskRoute

_HOMES = {
    "BackendRouter": "dagy.backends.router",
    "Cost": "dagy.backends.routes",
    "CostItem": "dagy.backends.routes",
    "FoundRuns": "dagy.backends.found_runs",
    "LIMITS": "dagy.backends.limits",
    "Limit": "dagy.backends.limits",
    "LimitUse": "dagy.backends.limits",
    "Measured": "dagy.backends.routes",
    "Route": "dagy.backends.routes",
    "Sizes": "dagy.backends.routes",
    "TaskRoute": "dagy.backends.routes",
    "measured_from_history": "dagy.backends.measuring",
    "measured_in": "dagy.backends.measuring",
}

__all__ = [
    "LIMITS",
    "BackendRouter",
    "Cost",
    "CostItem",
    "FoundRuns",
    "Limit",
    "LimitUse",
    "Measured",
    "Route",
    "Sizes",
    "TaskRoute",
    "measured_from_history",
    "measured_in",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
