"""What runs in the cloud gives what a local run gives: here a whole flow at once, without a store that lasts."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact.handler import SPARE_SECONDS, answer, loaded

from .cloud import unpacked

STEPS = """
import sys
import time

from dagy import flow, task


class Row:
    def __init__(self, price):
        self.price = price


@task
def load(count: int, how: str = ""):
    print("loading", count)
    if how == "raise":
        raise LookupError("no such row")
    if how == "large":
        return "x" * 100_000
    if how == "pickle":
        return [Row(number) for number in range(count)]
    return list(range(count))


@task
def double(row):
    return 2 * getattr(row, "price", row)


@task
def total(rows):
    return sum(rows) if isinstance(rows, list) else len(rows)


@task(timeout_seconds=0.2)
def slow(count: int):
    if count > 3:
        time.sleep(60)
    return count


@flow(name="steps", version="1.0.0")
def steps(count: int = 3, how: str = ""):
    rows = load(count, how)
    return {"doubled": total(double.map(rows)), "slow": slow(count), "count": count}
"""


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[..., Path]:
    """The folder with the files of the artifact of one of the flows, as a function has it."""

    return lambda name="steps", text=STEPS: unpacked(tmp_path, name, text)


@pytest.fixture(autouse=True)
def _forget_flows() -> Iterator[None]:
    yield
    loaded.cache_clear()


@pytest.fixture
def store(tmp_path: Path) -> str:
    """The URL of a store."""
    return (tmp_path / "store").as_uri()


def test_a_whole_flow_gives_its_value_and_how_its_tasks_went(unpack: Callable[..., Path]) -> None:
    told = answer({"run_id": "steps-1", "parameters": {"count": 3}}, unpack())
    assert told["run_id"] == "steps-1"
    assert (told["state"], told["message"]) == ("COMPLETED", "")
    assert told["result"] == {"value": {"doubled": 6, "slow": 3, "count": 3}}
    assert told["tasks"]["load"] == {"state": "COMPLETED", "attempt": 1}
    assert told["counts"] == {"COMPLETED": 4}
    assert told["output"] == "loading 3\n"
    assert "error" not in told
    json.dumps(told)


def test_code_is_loaded_once_and_runs_many(unpack: Callable[..., Path], tmp_path: Path) -> None:
    mark = tmp_path / "loaded"
    text = STEPS.replace("timeout_seconds=0.2", "")  # a process of its own loads the code too
    folder = unpack(text=f"with open({str(mark)!r}, 'a') as file:\n    file.write('x')\n{text}")
    mark.write_text("")
    assert [answer({"parameters": {"count": n}}, folder)["result"]["value"]["count"] for n in (1, 2)] == [1, 2]
    assert mark.read_text() == "x"


def test_a_failure_is_told_with_the_users_frames_alone(unpack: Callable[..., Path]) -> None:
    told = answer({"parameters": {"how": "raise"}}, unpack())
    assert told["state"] == "FAILED"
    assert told["error"]["type"] == "LookupError"
    assert told["error"]["message"] == "no such row"
    assert 'raise LookupError("no such row")' in told["error"]["traceback"]
    assert "dagy/engine" not in told["error"]["traceback"]
    assert next(iter(told["tasks"])) == "load"
    assert "result" not in told


@pytest.mark.parametrize(
    ("event", "type_", "message"),
    [
        ({"parameters": {"count": "many"}}, "dagy.errors.ParameterError", "'count' can't be 'many'"),
        ({"parameters": {"cuont": 1}}, "dagy.errors.ParameterError", "did you mean 'count'?"),
        ({"taks": "load"}, "dagy.errors.ParameterError", "a payload has no 'taks'; did you mean 'task'?"),
        ({"task": "load"}, "dagy.errors.ParameterError", "the payload's 'task' is of a step"),
        ({"max_workers": True}, "dagy.errors.ParameterError", "the payload's 'max_workers' can't be True"),
        ({"max_workers": 0}, "dagy.errors.ParameterError", "the payload's 'max_workers' can't be 0"),
        ({"resume": "old"}, "dagy.errors.ResumeError", "can't be resumed without a store"),
        ([], "dagy.errors.ParameterError", "a payload is a JSON object"),
    ],
)  # fmt: skip
def test_a_payload_that_makes_no_sense_is_answered_and_says_why(
    unpack: Callable[..., Path], event: Any, type_: str, message: str
) -> None:
    told = answer(event, unpack())
    assert told["state"] == "FAILED"
    assert told["error"]["type"] == type_
    assert message in told["message"]


def test_code_that_does_not_load_is_told_as_what_it_raised(tmp_path: Path) -> None:
    (tmp_path / "dagy.json").write_text('{"entry_point": "broken_module_of_a_test:etl"}')
    (tmp_path / "broken_module_of_a_test.py").write_text("import no_such_package")
    told = answer({}, tmp_path)
    assert told["error"]["type"] == "ModuleNotFoundError"
    assert "line 1, in <module>" in told["error"]["traceback"]


def test_a_folder_without_an_artifact_is_told(tmp_path: Path) -> None:
    assert "no artifact was unpacked" in answer({}, tmp_path)["message"]


def test_a_large_result_goes_by_reference_and_comes_back(unpack: Callable[..., Path], store: str) -> None:
    folder = unpack(
        text=STEPS + "\n\n@flow(name='large')\ndef large(how: str = 'large'):\n    return load(1, how)\n", name="large"
    )
    told = answer({"run_id": "large-1"}, folder, store=store)
    reference = told["result"]
    assert reference["ref"] == f"{store}/large-1/result"
    assert reference["codec"] == "json"
    assert len(json.dumps(told)) < 2_000
    again = answer({"references": {"how": reference}}, folder, store=store)
    assert again["state"] == "COMPLETED"
    without = answer({}, folder)
    assert without["state"] == "FAILED"
    assert "DAGY_STORE" in without["message"]


def test_what_the_users_types_raise_is_answered_too(unpack: Callable[..., Path]) -> None:
    text = """
