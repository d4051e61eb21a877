"""Artifacts to deploy, built once, and control planes to deploy them to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagy.artifact import Artifact, build_artifact
from dagy.client import DagyClient, EmbeddedTransport
from dagy.control import ControlPlane, open_plane

from .clouds import STACK, Cloud, mend_moto

FLOW = """
from dagy import flow, task

@task
def double(number: int) -> int:
    return {factor} * number

@flow(name="etl"{version})
def etl(number: int = 1, note: str = "") -> int:
    return double(number)
"""

_BUILDS = {
    "first": (', version="1.0.0"', 2),
    "changed": (', version="1.0.0"', 3),  # other code under the same version
    "second": (', version="2.0.0"', 3),
    "latest": ("", 2),
    "latest-changed": ("", 3),
}


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Builds of `etl` by name."""
    folder = tmp_path_factory.mktemp("artifacts")
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGY_LOCAL_DIR", str(folder / "local"))
        for name, (version, factor) in _BUILDS.items():
            file = folder / name / "etl.py"
            file.parent.mkdir()
            file.write_text(FLOW.format(version=version, factor=factor))
            made[name] = build_artifact(file, output_dir=folder / "dist")
    return made


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a control plane that holds nothing yet, to be copied: to make one takes longer."""
    folder = tmp_path_factory.mktemp("empty")
    with open_plane(folder) as plane:
        assert list(plane.deployments()) == []
    return folder


@pytest.fixture
def plane(empty: Path, tmp_path: Path) -> Iterator[ControlPlane]:
    """An empty control plane."""
    shutil.copytree(empty, tmp_path / "plane")
    with open_plane(tmp_path / "plane") as opened:
        yield opened


@pytest.fixture
def client(plane: ControlPlane) -> DagyClient:
    """A client of an empty control plane."""
    return DagyClient(transport=EmbeddedTransport(plane))


@pytest.fixture(scope="session")
def account() -> Cloud:
    """One door for all tests: making a client takes longer than most tests do."""
    import moto  # noqa: F401 (only clients that are made after it go to it)

    return Cloud()


@pytest.fixture
def signed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials that are worth nothing, none of the developer's own settings, and a stack to deploy to."""
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("DAGY_AWS_STACK", STACK)
    mend_moto(monkeypatch)


@pytest.fixture
def cloud(signed_in: None, account: Cloud) -> Iterator[Cloud]:
    """An account in which nothing is deployed."""
    with account.fresh() as fresh:
        yield fresh
