"""What the code of a task is: each change of it that could matter counts, and none of those that can't."""

from __future__ import annotations

import importlib
import linecache
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dagy.fingerprint import Fingerprint, changes, fingerprint
from dagy.version import __version__

WORK = '''"""A module with a task."""
import contextlib
import dataclasses
import enum
import functools
import threading

import steps
from dagy import task

LIMIT = 3
TABLE = {"rate": 2}
UNUSED = 1
LOCK = threading.Lock()


def logged(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)
    return wrapper


def near(value):
    return value + LIMIT


@functools.lru_cache
def remembered(value):
    return value * TABLE["rate"]


@contextlib.contextmanager
def opened():
    yield remembered(1)


@logged
def wrapped(value):
    return value - 10


class Base:
    def shift(self):
        return 20


@dataclasses.dataclass
class Row(Base):
    size: int = 30

    def total(self):
        return self.size + 40

    @property
    def half(self):
        return self.size / 50

    @staticmethod
    def none():
        return 60


class Color(enum.Enum):
    RED = 70


def multiplied(factor):
    def inner(value):
        return value * factor
    return inner


triple = multiplied(80)
added = functools.partial(near, value=90)
CHOICES = {"plus": lambda value: value + 100}


@task
def other(value):
    return value + 110


def even(number):
    return number == 0 or odd(number - 1)


def odd(number):
    return number != 120 and even(number - 1)


def untouched(value):
    return value


@task(retries=1)
def work(value, scale=130, *, tags=("x",)):
    """Does the work."""
    # step by step
    with opened():
        near(value)
    rows = [Row(), Row.none(), Color.RED, triple(2), added(), CHOICES["plus"](1), other(3), wrapped(4)]
    with LOCK:
        return [steps.cleaned(row) for row in rows], even(3), (lambda: 140)()
'''

STEPS = """
from deeper import DEEP, twice

def cleaned(row):
    return twice(row)

def unused_step(row):
    return row
"""

DEEPER = """
DEEP = 150

def twice(row):
    return [row, row, DEEP]
"""

FILES = {"work": WORK, "steps": STEPS, "deeper": DEEPER}


@pytest.fixture(autouse=True)
def _forget_what_was_imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)
    yield
    for name in sys.modules.keys() - modules:
        if name in (*FILES, "lazy", "mods", "mods.inner"):
            del sys.modules[name]


def imported(folder: Path, files: dict[str, str], name: str = "work") -> ModuleType:
    """The module `name` of `files`, imported anew."""
    for each, text in files.items():
        (folder / f"{each}.py").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{each}.py").write_text(text)
    for each in [*FILES, "lazy", "mods", "mods.inner"]:
        sys.modules.pop(each, None)
    sys.path[:] = [str(folder), *(each for each in sys.path if not Path(each, "work.py").exists())]
    importlib.invalidate_caches()
    return importlib.import_module(name)


def of(folder: Path, files: dict[str, str]) -> Fingerprint:
    found: Fingerprint = fingerprint(imported(folder, files).work)
    return found


def with_change(name: str, old: str, new: str) -> dict[str, str]:
    assert old in FILES[name]
    return {**FILES, name: FILES[name].replace(old, new)}


