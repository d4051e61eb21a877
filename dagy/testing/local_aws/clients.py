"""boto3's clients of the stand-in."""

from __future__ import annotations

from typing import Any, cast

ACCESS_KEY = "local"  # whatever it is, it is let in
CONTROL = "/dagy-local-aws/"  # what is under it is no service of AWS, but the stand-in itself


def client(service: str, region: str, endpoint_url: str, **config: object) -> Any:
    """A client of `service` at the stand-in; `config` is botocore's."""
    import boto3
    from botocore.config import Config

    made = cast("Any", boto3.session.Session()).client  # typed for every service by its literal name, not for a name
    return made(
        service,
        region_name=region,
        endpoint_url=endpoint_url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=ACCESS_KEY,
        config=cast("Any", Config)(inject_host_prefix=False, s3={"addressing_style": "path"}, **config),
    )
