"""What runs in the cloud gives what a local run gives: a whole flow at once, or its tasks one by one."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact import Artifact, build, flow_aside, read_source, safe_extract
from dagy.artifact.handler import answer, loaded

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


@task(retries=2, retry_delay_seconds=[1, 5], retry_condition_fn=lambda error: isinstance(error, OSError))
def flaky(count: int):
    raise OSError("try later") if count else ValueError("never")


@task(timeout_seconds=0.2)
def slow(count: int):
    if count > 3:
        time.sleep(60)
    return count


@flow(name="steps", version="1.0.0")
def steps(count: int = 3, how: str = ""):
    rows = load(count, how)
    return {"doubled": total(double.map(rows)), "slow": slow(count), "count": count}


@flow(name="flaky")
def flaky_flow(count: int = 1):
    return flaky(count)
"""


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[..., Path]:
    """The folder with the files of the artifact of one of the flows, as a function has it."""

    def unpack(name: str = "steps", text: str = STEPS) -> Path:
        path = tmp_path / f"{tmp_path.name}_flows.py"  # worker processes outlive a test: no two modules of one name
        path.write_text(text)
        source = read_source(path)
        with flow_aside(source, name) as flow:
            return unpacked(build(source, flow, tmp_path / "dist"), tmp_path / f"code-{name}")

    return unpack


def unpacked(artifact: Artifact, folder: Path) -> Path:
    manifest = safe_extract(artifact.path, folder)
    (folder / "dagy.json").write_text(manifest.to_json())
    return folder


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
        ({"task": "laod"}, "dagy.errors.UnknownTaskError", "did you mean 'load'?"),
        ({"taks": "load"}, "dagy.errors.ParameterError", "a payload has no 'taks'"),
        ({"task": "load", "item": True}, "dagy.errors.ParameterError", "'item' can't be True"),
        ({"task": "load", "item": 0}, "dagy.errors.ParameterError", "'load' is not mapped"),
        ({"task": "double", "results": {"load": {"value": [1]}}, "item": 1}, "dagy.errors.ParameterError", "1 items"),
        ({"task": "total"}, "dagy.errors.StoreError", "run that task first"),
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


def test_the_tasks_of_a_flow_run_one_by_one_give_what_the_flow_gives(unpack: Callable[..., Path], store: str) -> None:
    folder = unpack()
    base = {"run_id": "steps-1", "parameters": {"count": 3, "how": "pickle"}}

    def ask(task: str, **more: Any) -> dict[str, Any]:
        return answer({**base, "task": task, **more}, folder, store=store)

    loaded = ask("load")
    assert (loaded["state"], loaded["task"], loaded["output"]) == ("COMPLETED", "load", "loading 3\n")
    assert loaded["result"]["codec"] == "pickle"
    assert ask("double", count=True)["items"] == 3
    assert [ask("double", item=item)["result"] for item in range(3)] == [{"value": 0}, {"value": 2}, {"value": 4}]
    assert ask("total")["result"] == {"value": 6}
    assert ask("slow")["result"] == {"value": 3}


def test_results_may_be_given_in_the_payload(unpack: Callable[..., Path]) -> None:
    told = answer({"task": "double", "item": 1, "results": {"load": {"value": [5, 7]}}}, unpack())
    assert told["result"] == {"value": 14}
    assert told["item"] == 1


@pytest.mark.parametrize(
    ("count", "attempt", "wait"), [(1, 1, 1.0), (1, 2, 5.0), (1, 3, None), (0, 1, None)],
    ids=["first", "second", "last", "not-worth-it"],
)  # fmt: skip
def test_trying_again_is_left_to_who_invokes(
    unpack: Callable[..., Path], count: int, attempt: int, wait: float | None
) -> None:
    told = answer({"task": "flaky", "attempt": attempt, "parameters": {"count": count}}, unpack("flaky"))
    assert told["state"] == "FAILED"
    assert told["tasks"]["flaky"]["attempt"] == 1
    assert told["retry_in"] == wait


@pytest.mark.program
def test_a_task_that_takes_too_long_is_stopped(unpack: Callable[..., Path]) -> None:
    told = answer({"task": "slow", "parameters": {"count": 9}}, unpack())
    assert told["state"] == "TIMED_OUT"
    assert told["retry_in"] is None


