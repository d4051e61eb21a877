"""S3: a write that comes with a checksum is checked, and of two that must be the first only one is."""

from __future__ import annotations

import base64
import binascii
import hashlib
import threading
from collections.abc import Callable
from typing import Any, cast

from dagy.testing.local_aws.bridge.patching import replace
from dagy.testing.local_aws.world import World

_DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "sha256": lambda body: hashlib.sha256(body).digest(),
    "sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "crc32": lambda body: binascii.crc32(body).to_bytes(4, "big"),
}


def install(world: World) -> None:
    """Put it in place."""
    from moto.s3.responses import S3Response

    one_at_a_time = threading.Lock()

    def checked(original: Any) -> Any:
        def put_object(self: Any) -> Any:
            _check(self)
            with one_at_a_time:  # moto looks whether it is there, and writes it, as two things
                return original(self)

        return put_object

    replace(S3Response, "put_object", checked)


def _check(response: Any) -> None:
    body = response.body or b""
    for name, digest in _DIGESTS.items():
        given = response.headers.get(f"x-amz-checksum-{name}")
        if given is None:
            continue
        if given != base64.b64encode(digest(body)).decode():
            raise _refusal("BadDigest", f"The {name.upper()} you specified did not match the calculated checksum.")
        if not response.headers.get("x-amz-sdk-checksum-algorithm"):
            response.headers.environ["HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM"] = name.upper()  # so that moto keeps it
    md5 = response.headers.get("Content-MD5")
    if md5 is not None and md5 != base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode():
        raise _refusal("BadDigest", "The Content-MD5 you specified did not match what we received.")


def _refusal(code: str, message: str) -> Exception:
    from moto.s3.exceptions import S3ClientError

    error: Exception = cast("Any", S3ClientError)(code, message)
    return error
