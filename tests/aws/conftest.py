"""A signed-in account that is nobody's, and the services of moto in this very process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dagy.aws import Aws

if TYPE_CHECKING:
    from moto.core.models import MockAWS

REGION = "us-east-1"
TRUST = '{"Statement": [{"Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}'
ROLE = "arn:aws:iam::123456789012:role/dagy-role"


@pytest.fixture(autouse=True)
def _signed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials that are worth nothing, and none of the developer's own settings."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # nobody asks for them, and they take half a second


@pytest.fixture(scope="session")
def _door() -> Aws:
    """One door for all tests: making a client takes longer than most tests do."""
    import moto  # noqa: F401 (only clients that are made after it go to it)

    return Aws(region=REGION)


@pytest.fixture(scope="module")
def _moto() -> Iterator[MockAWS]:
    """Moto, which takes longer to put in AWS's place than to empty."""
    from moto import mock_aws

    with mock_aws(config={"lambda": {"use_docker": False}}) as mock:
        yield mock


@pytest.fixture
def aws(_signed_in: None, _door: Aws, _moto: MockAWS) -> Aws:
    """The door to moto, with nothing in it but a role that functions, state machines and tasks may have."""
    from moto.iam.models import iam_backends

    _moto.reset()
    iam_backends["123456789012"]["aws"].create_role("dagy-role", TRUST, "/", None, "", [], None)
    return _door


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No pause lasts; the pauses there would have been, in seconds."""
    pauses: list[float] = []
    remember: Callable[[float], None] = pauses.append
    monkeypatch.setattr("time.sleep", remember)
    return pauses
