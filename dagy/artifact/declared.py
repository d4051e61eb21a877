"""What a project says that its flow needs, without a line of it being run.

A requirements file that is named counts before the `# /// script` block of the flow's own file (PEP 723), and that
before the nearest `pyproject.toml` above it. What would make a build depend on a moment, a machine or a secret is
refused here: see `_REFUSED` and `_checked`.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagy.artifact.source import Source
from dagy.errors import ArtifactError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# PEP 723's own expression.
_SCRIPT = r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$"
# What follows is compiled when it is needed, because most projects name no requirements file.
_CREDENTIALS = r"(?<=://)[^/\s@]+@"
_SECRET_PARAMETER = r"(?i)([?&#][\w-]*(?:token|key|secret|password|signature)[\w-]*=)[^&#\s]+"
_COMMENT = r"(^|\s+)#.*$"
_HASH = r"\s--hash[=\s]\s*(?P<algorithm>\w+):(?P<digest>[0-9a-f]+)"
_SHA256 = r"[0-9a-f]{64}"
_MAX_BYTES = 1 << 20
_MAX_FILES = 100


@dataclass(frozen=True, slots=True)
class Declared:
    """What is declared. The requirements are None when nothing is, which is not the same as none at all."""

    requirements: tuple[str, ...] | None = None  # as PEP 508 has them: "pandas>=2; python_version < '3.13'"
    origin: str = ""  # where the requirements stand, for people: "requirements.txt"
    include: tuple[str, ...] = ()  # globs of data files, relative to the flow's folder
    constraints: tuple[str, ...] = ()  # as the requirements, for what they bring along
    hashes: Mapping[str, frozenset[str]] = field(default_factory=dict)  # by package: the SHA-256 that its file may have
    index_options: tuple[str, ...] = ()  # for the resolver: "--index-url=https://..."
    paths: tuple[Path, ...] = ()  # what was read or looked for: the answer holds while these are as they were
    warnings: tuple[str, ...] = ()
    is_whole: bool = False  # by a requirements file, which says all that there is to be


def read_declared(source: Source, requirements: Path | None = None) -> Declared:
    """What is declared for the flow in `source`; `requirements` is a file that counts before all else.

    `ArtifactError` names the file and the line that can't be read or is refused, and never shows a password.
    """
    paths: list[Path] = []
    script = _script(source)
    project, project_path = _project(source.path.parent, paths)
    include = (
        *_patterns(script, source.path.name),
        *(_below(project_path, source.path.parent, _patterns(project, project_path.name)) if project_path else ()),
    )
    if requirements is not None:
        found = _RequirementsFile(requirements)
        return found.declared(tuple(dict.fromkeys(include)), (*paths, *found.paths))
    lines, origin = _listed(script, source.path.name), f"the script block of {source.path.name}"
    if lines is None and project_path is not None:
        table = project.get("project", {})
        lines, origin = _listed(table if isinstance(table, dict) else {}, str(project_path)), str(project_path)
    return Declared(
        requirements=None if lines is None else tuple(str(_checked(line, origin)) for line in lines),
        origin=origin if lines is not None else "",
        include=tuple(dict.fromkeys(include)),
        paths=tuple(paths),
    )


def redacted(text: str) -> str:
    """`text` without what stands before the `@` of a URL, and without the values of parameters that name a secret."""
    return re.sub(_SECRET_PARAMETER, r"\1***", re.sub(_CREDENTIALS, "***@", text))


def _holds_a_secret(url: str) -> bool:
    return redacted(url) != url


def _checked(line: str, where: str) -> Requirement:
    """The requirement in `line`, if it says what to install without leaving room for more than a version."""
    from packaging.requirements import InvalidRequirement, Requirement

    shown = redacted(line)[:200]
    if re.match(r"(git|hg|svn|bzr)\+|.*@\s*(git|hg|svn|bzr)\+", line):
        raise ArtifactError(
            f"{where}: {shown!r} comes from a repository, which has to be built and may have moved on; "
            "build a wheel of it, put it on your index, and require that version"
        )
    if re.match(r"[./~]|file:|https?:", line):
        raise ArtifactError(
            f"{where}: {shown!r} is a path or a URL without a name; write it as `name==version`, and name the folder "
            "or the index that holds its wheel in the settings of uv or pip (find-links)"
        )
    try:
        found = Requirement(line)
    except InvalidRequirement as error:
        reason = redacted(str(error).partition("\n")[0])
        raise ArtifactError(f"{where}: {shown!r} is not a requirement: {reason}") from None
    if found.url is not None:
        if _holds_a_secret(found.url):
            raise ArtifactError(f"{where}: {shown!r} holds a password; keep it in ~/.netrc or in a keyring")
        raise ArtifactError(
            f"{where}: {shown!r} names a file and not a version; write `{found.name}==version`, and put the wheel on "
            "your index, or into a folder that the settings of uv or pip name (find-links)"
        )
    return found


# The options of a requirements file: what each is refused for.
_REFUSED = {
    "-e": "is a folder that may change; build a wheel of it, or move its modules beside the flow",
    "--extra-index-url": (
        "lets a stranger's package take the place of your own of the same name; set the indexes in uv.toml, where each "
        "package can be bound to one, or give a single --index-url"
    ),
    "--trusted-host": "turns off the check of who answers; set SSL_CERT_FILE to your certificates",
    "--no-binary": "asks for packages to be built, and only wheels are used; leave it out",
}
_REFUSED["--editable"] = _REFUSED["-e"]
_TO_THE_RESOLVER = {"-i": "--index-url", "--index-url": "--index-url", "-f": "--find-links"}
_TO_THE_RESOLVER |= {"--find-links": "--find-links", "--no-index": "--no-index", "--pre": "--pre"}
_OF_NO_CONSEQUENCE = {"--only-binary", "--prefer-binary", "--require-hashes", "--use-feature"}
_WITH_A_FILE = {"-r": False, "--requirement": False, "-c": True, "--constraint": True}  # whether it holds constraints


class _RequirementsFile:
    """Reads a file as pip reads it, with the files that it names."""

    def __init__(self, path: Path) -> None:
        self.paths: list[Path] = []
        self._name = str(path)
        self._found: dict[bool, dict[str, None]] = {False: {}, True: {}}  # requirements and constraints
        self._hashes: dict[str, frozenset[str]] = {}
        self._options: dict[str, None] = {}
        self._read(path, constraints=False)

    def declared(self, include: tuple[str, ...], paths: tuple[Path, ...]) -> Declared:
        """What it declares, with what was found elsewhere."""
        return Declared(
            tuple(self._found[False]), self._name, include, tuple(self._found[True]), self._hashes,
            tuple(self._options), paths, is_whole=True,
        )  # fmt: skip

    def _read(self, path: Path, *, constraints: bool) -> None:
        if path.absolute() in self.paths:
            return
        if len(self.paths) >= _MAX_FILES:
            raise ArtifactError(f"{self._name!r} names more than {_MAX_FILES} other files")
        self.paths.append(path.absolute())
        for number, line in _logical_lines(_text_of(path)):
            where = f"{path}, line {number}"
            if line.startswith("-"):
                self._follow(line, path, where, constraints=constraints)
            else:
                self._add(line, where, constraints=constraints)

    def _add(self, line: str, where: str, *, constraints: bool) -> None:
        from packaging.utils import canonicalize_name

        digests = {each["digest"] for each in re.finditer(_HASH, line) if each["algorithm"] == "sha256"}
        if any(not re.fullmatch(_SHA256, each) for each in digests) or ("--hash" in line and not digests):
            raise ArtifactError(f"{where}: a hash is not a SHA-256 of 64 digits, the only kind that is checked")
        requirement = _checked(re.sub(_HASH, "", line).strip(), where)
        self._found[constraints][str(requirement)] = None
        if digests:
            name = canonicalize_name(requirement.name)
            self._hashes[name] = self._hashes.get(name, frozenset()) | digests

    def _follow(self, line: str, path: Path, where: str, *, constraints: bool) -> None:
        option, value = _option(line, where)
        if option in _REFUSED:
            raise ArtifactError(f"{where}: {option} {_REFUSED[option]}")
        if option in _WITH_A_FILE:
            if "://" in value:
                raise ArtifactError(f"{where}: {redacted(line)!r} names a file elsewhere; copy it into the project")
            self._read(path.parent / Path(value).expanduser(), constraints=constraints or _WITH_A_FILE[option])
        elif option in _TO_THE_RESOLVER:
            self._options[_resolver_option(_TO_THE_RESOLVER[option], value, path, where)] = None
        elif option not in _OF_NO_CONSEQUENCE:
            raise ArtifactError(f"{where}: the option {redacted(option)!r} is not known; leave it out")


def _option(line: str, where: str) -> tuple[str, str]:
    """`-rfile`, `-r file`, `--requirement=file` -> the option and its value."""
    try:
        words = shlex.split(line, comments=False)
    except ValueError as error:
        raise ArtifactError(f"{where}: {redacted(line)[:200]!r} can't be read: {error}") from None
    first, *rest = words
    if first.startswith("--"):
        option, _, value = first.partition("=")
    else:
        option, value = first[:2], first[2:]
    return option, value or " ".join(rest)


def _resolver_option(option: str, value: str, path: Path, where: str) -> str:
    if _holds_a_secret(value):
        raise ArtifactError(
            f"{where}: the URL {redacted(value)!r} holds a password; keep it in ~/.netrc, in a keyring, or in the "
            "environment (UV_INDEX_URL, PIP_INDEX_URL)"
        )
    if option in {"--no-index", "--pre"}:
        return option
    if not value:
        raise ArtifactError(f"{where}: {option} has no value")
    if "://" not in value:
        value = str((path.parent / Path(value).expanduser()).absolute())
    return f"{option}={value}"


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line that says something, with the number of its first; a backslash at the end joins two."""
    joined, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        start = start if joined else number
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            joined += f"{line[:-1]} "
            continue
        whole = re.sub(_COMMENT, "", joined + line).strip()
        joined = ""
        if whole:
            yield start, whole
    if whole := re.sub(_COMMENT, "", joined).strip():
        yield start, whole


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ArtifactError(f"{str(path)!r} can't be read: {error.strerror or error}") from error
    if len(data) > _MAX_BYTES:
        raise ArtifactError(f"{str(path)!r} is larger than {_MAX_BYTES:,} bytes, too large to be a declaration")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{str(path)!r} is not UTF-8; save it as UTF-8") from error


