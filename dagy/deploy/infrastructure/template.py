"""The stack as data: a CloudFormation template that is the same for every account, region and name.

What differs is a parameter of the stack. Every name that a role may use begins with the stack's own, and a bucket, a
cluster and a log are the stack's: what runs as one of these roles reaches nothing else of the account.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from dagy.backends.environment import TAG

Json: TypeAlias = dict[str, Any]

RUNS_DAYS = 90  # what runs keep in the bucket is let go of after so many days
LOG_DAYS = 30

# Every action that AWS allows on no narrower resource than `*`, and why; nothing else in the template has a star alone.
STARS: Mapping[str, str] = {
    "ecr:GetAuthorizationToken": "a registry's token is for the whole account: the action takes no resource",
}

# How long CloudWatch Logs can keep a log, in days.
LOG_DAYS_ALLOWED = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288,
                    3653)  # fmt: skip


def template(*, make_network: bool = False) -> Json:
    """The template; with `make_network` it makes two public subnets, else it takes subnets as a parameter.

    It names no account, no region and no stack, so it can be read, kept and compared.
    """
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "What Dagy needs to run flows on Lambda, Step Functions and ECS Fargate.",
        "Metadata": {"dagy": {"StarsThatAwsDemands": dict(STARS)}},
        "Parameters": _parameters(make_network=make_network),
        "Conditions": {
            "MakesBucket": {"Fn::Equals": [_ref("BucketName"), ""]},
            "LetsGoOfRuns": {"Fn::Not": [{"Fn::Equals": [_ref("RunsDays"), "0"]}]},
        },
        "Resources": {
            **(_network() if make_network else {}),
            **_bucket(),
            **_places(_ref("Vpc" if make_network else "VpcId")),
            **_roles(),
        },
        "Outputs": _outputs(make_network=make_network),
    }


def as_json(template: Mapping[str, Any]) -> str:
    """The template's text as it is sent: the same bytes for the same template."""
    return json.dumps(template, indent=1) + "\n"


def as_yaml(template: Mapping[str, Any]) -> str:
    """The template's text for people: the same bytes for the same template."""
    import yaml

    return yaml.safe_dump(json.loads(json.dumps(template)), sort_keys=False, width=120)


def _parameters(*, make_network: bool) -> Json:
    given: Json = {
        "VpcId": {"Type": "AWS::EC2::VPC::Id", "Description": "The network that containers run in."},
        "Subnets": {
            "Type": "String",
            "AllowedPattern": "subnet-[0-9a-f]+(,subnet-[0-9a-f]+)*",
            "Description": "Where in it, with commas between; from there S3 and the registry of images are reached.",
        },
        "AssignPublicIp": {
            "Type": "String",
            "AllowedValues": ["ENABLED", "DISABLED"],
            "Default": "ENABLED",
            "Description": "ENABLED in public subnets; DISABLED where a NAT gateway or endpoints lead out.",
        },
    }
    return {
        "BucketName": {
            "Type": "String",
            "Default": "",
            "Description": "A bucket of this account to use; none: one is made.",
        },
        "RunsDays": {
            "Type": "Number",
            "Default": RUNS_DAYS,
            "MinValue": 0,
            "Description": "Let go of what a run keeps in the bucket that is made after so many days; 0 keeps it.",
        },
        "LogDays": {
            "Type": "Number",
            "Default": LOG_DAYS,
            "AllowedValues": list(LOG_DAYS_ALLOWED),
            "Description": "Let go of what runs write to their log after so many days.",
        },
        **({} if make_network else given),
    }


