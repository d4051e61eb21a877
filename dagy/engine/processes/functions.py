"""How a function travels to a worker: by name where the worker can import it, else by value with what it uses."""

from __future__ import annotations

import functools
import hashlib
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple, cast

from dagy.engine.processes.packing import Packed, Region, pack, unpack
from dagy.errors import TravelError, sentence


@dataclass(frozen=True, slots=True)
class PackedFunction:
    """A function on its way. What it closes over travels as it was when it was packed."""

    name: str
    digest: bytes  # equal for functions that were packed to the same bytes
    packed: Packed


class _Name(NamedTuple):
    """Where a worker finds a function: in an attribute of a module, or in an attribute of that."""

    module: str
    qualname: str
    inside: str = ""


def pack_function(function: Callable[..., Any]) -> PackedFunction:
    """`function`, ready to travel; `TravelError` names what in it can't."""
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    packed = pack(_found_by(function) or function, f"the function {name}")
    content = packed.content
    digest = hashlib.blake2b(content.read() if isinstance(content, Region) else content, digest_size=16).digest()
    return PackedFunction(name, digest, packed)


def unpack_function(packed: Packed) -> Callable[..., Any]:
    """The function itself; `TravelError` when its module can't be imported here or does not have it."""
    found = unpack(packed)
    if not isinstance(found, _Name):
        function = cast("Callable[..., Any]", found)
        _put_in_main(function)
        return function
    try:
        value: Any = importlib.import_module(found.module)
        for each in [*found.qualname.split("."), *filter(None, [found.inside])]:
            value = getattr(value, each)
    except Exception as error:
        raise TravelError(
            f"the worker process can't import {found.qualname!r} from {found.module!r}: {sentence(error)}"
        ) from error
    return cast("Callable[..., Any]", value)


def _found_by(function: Callable[..., Any]) -> _Name | None:
    """The name by which a worker will find this very function, if there is one."""
    module_name, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    module = sys.modules.get(module_name or "")
    if module is None or not module_name or not qualname or module_name == "__main__" or "<" in qualname:
        return None
    if not _is_importable(module_name, getattr(module.__spec__, "origin", None)):
        _travel_by_value(module)
        return None
    found: Any = module
    for each in qualname.split("."):
        found = getattr(found, each, None)
    for inside in ("", "function", "__wrapped__"):  # a decorator may stand where the function was, and hold it
        if (getattr(found, inside, None) if inside else found) is function:
            return _Name(module_name, qualname, inside)
    return None


@functools.lru_cache(maxsize=1000)
def _is_importable(name: str, origin: str | None) -> bool:
    """Whether importing `name` elsewhere gives the module that came from the file `origin`."""
    path = None
    spec = None
    done = ""
    for each in name.split("."):
        done = f"{done}.{each}" if done else each
        for finder in sys.meta_path:
            spec = finder.find_spec(done, path)
            if spec is not None:
                break
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return spec is not None and spec.origin == origin


def _travel_by_value(module: ModuleType) -> None:
    """Let what `module` defines travel by value from now on, because no other process can import it."""
    from cloudpickle import register_pickle_by_value

    register_pickle_by_value(module)


def _put_in_main(function: Callable[..., Any]) -> None:
    """Let a function of the user's `__main__`, and what it uses, be found in ours, where `multiprocessing` looks."""
    if getattr(function, "__module__", None) == "__main__":
        names = {name: each for name, each in getattr(function, "__globals__", {}).items() if not name.startswith("__")}
        vars(sys.modules["__main__"]).update(names, **{function.__name__: function})
