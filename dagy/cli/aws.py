"""`dagy aws`: the stack in an AWS account that deployments go to."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import click

from dagy.aws import Aws
from dagy.cli import output
from dagy.cli.formats import Form, facts, format_option, plain, profile_option, show, size, table
from dagy.cli.options import Command, confirm
from dagy.cli.planes import connected_if_any
from dagy.deploy.infrastructure import (
    Belongings,
    Choices,
    Kept,
    SetUp,
    as_json,
    as_yaml,
    belongings,
    missing,
    set_up,
    tear_down,
    template,
    wanted,
)
from dagy.drawing import counted
from dagy.errors import SettingsError
from dagy.profiles import AwsTarget, Profile, Profiles
from dagy.settings import Settings

_SIGNS = {"add": "+", "change": "~", "remove": "-"}
_FIRST_PROFILE = "default"  # where there is none yet
_MOST_NAMED = 200  # deployments that nothing runs any more
_WHERE = (
    click.option("--stack", metavar="NAME", help="Which stack. [default: the profile's, or dagy]"),
    click.option("--region", metavar="NAME", help="Which region. [default: the profile's, or AWS's own]"),
)


def _where(command: Command) -> Command:
    for each in reversed(_WHERE):
        command = each(command)
    return profile_option(command)


@click.group("aws", short_help="Make, show and remove what runs on AWS need.")
def command() -> None:
    """Make, show and remove what must be in an AWS account before flows are deployed there: one CloudFormation stack.

    The account is that of AWS's own settings: `aws sso login`, `aws configure`, AWS_PROFILE, AWS_ACCESS_KEY_ID.

    \b
    Examples:
      dagy aws init --region eu-central-1
      dagy aws status
      dagy aws destroy
    """


@command.command("init", short_help="Make the stack, or bring it up to date.")
@_where
@click.option("--subnets", metavar="ID[,ID]", help="Where containers run. [default: the account's default network]")
@click.option("--make-network", is_flag=True, help="Make a small public network for containers, without NAT.")
@click.option("--bucket", envvar="DAGY_ARTIFACT_BUCKET", metavar="NAME", help="Use this bucket instead of making one.")
@click.option("--runs-days", type=click.IntRange(min=0), help="Keep what is of runs so long; 0: for good.")
@click.option("--log-days", type=click.IntRange(min=1), help="Keep logs so long.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option(
    "--print", "form", is_flag=False, flag_value="yaml", type=click.Choice(["yaml", "json"]), metavar="[yaml|json]",
    help="Print the CloudFormation template, and call nothing.",
)  # fmt: skip
def init(
    profile: str | None,
    stack: str | None,
    region: str | None,
    subnets: str | None,
    make_network: bool,
    bucket: str | None,
    runs_days: int | None,
    log_days: int | None,
    dry_run: bool,
    form: str | None,
) -> None:
    """Make the stack, or bring it up to date, and write it into the profile, so that deployments go there.

    It makes a private bucket, a log, a cluster for containers, a group for schedules, and five roles that may reach
    nothing else. It costs nothing while nothing runs. What was given once stays as it is.

    \b
    Examples:
      dagy aws init --region eu-central-1
      dagy aws init --subnets subnet-0a1,subnet-0b2 --runs-days 30
      dagy aws init --print > dagy.yaml
    """
    if form is not None:
        data = template(make_network=make_network)
        output.hand_over(as_yaml(data) if form == "yaml" else as_json(data), end="")
        return
    profiles = Profiles.read(Settings.read().local_dir)
    meant = _old_or_new(profiles, profile)
    target = _target(meant, stack, region)
    aws = _connected(target)
    ids = tuple(each.strip() for each in (subnets or "").split(",") if each.strip())
    choices = Choices(ids, make_network, bucket, runs_days, log_days)
    plan = wanted(aws, target.stack, choices)
    where = f"stack {target.stack!r} in {aws.region} of account {aws.account}"
    output.note("\n".join(_told(plan, where)))
    if dry_run:
        return
    if plan.changes:
        with _telling() as tell:
            set_up(aws, target.stack, choices, tell=tell)
    section = {"region": aws.region, "stack": target.stack, "endpoint_url": target.endpoint_url}
    profiles.set(str(meant.name), {"aws": {key: value for key, value in section.items() if value is not None}})
    output.say(f"{where} is ready, and deployments with profile {meant.name!r} go there")
    now = profiles.resolve(meant.name).aws
    if now is not None and now.stack != target.stack:
        output.note(f"but {now.sources['stack']} overrules the profile: while it is set they go to {now.stack!r}")


@command.command("status", short_help="Show the stack, and what is deployed to it.")
@_where
@format_option
def status(profile: str | None, stack: str | None, region: str | None, form: Form) -> None:
    """Show the stack, what its bucket holds, and what each deployment has there.

    \b
    Examples:
      dagy aws status
      dagy aws status --format json
    """
    target = _target(Profiles.read(Settings.read().local_dir).resolve(profile), stack, region)
    aws = _connected(target)
    there = belongings(aws, target.stack)
    if there.status is None:
        raise missing(aws, target.stack)
    data = {**plain(there), "region": aws.region, "account": aws.account}
    show(form, data, lambda: _overview(aws, there, profile))


@command.command("destroy", short_help="Remove the stack, and all that was deployed to it.")
@_where
@click.option("--with-data", is_flag=True, help="Empty and remove the bucket, too: artifacts, and what runs kept.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def destroy(profile: str | None, stack: str | None, region: str | None, with_data: bool, yes: bool) -> None:
    """Remove the stack and all that deployments added: only what has the stack's tag and its name.

    It is listed first. The bucket stays with all that is in it, unless --with-data is given. Deployments stay known to
    the control plane until `dagy deployments delete`.

    \b
    Examples:
      dagy aws destroy
      dagy aws destroy --with-data --yes
    """
    profiles = Profiles.read(Settings.read().local_dir)
    meant = profiles.resolve(profile)
    target = _target(meant, stack, region)
    aws = _connected(target)
    there = belongings(aws, target.stack)
    if there.is_nothing or (there.status is None and not there.pieces and not with_data):
        raise missing(aws, target.stack)
    output.note("\n".join(_removals(there, with_data=with_data)))
    confirm(f"Remove this from {aws.region} of account {aws.account}?", yes=yes)
    with _telling() as tell:
        tear_down(aws, there, with_data=with_data, tell=tell)
    section = None if meant.name is None else profiles[meant.name].aws
    if section is not None and section.stack == target.stack and section.region in (None, aws.region):
        profiles.set(str(meant.name), {"aws": None})
    with connected_if_any(profile) as client:
        known = [] if client is None else client.deployments(limit=_MOST_NAMED).items
        left = [shlex.quote(each.reference) for each in known if each.resources.get("stack") == target.stack]
    if left:
        names = ", ".join(left)
        output.note(f"nothing runs these any more: {names}; deploy them again, or: dagy deployments delete {left[0]}")
    stays = there.bucket is not None and there.is_bucket_there and not with_data
    kept = f"; bucket {there.bucket} stays" if stays else ""
    output.say(f"removed stack {target.stack!r} from {aws.region} of account {aws.account}{kept}")


def _target(profile: Profile, stack: str | None, region: str | None) -> AwsTarget:
    named = profile.aws or AwsTarget()
    return replace(named, stack=stack or named.stack, region=region or named.region)


def _old_or_new(profiles: Profiles, name: str | None) -> Profile:
    """The profile of that name; one that is not there yet holds what the environment says, and no more."""
    if name is None or name in profiles.names:
        found = profiles.resolve(name)
        return replace(found, name=found.name or _FIRST_PROFILE)
    return replace(Profiles(profiles.path, {}, {}).resolve(), name=name)


@contextmanager
def _telling() -> Iterator[Callable[[str], None]]:
    """Say on a terminal what AWS is at, which takes minutes."""
    with output.working("asking AWS...") as tell:
        yield tell


def _connected(target: AwsTarget) -> Aws:
    aws = Aws(region=target.region, endpoint_url=target.endpoint_url)
    try:
        aws.region  # noqa: B018 (it is asked for)
    except SettingsError as error:
        raise SettingsError("no AWS region is named; give --region eu-central-1, or set AWS_REGION") from error
    return aws


def _told(plan: SetUp, where: str) -> Iterator[str]:
    if not plan.changes:
        yield f"{where} is as it should be"
        return
    width = max(len(each.name) for each in plan.changes)
    yield f"{where}{', new' if plan.is_new else ''}:"
    yield from (f"  {_SIGNS[each.what]} {each.name:{width}}  {each.kind}" for each in plan.changes)


def _overview(aws: Aws, there: Belongings, profile: str | None) -> str:
    told = facts(
        [
            ("stack", f"{there.stack} ({there.status}) in {aws.region} of account {aws.account}"),
            ("bucket", _bucket(there)),
            *(("bucket", _held(each)) for each in there.kept),
        ]
    )
    pieces = sorted(there.pieces, key=lambda each: (each.deployment is None, each.deployment or "", each.kind))
    rows = [(each.deployment or "", each.kind, each.name, each.told) for each in pieces]
    if not rows:
        return f"{told}\n\nnothing is deployed there yet"
    return f"{told}\n\n{table(('DEPLOYMENT', 'KIND', 'NAME', 'AS IT IS'), rows, profile=profile)}"


def _bucket(there: Belongings) -> str:
    if there.bucket is None:
        return "none"
    return there.bucket if there.is_bucket_there else f"{there.bucket}, which is not there any more"


def _held(kept: Kept) -> str:
    return (
        f"{kept.prefix}: {counted(kept.objects, 'object')}, {size(kept.size)}"
        if kept.objects
        else f"{kept.prefix}: none"
    )


def _removals(there: Belongings, *, with_data: bool) -> Iterator[str]:
    yield from (f"  - {each.kind} {each.name}" for each in there.pieces)
    if there.status is not None:
        yield f"  - stack {there.stack}"
    if there.bucket is not None:
        sign, verb = ("-", "") if with_data else (" ", ", which stays")
        held = "; ".join(map(_held, there.kept))
        yield (
            f"  {sign} bucket {there.bucket}{verb}: {held}" if there.is_bucket_there else f"    bucket {_bucket(there)}"
        )
