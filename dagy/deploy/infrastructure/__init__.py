"""What must exist in an AWS account before a flow is deployed there: one CloudFormation stack, and what reads it back.

`template` is the stack as data, `set_up` makes or updates it, `environment` reads from it what a deploy must know,
`belongings` lists it with all that deployments added, and `tear_down` removes that.
"""

from __future__ import annotations

from dagy.deploy.infrastructure.setting_up import Change, Choices, SetUp, environment, missing, set_up, wanted
from dagy.deploy.infrastructure.tearing_down import Belongings, Kept, Piece, belongings, tear_down
from dagy.deploy.infrastructure.template import STARS, as_json, as_yaml, template

__all__ = [
    "STARS",
    "Belongings",
    "Change",
    "Choices",
    "Kept",
    "Piece",
    "SetUp",
    "as_json",
    "as_yaml",
    "belongings",
    "environment",
    "missing",
    "set_up",
    "tear_down",
    "template",
    "wanted",
]
