"""What a project declares, where that stands, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dagy.artifact.declared import Declared, read_declared, redacted
from dagy.artifact.source import read_source
from dagy.errors import ArtifactError

Write = Callable[..., Path]

SCRIPT = """\
# /// script
# dependencies = ["pandas>=2", "numpy"]
# [tool.dagy]
# include = ["data/*.csv"]
# ///
"""


def declared(main: Path, requirements: Path | None = None) -> Declared:
    return read_declared(read_source(main), requirements)


@pytest.fixture
def refusal(write: Write) -> Callable[[str], str]:
    """What is said of a requirements file that holds this text."""

    def refusal(text: str) -> str:
        with pytest.raises(ArtifactError) as caught:
            declared(write("main.py", ""), write("requirements.txt", text))
        return str(caught.value)

    return refusal


def test_a_flow_alone_declares_nothing(write: Write, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    found = declared(write("main.py", ""))
    assert found == Declared(paths=(tmp_path / "pyproject.toml",))
    assert found.requirements is None


def test_the_script_block_of_the_flows_file_counts_before_the_project(write: Write) -> None:
    write("pyproject.toml", '[project]\ndependencies = ["polars"]\n[tool.dagy]\ninclude = ["*.json"]\n')
    found = declared(write("main.py", SCRIPT))
    assert found.requirements == ("pandas>=2", "numpy")
    assert found.origin == "the script block of main.py"
    assert found.include == ("data/*.csv", "*.json")


def test_the_nearest_project_above_the_flow_counts(write: Write, tmp_path: Path) -> None:
    write("pyproject.toml", '[project]\ndependencies = ["far"]\n')
    write("a/pyproject.toml", "[project]\ndependencies = [\"near; python_version >= '3.11'\"]\n")
    found = declared(write("a/b/main.py", ""))
    assert found.requirements == ('near; python_version >= "3.11"',)
    assert found.origin == str(tmp_path / "a/pyproject.toml")
    assert found.paths == (tmp_path / "a/b/pyproject.toml", tmp_path / "a/pyproject.toml")


def test_a_project_outside_the_repository_does_not_count(write: Write, tmp_path: Path) -> None:
    write("pyproject.toml", '[project]\ndependencies = ["far"]\n')
    (tmp_path / "repository/.git").mkdir(parents=True)
    assert declared(write("repository/main.py", "")).requirements is None


def test_an_empty_list_is_a_declaration(write: Write) -> None:
    write("pyproject.toml", "[project]\ndependencies = []\n")
    assert declared(write("main.py", "")).requirements == ()


def test_a_project_that_lists_no_dependencies_declares_none(write: Write) -> None:
    write("pyproject.toml", '[project]\nname = "x"\ndynamic = ["dependencies"]\n')
    assert declared(write("main.py", "")).requirements is None


def test_a_requirements_file_that_is_named_counts_before_all_else(write: Write) -> None:
    write("pyproject.toml", '[project]\ndependencies = ["far"]\n')
    file = write("requirements.txt", "near\n")
    assert declared(write("main.py", SCRIPT), file).requirements == ("near",)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("flows/data/*.csv", ("data/*.csv",)),
        ("**/*.csv", ("**/*.csv",)),
        ("*/data/*.csv", ("data/*.csv",)),
        ("other/*.csv", ()),
        ("*.csv", ()),
    ],
)
def test_patterns_of_a_project_are_read_from_the_flows_folder(
    write: Write, pattern: str, expected: tuple[str, ...]
) -> None:
    write("pyproject.toml", f'[tool.dagy]\ninclude = ["{pattern}"]\n')
    assert declared(write("flows/main.py", "")).include == expected


def test_a_requirements_file_is_read_as_pip_reads_it(write: Write, tmp_path: Path) -> None:
    digest = "a" * 64
    write("more/base.txt", "PyYAML == 6.0.2\n-c limits.txt\n")
    write("more/limits.txt", "numpy<3\n")
    file = write(
        "requirements.txt",
        "# a comment\n\npandas [parquet] >= 2 ; python_version < '4'  # another\n-r more/base.txt\n"
        f"click==8.1.8 \\\n  --hash=sha256:{digest} \\\n  --hash=sha256:{'b' * 64}\n"
        "--index-url https://example.org/simple\n--find-links wheels\n--only-binary :all:\n",
    )
    found = declared(write("main.py", ""), file)
    assert found.requirements == ('pandas[parquet]>=2; python_version < "4"', "PyYAML==6.0.2", "click==8.1.8")
    assert found.constraints == ("numpy<3",)
    assert found.hashes == {"click": frozenset({digest, "b" * 64})}
    assert found.index_options == (
        "--index-url=https://example.org/simple",
        f"--find-links={tmp_path / 'wheels'}",
    )
    assert found.paths[-3:] == (file, tmp_path / "more/base.txt", tmp_path / "more/limits.txt")


def test_files_that_name_one_another_are_read_once(write: Write) -> None:
    write("b.txt", "-r a.txt\nnumpy\n")
    assert declared(write("main.py", ""), write("a.txt", "-r b.txt\npandas\n")).requirements == ("numpy", "pandas")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("-e .", "is a folder that may change; build a wheel"),
        ("--editable=../mine", "is a folder that may change"),
        ("--extra-index-url https://example.org/simple", "lets a stranger's package take the place"),
        ("--extra-index-url=https://example.org/simple", "lets a stranger's package take the place"),
        ("--trusted-host example.org", "turns off the check"),
        ("--no-binary :all:", "only wheels are used"),
        ("git+https://github.com/a/b@main", "comes from a repository"),
        ("b @ git+https://github.com/a/b@main", "comes from a repository"),
        ("./local", "is a path or a URL without a name"),
        ("https://example.org/a-1-py3-none-any.whl", "is a path or a URL without a name"),
        ("a @ https://example.org/a-1-py3-none-any.whl", "write `a==version`"),
        ("-r https://example.org/requirements.txt", "copy it into the project"),
        ("-r missing.txt", "can't be read: No such file"),
        ("pandas>>2", "is not a requirement"),
        ("pandas==2 --hash=md5:d41d8cd98f00b204e9800998ecf8427e", "not a SHA-256"),
        ("pandas==2 --hash=sha256:12", "not a SHA-256"),
        ("--unheard-of", "is not known"),
        ("--index-url", "has no value"),
        ('-r "unclosed', "can't be read"),
    ],
)
def test_a_line_that_leaves_a_build_to_chance_is_refused(refusal: Callable[[str], str], line: str, reason: str) -> None:
    assert reason in refusal(f"click\n{line}\n")


def test_a_refusal_names_the_file_and_the_line(refusal: Callable[[str], str]) -> None:
    assert "requirements.txt, line 3: -e is" in refusal("click\n\n-e .\n")


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://me:hunter2@example.org/simple",
        "-i https://hunter2@example.org/simple",
        "a @ https://me:hunter2@example.org/a-1-py3-none-any.whl",
        "a @ https://example.org/a-1-py3-none-any.whl?access_token=hunter2",
        "git+https://hunter2@github.com/a/b",
        "-r https://me:hunter2@example.org/requirements.txt",
        "a>>1 @ https://me:hunter2@example.org",
    ],
)
def test_a_password_is_refused_and_not_shown(refusal: Callable[[str], str], line: str) -> None:
    assert "hunter2" not in refusal(line)


def test_text_is_shown_without_passwords() -> None:
    assert redacted("https://a:b@c.d/e?x=1&api_key=2") == "https://***@c.d/e?x=1&api_key=***"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[project\n", "its TOML can't be read"),
        ('[project]\ndependencies = "pandas"\n', "is not a list of texts"),
        ("[tool.dagy]\ninclude = [1]\n", "is not a list of texts"),
        ("[tool]\ndagy = 1\n", "is not a table"),
        ('[project]\ndependencies = ["no good"]\n', "is not a requirement"),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_a_project_that_can_not_be_read_is_refused(write: Write, text: str | bytes, reason: str) -> None:
    write("pyproject.toml", text)
    with pytest.raises(ArtifactError, match=reason):
        declared(write("main.py", ""))


def test_two_script_blocks_are_refused(write: Write) -> None:
    with pytest.raises(ArtifactError, match="has 2 script blocks"):
        declared(write("main.py", f"{SCRIPT}\n{SCRIPT}"))


def test_a_file_too_large_to_be_a_declaration_is_refused(write: Write) -> None:
    with pytest.raises(ArtifactError, match="too large to be a declaration"):
        declared(write("main.py", ""), write("requirements.txt", "#" * (2 << 20)))