def _bucket() -> Json:
    """Artifacts, layers and what runs keep: private, encrypted, over TLS only; it outlives the stack."""
    return {
        "Bucket": {
            "Type": "AWS::S3::Bucket",
            "Condition": "MakesBucket",
            "DeletionPolicy": "RetainExceptOnCreate",
            "UpdateReplacePolicy": "Retain",
            "Properties": {
                "BucketEncryption": {
                    "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
                },
                "PublicAccessBlockConfiguration": {
                    "BlockPublicAcls": True,
                    "BlockPublicPolicy": True,
                    "IgnorePublicAcls": True,
                    "RestrictPublicBuckets": True,
                },
                "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
                "LifecycleConfiguration": {
                    "Rules": [
                        {
                            "Id": "half-made-uploads",
                            "Status": "Enabled",
                            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
                        },
                        {
                            "Fn::If": [
                                "LetsGoOfRuns",
                                {
                                    "Id": "old-runs",
                                    "Status": "Enabled",
                                    "Prefix": "runs/",
                                    "ExpirationInDays": _ref("RunsDays"),
                                },
                                _ref("AWS::NoValue"),
                            ]
                        },
                    ]
                },
                "Tags": _tags(),
            },
        },
        "BucketPolicy": {
            "Type": "AWS::S3::BucketPolicy",
            "Condition": "MakesBucket",
            "Properties": {
                "Bucket": _ref("Bucket"),
                "PolicyDocument": _policy(
                    {
                        "Sid": "OnlyOverTls",
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "s3:*",
                        "Resource": [_arn("Bucket"), _sub("${Bucket.Arn}/*")],
                        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                    }
                ),
            },
        },
    }


def _places(vpc: Json) -> Json:
    """Where runs write, and where containers and schedules are."""
    return {
        "LogGroup": {
            "Type": "AWS::Logs::LogGroup",
            "DeletionPolicy": "Delete",
            "UpdateReplacePolicy": "Delete",
            "Properties": {
                "LogGroupName": _sub(_LOG),
                "RetentionInDays": _ref("LogDays"),
                "Tags": _tags(),
            },
        },
        "Cluster": {
            "Type": "AWS::ECS::Cluster",
            "Properties": {"ClusterName": _ref("AWS::StackName"), "Tags": _tags()},
        },
        "SecurityGroup": {
            "Type": "AWS::EC2::SecurityGroup",
            "Properties": {
                "GroupDescription": "Containers of Dagy: they reach out, and nothing reaches in.",
                "VpcId": vpc,
                "SecurityGroupEgress": [{"IpProtocol": "-1", "CidrIp": "0.0.0.0/0", "Description": "anywhere"}],
                "Tags": _tags(),
            },
        },
        "ScheduleGroup": {
            "Type": "AWS::Scheduler::ScheduleGroup",
            "Properties": {"Name": _ref("AWS::StackName"), "Tags": _tags()},
        },
    }


def _roles() -> Json:
    return {
        "FunctionRole": _role("lambda.amazonaws.com", [_uses_runs(), _writes_log()]),
        "TaskRole": _role("ecs-tasks.amazonaws.com", [_uses_runs(), _reads_code()], _sub(_TASKS)),
        "ExecutionRole": _role("ecs-tasks.amazonaws.com", [_writes_log(), _pulls_images()], _sub(_TASKS)),
        "StateMachineRole": _role(
            "states.amazonaws.com",
            [_invokes_functions(), _runs_containers(), _follows_containers(), _runs_wide_maps()],
            _sub(_MACHINES),
        ),
        "SchedulerRole": _role(
            "scheduler.amazonaws.com",
            [_invokes_functions(), _starts_machines(), _runs_containers()],
            _sub(f"arn:{_PLACE.format('scheduler')}:schedule-group/${{AWS::StackName}}"),
        ),
    }