def test_each_part_is_named_and_has_its_text(tmp_path: Path) -> None:
    parts = of(tmp_path, FILES).parts
    assert next(iter(parts)) == "code"
    assert parts["code"].startswith("def work(value, scale=130, *, tags=('x',)):\n    with opened():")
    assert parts["function near"] == "def near(value):\n    return value + LIMIT"
    assert parts["function deeper.twice"] == "def twice(row):\n    return [row, row, DEEP]"
    assert parts["constant LIMIT"] == "3"
    assert parts["constant TABLE"].startswith("{'rate': 2} [")
    assert parts["constant LOCK"] == "a _thread.lock, whose content can't be compared"
    assert parts["default work.scale"] == "130"
    assert parts["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert not {"constant UNUSED", "function untouched", "function steps.unused_step"} & parts.keys()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("work", "    # step by step\n", "    # another comment\n\n"),
        ("work", '"""Does the work."""', '"""Does much\n    more."""'),
        ("work", '    """Does the work."""\n', ""),
        ("work", "LIMIT = 3\n", "LIMIT = 3\n\n\n# moved down\n"),
        ("work", "def untouched(value):\n    return value", "def untouched(value):\n    return -value"),
        ("work", "UNUSED = 1", "UNUSED = 2"),
        ("work", "@task(retries=1)", "@task(retries=5, cache=True)"),
        ("work", "rows = [Row(), Row.none(),", "rows = [\n        Row(), Row.none(),"),
        ("work", '"rate": 2', "'rate': 1 + 1"),
        ("steps", "    return row\n", "    return None\n"),
        ("deeper", "DEEP = 150", "DEEP = 15 * 10"),
    ],
)
def test_what_can_not_matter_does_not_count(tmp_path: Path, name: str, old: str, new: str) -> None:
    assert of(tmp_path / "now", with_change(name, old, new)) == of(tmp_path / "before", FILES)


@pytest.mark.parametrize(
    ("name", "old", "new", "part"),
    [
        ("work", "(lambda: 140)()", "(lambda: 141)()", "code"),
        ("work", "scale=130", "scale=131", "code"),
        ("work", "LIMIT = 3", "LIMIT = 4", "constant LIMIT"),
        ("work", '{"rate": 2}', '{"rate": 3}', "constant TABLE"),
        ("work", "value + LIMIT", "value - LIMIT", "function near"),
        ("work", "yield remembered(1)", "yield remembered(2)", "function opened"),
        ("work", 'value * TABLE["rate"]', 'value / TABLE["rate"]', "function remembered"),
        ("work", "value - 10", "value - 11", "function wrapped"),
        ("work", "return function(*args)", "return function(*args[:1])", "function logged.<locals>.wrapper"),
        ("work", "return 20", "return 21", "function Base.shift"),
        ("work", "size: int = 30", "size: int = 31", "constant Row.size"),
        ("work", "size: int = 30", "size: float = 30", "class Row"),
        ("work", "self.size + 40", "self.size + 41", "function Row.total"),
        ("work", "self.size / 50", "self.size / 51", "function Row.half"),
        ("work", "return 60", "return 61", "function Row.none"),
        ("work", "@dataclasses.dataclass", "@dataclasses.dataclass(order=True)", "constant Row (its fields)"),
        ("work", "RED = 70", "RED = 71", "constant Color (its members)"),
        ("work", "value * factor", "value // factor", "function multiplied.<locals>.inner"),
        ("work", "multiplied(80)", "multiplied(81)", "constant multiplied.<locals>.inner.factor"),
        ("work", "value=90", "value=91", "constant added(...)"),
        ("work", "value + 100", "value + 101", "function <lambda>"),
        ("work", '"plus": lambda', '"minus": lambda', "constant CHOICES"),
        ("work", "value + 110", "value + 111", "function other"),
        ("work", "number != 120", "number != 121", "function odd"),
        ("work", 'tags=("x",)', 'tags=("y",)', "code"),
        ("steps", "return twice(row)", "return twice(row)[0]", "function steps.cleaned"),
        ("deeper", "[row, row, DEEP]", "[row, DEEP, row]", "function deeper.twice"),
        ("deeper", "DEEP = 150", "DEEP = 151", "constant deeper.DEEP"),
    ],
)
def test_what_may_matter_counts_however_far_away(tmp_path: Path, name: str, old: str, new: str, part: str) -> None:
    before = of(tmp_path / "before", FILES)
    now = of(tmp_path / "now", with_change(name, old, new))
    assert now.digest != before.digest
    assert now.parts[part] != before.parts[part]


def test_a_task_has_the_fingerprint_of_its_function(tmp_path: Path) -> None:
    found = imported(tmp_path, FILES).work
    assert fingerprint(found) == fingerprint(found.function)


