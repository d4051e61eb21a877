"""What every test gets: its own local state, and examples that are the same on every run."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import psutil
import pytest
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer

    from dagy.testing import LocalAws

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")


class _ByFile(LoadScopeScheduling):
    """Which process runs which test: a file stays in one, and the browser's tests are dealt out one by one."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith("tests/browser/") else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """Deal the tests out in the order of their collection."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return _ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser's tests come last: their driver keeps an event loop running in the main thread."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.fixture(scope="session")
def _local_dirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Paths that do not exist yet, one a test: most tests keep nothing, and a folder costs time."""
    base = tmp_path_factory.mktemp("dagy-local")
    return (base / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _own_local_state(_local_dirs: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the developer's own ~/.dagy, nor is moved by their DAGY_ variables."""
    for name in [each for each in os.environ if each.startswith("DAGY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DAGY_LOCAL_DIR", str(next(_local_dirs)))
    monkeypatch.setenv("DAGY_AUTO_WORKER", "0")  # a worker that a run wakes by itself would outlive its test


@pytest.fixture(scope="session")
def _started_aws() -> Iterator[tuple[LocalAws, dict[str, str]]]:
    """AWS on this computer with Dagy's stack, and the variables that lead there, which are not set yet."""
    from dagy.testing import local_aws  # loaded only where a test asks for it

    before = dict(os.environ)
    with local_aws() as aws:
        variables = {name: value for name, value in os.environ.items() if before.get(name) != value}
        os.environ.clear()
        os.environ.update(before)
        yield aws, variables


@pytest.fixture(scope="module")
def shared_aws(_started_aws: tuple[LocalAws, dict[str, str]], request: pytest.FixtureRequest) -> Iterator[LocalAws]:
    """AWS on this computer, one for all tests because its start takes seconds; in this module everything leads there.

    The module has a control plane of its own, but shares the account: what it makes there has names of its own.
    """
    aws, variables = _started_aws
    home = Path(variables["DAGY_LOCAL_DIR"]).parent / request.module.__name__
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**variables, "DAGY_LOCAL_DIR": str(home)}.items():
            patch.setenv(name, value)
        yield aws


@pytest.fixture
def waking(_own_local_state: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The local folder of a test in which a run wakes a worker by itself; workers are ended when the test is."""
    monkeypatch.delenv("DAGY_AUTO_WORKER")
    local_dir = Path(os.environ["DAGY_LOCAL_DIR"])
    yield local_dir
    workers = [each for each in psutil.process_iter() if _works_in(each, local_dir)]
    for each in workers:
        each.terminate()
    _, left = psutil.wait_procs(workers, timeout=10)
    for each in left:
        each.kill()


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd() == str(folder)
    except psutil.Error:
        return False
