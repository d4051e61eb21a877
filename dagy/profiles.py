"""Profiles: which control plane is meant, by name, and the tokens that open it.

`config.yaml` in the local folder holds the profiles:

    version: 1
    default_profile: production
    profiles:
      production:
        api_url: https://dagy.example.com
        table_format: heavy_grid
        aws:
          region: eu-central-1
          stack: dagy

Which one counts: `--profile`, else `DAGY_PROFILE`, else `default_profile`, else the first by name. Its API's address:
`DAGY_API_URL`, else the profile's own, else none, and then everything happens on this machine. With an `aws` section,
which `dagy aws init` writes, deployments go to that stack; `DAGY_AWS_STACK` names one for any profile. Tokens are not
in this file but in `credentials` beside it, which nobody but its owner may read.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import SplitResult, urlsplit

from dagy.errors import SettingsError, did_you_mean, shown
from dagy.settings import made_private, switch

if TYPE_CHECKING:
    import yaml

CONFIG_NAME = "config.yaml"
CREDENTIALS_NAME = "credentials"
APP_URL = "https://dagy.io"
TABLE_FORMAT = "heavy_grid"
DEFAULT_STACK = "dagy"

_Place: TypeAlias = tuple[str, ...]  # of a value in the file: ("profiles", "production", "api_url")

_MOST_BYTES = 256 * 1024  # of either file
_DEEPEST = 16  # levels in the file
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_TOKEN = re.compile(r"[!-~]{1,8192}\Z")  # what may stand in a header
_KEYS = ("api_url", "app_url", "table_format")  # of a profile, that a user gives
_AWS_KEYS = ("region", "stack", "endpoint_url")  # of its `aws` section
_STACK = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,31}\Z")  # a stack's, which begins the names of what is deployed
_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+\Z")


@dataclass(frozen=True, slots=True)
class AwsTarget:
    """Which stack of AWS deployments go to. `sources` says for each value where it came from."""

    stack: str = DEFAULT_STACK
    region: str | None = None  # None: the one that AWS's own files name
    endpoint_url: str | None = None  # of a stand-in for AWS
    bucket: str | None = None  # the one that the stack must have; None: whichever it has
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Profile:
    """Where Dagy's commands go. `sources` says for each value where it came from."""

    name: str | None = None  # None: there is no profile
    api_url: str | None = None  # without a slash at its end; None: this machine
    app_url: str = APP_URL
    table_format: str = TABLE_FORMAT  # one of tabulate's
    last_updated: str | None = None  # ISO 8601
    sources: Mapping[str, str] = field(default_factory=dict)
    aws: AwsTarget | None = None  # None: deployments stay off AWS unless one says otherwise

    @property
    def is_local(self) -> bool:
        """Whether everything happens on this machine."""
        return self.api_url is None


@dataclass(frozen=True, slots=True)
class Token:
    """What opens a control plane, and where it came from."""

    secret: str = field(repr=False)
    source: str


