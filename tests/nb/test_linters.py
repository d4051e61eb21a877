"""The hint for projects whose linters skip `%%` cells."""

from __future__ import annotations

from pathlib import Path

from dagy_nb.linters import hint_for


def test_a_project_with_linters_is_told_of_the_comment_spelling(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname='x'\n\n[tool.ruff.lint]\n[tool.black]\n[tool.ruff]\n")
    (tmp_path / "notebooks").mkdir()
    hint = hint_for(tmp_path / "notebooks")
    assert hint.startswith("pyproject.toml configures ruff and black")
    assert "`#| dagy_task`" in hint


def test_a_project_without_linters_is_told_nothing(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.mypy]\nstrict = true\n# [tool.ruff]\n")
    assert hint_for(tmp_path) == ""


def test_a_project_file_that_is_no_text_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.black]\n")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "pyproject.toml").write_bytes(b"\xff\xfe[tool.ruff]")
    assert "black" in hint_for(inner)
