"""A run in a clean process: the same interface as any other run, and nothing of the process that started it."""

from __future__ import annotations

import asyncio
import os
import select
import sys
import sysconfig
import threading
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dagy import StateType
from dagy.artifact import Artifact, CleanRun, RunStartError, Source, Unreadable, read_source, safe_extract, start_clean
from dagy.engine import TaskChanged, TaskWrote, error_text
from dagy.errors import CodeFailedError, ParameterError, TaskFailedError, TravelError, UnknownTaskError, WorkerDiedError
from dagy.runs import History

STEPS = """
import os
import sys
import time

from dagy import flow, task


class Row:
    def __init__(self, price):
        self.price = price

    def __eq__(self, other):
        return type(self) is type(other) and self.price == other.price


@task
def load(rows, how):
    print("loading", rows)
    if how == "exit":
        print("out of luck", file=sys.__stderr__, flush=True)
        os._exit(3)
    if how == "hang":
        print("hanging")
        time.sleep(60)
    return [Row(each) for each in range(rows)]


@task
def check(items, how):
    if how == "raise":
        raise LookupError("no such row")
    return len(items)


@task
def surroundings(count):
    return {"path": list(sys.path), "modules": sorted(sys.modules), "here": os.getcwd(), "count": count}


@flow
def steps(rows: int = 2, how: str = ""):
    return {"found": surroundings(check(load(rows, how), how)), "how": how}
"""

STEPS_SOURCE = Source(Path("/nowhere/steps.py"), "steps", STEPS)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "steps.py", "steps", STEPS)


@pytest.fixture
def begin(source: Source, tmp_path: Path) -> Iterator[Callable[..., CleanRun]]:
    """Start a clean run that a test can't leave behind."""
    runs: list[CleanRun] = []

    def begin(code: Any = source, options: Any = (), /, **parameters: Any) -> CleanRun:
        runs.append(start_clean(code, parameters, directory=tmp_path, **dict(options)))
        return runs[-1]

    yield begin
    for each in runs:
        each.cancel()
        each.wait(10)


def test_a_parameter_that_cannot_travel_is_refused_by_name_before_anything_starts(tmp_path: Path) -> None:
    missing = Source(tmp_path / "missing" / "flow.py", "flow_", "this is not even Python")
    with pytest.raises(TravelError, match=r"the parameter 'lock'\['a'\] is a _thread.lock"):
        start_clean(missing, {"lock": {"a": threading.Lock()}})


@pytest.mark.program
def test_a_clean_run_gives_what_any_run_gives(begin: Callable[..., CleanRun], tmp_path: Path) -> None:
    run = begin(rows=3)
    events = list(run.events())
    result = asyncio.run(_awaited(run))

    assert result.status is run.status is StateType.COMPLETED
    assert run.done
    assert [each.seq for each in events] == list(range(len(events)))
    assert list(run.events(since=len(events) - 2, follow=False)) == events[-2:]
    ends = [each.task for each in events if isinstance(each, TaskChanged) and each.state.is_completed]
    assert ends == ["load", "check", "surroundings"]
    assert [each.text for each in events if isinstance(each, TaskWrote)] == ["loading 3\n"]
    assert result.task_runs["load"].output == "loading 3\n"
    assert result.value["found"]["count"] == run["check"] == run.task_run("check").value == 3
    assert {each.type for each in run.states().values()} == {StateType.COMPLETED}
    with pytest.raises(UnknownTaskError):
        run.task_run("chek")

    assert result.parameters == {"rows": 3, "how": ""}
    seen = result.value["found"]
    assert seen["here"] == str(tmp_path)
    assert "" not in seen["path"]
    assert [each for each in seen["modules"] if each.partition(".")[0] in ("pytest", "_pytest")] == []

    assert isinstance(run.task_run("load").value, Unreadable)
    with pytest.raises(TravelError, match="'load' can't be read here"):
        run["load"]


async def _awaited(run: CleanRun) -> Any:
    return await run


@pytest.mark.program
def test_results_of_the_codes_own_classes_are_read_with_the_classes_that_are_lent(
    begin: Callable[..., CleanRun], source: Source
) -> None:
    lent: dict[str, Any] = {"__name__": "lent"}
    exec(STEPS, lent)
    run = begin(source, {"namespace": lent}, rows=2)
    assert run["load"] == [lent["Row"](0), lent["Row"](1)]
    assert "steps" not in sys.modules