def test_a_run_ends_before_the_time_of_the_invocation_is_up(unpack: Callable[..., Path]) -> None:
    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 2_000

    text = (
        "import time\nfrom dagy import flow, task\n\n"
        "@task\ndef load():\n    while True:\n        time.sleep(0.001)\n\n"
        "@flow\ndef endless():\n    load()\n"
    )
    told = answer({}, unpack("endless", text), context=Context())
    assert (told["state"], told["message"]) == ("CANCELLED", "the time of the invocation is up")


@pytest.mark.parametrize(
    "ref", ["file:///etc/passwd", "{store}/../secret", "{store}/a/%2E%2E/b", "{store}", "s3://b/k"]
)
def test_nothing_is_read_outside_the_store(unpack: Callable[..., Path], tmp_path: Path, store: str, ref: str) -> None:
    content = b"[1]"
    (tmp_path / "secret").write_bytes(content)
    reference = {
        "ref": ref.format(store=store),
        "codec": "json",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": 3,
    }
    told = answer({"task": "total", "results": {"load": reference, "double": reference}}, unpack(), store=store)
    assert told["state"] == "FAILED"
    assert "is not in the store" in told["message"]


def test_a_value_that_was_changed_in_the_store_is_refused_before_it_is_read(
    unpack: Callable[..., Path], tmp_path: Path, store: str
) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "pwned"),)

    folder = unpack()
    told = answer({"run_id": "r", "task": "load", "parameters": {"how": "pickle"}}, folder, store=store)
    (tmp_path / "store" / "r" / "load" / "value").write_bytes(pickle.dumps(Evil()))
    told = answer({"run_id": "r", "task": "double", "count": True}, folder, store=store)
    assert "its SHA-256 differs" in told["message"]
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "reference", [None, {}, {"ref": 1}, {"ref": "file:///x", "codec": "json", "sha256": "z", "size": 1}]
)
def test_what_is_no_reference_is_refused(unpack: Callable[..., Path], store: str, reference: Any) -> None:
    told = answer({"task": "double", "results": {"load": reference}}, unpack(), store=store)
    assert "is no reference" in told["message"]


def test_a_run_whose_name_is_hostile_stays_in_the_store(
    unpack: Callable[..., Path], tmp_path: Path, store: str
) -> None:
    told = answer({"run_id": "../../x", "task": "load"}, unpack(), store=store)
    assert told["state"] == "COMPLETED"
    assert {each.name for each in tmp_path.iterdir()} == {
        f"{tmp_path.name}_flows.py", "dist", "code-steps", "store",
    }  # fmt: skip


# ---- as a program


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"task": "double", "item": 0, "results": {"load": {"value": 5}}}, "so it must be a list, not 5"),
        ({"task": "double", "item": 0, "results": {"load": {"value": "abc"}}}, "so it must be a list, not 'abc'"),
        ({"attempt": 0}, "the payload's 'attempt' can't be 0"),
        ({"max_workers": True}, "the payload's 'max_workers' can't be True"),
    ],
)
def test_a_payload_that_makes_no_sense_is_answered_and_raises_nothing(
    unpack: Callable[..., Path], payload: dict[str, Any], message: str
) -> None:
    told = answer({"run_id": "steps-1", **payload}, unpack())
    assert told["state"] == "FAILED"
    assert message in told["message"]


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


def python(folder: Path, code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LAMBDA_TASK_ROOT": str(folder), **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, *(["-c", code] if code else ["-m", "dagy.artifact.handler"])],
        env=environment, capture_output=True, text=True, timeout=60, **options,
    )  # fmt: skip


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


@pytest.mark.program
@pytest.mark.parametrize("how", ["stdin", "variable"])
def test_as_a_program_it_answers_on_stdout_and_nothing_else(unpack: Callable[..., Path], how: str) -> None:
    text = json.dumps({"parameters": {"count": 2}})
    folder = unpack()
    done = python(folder, "", input=text) if how == "stdin" else python(folder, "", env={"DAGY_EVENT": text})
    assert json.loads(done.stdout)["result"] == {"value": {"doubled": 2, "slow": 2, "count": 2}}
    assert done.stderr == "loading 2\n"
    assert done.returncode == 0


@pytest.mark.program
def test_a_program_that_fails_ends_with_1(unpack: Callable[..., Path]) -> None:
    done = python(unpack(), "", input="not JSON")
    assert json.loads(done.stdout)["state"] == "FAILED"
    assert done.returncode == 1