from typing import Annotated
from dagy import flow
from pydantic import BeforeValidator

def check(value):
    raise OSError("no such price list")

@flow(name="steps")
def steps(price: Annotated[int, BeforeValidator(check)]):
    return price
"""
    told = answer({"run_id": "steps-1", "parameters": {"price": 3}}, unpack(text=text))
    assert told["state"] == "FAILED"
    assert "no such price list" in told["message"]


def test_a_file_that_runs_its_flow_as_it_is_loaded_is_refused(unpack: Callable[..., Path]) -> None:
    folder = unpack()
    (module,) = folder.glob("*.py")
    module.write_text(f"{STEPS}\nsteps.run(count=1)\n")
    told = answer({"run_id": "steps-1"}, folder)
    assert told["state"] == "FAILED"
    assert told["error"]["type"] == "dagy.errors.DefinitionError"
    assert f"flow.run() is called while {str(module)!r}" in told["message"]


class Context:
    """What Lambda says of an invocation."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return round(self._seconds * 1000)


def test_a_run_ends_before_the_time_of_the_invocation_is_up(unpack: Callable[..., Path]) -> None:
    text = (
        "import time\nfrom dagy import flow, task\n\n"
        "@task\ndef load():\n    while True:\n        time.sleep(0.001)\n\n"
        "@flow\ndef endless():\n    load()\n"
    )
    told = answer({}, unpack("endless", text), context=Context(SPARE_SECONDS))
    assert (told["state"], told["message"]) == ("TIMED_OUT", "the 0 s that the run has are up")


def test_a_task_that_may_take_longer_than_the_invocation_is_not_started(unpack: Callable[..., Path]) -> None:
    text = STEPS.replace("timeout_seconds=0.2", "timeout_seconds=600")
    told = answer({}, unpack(text=text), context=Context(120 + SPARE_SECONDS))
    reason = "not started: it may take 600 s, and the run has 120 s left"
    assert told["tasks"]["slow"] == {"state": "CANCELLED", "attempt": 0, "message": reason}
    assert told["tasks"]["total"] == {"state": "COMPLETED", "attempt": 1}
    assert (told["state"], told["message"]) == ("TIMED_OUT", f"'slow' was {reason}")


