"""The one place where botocore is loaded: signed-in clients of AWS's services, whose errors are ours.

boto3 is botocore with layers that nothing here needs, and that would double the time a Lambda function takes to load.
What goes wrong comes out of them as one of our errors, so whoever uses a client has nothing of botocore's to catch.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast, overload
from urllib.parse import urlsplit

from dagy.aws.refusals import NAME_A_REGION, failed, refused
from dagy.errors import MissingExtraError, SettingsError
from dagy.version import __version__

if TYPE_CHECKING:
    from botocore.config import Config
    from botocore.session import Session
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_sts import STSClient

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
TRIES = 6  # of one call, the first one counted

_PREFIXES = {"stepfunctions": "states", "resourcegroupstaggingapi": "tag"}  # of permissions, where it is another
_LOOKS = ("Get", "List", "Describe", "Head", "Filter")
_AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws", ".on.aws")


class Call(NamedTuple):
    """A call of a service, in the words of AWS's permissions: `lambda`, `CreateFunction`."""

    service: str
    operation: str
    is_mutating: bool
    """Whether it changes or starts something."""


Listener = Callable[[Call], None]


class Clients:
    """Clients of one region and one account, each made on first use; threads may share them."""

    def __init__(
        self,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        before_call: Listener | None = None,
        on_call: Listener | None = None,
    ) -> None:
        self._region = region
        self._profile = profile
        self._endpoint_url = endpoint_url
        self._before_call = before_call
        self._on_call = on_call
        self._made: dict[tuple[str, float | None], Any] = {}
        self._lock = threading.RLock()

    @functools.cached_property
    def region(self) -> str:
        """The region that calls go to. Raises `SettingsError` when none is named anywhere."""
        region = self._region or os.environ.get("AWS_REGION") or self._session.get_config_variable("region")
        if not region:
            raise SettingsError(f"no AWS region is named; {NAME_A_REGION}")
        return str(region)

    @functools.cached_property
    def partition(self) -> str:
        """How ARNs of the region begin: `aws`, `aws-cn`, ..."""
        try:
            return str(self._session.get_partition_for_region(self.region))
        except _botocore().exceptions.BotoCoreError:  # a region that is newer than botocore
            return "aws"

    @overload
    def of(self, service: Literal["cloudformation"]) -> CloudFormationClient: ...
    @overload
    def of(self, service: Literal["ec2"]) -> EC2Client: ...
    @overload
    def of(self, service: Literal["ecs"]) -> ECSClient: ...
    @overload
    def of(self, service: Literal["lambda"], *, once_within: float | None = None) -> LambdaClient: ...
    @overload
    def of(self, service: Literal["logs"]) -> CloudWatchLogsClient: ...
    @overload
    def of(self, service: Literal["s3"]) -> S3Client: ...
    @overload
    def of(self, service: Literal["scheduler"]) -> EventBridgeSchedulerClient: ...
    @overload
    def of(self, service: Literal["stepfunctions"]) -> SFNClient: ...
    @overload
    def of(self, service: Literal["sts"]) -> STSClient: ...
    @overload
    def of(self, service: Literal["resourcegroupstaggingapi"]) -> Any: ...

    def of(self, service: str, *, once_within: float | None = None) -> Any:
        """The client of a service. `once_within`: its calls are sent once, and may take that many seconds."""
        with self._lock:
            key = service, once_within
            if key not in self._made:
                self._made[key] = self._make(service, self._config(service, once_within))
            return self._made[key]

    def _make(self, service: str, config: Config) -> Any:
        botocore, session, region = _botocore(), self._session, self.region
        try:
            client: Any = session.create_client(
                cast(Any, service), region_name=region, endpoint_url=self._endpoint_url, config=config
            )
        except (botocore.exceptions.BotoCoreError, ValueError) as error:  # ValueError: the URL
            raise failed(service, "client", error) from error
        # All methods, paginators too, end in this one.
        client._make_api_call = functools.partial(self._asked, service, client._make_api_call)
        return client

    def _asked(
        self, service: str, ask: Callable[[str, Mapping[str, Any]], Any], operation: str, given: Mapping[str, Any]
    ) -> Any:
        """The answer, with errors as ours; who listens is told before and after."""
        errors = _botocore().exceptions
        call = Call(_PREFIXES.get(service, service), operation, not operation.startswith(_LOOKS))
        if self._before_call is not None:
            self._before_call(call)
        try:
            answer = ask(operation, given)
        except errors.ClientError as error:
            told = error.response.get("Error", {})
            raise refused(call.service, operation, str(told.get("Code", "")), str(told.get("Message", ""))) from error
        except errors.BotoCoreError as error:
            raise failed(call.service, operation, error) from error
        finally:
            if self._on_call is not None:
                self._on_call(call)
        return answer

    def _config(self, service: str, once_within: float | None) -> Config:
        config: Config = _botocore().config.Config(
            user_agent_extra=f"dagy/{__version__}",
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS if once_within is None else once_within,
            retries={"total_max_attempts": 1} if once_within else {"mode": "adaptive", "total_max_attempts": TRIES},
            tcp_keepalive=True,
            s3={"addressing_style": "path"} if service == "s3" and self._is_endpoint_named() else None,
        )
        return config

    def _is_endpoint_named(self) -> bool:
        """Whether S3 is told to be elsewhere, where a bucket's name is no part of the host's."""
        named = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
        return bool(self._endpoint_url or any(os.environ.get(each) for each in named))

    @functools.cached_property
    def _session(self) -> Session:
        botocore = _botocore()
        session = botocore.session.Session(profile=self._profile)
        session.register_component("data_loader", _descriptions())
        try:
            session.get_scoped_config()
        except botocore.exceptions.ProfileNotFound as error:
            known = ", ".join(map(repr, session.available_profiles)) or "none"
            raise SettingsError(f"{error}; known to AWS's own files: {known}") from error
        except botocore.exceptions.BotoCoreError as error:
            raise SettingsError(f"AWS's own files can't be read: {error}") from error
        return cast("Session", session)


def account_of(clients: Clients) -> str:
    """The twelve digits of the account that is signed in; STS is asked."""
    return clients.of("sts").get_caller_identity()["Account"]


def read_whole(service: str, operation: str, body: Any) -> bytes:
    """All of a body that follows an answer. Raises `NetworkError` when it breaks off."""
    try:
        content: bytes = body.read()
    except Exception as error:  # botocore's and urllib3's have no root in common
        raise failed(service, operation, error) from error
    return content


def is_stand_in(url: str) -> bool:
    """Whether the endpoint is none of AWS's own."""
    host = (urlsplit(url).hostname or "").lower()
    return not host.endswith(_AWS_HOSTS)


@functools.cache
def _descriptions() -> Any:
    """Botocore's descriptions of the services: to read one takes longer than all else about a client."""
    return _botocore().loaders.create_loader()


def _botocore() -> ModuleType:
    """Botocore with what is used of it. Raises `MissingExtraError`."""
    try:
        import botocore.config
        import botocore.exceptions
        import botocore.loaders
        import botocore.session
    except ImportError as error:
        raise MissingExtraError("boto3", "aws", "running on AWS") from error
    return botocore