def test_a_name_that_is_bound_to_something_else_counts_at_once(tmp_path: Path) -> None:
    module = imported(tmp_path, FILES)
    before = fingerprint(module.work)
    vars(module)["near"] = lambda value: value
    assert fingerprint(module.work).digest != before.digest


def test_a_value_that_is_changed_in_place_counts_at_once(tmp_path: Path) -> None:
    module = imported(tmp_path, FILES)
    before = fingerprint(module.work)
    module.TABLE["rate"] = 7
    (change,) = changes(before.parts, fingerprint(module.work).parts)
    assert change.startswith("constant TABLE was {'rate': 2}")


def test_what_the_code_itself_assigns_is_no_constant(tmp_path: Path) -> None:
    text = "COUNT = 0\ndef bump():\n    global COUNT\n    COUNT += 1\ndef work():\n    bump()\n    return COUNT\n"
    module = imported(tmp_path, {"work": text})
    before = fingerprint(module.work)
    module.work()
    assert fingerprint(module.work) == before
    assert before.parts["constant COUNT"] == "assigned by the code itself"


def test_a_name_that_is_not_there_yet_is_noted_and_counts_once_it_is(tmp_path: Path) -> None:
    module = imported(tmp_path, {"work": "def work():\n    return later()\n"})
    before = fingerprint(module.work)
    assert before.parts["missing later"] == "not defined"
    vars(module)["later"] = fingerprint
    assert list(changes(before.parts, fingerprint(module.work).parts)) == ["'later' was not defined, and is now"]


def test_an_import_inside_the_function_counts_by_its_file_before_and_after_it_is_made(tmp_path: Path) -> None:
    files = {
        "work": "def work():\n    from mods import inner\n    import lazy, json\n    return inner, lazy, json\n",
        "lazy": "import deeper\nraise SystemExit('imported')\n",
        "deeper": DEEPER,
        "mods/__init__": "",
        "mods/inner": "A = 1\n",
    }
    module = imported(tmp_path / "before", files)
    before = fingerprint(module.work)
    assert before.parts["module lazy"] == "import deeper\nraise SystemExit('imported')"
    assert before.parts["module mods.inner"] == "A = 1"
    assert "module deeper" in before.parts
    importlib.import_module("mods.inner")
    assert fingerprint(module.work) == before
    changed = imported(tmp_path / "now", {**files, "mods/inner": "A = 2\n"})
    assert fingerprint(changed.work).digest != before.digest


def test_a_module_that_is_passed_on_counts_as_a_whole(tmp_path: Path) -> None:
    module = imported(tmp_path, {**FILES, "work": "import steps\ndef work():\n    return vars(steps)\n"})
    assert "def unused_step(row):" in fingerprint(module.work).parts["module steps"]


def test_attributes_are_followed_through_modules_to_the_one_that_is_used(tmp_path: Path) -> None:
    text = "import mods.inner\ndef work():\n    return mods.inner.A, mods.inner.gone\n"
    module = imported(tmp_path, {"work": text, "mods/__init__": "", "mods/inner": "A = 1\nB = 2\n"})
    parts = fingerprint(module.work).parts
    assert parts["constant mods.inner.A"] == "1"
    assert parts["missing mods.inner.gone"] == "not defined"
    assert "constant mods.inner.B" not in parts


