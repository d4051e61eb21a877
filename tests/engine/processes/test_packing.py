"""Values that travel between processes: what arrives is what was sent, and what can't go is named."""

from __future__ import annotations

import dataclasses
import gc
import io
import mmap
import sys
import threading
from pathlib import Path

import pytest

from dagy.engine.processes.packing import Packed, Region, Spares, pack, unpack, with_region
from dagy.errors import TravelError
from dagy.values import Deferred

LARGE = 100_000


@dataclasses.dataclass
class Table:
    rows: list[object]


@pytest.mark.parametrize(
    "value",
    [None, 3, "text", [1, {"a": (2.5, b"x")}], b"x" * LARGE, bytearray(LARGE), "ü" * LARGE, list(range(LARGE))],
    ids=["none", "int", "text", "nested", "bytes", "bytearray", "long-text", "long-list"],
)
def test_a_value_arrives_as_it_was(value):
    assert unpack(pack(value)) == value


def test_a_small_value_takes_no_memory_of_its_own_and_a_large_one_does():
    assert isinstance(pack([1, 2]).content, bytes)
    assert isinstance(pack(b"x" * LARGE).content, Region)


def test_a_packed_value_is_a_deferred_one_and_unpacked_once():
    packed = pack([1, 2])
    assert isinstance(packed, Deferred)
    assert packed.value() is packed.value()


def test_an_array_is_mapped_and_can_be_written_to_without_changing_what_is_packed():
    numpy = pytest.importorskip("numpy")
    packed = pack({"rows": numpy.arange(LARGE)})
    maps: list[mmap.mmap | None] = []
    first = unpack(packed, held=maps)
    first["rows"][0] = 7
    assert unpack(packed)["rows"][0] == 0
    assert [type(each) for each in maps] == [mmap.mmap]


def test_small_arrays_can_be_written_to_as_well():
    numpy = pytest.importorskip("numpy")
    for size in (10, 3_000):
        assert unpack(pack(numpy.arange(size))).flags.writeable


def test_a_packed_value_inside_another_travels_along_and_stays_one_object():
    inner = pack([1, 2])
    attached: list[Packed] = []
    outer = pack({"a": inner, "b": [inner]}, attached=attached)
    assert attached == [inner]
    found = unpack(outer, [inner.value()])
    assert found == {"a": [1, 2], "b": [[1, 2]]}
    assert found["a"] is found["b"][0]


class Kept(Deferred):
    """One that is somewhere else."""

    def value(self) -> object:
        return [3]


def test_another_deferred_value_travels_as_what_it_stands_for():
    assert unpack(pack({"a": Kept()}, attached=[])) == {"a": [3]}


def test_memory_that_nobody_reads_is_used_again_and_memory_that_is_held_is_not():
    spares = Spares()
    packed = pack(b"x" * LARGE, spares=spares)
    del packed
    assert spares.clear() == 1
    packed = pack(b"x" * LARGE, spares=spares)
    packed.hold()
    del packed
    assert spares.clear() == 0


def test_a_shorter_value_in_memory_used_again_is_just_that():
    spares = Spares()
    pack(b"x" * (10 * LARGE), spares=spares)
    again = pack(b"y" * LARGE, spares=spares)
    assert unpack(again) == b"y" * LARGE
    assert isinstance(again.content, Region)
    assert again.content.size < 2 * LARGE


def test_a_packed_value_lets_go_of_its_descriptor():
    before = len(list(Path("/proc/self/fd").iterdir()))
    values = [pack(b"x" * LARGE) for _ in range(10)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 10
    del values
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_small_value_can_be_moved_to_shared_memory():
    assert with_region(pack([1, 2])).value() == [1, 2]


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ((each for each in ()), "it is of type generator.*; make it a list"),
        ({"a": [1, 2, 3, (each for each in ())]}, r"it\['a'\]\[3\] is of type generator"),
        (Table([threading.Lock()]), r"it\.rows\[0\] is of type _thread\.lock"),
        ({io.FileIO(0, closefd=False)}, r"it \(in the set: .*\) is of type _io\.FileIO"),
        (sys._getframe(), "it is of type frame"),
    ],
    ids=["generator", "nested", "dataclass", "file", "frame"],
)
def test_what_cannot_travel_is_named_with_the_way_to_it_and_the_remedy(value, where):
    with pytest.raises(TravelError, match=where) as caught:
        pack(value, "it")
    assert "isolation='thread'" in str(caught.value)


def test_a_value_nested_too_deeply_is_named_as_that():
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(TravelError, match="nested too deeply"):
        pack(value, "it")
    while value:
        value = value.pop()


def test_a_list_that_holds_itself_travels():
    value: list[object] = []
    value.append(value)
    found = unpack(pack(value))
    assert found[0] is found


class Reducing:
    """Whose own code fails."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self):
        raise self.error


def test_a_value_whose_own_code_fails_is_named():
    with pytest.raises(TravelError, match=r"it\[0\] is of type .*Reducing.*ValueError: no"):
        pack([Reducing(ValueError("no"))], "it")


def test_a_value_that_cannot_be_put_together_says_so():
    class Broken:
        def __reduce__(self):
            return int, ("x",)

    with pytest.raises(TravelError, match="can't be put together: ValueError"):
        pack(Broken()).value()


def test_a_path_and_a_class_of_a_test_travel():
    assert unpack(pack([Path("a"), Table([1])])) == [Path("a"), Table([1])]
