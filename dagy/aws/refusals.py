"""What a service refused, or could not be asked, as one of our errors: with operation, code and remedy."""

from __future__ import annotations

from dagy.errors import AuthError, CloudError, DagyError, NetworkError, SettingsError, sentence

SIGN_IN = (
    "sign in with `aws sso login` or `aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
    "(and AWS_SESSION_TOKEN where it is temporary)"
)
NAME_A_REGION = "name a region: `region` in the profile's `aws` section, or AWS_REGION"


class NotThereError(CloudError):
    """The service knows of no such thing. The door's own: callers are told by None."""


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
    ("ecs", "ClientException", "unable to describe task definition"),
    ("ecs", "ClientException", "the specified task definition does not exist"),
    ("ecs", "InvalidParameterException", "the referenced task was not found"),
)
_SIGNED_OUT = frozenset(
    {
        "ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId", "InvalidAccessKeyId",
        "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature",
        "AuthFailure", "MissingAuthenticationToken", "InvalidToken", "TokenRefreshRequired",
    }
)  # fmt: skip
_DENIED = frozenset(
    {"403", "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized", "AuthorizationError"}
)
# What S3 calls a permission when it is not called as the operation is.
_PERMISSIONS = {
    "HeadObject": "GetObject", "ListObjectsV2": "ListBucket", "ListObjectVersions": "ListBucketVersions",
    "DeleteObjects": "DeleteObject", "CreateMultipartUpload": "PutObject", "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject", "Invoke": "InvokeFunction",
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


def refused(service: str, operation: str, code: str, message: str) -> DagyError:
    """The error for what the service answered with that code."""
    told = f"{service}:{operation} was refused: {message.strip().rstrip('.') or 'no reason given'} ({code})"
    if code in _SIGNED_OUT:
        return AuthError(f"AWS does not take these credentials: {told}; {SIGN_IN}")
    if code in _DENIED:
        elsewhere = ", and that the bucket belongs to this account" if service == "s3" else ""
        permission = f"{service}:{_PERMISSIONS.get(operation, operation)}"
        return AuthError(f"{told}; see that whoever is signed in is allowed {permission!r}{elsewhere}")
    if code == "NoSuchBucket":
        told += "; what Dagy had on AWS may have been removed: `dagy aws init` makes it again, then deploy again"
    is_missing = code in _NOT_THERE or any(
        (service, code) == (of, by) and words in message.lower() for of, by, words in _NOT_THERE_TEXTS
    )
    return (NotThereError if is_missing else CloudError)(told, operation=operation, code=code)


def failed(service: str, operation: str, error: BaseException) -> DagyError:
    """The error for what was raised before there was a whole answer."""
    asked = f"{service}:{operation}"
    names = {each.__name__ for each in type(error).__mro__}
    if names & _CREDENTIALS:
        return AuthError(f"{asked} was not sent, for want of credentials: {error}; {SIGN_IN}")
    if names & _REGION:
        return SettingsError(f"{asked} was not sent: {error}; {NAME_A_REGION}")
    if names & _UNSURE:
        return NetworkError(f"{asked} was sent and no answer came, so it may have been done: {sentence(error)}")
    if names & _UNREACHABLE:
        return NetworkError(f"AWS can't be reached for {asked}: {sentence(error)}; see the network and the region")
    return CloudError(f"{asked} failed: {sentence(error)}", operation=operation, code=type(error).__name__)
