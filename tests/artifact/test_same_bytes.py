"""The same source gives the same bytes whoever builds it, where and when; a build that dies leaves no half of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dagy.artifact.inspection import verify

pytestmark = pytest.mark.program

FLOW = """
import json
from dagy import flow, task
from pack import one, two, three


@task(retries=2)
def load(limit: int) -> list[int]:
    return [one.X, two.X, three.X] * limit


@flow(name="etl", version="1.0.0")
def etl(limit: int = 4):
    return load(limit)
"""

BUILD = """
import os, sys
os.umask(int(sys.argv[3], 8))
{before}
from dagy.artifact import build_artifact
print(build_artifact(sys.argv[1], output_dir=sys.argv[2], include=["data"]).path)
"""

SHUFFLED = """
import random
scandir, listdir = os.scandir, os.listdir
def shuffled(found):
    found = list(found)
    random.Random(int(sys.argv[4])).shuffle(found)
    return found
class Entries(list):
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def close(self): pass
os.scandir = lambda *a: Entries(shuffled(scandir(*a)))
os.listdir = lambda *a: shuffled(listdir(*a))
"""


def project(folder: Path, names: list[str]) -> Path:
    """The same project; `names` is the order in which its files are written."""
    contents = {
        "etl.py": FLOW,
        "pack/__init__.py": "",
        **{f"pack/{name}.py": "X = 1\n" for name in ("one", "two", "three")},
        **{f"data/{number}.csv": f"{number}\n" * number for number in range(20)},
    }
    for name in names or list(contents):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(contents.pop(name))
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "etl.py"


def built(file: Path, *, umask: str = "022", before: str = "", seed: int = 0, **environment: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(before=before), file.name, "dist", umask, str(seed)],
        cwd=file.parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return (file.parent / done.stdout.strip()).read_bytes()


def test_a_build_depends_on_nothing_but_its_input(tmp_path: Path) -> None:
    first = project(tmp_path / "first", [])
    second = project(tmp_path / "second place" / "dépôt", ["data/7.csv", "pack/two.py", "etl.py"])
    for each in second.parent.rglob("*"):
        os.utime(each, (1_000_000_000, 1_000_000_000))
        each.chmod(0o700 if each.is_dir() else 0o600)
    home = tmp_path / "another home"
    home.mkdir()
    other = built(
        second,
        umask="077",
        before=SHUFFLED,
        seed=7,
        HOME=str(home),
        USER="another",
        TZ="Pacific/Kiritimati",
        LC_ALL="C",
        PYTHONHASHSEED="12345",
        PYTHONUTF8="0",
        SOURCE_DATE_EPOCH="1",
    )
    assert other == built(first, TZ="America/New_York", LC_ALL="C.UTF-8", PYTHONHASHSEED="1")


# A build goes through these steps; it is killed at each of them.
STEPS = {
    "before it writes": "archive._write = die",
    "with half of it written": "archive._copy = die",
    "before it is flushed": "os.fsync = die",
    "before it is moved into place": "Path.replace = die",
    "before it is recorded": "builder.remember = die",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_build_that_is_killed_leaves_no_half_and_the_next_one_is_whole(step: str, tmp_path: Path) -> None:
    file = project(tmp_path, [])
    die = (
        "import signal\nfrom pathlib import Path\nfrom dagy.artifact import archive, builder\n"
        f"def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)\n{STEPS[step]}\n"
    )
    with pytest.raises(subprocess.CalledProcessError) as caught:
        built(file, before=die)
    assert caught.value.returncode == -signal.SIGKILL
    for path in (tmp_path / "dist").glob("*/*/artifact.zip"):
        verify(path)
    assert built(file) == built(file, before=SHUFFLED)
    assert len(list((tmp_path / "dist").rglob("artifact.zip"))) == 1


def test_a_disk_that_is_full_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    file = project(tmp_path, [])
    limited = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))\n"
    with pytest.raises(subprocess.CalledProcessError) as caught:
        built(file, before=limited, PYTHONDONTWRITEBYTECODE="1")
    assert "ArtifactError: the artifact can't be written to" in caught.value.stderr
    assert "File too large" in caught.value.stderr
    assert not [each for each in (tmp_path / "dist").rglob("*") if each.is_file()]


def test_builds_of_one_output_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    file = project(tmp_path, [])
    gate = tmp_path / "gate"
    waits = f"import time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.001)\n"
    building = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD.format(before=waits), file.name, "dist", "022", "0"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    gate.touch()
    paths = {each.communicate(timeout=60)[0] for each in building}
    assert [each.returncode for each in building] == [0, 0, 0]
    (path,) = paths
    verify(tmp_path / path.strip())
    assert [each.name for each in (tmp_path / path.strip()).parent.iterdir()] == ["artifact.zip"]
