"""CloudFormation: two things that a stack may have, and moto does not know."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from dagy.testing.local_aws.bridge.patching import replace
from dagy.testing.local_aws.world import World


def install(world: World) -> None:
    """Put it in place; moto finds its models of resources by asking for the subclasses of theirs."""
    _leave_out_api_gateway()
    from moto.core.common_models import CloudFormationModel
    from moto.scheduler.models import scheduler_backends

    class ScheduleGroup(CloudFormationModel):  # type: ignore[misc]  # moto is not type-checked
        """A group of schedules as part of a stack."""

        def __init__(self, name: str) -> None:
            self.physical_resource_id = name

        @staticmethod
        def cloudformation_name_type() -> str:
            return "Name"

        @staticmethod
        def cloudformation_type() -> str:
            return "AWS::Scheduler::ScheduleGroup"

        @classmethod
        def create_from_cloudformation_json(
            cls,
            resource_name: str,
            cloudformation_json: dict[str, Any],
            account_id: str,
            region_name: str,
            **_options: Any,
        ) -> ScheduleGroup:
            tags = cloudformation_json.get("Properties", {}).get("Tags", [])
            scheduler_backends[account_id][region_name].create_schedule_group(resource_name, tags)
            return cls(resource_name)

        @classmethod
        def update_from_cloudformation_json(cls, original_resource: Any, *_arguments: Any, **_options: Any) -> Any:
            return original_resource

        @classmethod
        def delete_from_cloudformation_json(
            cls, resource_name: str, _json: dict[str, Any], account_id: str, region_name: str
        ) -> None:
            scheduler_backends[account_id][region_name].delete_schedule_group(resource_name)

    _kept.append(ScheduleGroup)
    _retain()


def _retain() -> None:
    """moto knows the policy `Retain`, and not the newer one, which only differs while a stack is made."""
    from moto.cloudformation.parsing import ResourceMap

    def but_what_is_retained(original: Any) -> Any:
        def delete(self: Any) -> None:
            for each in self._resource_json_map.values():
                if each.get("DeletionPolicy") == "RetainExceptOnCreate":
                    each["DeletionPolicy"] = "Retain"
            original(self)

        return delete

    replace(ResourceMap, "delete", but_what_is_retained)


def _leave_out_api_gateway() -> None:
    """Spare two seconds: to know all resources moto loads API Gateway too, which loads what checks its documents."""
    names = (
        "openapi_spec_validator",
        "openapi_spec_validator.validation",
        "openapi_spec_validator.validation.exceptions",
    )
    for name in names:
        module = sys.modules.setdefault(name, ModuleType(name))
        vars(module).setdefault("validate", None)
        vars(module).setdefault("OpenAPIValidationError", ValueError)


_kept: list[type] = []  # subclasses are only known for as long as somebody holds them