def _script(source: Source) -> Mapping[str, Any]:
    """The table in the `# /// script` block of the flow's file; an empty one when there is no block."""
    if "# /// script" not in source.text:
        return {}
    blocks = [each for each in re.finditer(_SCRIPT, source.text) if each["type"] == "script"]
    if not blocks:
        return {}
    if len(blocks) > 1:
        raise ArtifactError(f"{source.path.name} has {len(blocks)} script blocks (`# /// script`); keep one")
    lines = blocks[0]["content"].splitlines(keepends=True)
    return _toml("".join(line[2:] if line.startswith("# ") else line[1:] for line in lines), source.path.name)


def _project(folder: Path, paths: list[Path]) -> tuple[Mapping[str, Any], Path | None]:
    """The nearest `pyproject.toml` at or above `folder`, as far up as the repository goes, and where it is."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 (where there is no home, this gives the text back)
    for each in (folder, *folder.parents):
        path = each / "pyproject.toml"
        paths.append(path)
        if path.is_file():
            return _toml(_text_of(path), str(path)), path
        if (each / ".git").exists() or each == home:
            break
    return {}, None


def _toml(text: str, where: str) -> Mapping[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ArtifactError(f"{where}: its TOML can't be read: {error}") from error


def _listed(table: Mapping[str, Any], where: str) -> Sequence[str] | None:
    return _strings(table.get("dependencies"), f"{where}: dependencies")


def _patterns(table: Mapping[str, Any], where: str) -> Sequence[str]:
    """`[tool.dagy] include`."""
    tool = table.get("tool", {})
    ours = tool.get("dagy", {}) if isinstance(tool, dict) else {}
    if not isinstance(ours, dict):
        raise ArtifactError(f"{where}: [tool.dagy] is not a table")
    return _strings(ours.get("include"), f"{where}: [tool.dagy] include") or ()


def _strings(value: object, where: str) -> Sequence[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ArtifactError(f'{where} is not a list of texts, such as ["pandas>=2"]')
    return value


def _below(project: Path, folder: Path, patterns: Sequence[str]) -> tuple[str, ...]:
    """Those of the project's patterns that can match in the flow's folder, as they are written from there."""
    down = folder.relative_to(project.parent).parts
    return tuple(found for pattern in patterns if (found := _from(down, tuple(pattern.split("/")))))


def _from(down: tuple[str, ...], parts: tuple[str, ...]) -> str | None:
    for index, folder in enumerate(down):
        if index >= len(parts) or parts[index] == "**":
            return "/".join(parts[index:]) or None
        if not fnmatch.fnmatchcase(folder, parts[index]):
            return None
    return "/".join(parts[len(down) :]) or "**"