def test_an_installed_package_counts_by_its_version_only(tmp_path: Path) -> None:
    digests = {}
    for version, body in (("1.0", "A = 1"), ("1.1", "A = 1"), ("1.0 ", "A = 2")):  # the last one is 1.0 again
        site = tmp_path / version / "site-packages"
        info = site / f"made_up-{version.strip()}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: Made-Up\nVersion: {version.strip()}\n")
        (info / "top_level.txt").write_text("madeup\n")
        (site / "madeup.py").write_text(f"{body}\ndef f():\n    return A\n")
        (tmp_path / "work.py").write_text(
            "import madeup as m\nfrom madeup import f\ndef work():\n    return m.A, f()\n"
        )
        program = (
            f"import sys; sys.path[:0] = [{str(site)!r}, {str(tmp_path)!r}]\nimport work\n"
            "from dagy.fingerprint import fingerprint\nfound = fingerprint(work.work)\n"
            "print(found.digest, sorted(each for each in found.parts.items() if each[0].startswith('package')))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        digests[version], _, packages = done.stdout.strip().partition(" ")
        assert packages == f"[('package Made-Up', {version.strip()!r})]"
    assert digests["1.0"] == digests["1.0 "] != digests["1.1"]


def test_the_fingerprint_is_the_same_in_every_process(tmp_path: Path) -> None:
    imported(
        tmp_path, {**FILES, "work": WORK + '\nNAMES = {"a", "b", ("c", 1)}\nwork.function.__defaults__ = (NAMES,)\n'}
    )
    program = "import work; from dagy.fingerprint import fingerprint; print(fingerprint(work.work).digest)"
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1]}"},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("0", "1", "777")
    }  # fmt: skip
    assert len(said) == 1


def defined(text: str, filename: str, name: str = "work") -> Any:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, filename, "exec"), names)
    return names[name]


def test_code_without_source_is_told_by_its_instructions_wherever_it_stands() -> None:
    one = defined("def work(x):\n    return [x + each for each in {1, 2}]", "<nowhere>")
    moved = defined("\n\n\ndef work(x):\n    # moved\n    return [x + each for each in {1, 2}]", "<elsewhere>")
    other = defined("def work(x):\n    return [x + each for each in {1, 3}]", "<nowhere>")
    assert fingerprint(one) == fingerprint(moved)
    assert fingerprint(one).digest != fingerprint(other).digest
    assert "RETURN_VALUE" in fingerprint(one).parts["code"]


def test_code_of_a_notebooks_cell_is_told_by_its_source() -> None:
    text = "LIMIT = 3\nhelper = lambda x: x < LIMIT\ndef work(x):\n    # a comment\n    return helper(x)\n"
    linecache.cache["<cell 1>"] = (len(text), None, text.splitlines(keepends=True), "<cell 1>")
    parts = fingerprint(defined(text, "<cell 1>")).parts
    del linecache.cache["<cell 1>"]
    assert parts["code"] == "def work(x):\n    return helper(x)"
    assert parts["function <lambda>"] == "lambda x: x < LIMIT"
    assert parts["constant LIMIT"] == "3"


def test_a_file_that_was_edited_after_the_import_does_not_lend_its_text_to_the_old_code(tmp_path: Path) -> None:
    module = imported(tmp_path, {"work": "def work(x):\n    return x + 1\n"})
    (tmp_path / "work.py").write_text("def work(x):\n    return x + 22222\n")
    before = fingerprint(module.work)
    assert "22222" not in before.parts["code"]
    after = fingerprint(imported(tmp_path, {"work": "def work(x):\n    return x + 22222\n"}).work)
    assert "22222" in after.parts["code"]
    assert before.digest != after.digest


SPY = """
SEEN = []


class Spy:
    def __repr__(self):
        SEEN.append("repr")
        return "spy"

    def __eq__(self, other):
        SEEN.append("eq")
        return True

    def __hash__(self):
        SEEN.append("hash")
        return 1

    def __getattr__(self, name):
        if not name.startswith("__"):
            SEEN.append(name)
        raise AttributeError(name)

    @property
    def __class__(self):
        SEEN.append("class")
        return int

    def __call__(self):
        SEEN.append("call")


SPY = Spy()


def __getattr__(name):
    SEEN.append(name)


def work(spy=SPY):
    import work
    return SPY.value, work.nothing, SPY()
"""


