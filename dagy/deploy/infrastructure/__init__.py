"""What must exist in an AWS account before a flow is deployed there: one CloudFormation stack, and what reads it back.

`template` is the stack as data, `set_up` makes or updates it, `environment` reads from it what a deploy must know,
`remains` lists what deployments added, and `tear_down` removes all of it.
"""

from __future__ import annotations

from dagy.deploy.infrastructure.setting_up import Change, SetUp, environment, set_up, wanted
from dagy.deploy.infrastructure.tearing_down import Remains, remains, tear_down
from dagy.deploy.infrastructure.template import STARS, as_json, as_yaml, template

__all__ = [
    "STARS",
    "Change",
    "Remains",
    "SetUp",
    "as_json",
    "as_yaml",
    "environment",
    "remains",
    "set_up",
    "tear_down",
    "template",
    "wanted",
]