@pytest.mark.program
def test_a_task_that_fails_gives_its_own_error_and_the_places_that_are_asked_for(
    begin: Callable[..., CleanRun], source: Source
) -> None:
    def place_of(filename: str, line: int) -> tuple[str, int] | None:
        return ("cell [7]", line - 20) if filename == str(source.path) else None

    run = begin(source, {"place_of": place_of}, how="raise")
    result = run.wait()
    assert result.status is StateType.FAILED
    error = run.task_run("check").error
    assert type(error) is LookupError
    line = next(number for number, text in enumerate(STEPS.splitlines(), 1) if "raise LookupError" in text)
    assert f'File "cell [7]", line {line - 20}, in check' in error_text(error)
    assert result.task_runs["surroundings"].state.type is StateType.SKIPPED
    with pytest.raises(TaskFailedError):
        run["check"]


@pytest.mark.program
def test_a_process_that_dies_ends_its_run_crashed_and_says_how(begin: Callable[..., CleanRun]) -> None:
    run = begin(how="exit")
    result = run.wait()
    assert str(result.state) == "CRASHED: its process died: exit code 3\nout of luck"
    assert isinstance(result.error, WorkerDiedError)
    assert result.error.exit_code == 3
    assert {each.state.is_final for each in result.task_runs.values()} == {True}
    assert not result.task_runs["check"].state.is_completed
    assert list(run.events())[-1].kind == "run"


@pytest.mark.program
def test_what_a_process_had_started_ends_with_it_when_it_dies(
    begin: Callable[..., CleanRun], source: Source, tmp_path: Path
) -> None:
    held = tmp_path / "held"
    os.mkfifo(held)
    reader = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    text = (
        "import os, subprocess\nfrom dagy import flow, task\n\n"
        f"@task\ndef load():\n    with open({str(held)!r}, 'w') as file:\n"
        "        subprocess.Popen(['sleep', '60'], stdout=file)\n    os._exit(3)\n\n"
        "@flow\ndef steps():\n    return load()\n"
    )
    try:
        assert begin(Source(source.path, "steps", text)).wait(20).state.type is StateType.CRASHED
        assert select.select([reader], [], [], 10)[0], "what it had started goes on"
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


@pytest.mark.program
def test_a_value_that_takes_its_time_to_be_read_holds_up_nobody_else(
    begin: Callable[..., CleanRun], source: Source
) -> None:
    text = (
        "from dagy import flow, task\n\nclass Slow:\n    def __reduce__(self):\n        return opened, ()\n\n"
        "def opened():\n    return Slow()\n\n"
        "@task\ndef load():\n    return Slow()\n\n@flow\ndef steps():\n    load()\n"
    )
    reading, may_end = threading.Event(), threading.Event()

    def opened() -> str:
        reading.set()
        return "read" if may_end.wait(10) else "held up"

    run = begin(Source(source.path, "steps", text), {"namespace": {"opened": opened}})
    run.wait(20)
    found: list[object] = []
    reader = threading.Thread(target=lambda: found.append(run.task_run("load").value))
    reader.start()
    assert reading.wait(10)
    assert run.states()["load"].is_completed
    may_end.set()
    reader.join(10)
    assert found == ["read"]


@pytest.mark.program
def test_a_cancelled_run_keeps_what_was_until_then(begin: Callable[..., CleanRun]) -> None:
    run = begin(how="hang")
    next(each for each in run.events() if isinstance(each, TaskWrote) and "hanging" in each.text)
    assert not run.done
    run.cancel("cancelled in the test")
    result = run.wait(10)
    assert str(result.state) == "CANCELLED: cancelled in the test"
    assert "hanging" in result.task_runs["load"].output
    with pytest.raises(ProcessLookupError):
        os.kill(run.pid, 0)