def test_a_run_works_in_a_folder_of_its_own_where_nothing_can_be_written_beside_its_code(
    unpack: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "from pathlib import Path\nfrom dagy import flow, task\n\n"
        "@task\ndef write(name: str):\n"
        "    Path(name).write_text(Path('data/rows.csv').read_text())\n"
        "    return sorted(str(each) for each in Path().iterdir() if each.suffix == '.txt')\n\n"
        "@flow\ndef writing(name: str):\n    return write(name)\n"
    )
    folder = unpack("writing", text)
    (folder / "data").mkdir()
    (folder / "data" / "rows.csv").write_text("1,2")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    for run_id, name in (("writing-1", "a.txt"), ("../2", "b.txt"), ("../2", "c.txt")):
        told = answer({"run_id": run_id, "parameters": {"name": name}}, folder)
        assert told["state"] == "COMPLETED", told
    assert told["result"] == {"value": ["b.txt", "c.txt"]}
    assert len(list((tmp_path / "temporary").glob("*/*"))) == 1
    assert Path("c.txt").read_text() == "1,2"
    assert not list(folder.glob("*.txt"))


@pytest.mark.parametrize(
    "ref", ["file:///etc/passwd", "{store}/../secret", "{store}/a/%2E%2E/b", "{store}", "s3://b/k"]
)
def test_nothing_is_read_outside_the_store(unpack: Callable[..., Path], tmp_path: Path, store: str, ref: str) -> None:
    (tmp_path / "secret").write_bytes(b"[1]")
    sha256 = hashlib.sha256(b"[1]").hexdigest()
    reference = {"ref": ref.format(store=store), "codec": "json", "sha256": sha256, "size": 3}
    told = answer({"references": {"how": reference}}, unpack(), store=store)
    assert told["state"] == "FAILED"
    assert "is not in the store" in told["message"]


@pytest.mark.program
def test_a_run_needs_neither_shared_memory_nor_a_place_to_write_beside_its_code(unpack: Callable[..., Path]) -> None:
    text = (
        "from dagy import flow, task\n\n"
        "@task(isolation='process')\ndef load(count: int = 0):\n    return bytes(5_000_000 + count)\n\n"
        "@task(isolation='process')\ndef size(data):\n    return len(data)\n\n"
        "@flow\ndef large():\n    return size(load())\n"
    )
    folder = unpack("large", text)
    folder.chmod(0o555)
    code = (
        "import os\n"
        "def refuse(*args, **kwargs): raise PermissionError(1, 'no memory to share')\n"
        "os.memfd_create = refuse\n"
        "from dagy.artifact.handler import handler\n"
        "told = handler({})\n"
        "print(told.get('result', told))\n"
    )
    done = python(folder, code)
    folder.chmod(0o755)
    assert done.stdout == "{'value': 5000000}\n", done.stderr


@pytest.mark.program
def test_a_new_environment_of_lambda_loads_the_code_before_it_is_called(
    unpack: Callable[..., Path], store: str
) -> None:
    code = "from dagy.artifact.handler import handler, loaded\nprint(loaded.cache_info().currsize)\n"
    folder = unpack()
    lambda_has = {"_HANDLER": "dagy.artifact.handler.handler", "DAGY_STORE": store}
    assert python(folder, code).stdout == "0\n"
    assert python(folder, code, **lambda_has).stdout == "1\n"
    next(folder.glob("*.py")).write_text("import no_such_package")
    told = python(folder, code + "print(handler({'run_id': 'etl-1'})['message'])\n", **lambda_has).stdout
    assert told.startswith("0\n")
    assert "no_such_package" in told


def python(folder: Path, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LAMBDA_TASK_ROOT": str(folder), **variables}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.program
def test_only_the_standard_library_is_loaded_for_plainly_typed_code(unpack: Callable[..., Path]) -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "from dagy.artifact.handler import handler\n"
        "told = handler({'parameters': {'count': 2}})\n"
        "assert told['state'] == 'COMPLETED', told\n"
        "names = {each.partition('.')[0] for each in set(sys.modules) - before}\n"
        "print(sorted(names - set(sys.stdlib_module_names)))\n"
        "print(sorted({'asyncio', 'sqlite3', 'importlib.metadata', 'email', 'http'} & set(sys.modules)))\n"
    )
    folder = unpack(text=STEPS.replace("timeout_seconds=0.2", ""))
    done = python(folder, code)
    assert done.stdout == f"['dagy', '{next(folder.glob('*.py')).stem}']\n[]\n", done.stderr
