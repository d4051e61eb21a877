"""What a service refused, or a call could not reach, as one of our errors: with the operation, the code and the remedy."""

from __future__ import annotations

from typing import NamedTuple

from dagy.errors import AuthError, CloudError, DagyError, NetworkError, SettingsError, sentence

SIGN_IN = (
    "sign in with `aws sso login` or `aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
    "(and AWS_SESSION_TOKEN where it is temporary)"
)
NAME_A_REGION = "name a region: `region` in the profile's `aws` section, or AWS_REGION"


class NotThereError(CloudError):
    """The service knows of no such thing. The door's own: callers are told by None."""


class Asked(NamedTuple):
    """What was asked of which service: `lambda`, `CreateFunction`; and what of."""

    service: str
    operation: str
    subject: str = ""

    def __str__(self) -> str:
        return f"{self.service}:{self.operation}"


_NOT_THERE = frozenset(
    {
        "404", "NoSuchKey", "NoSuchBucket", "NoSuchUpload",
        "ResourceNotFoundException", "ResourceNotFound",
        "StateMachineDoesNotExist", "ExecutionDoesNotExist",
        "ClusterNotFoundException", "InvalidSubnetID.NotFound",
    }
)  # fmt: skip
# Where a service has no code of its own for it.
_NOT_THERE_TEXTS = (
    ("cloudformation", "ValidationError", "does not exist"),
    ("ecs", "ClientException", "Unable to describe task definition"),
    ("ecs", "ClientException", "The specified task definition does not exist"),
    ("ecs", "InvalidParameterException", "The referenced task was not found"),
)
_SIGNED_OUT = frozenset(
    {
        "ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId", "UnrecognizedClientException",
        "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature",
        "AuthFailure", "MissingAuthenticationToken", "InvalidToken", "TokenRefreshRequired",
    }
)  # fmt: skip
_DENIED = frozenset(
    {"403", "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized", "AuthorizationError"}
)
# What S3 calls a permission when it is not called as the operation is.
_PERMISSIONS = {
    "HeadObject": "GetObject", "ListObjectsV2": "ListBucket", "HeadBucket": "ListBucket", "DeleteObjects": "DeleteObject",
    "CreateMultipartUpload": "PutObject", "UploadPart": "PutObject", "CompleteMultipartUpload": "PutObject",
    "Invoke": "InvokeFunction",
}  # fmt: skip
# botocore's exceptions by name, so that none of its modules must be loaded to tell them apart.
_CREDENTIALS = frozenset(
    {
        "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError",
        "SSOTokenLoadError", "UnauthorizedSSOTokenError", "SSOError", "LoginError", "LoginTokenLoadError",
        "LoginRefreshRequired", "NoAuthTokenError", "RefreshWithMFAUnsupportedError", "InfiniteLoopConfigError",
        "InvalidConfigError", "MissingDependencyException",
    }
)  # fmt: skip
_REGION = frozenset({"NoRegionError", "InvalidRegionError", "UnknownRegionError"})
_UNREACHABLE = frozenset({"HTTPClientError", "EndpointConnectionError", "ConnectionError", "UnknownEndpointError"})
_UNSURE = frozenset({"ReadTimeoutError", "ConnectionClosedError", "ResponseStreamingError", "IncompleteReadError"})


def refused(asked: Asked, code: str, message: str) -> DagyError:
    """The error for what the service answered with that code."""
    told = f"{asked}{asked.subject and f' of {asked.subject!r}'} was refused: {message.strip() or 'no reason given'}"
    told = told.rstrip(".") + f" ({code})"
    if code in _SIGNED_OUT:
        return AuthError(f"AWS does not take these credentials: {told}; {SIGN_IN}")
    if code in _DENIED:
        permission = f"{asked.service}:{_PERMISSIONS.get(asked.operation, asked.operation)}"
        elsewhere = ", and that the bucket belongs to this account" if asked.service == "s3" else ""
        return AuthError(f"{told}; see that whoever is signed in is allowed {permission!r}{elsewhere}")
    if code in _NOT_THERE or any(
        (asked.service, code) == each[:2] and each[2].lower() in message.lower() for each in _NOT_THERE_TEXTS
    ):
        return NotThereError(told, operation=asked.operation, code=code)
    return CloudError(told, operation=asked.operation, code=code)


def failed(asked: Asked, error: BaseException, endpoint: str = "") -> DagyError:
    """The error for what botocore raised before there was an answer."""
    names = {each.__name__ for each in type(error).__mro__}
    if names & _CREDENTIALS:
        return AuthError(f"{asked} was not sent, for want of credentials: {error}; {SIGN_IN}")
    if names & _REGION:
        return SettingsError(f"{asked} was not sent: {error}; {NAME_A_REGION}")
    where = endpoint or "AWS"
    if names & _UNSURE:
        return NetworkError(
            f"{asked} was sent to {where}, and no answer came ({sentence(error)}): it may have been carried out"
        )
    if names & _UNREACHABLE:
        return NetworkError(f"{where} can't be reached for {asked} ({sentence(error)}); see the network and the region")
    return CloudError(f"{asked} failed: {sentence(error)}", operation=asked.operation, code=type(error).__name__)