@pytest.mark.program
@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("import nothing_of_that_name", CodeFailedError, "nothing_of_that_name"),
        ("import os\nos._exit(7)", RunStartError, "died before the run began: exit code 7"),
        (STEPS.replace("rows: int = 2", "rows: int"), ParameterError, "needs a value for 'rows'"),
    ],
    ids=["code-fails", "dies", "parameter-missing"],
)
def test_what_keeps_a_run_from_beginning_is_raised(
    begin: Callable[..., CleanRun], source: Source, text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        begin(Source(source.path, "steps", text))


@pytest.mark.program
def test_a_run_ends_with_the_process_that_started_it(source: Source, tmp_path: Path) -> None:
    import subprocess

    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from dagy.artifact import Source, start_clean\n"
        f"run = start_clean(Source(Path({str(source.path)!r}), 'steps', {STEPS!r}), {{'how': 'hang'}})\n"
        "print(run.pid, flush=True)\n"
        "next(each for each in run.events() if each.kind == 'output')\n"
        "os._exit(0)\n"
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "TMPDIR": str(temporary)}, capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    child = os.pidfd_open(int(done.stdout)) if _lives(int(done.stdout)) else None
    if child is not None:
        assert select.select([child], [], [], 10)[0], "the clean process goes on alone"
        os.close(child)
    assert list(temporary.iterdir()) == []


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.program
def test_an_artifact_runs_without_the_folder_that_it_was_built_in(
    artifact: Artifact, begin: Callable[..., CleanRun], tmp_path: Path
) -> None:
    (tmp_path / "rows_of_etl.py").write_text("raise RuntimeError('not the one in the artifact')")
    run = begin(artifact, limit=4)
    assert run.wait().value == 12
    assert run.spec == artifact.manifest.spec


@pytest.mark.program
def test_a_run_may_have_a_name_and_a_history_of_its_own(begin: Callable[..., CleanRun], tmp_path: Path) -> None:
    run = begin(STEPS_SOURCE, {"record": True, "local_dir": tmp_path / "local", "run_id": "steps-of-mine"}, rows=1)
    assert run.wait(20).run_id == "steps-of-mine"
    with History(tmp_path / "local") as history:
        assert history.run("steps-of-mine").state.is_completed


@pytest.mark.program
def test_an_artifact_that_is_extracted_already_is_run_where_it_is(
    artifact: Artifact, begin: Callable[..., CleanRun], tmp_path: Path
) -> None:
    code = tmp_path / "extracted"
    safe_extract(artifact.path, code)
    (code / "rows_of_etl.py").write_text("def double(row):\n    return 3 * row\n")
    numbers: list[int] = []
    run = begin(artifact, {"extracted": code, "started": numbers.append}, limit=4)
    assert run.wait(20).value == 18
    assert numbers == [run.pid]
    assert (code / "etl.py").exists()


@pytest.mark.program
def test_a_run_uses_the_interpreter_that_is_given(begin: Callable[..., CleanRun], tmp_path: Path) -> None:
    venv.create(tmp_path / "other", with_pip=False)
    (packages,) = (tmp_path / "other" / "lib").glob("python*/site-packages")
    (packages / "installed.pth").write_text(sysconfig.get_path("purelib"))
    text = (
        "import sys\nfrom dagy import flow, task\n\n"
        "@task\ndef where():\n    return sys.prefix\n\n"
        "@task(isolation='process')\ndef beside():\n    import dagy_nb\n\n"
        "@flow\ndef steps():\n    beside()\n    return where()\n"
    )
    python = tmp_path / "other" / "bin" / "python"
    run = begin(Source(tmp_path / "where.py", "where", text), {"python": python, "fail_fast": False})
    assert run.wait(20)["where"] == str(tmp_path / "other")
    error = run.task_run("beside").error
    assert isinstance(error, ModuleNotFoundError)
    assert "engine" not in error_text(error)


@pytest.mark.program
def test_with_a_limit_only_json_up_to_it_is_read_here(begin: Callable[..., CleanRun], source: Source) -> None:
    run = begin(source, {"most_read": 4}, rows=3)
    run.wait(20)
    assert run.task_run("check").value == 3
    assert isinstance(run.task_run("load").value, Unreadable)
    assert isinstance(run.task_run("surroundings").value, Unreadable)
    assert isinstance(run.wait().value, Unreadable)


def test_a_run_that_nobody_wants_any_more_leaves_nothing_open(flow_file: Path, tmp_path: Path) -> None:
    def refuse(pid: int) -> None:
        numbers.append(pid)
        raise KeyboardInterrupt

    numbers: list[int] = []
    before = psutil.Process().num_fds()
    with pytest.raises(KeyboardInterrupt):
        start_clean(read_source(flow_file), {}, directory=tmp_path, started=refuse)
    assert psutil.Process().num_fds() == before
    assert not psutil.pid_exists(numbers[0])