class Profiles:
    """The profiles of a local folder, as `config.yaml` there has them."""

    def __init__(self, path: Path, data: Mapping[str, Any], lines: Mapping[_Place, int]) -> None:
        self.path = path
        self._data = data
        self._lines = lines

    @classmethod
    def read(cls, local_dir: Path) -> Profiles:
        """The profiles in `local_dir`; none where there is no file. Raises `SettingsError`."""
        path = local_dir / CONFIG_NAME
        text = _read_text(path)
        data, lines = ({}, {}) if text is None else _parsed(path, text)
        found = cls(path, data, lines)
        found._check()
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """The profiles there are, in the order of the alphabet."""
        return tuple(sorted(self._profiles))

    @property
    def default(self) -> str | None:
        """The one that counts where none is asked for, when the file names one."""
        name: str | None = self._data.get("default_profile")
        return name

    def __getitem__(self, name: str) -> Profile:
        """The profile of that name as the file has it, whatever the environment says. Raises `SettingsError`."""
        self._need(name, "")
        given = self._profiles[name]
        api_url, updated = given.get("api_url"), given.get("last_updated")
        return Profile(
            name,
            None if api_url is None else api_url.rstrip("/"),
            (given.get("app_url") or APP_URL).rstrip("/"),
            given.get("table_format") or TABLE_FORMAT,
            None if updated is None else str(updated),
            {key: "the default" if given.get(key) is None else f"profile {name!r}" for key in _KEYS},
            _aws_of(given.get("aws"), f"profile {name!r}"),
        )

    def resolve(self, name: str | None = None, environment: Mapping[str, str] = os.environ) -> Profile:
        """What counts now: `name` is what `--profile` says. Raises `SettingsError` for one that is not there."""
        chosen, source = self._chosen(name, environment)
        found = Profile(sources=dict.fromkeys(_KEYS, "the default")) if chosen is None else self[chosen]
        app_url = environment.get("DAGY_APP_URL", "")
        if app_url:
            found = _with(found, "app_url", checked_url(app_url, "DAGY_APP_URL", environment), "DAGY_APP_URL")
        api_url = environment.get("DAGY_API_URL", "")
        if api_url:
            found = _with(found, "api_url", checked_url(api_url, "DAGY_API_URL", environment), "DAGY_API_URL")
        elif found.api_url is not None:
            checked_url(found.api_url, self._where(("profiles", str(chosen), "api_url")), environment)
        if found.aws is not None and found.aws.endpoint_url is not None:
            place = ("profiles", str(chosen), "aws", "endpoint_url")
            checked_url(found.aws.endpoint_url, self._where(place), environment)
        found = replace(found, aws=_aws_with(found.aws, environment))
        return _with(found, "name", chosen, source)

    def set(self, name: str, values: Mapping[str, str | Mapping[str, str] | None]) -> None:
        """Make the profile, or change `values` of it; None lets go of one. The file's other values stay.

        The value of `aws` is a section: region, stack and endpoint_url, those of them that are known.

        Raises `SettingsError` for a name, a key or a value that can't be.
        """
        if not _NAME.match(name):
            raise SettingsError(
                f"a profile can't be called {shown(name)}; letters, digits and . _ - are right, 64 of them at most"
            )
        for key, value in values.items():
            _check_value(key, value, f"{key} of profile {name!r}")
        with self._changing() as data:
            profile = data.setdefault("profiles", {}).setdefault(name, {})
            for key, value in values.items():
                profile[key] = value
                if value is None:
                    del profile[key]
            profile["last_updated"] = datetime.now(UTC).isoformat(timespec="seconds")

    def set_default(self, name: str) -> None:
        """Let `name` count where none is asked for. Raises `SettingsError` when there is no such profile."""
        self._need(name, "")
        with self._changing() as data:
            data["default_profile"] = name

    def delete(self, name: str) -> None:
        """Let go of the profile. Raises `SettingsError` when there is none of that name."""
        self._need(name, "")
        with self._changing() as data:
            data.get("profiles", {}).pop(name, None)
            if data.get("default_profile") == name:
                del data["default_profile"]

    @property
    def _profiles(self) -> Mapping[str, Mapping[str, Any]]:
        return self._data.get("profiles") or {}

    def _chosen(self, name: str | None, environment: Mapping[str, str]) -> tuple[str | None, str]:
        for asked, source in ((name, "--profile"), (environment.get("DAGY_PROFILE"), "DAGY_PROFILE")):
            if asked:
                self._need(asked, f" ({source})")
                return asked, source
        if self.default is not None:
            return self.default, "default_profile"
        return (self.names[0], "the first by name") if self.names else (None, "the default")

    def _need(self, name: str, source: str) -> None:
        if name not in self._profiles:
            hint = did_you_mean(name, self.names) or (
                f"; there are {', '.join(map(repr, self.names))}" if self.names else ""
            )
            raise SettingsError(
                f"there is no profile {shown(name)}{source} in {self.path}{hint}; "
                f"`dagy config set NAME --api-url URL` makes one"
            )

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """The file's data as it is now, to be changed; written when the block ends."""
        import yaml

        with _locked(made_private(self.path.parent)):
            now = Profiles.read(self.path.parent)
            data = _copied({"version": 1, **now._data})
            yield data
            _write(self.path, yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
            self._data, self._lines = data, {}

    def _where(self, place: _Place) -> str:
        line = self._lines.get(place)
        return f"{'.'.join(place)} in {self.path}{'' if line is None else f', line {line}'}"

    def _check(self) -> None:
        """Refuse what is not as it should be, with its line."""
        data = self._data
        version = data.get("version", 1)
        if version != 1 or isinstance(version, bool):
            raise SettingsError(
                f"{self._where(('version',))} is {shown(version)}; this version of Dagy reads 1: upgrade it, "
                f"or move the file away"
            )
        profiles = data.get("profiles")
        if profiles is not None and not isinstance(profiles, dict):
            raise SettingsError(f"{self._where(('profiles',))} is {shown(profiles)}, and should hold a name for each")
        for name, given in (profiles or {}).items():
            where = self._where(("profiles", str(name)))
            if not isinstance(name, str) or not _NAME.match(name):
                raise SettingsError(f"{where}: a profile can't be called {shown(name)}; use letters, digits and . _ -")
            if not isinstance(given, dict):
                raise SettingsError(f"{where} is {shown(given)}, and should hold {', '.join(_KEYS)} or aws")
            for key in (*_KEYS, "aws"):
                if key in given:
                    _check_value(key, given[key], self._where(("profiles", name, key)))
        default = data.get("default_profile")
        if default is not None and (not isinstance(default, str) or default not in (profiles or {})):
            hint = did_you_mean(str(default), self.names) or "; name one that is there, or take the line out"
            raise SettingsError(f"{self._where(('default_profile',))} is {shown(default)}, which is no profile{hint}")


def checked_url(text: str, where: str, environment: Mapping[str, str] = os.environ) -> str:
    """`text` without a slash at its end, when it is an address that a token may be sent to.

    `where` says in a message what holds it. Raises `SettingsError`. Plain http goes only to this machine, unless
    `DAGY_ALLOW_HTTP` says otherwise.
    """
    parts = _split(text, where)
    if parts.scheme == "http" and not is_loopback(parts.hostname or "") and not switch("DAGY_ALLOW_HTTP", environment):
        raise SettingsError(
            f"{where} is {shown(text)}: what is sent over plain http can be read on the way; use https, or set "
            f"DAGY_ALLOW_HTTP=1 where the network is your own"
        )
    return text.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether what is sent to `host` stays on this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_token(text: object, what: str) -> str:
    """`text`, which may stand in a header. Raises `SettingsError`, which does not show it, and calls it `what`."""
    if not isinstance(text, str) or not _TOKEN.match(text):
        raise SettingsError(f"{what} is not one: it has no spaces or line ends, and at most 8,192 plain characters")
    return text


class Credentials:
    """The tokens that are kept in a local folder, each for one profile and the one address it was given for.

    The file is made with mode 0600, in a folder that only its owner may enter, and is refused when somebody else could
    have read or changed it.
    """

    def __init__(self, local_dir: Path) -> None:
        self.path = local_dir / CREDENTIALS_NAME

    def token(self, profile: Profile, environment: Mapping[str, str] = os.environ) -> Token | None:
        """What opens the profile's control plane: `DAGY_API_KEY`, else what is kept for it. Raises `SettingsError`."""
        given = environment.get("DAGY_API_KEY", "")
        if given:
            return Token(checked_token(given, "DAGY_API_KEY"), "DAGY_API_KEY")
        if profile.api_url is None:
            return None
        entry = self._read().get(_key(profile))
        return None if entry is None else Token(entry["token"], str(self.path))

    def save(self, profile: Profile, secret: str) -> None:
        """Keep `secret` for the profile and its address. Raises `SettingsError`."""
        entry = {
            "profile": profile.name,
            "api_url": profile.api_url,
            "token": checked_token(secret, "the token"),
            "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with _locked(made_private(self.path.parent)):
            self._write({**self._read(), _key(profile): entry})

    def forget(self, profile: Profile) -> bool:
        """Let go of every token that is kept for the profile; whether there was one. Raises `SettingsError`."""
        if not self.path.parent.is_dir():
            return False
        with _locked(self.path.parent):
            entries = self._read()
            kept = {key: each for key, each in entries.items() if each.get("profile") != profile.name}
            if len(kept) == len(entries):
                return False
            self._write(kept)
            return True

    def _write(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        _write(self.path, json.dumps({"version": 1, "tokens": list(entries.values())}, indent=2) + "\n")

    def _read(self) -> dict[str, dict[str, Any]]:
        text = _read_text(self.path, private=True)
        if text is None:
            return {}
        remedy = "move it away and sign in again: dagy login"
        try:
            data = json.loads(text)
            entries = {_key_of(each["profile"], each["api_url"]): each for each in data["tokens"]}
            for each in entries.values():
                checked_token(each["token"], "a token")
        except (ValueError, KeyError, TypeError, RecursionError):  # its text is not shown: it holds secrets
            raise SettingsError(f"{self.path} does not hold tokens; {remedy}") from None
        if data.get("version") != 1:
            raise SettingsError(f"{self.path} was written by another version of Dagy; {remedy}")
        return entries


def _key(profile: Profile) -> str:
    return _key_of(profile.name, profile.api_url)


def _key_of(name: str | None, api_url: str | None) -> str:
    return f"{name or ''} {api_url or ''}"


def _with(profile: Profile, key: str, value: str | None, source: str) -> Profile:
    changed: dict[str, Any] = {key: value}
    return replace(profile, **changed, sources={**profile.sources, key: source})


def _aws_of(section: Mapping[str, str | None] | None, where: str) -> AwsTarget | None:
    if section is None:
        return None
    given = {key: value for key in _AWS_KEYS if (value := section.get(key)) is not None}
    return AwsTarget(**given, sources=dict.fromkeys(given, where))


def _aws_with(target: AwsTarget | None, environment: Mapping[str, str]) -> AwsTarget | None:
    """`target` with what the environment says of it: the stack it names counts, the region only where none is named."""
    variables = {"stack": "DAGY_AWS_STACK", "bucket": "DAGY_ARTIFACT_BUCKET"}
    given = {key: value for key, variable in variables.items() if (value := environment.get(variable))}
    if target is None and not given:
        return None
    if "stack" in given:
        check_stack(given["stack"], "DAGY_AWS_STACK")
    found = target or AwsTarget()
    sources = {**found.sources, **{key: variables[key] for key in given}}
    if found.region is None:
        for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            if environment.get(variable):
                given["region"], sources["region"] = environment[variable], variable
                break
    return replace(found, **given, sources=sources)


def check_stack(name: str, where: str) -> None:
    """Refuse what can't be a stack's name; `where` says in the message what holds it. Raises `SettingsError`."""
    if not _STACK.match(name):
        raise SettingsError(
            f"{where} is {shown(name)}; a stack's name begins with a letter, and has letters, digits and '-', "
            f"32 of them at most"
        )


def _check_aws(section: object, where: str) -> None:
    if not isinstance(section, Mapping):
        raise SettingsError(f"{where} is {shown(section)}, and should hold {', '.join(_AWS_KEYS)}")
    for key, value in section.items():
        place = f"{key} of {where}"
        if key not in _AWS_KEYS:
            hint = did_you_mean(str(key), _AWS_KEYS)
            raise SettingsError(f"{where} has {shown(key)}{hint}; it may have {', '.join(_AWS_KEYS)}")
        if not isinstance(value, str):
            raise SettingsError(f"{place} is {shown(value)}, and should be text")
        match key:
            case "stack":
                check_stack(value, place)
            case "region":
                if not _REGION.match(value):
                    raise SettingsError(f"{place} is {shown(value)}, which is no region; one is such as eu-central-1")
            case _:
                _split(value, place)


def _check_value(key: str, value: object, where: str) -> None:
    if value is None:
        return
    if key == "aws":
        _check_aws(value, where)
        return
    if not isinstance(value, str) or not value:
        raise SettingsError(f"{where} is {shown(value)}, and should be text")
    match key:
        case "api_url" | "app_url":
            _split(value, where)
        case "table_format":
            if not re.fullmatch(r"[a-z_]{1,32}", value):
                raise SettingsError(f"{where} is {shown(value)}; it is the name of a format, such as {TABLE_FORMAT!r}")
        case _:
            raise SettingsError(
                f"a profile has no {key!r}{did_you_mean(key, _KEYS)}; it has {', '.join(_KEYS)} and aws"
            )


def _split(text: str, where: str) -> SplitResult:
    """The parts of an http address that names a host and holds no secret."""
    remedy = "give one such as https://dagy.example.com"
    if "@" in text:  # not shown: what stands before it may be a password
        raise SettingsError(f"{where} holds a name or a password before its '@'; leave them out, and use dagy login")
    if any(not "!" <= each <= "~" for each in text):
        raise SettingsError(f"{where} is {shown(text)}, which holds what no address does; {remedy}")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 (it is read when it is asked for, and may not be a number)
    except ValueError as error:
        raise SettingsError(f"{where} is {shown(text)}, which is no address: {error}; {remedy}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError(f"{where} is {shown(text)}, which is no address of http or https; {remedy}")
    if parts.query or parts.fragment:
        raise SettingsError(f"{where} is {shown(text)}; leave out what stands from '?' or '#' on")
    return parts


def _read_text(path: Path, *, private: bool = False) -> str | None:
    """The text of a small regular file, or None when there is none; a `private` one only when nobody else saw it."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_NOFOLLOW if private else 0)
    try:
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        if private and path.is_symlink():
            raise SettingsError(
                f"{path} is a link to another file, and tokens are kept in no such; remove it, and sign in again: "
                f"dagy login"
            ) from error
        raise SettingsError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise SettingsError(f"{path} is not a file; move it away")
        if private:
            _check_private(path, found)
        data = b""
        while len(data) <= _MOST_BYTES and (piece := os.read(descriptor, _MOST_BYTES)):
            data += piece
    finally:
        os.close(descriptor)
    if len(data) > _MOST_BYTES:
        raise SettingsError(f"{path} is larger than {_MOST_BYTES // 1024} kB, which no such file is; move it away")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not text in UTF-8 (byte {error.start}); save it as such") from None


def _check_private(path: Path, found: os.stat_result) -> None:
    """Refuse a file of secrets that somebody else could have read or put there."""
    if found.st_uid != os.geteuid():
        raise SettingsError(f"{path} belongs to somebody else (user {found.st_uid}); remove it, then: dagy login")
    if found.st_mode & 0o077:
        raise SettingsError(
            f"{path} can be read or written by others (mode {stat.S_IMODE(found.st_mode):04o}); "
            f"make new tokens if it was, and: chmod 600 {path}"
        )
    folder = path.parent.stat()
    if folder.st_mode & 0o022:
        raise SettingsError(
            f"others can put files into {path.parent} (mode {stat.S_IMODE(folder.st_mode):04o}), which holds tokens; "
            f"keep them out: chmod 700 {path.parent}"
        )


def _write(path: Path, text: str) -> None:
    """Put `text` in the place of the file, whole or not at all, for its owner's eyes only from the first moment."""
    try:
        target = path if path.name == CREDENTIALS_NAME else path.resolve()
        if target.parent.stat().st_mode & 0o022:
            raise SettingsError(f"others can put files into {target.parent}; keep them out: chmod 700 {target.parent}")
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=target.parent)  # which has mode 0600
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SettingsError(f"{path} can't be written: {error.strerror or error}") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder, so that of two programs that change a file in it the second sees what the first wrote."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _parsed(path: Path, text: str) -> tuple[dict[str, Any], dict[_Place, int]]:
    """What the file holds, and on which line each value stands. Nothing but plain values is ever made of it."""
    import yaml

    try:
        _check_shape(path, text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = dict(_lines(path, root))
        data = {} if root is None else yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        raise SettingsError(f"{path}{line} is not plain YAML: {error.problem or error.context}; correct it") from None
    except SettingsError:  # a ValueError, too
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2026-99-99
        raise SettingsError(f"{path} is not plain YAML: {shown(str(error))}; correct it") from None
    if not isinstance(data, dict):
        raise SettingsError(f"{path} holds {shown(data)}, and should hold version, default_profile and profiles")
    return data, lines


def _check_shape(path: Path, text: str) -> None:
    """Refuse what would grow, or reach deeper than Python can follow, before anything is made of it."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        mark = event.start_mark
        where = f"{path}, line {0 if mark is None else mark.line + 1}"
        if getattr(event, "anchor", None) is not None:
            raise SettingsError(f"{where}: names such as '&x' and '*x' are not read here; write the value itself")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise SettingsError(f"{where}: this is deeper than {_DEEPEST} levels, which no such file is")


def _lines(path: Path, root: yaml.Node | None) -> Iterator[tuple[_Place, int]]:
    """Each place in the file with its line; a name that stands there twice is refused."""
    todo: list[tuple[_Place, Any]] = [] if root is None else [((), root)]
    while todo:
        place, node = todo.pop()
        yield place, node.start_mark.line + 1
        if node.id != "mapping":
            continue
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise SettingsError(f"{path}, line {line}: {shown(name)} stands on line {seen[name]} already; keep one")
            seen[name] = line
            todo.append(((*place, name), value))


def _copied(value: Any) -> Any:
    """A copy that may be changed, all the way down."""
    return {key: _copied(each) for key, each in value.items()} if isinstance(value, dict) else value
