"""What a text imports, found without running it."""

from __future__ import annotations

import pytest

from dagy.artifact.imports import imports_of
from dagy.errors import SourceError


def found(text: str) -> list[tuple[str, bool]]:
    return [("." * each.level + each.module, each.optional) for each in imports_of(text, where="flow.py")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import a, b.c", [("a", False), ("b.c", False)]),
        ("from a.b import c", [("a.b", False)]),
        ("from . import a\nfrom ..b import c", [(".", False), ("..b", False)]),
        ("def f():\n    import a", [("a", False)]),
        ("import importlib\nimportlib.import_module('a.b')", [("importlib", False), ("a.b", False)]),
        ("try:\n    import a\nexcept ImportError:\n    import b", [("a", True), ("b", True)]),
        ("try:\n    import a\nexcept (ValueError, ModuleNotFoundError):\n    pass", [("a", True)]),
        ("try:\n    import a\nexcept:\n    pass\nelse:\n    import b", [("a", True), ("b", False)]),
        ("try:\n    import a\nexcept ValueError:\n    pass", [("a", False)]),
        ("if sys.version_info < (3, 12):\n    import a", [("a", True)]),
        ("if TYPE_CHECKING:\n    import a\nelse:\n    import b", [("b", False)]),
        ("import typing\nif typing.TYPE_CHECKING:\n    import a", [("typing", False)]),
    ],
)
def test_the_imports_of_a_text(text: str, expected: list[tuple[str, bool]]) -> None:
    assert found(text) == expected


def test_a_syntax_error_names_the_text_and_the_line() -> None:
    with pytest.raises(SourceError, match=r"flow\.py, line 2: "):
        imports_of("x = 1\ny = = 2", where="flow.py")


def test_depth_is_no_limit() -> None:
    assert found("x = " + " + ".join(["1"] * 2_000) + "\nimport a") == [("a", False)]