# What is ours, as ARNs. `_PLACE` is what stands between `arn:` and the resource.
_PLACE = "${{AWS::Partition}}:{}:${{AWS::Region}}:${{AWS::AccountId}}"
_FUNCTIONS = f"arn:{_PLACE.format('lambda')}:function:${{AWS::StackName}}-*"
_MACHINES = f"arn:{_PLACE.format('states')}:stateMachine:${{AWS::StackName}}-*"
_EXECUTIONS = f"arn:{_PLACE.format('states')}:execution:${{AWS::StackName}}-*"
_TASKS = f"arn:{_PLACE.format('ecs')}:*"
_TASKS_OF_CLUSTER = f"arn:{_PLACE.format('ecs')}:task/${{AWS::StackName}}/*"
_TASK_DEFINITIONS = f"arn:{_PLACE.format('ecs')}:task-definition/${{AWS::StackName}}-*:*"
_RULE = f"arn:{_PLACE.format('events')}:rule/StepFunctionsGetEventsForECSTaskRule"
_LOG = "/dagy/${AWS::StackName}"
_BUCKET: Json = {"Fn::If": ["MakesBucket", {"Ref": "Bucket"}, {"Ref": "BucketName"}]}
_IMAGES = f"arn:{_PLACE.format('ecr')}:repository/*"


def _uses_runs() -> Json:
    """Values, outcomes and events of runs."""
    return _grant(
        "Runs",
        _allow(["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"], _in_bucket("/runs/*")),
        _allow(["s3:ListBucket"], _in_bucket("")),  # whole: else what is not there looks like what is not allowed
    )


def _reads_code() -> Json:
    return _grant("Code", _allow(["s3:GetObject"], _in_bucket("/artifacts/*"), None, _in_bucket("/layers/*")))


def _writes_log() -> Json:
    return _grant("Log", _allow(["logs:CreateLogStream", "logs:PutLogEvents"], _arn("LogGroup")))


