"""What `import dagy` offers, each name loaded on first use."""

from __future__ import annotations

import subprocess
import sys

import pytest

import dagy
from dagy.lazy import later


def test_the_list_of_names_is_that_of_the_homes_sorted():
    assert sorted([*dagy._HOMES, "__version__"]) == dagy.__all__


@pytest.mark.parametrize("name", dagy.__all__)
def test_each_name_can_be_imported(name: str):
    assert getattr(dagy, name) is not None


@pytest.mark.parametrize("name", sorted(set(dagy.__all__) - {"__version__", "Static"}))
def test_each_name_is_defined_where_its_home_says(name: str):
    value = getattr(dagy, name)
    assert value.__name__ == name
    assert value.__module__.startswith(dagy._HOMES[name])


def test_dir_shows_the_names():
    assert dir(dagy) == dagy.__all__


def test_from_dagy_import_star_takes_them_all():
    space: dict[str, object] = {}
    exec("from dagy import *", space)
    assert set(dagy.__all__) <= space.keys()


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'dagy' has no attribute 'flw'"):
        _ = dagy.flw  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        from dagy import tsk  # type: ignore[attr-defined]  # noqa: F401


def test_only_what_is_listed_is_loaded_later():
    assert later("dagy.deploy").__name__ == "dagy.deploy"
    with pytest.raises(ValueError, match=r"'os\.path' is not one of"):
        later("os.path")


def test_importing_dagy_alone_loads_none_of_its_parts():
    program = "import sys, dagy; print(*sorted(each for each in sys.modules if each.startswith('dagy')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["dagy", "dagy.lazy", "dagy.version"]