def test_no_code_of_the_users_runs(tmp_path: Path) -> None:
    module = imported(tmp_path, {"work": SPY})
    fingerprint(module.work)
    assert vars(module)["SEEN"] == []


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    text = "API_KEY = 'hunter2'\ndef work(password='hunter3'):\n    return API_KEY\n"
    parts = dict(fingerprint(imported(tmp_path, {"work": text}).work).parts)
    parts.pop("code")  # what stands in the function itself is its code
    assert "hunter" not in str(parts)
    assert parts["constant API_KEY"].startswith("a str [")


def test_the_class_that_a_parameter_is_converted_to_counts(tmp_path: Path) -> None:
    text = "class Config:\n    LIMIT = 1\ndef work(config: 'list[Config] | None', plain: int):\n    return config\n"
    before = fingerprint(imported(tmp_path / "before", {"work": text}).work)
    now = fingerprint(imported(tmp_path / "now", {"work": text.replace("LIMIT = 1", "LIMIT = 2")}).work)
    assert list(changes(before.parts, now.parts)) == ["constant Config.LIMIT was 1, is 2"]


def test_a_chain_of_helpers_may_be_as_long_as_it_likes(tmp_path: Path) -> None:
    text = "".join(f"def f{each}():\n    return f{each + 1}()\n" for each in range(1_500))
    module = imported(tmp_path, {"work": f"{text}def f1500():\n    pass\ndef work():\n    return f0()\n"})
    assert "function f1500" in fingerprint(module.work).parts


SCALE = """
FACTOR = 3

class Base:
    def times(self, value):
        return value * FACTOR

class Scale(Base):
    def execute(self, value):
        return self.times(value)
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("return self.times(value)", "return self.times(value) + 1", "helper 'Scale.execute' changed:"),
        ("return value * FACTOR", "return value / FACTOR", "helper 'Base.times' changed:"),
        ("FACTOR = 3", "FACTOR = 4", "constant FACTOR was 3, is 4"),
        ("class Scale(Base):", "class Scale(Base, dict):", "its code changed:"),
    ],
)
def test_code_that_is_a_class_counts_with_all_that_is_in_it(tmp_path: Path, old: str, new: str, told: str) -> None:
    before = fingerprint(imported(tmp_path / "before", {"work": SCALE}).Scale)
    now = fingerprint(imported(tmp_path / "now", {"work": SCALE.replace(old, new)}).Scale)
    assert [each.splitlines()[0] for each in changes(before.parts, now.parts)] == [told]


def test_a_class_that_is_not_the_users_own_counts_by_its_name_and_version() -> None:
    assert dict(fingerprint(Fingerprint).parts) == {
        "code": "dagy.fingerprint.Fingerprint",
        "package dagy": __version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    assert fingerprint(pytest.Item).parts["code"] != fingerprint(pytest.File).parts["code"]
    assert fingerprint(pytest.Item).parts["package pytest"] == pytest.__version__


@pytest.mark.parametrize("function", [len, str, Fingerprint, str.upper, "a".join])
def test_what_is_not_the_users_own_has_a_fingerprint_too(function: Callable[..., Any]) -> None:
    assert "python" in fingerprint(function).parts


def test_each_difference_is_a_sentence() -> None:
    before = {
        "code": "def f():\n    return 1",
        "function old": "def old(): ...",
        "constant A": "3",
        "package pandas": "2.2.1",
        "missing x": "not defined",
        "python": "3.11",
    }
    now = {
        "code": "def f():\n    return 2",
        "constant A": "4",
        "constant B": "'b'",
        "package pandas": "2.2.3",
        "missing y": "not defined",
        "python": "3.12",
    }
    assert list(changes(before, now)) == [
        "its code changed:\n--- before\n+++ now\n@@ -1,2 +1,2 @@\n def f():\n-    return 1\n+    return 2",
        "constant A was 3, is 4",
        "constant B is new: 'b'",
        "pandas was 2.2.1, is 2.2.3",
        "'y' is not defined any more",
        "Python was 3.11, is 3.12",
        "helper 'old' is not used any more",
        "'x' was not defined, and is now",
    ]