def _pulls_images() -> Json:
    return _grant(
        "Images",
        _allow(["ecr:GetAuthorizationToken"], "*"),
        _allow(["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], _sub(_IMAGES)),
    )


def _invokes_functions() -> Json:
    return _grant("Functions", _allow(["lambda:InvokeFunction"], _sub(f"{_FUNCTIONS}:*")))


def _starts_machines() -> Json:
    return _grant("Machines", _allow(["states:StartExecution"], _sub(_MACHINES)))


def _runs_containers() -> Json:
    return _grant(
        "Containers",
        _allow(["ecs:RunTask"], _sub(_TASK_DEFINITIONS), {"ArnEquals": {"ecs:cluster": _arn("Cluster")}}),
        _allow(["ecs:TagResource"], _sub(_TASKS_OF_CLUSTER), {"StringEquals": {"ecs:CreateAction": "RunTask"}}),
        _allow(
            ["iam:PassRole"],
            _arn("TaskRole"),
            {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
            _arn("ExecutionRole"),
        ),
    )


def _follows_containers() -> Json:
    """What `.sync` needs: the rule that tells a state machine how its container ended, by the name AWS gives it."""
    return _grant(
        "FollowContainers",
        _allow(["ecs:DescribeTasks", "ecs:StopTask"], _sub(_TASKS_OF_CLUSTER)),
        _allow(["events:DescribeRule", "events:PutRule", "events:PutTargets"], _sub(_RULE)),
    )


def _runs_wide_maps() -> Json:
    """A Distributed Map reads its items, and runs each as an execution of the same machine."""
    return _grant(
        "WideMaps",
        _allow(["s3:GetObject"], _in_bucket("/runs/*")),
        _allow(["states:StartExecution"], _sub(_MACHINES)),
        _allow(["states:DescribeExecution", "states:StopExecution"], _sub(f"{_EXECUTIONS}:*")),
    )


def _network() -> Json:
    """A network with two public subnets and no NAT gateway: it costs nothing while nothing runs."""
    subnets = {
        f"Subnet{index + 1}": {
            "Type": "AWS::EC2::Subnet",
            "Properties": {
                "VpcId": _ref("Vpc"),
                "CidrBlock": f"10.0.{index}.0/24",
                "AvailabilityZone": {"Fn::Select": [index, {"Fn::GetAZs": ""}]},
                "MapPublicIpOnLaunch": True,
                "Tags": _tags(),
            },
        }
        for index in range(2)
    }
    routed = {
        f"{name}Routes": {
            "Type": "AWS::EC2::SubnetRouteTableAssociation",
            "Properties": {"SubnetId": _ref(name), "RouteTableId": _ref("Routes")},
        }
        for name in subnets
    }
    return {
        "Vpc": {
            "Type": "AWS::EC2::VPC",
            "Properties": {"CidrBlock": "10.0.0.0/16", "EnableDnsHostnames": True, "Tags": _tags()},
        },
        "Gateway": {"Type": "AWS::EC2::InternetGateway", "Properties": {"Tags": _tags()}},
        "GatewayOfVpc": {
            "Type": "AWS::EC2::VPCGatewayAttachment",
            "Properties": {"VpcId": _ref("Vpc"), "InternetGatewayId": _ref("Gateway")},
        },
        "Routes": {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": _ref("Vpc"), "Tags": _tags()}},
        "RouteOut": {
            "Type": "AWS::EC2::Route",
            "DependsOn": "GatewayOfVpc",
            "Properties": {
                "RouteTableId": _ref("Routes"),
                "DestinationCidrBlock": "0.0.0.0/0",
                "GatewayId": _ref("Gateway"),
            },
        },
        **subnets,
        **routed,
    }


def _outputs(*, make_network: bool) -> Json:
    """What `Environment` is read from; each name is a field of it, in CloudFormation's spelling."""
    made = {"Fn::Join": [",", [_ref("Subnet1"), _ref("Subnet2")]]}
    values: Json = {
        "Partition": _ref("AWS::Partition"),
        "Account": _ref("AWS::AccountId"),
        "Region": _ref("AWS::Region"),
        "Bucket": _BUCKET,
        "FunctionRole": _arn("FunctionRole"),
        "StateMachineRole": _arn("StateMachineRole"),
        "TaskRole": _arn("TaskRole"),
        "ExecutionRole": _arn("ExecutionRole"),
        "SchedulerRole": _arn("SchedulerRole"),
        "Cluster": _ref("Cluster"),
        "Subnets": made if make_network else _ref("Subnets"),
        "SecurityGroups": {"Fn::GetAtt": ["SecurityGroup", "GroupId"]},
        "AssignPublicIp": "ENABLED" if make_network else _ref("AssignPublicIp"),
        "LogGroup": _sub(_LOG),
        "ScheduleGroup": _ref("ScheduleGroup"),
    }
    return {name: {"Value": value} for name, value in values.items()}


def _role(service: str, grants: Sequence[Json], source: Json | None = None) -> Json:
    """A role that `service` may take on, for the sake of `source` only where the service says for whom it acts."""
    trust: Json = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    if source is not None:
        trust["Condition"] = {
            "StringEquals": {"aws:SourceAccount": _ref("AWS::AccountId")},
            "ArnLike": {"aws:SourceArn": source},
        }
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {"AssumeRolePolicyDocument": _policy(trust), "Policies": list(grants), "Tags": _tags()},
    }


def _grant(name: str, *statements: Json) -> Json:
    return {"PolicyName": name, "PolicyDocument": _policy(*statements)}


def _policy(*statements: Json) -> Json:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(actions: Sequence[str], resource: object, condition: Json | None = None, *others: object) -> Json:
    allowed: Json = {
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": [resource, *others] if others else resource,
    }
    return allowed if condition is None else {**allowed, "Condition": condition}


def _tags() -> list[Json]:
    return [{"Key": TAG, "Value": _ref("AWS::StackName")}]


def _ref(name: str) -> Json:
    return {"Ref": name}


def _arn(name: str) -> Json:
    return {"Fn::GetAtt": [name, "Arn"]}


def _in_bucket(path: str) -> Json:
    return {"Fn::Sub": [f"arn:${{AWS::Partition}}:s3:::${{Name}}{path}", {"Name": _BUCKET}]}


def _sub(text: str) -> Json:
    return {"Fn::Sub": text}
