"""Which installed distributions hold the modules that code imports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dagy.artifact.dependencies import check_reached, reached
from dagy.artifact.imports import imports_of
from dagy.artifact.installed import Installed, files_of, installed, normalized
from dagy.errors import ArtifactError

Write = Callable[..., Path]
Add = Callable[..., Path]


@pytest.fixture
def add(write: Write) -> Add:
    """Put a distribution into the folder `site`: what its metadata says, and these files."""

    def add(name: str, number: str = "1.0", *files: str, requires: tuple[str, ...] = (), **metadata: str) -> Path:
        folder = f"site/{name}-{number}.dist-info"
        lines = [
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}",
            *(f"Requires-Dist: {each}" for each in requires),
        ]
        write(f"{folder}/METADATA", "\n".join(lines) + "\n")
        write(f"{folder}/RECORD", "".join(f"{each},,5\n" for each in files))
        for each in files:
            write(f"site/{each}", "")
        for each, text in metadata.items():
            write(f"{folder}/{each.replace('__', '.')}", text)
        return write(f"{folder}/INSTALLER", "test").parent

    return add


@pytest.fixture
def here(tmp_path: Path) -> Callable[[], Installed]:
    """What is installed in the folder `site`."""
    return lambda: installed(tmp_path / "local", [str(tmp_path / "site")])


def holders(text: str, here: Installed) -> list[str]:
    found = reached((("main.py", each) for each in imports_of(text, where="main.py")), here)
    return sorted({distribution.name for each in found for distribution in each.distributions})


def test_a_module_is_found_by_the_files_of_its_distribution(add: Add, here: Callable[[], Installed]) -> None:
    add("Pillow", "11.0", "PIL/__init__.py", "PIL/_imaging.so")
    add("single", "1.0", "alone.py")
    add("native", "1.0", "fast.cpython-311-x86_64-linux-gnu.so")
    assert holders("import PIL.Image", here()) == ["Pillow"]
    assert holders("import alone", here()) == ["single"]
    assert holders("import fast", here()) == ["native"]


def test_a_module_is_found_by_what_an_old_distribution_says_of_itself(add: Add, here: Callable[[], Installed]) -> None:
    add("old", "1.0", top_level__txt="ancient\n")
    assert holders("import ancient.thing", here()) == ["old"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from cloudy import storage", ["cloudy-storage"]),
        ("import cloudy.queue", ["cloudy-queue"]),
        ("import cloudy.storage.deep", ["cloudy-storage"]),
        ("from cloudy.storage import Thing", ["cloudy-storage"]),
        ("from cloudy import fast", ["cloudy-fast"]),
        ("from cloudy import storage, queue", ["cloudy-queue", "cloudy-storage"]),
        ("import cloudy", ["cloudy-fast", "cloudy-queue", "cloudy-storage"]),
    ],
)
def test_of_a_shared_namespace_only_the_part_that_is_imported_counts(
    add: Add, here: Callable[[], Installed], text: str, expected: list[str]
) -> None:
    add("cloudy-storage", "1.0", "cloudy/storage/__init__.py", "cloudy/storage/deep.py")
    add("cloudy-queue", "1.0", "cloudy/queue.py")
    add("cloudy-fast", "1.0", "cloudy/fast.cpython-311-x86_64-linux-gnu.so")
    assert holders(text, here()) == expected


def test_a_module_that_is_developed_is_found_by_where_it_is(
    add: Add, here: Callable[[], Installed], write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("work/src/being_made/__init__.py", "")
    monkeypatch.syspath_prepend(tmp_path / "work/src")
    url = {"url": (tmp_path / "work").as_uri(), "dir_info": {"editable": True}}
    add("being-made", "0.1", "__editable__being_made.pth", direct_url__json=json.dumps(url))
    assert holders("import being_made.inner", here()) == ["being-made"]
    found = here().called("being_made")
    assert found is not None
    assert (found.is_editable, found.folder) == (True, tmp_path / "work")


def test_an_import_that_may_fail_may_be_missing(here: Callable[[], Installed], tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    text = "try:\n    import no_such_thing\nexcept ImportError:\n    pass\n"
    check_reached(reached((("main.py", each) for each in imports_of(text, where="")), here()))
    with pytest.raises(ArtifactError, match=r"main\.py, line 1: module 'no_such_thing' is not installed"):
        check_reached(reached((("main.py", each) for each in imports_of("import no_such_thing", where="")), here()))


def test_a_module_that_no_package_holds_is_refused_with_where_it_is(
    here: Callable[[], Installed], write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("elsewhere/stray_module.py", "")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match=r"'stray_module' \(.*stray_module\.py\) belongs to no installed package"):
        check_reached(reached((("main.py", each) for each in imports_of("import stray_module", where="")), here()))


def test_what_a_distribution_needs_comes_with_it(add: Add, here: Callable[[], Installed]) -> None:
    add("top", "1.0", requires=("middle[more]>=1", "absent", "not-here; python_version < '3'"))
    add("middle", "1.0", requires=("deep; extra == 'more'", "other; extra == 'less'", "top"))
    add("deep")
    add("other")
    assert [each.name for each in here().needed_by(["top"])] == ["deep", "middle", "top"]
    assert [each.name for each in here().needed_by(["middle"])] == ["deep", "middle", "top"]
    assert [each.name for each in here().needed_by(["other"])] == ["other"]


def test_what_is_installed_is_read_once_until_a_folder_changes(
    add: Add, here: Callable[[], Installed], tmp_path: Path
) -> None:
    first = add("quick", "1.0", "quick/__init__.py")
    assert here().called("quick") is not None
    (kept,) = (tmp_path / "local/installed").iterdir()
    before = kept.stat().st_mtime_ns
    (first / "METADATA").write_text("Metadata-Version: 2.1\nName: quick\nVersion: 2.0\n")  # the folder is as it was
    found = here().called("quick")
    assert found is not None
    assert found.version == "1.0"
    assert kept.stat().st_mtime_ns == before
    add("slow", "1.0")
    assert here().distributions.keys() == {"quick", "slow"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stamp": [], "distributions": [{}]}', '{"stamp": null}', "\0"])
def test_a_broken_note_of_what_is_installed_is_made_again(
    add: Add, here: Callable[[], Installed], tmp_path: Path, text: str
) -> None:
    add("quick")
    here()
    (kept,) = (tmp_path / "local/installed").iterdir()
    kept.write_text(text)
    assert here().called("quick") is not None


def test_where_nothing_can_be_kept_it_is_found_all_the_same(add: Add, tmp_path: Path) -> None:
    add("quick")
    (tmp_path / "local").write_text("a file")
    assert installed(tmp_path / "local", [str(tmp_path / "site")]).called("quick") is not None


def test_what_an_uninstall_left_behind_is_no_distribution(
    add: Add, here: Callable[[], Installed], write: Write, tmp_path: Path
) -> None:
    add("quick")
    write("site/gone-1.0.dist-info/INSTALLER", "")
    write("site/odd-1.0.dist-info/METADATA", "Name: odd\n")
    assert here().distributions.keys() == {"quick"}


def test_the_first_distribution_on_the_path_is_the_one_that_is_there(add: Add, tmp_path: Path) -> None:
    add("quick", "2.0")
    (tmp_path / "site").rename(tmp_path / "first")
    add("quick", "1.0")
    found = installed(tmp_path / "local", [str(tmp_path / "first"), str(tmp_path / "site")]).called("Quick")
    assert found is not None
    assert found.version == "2.0"


def test_the_files_of_a_distribution_come_with_their_sizes(add: Add, here: Callable[[], Installed]) -> None:
    add("quick", "1.0", RECORD='quick/a.py,sha256=x,12\n"quick/a,b.txt",,3\nquick/__pycache__/a.pyc,,\nquick/c.py,,\n')
    found = here().called("quick")
    assert found is not None
    assert files_of(found) == (("quick/a.py", 12), ("quick/a,b.txt", 3), ("quick/c.py", 0))


def test_names_are_compared_as_indexes_compare_them() -> None:
    assert normalized("Zope.Interface__x--Y") == "zope-interface-x-y"
