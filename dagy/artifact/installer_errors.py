"""What uv and pip say when something can't be had, in few words and with a way out.

Neither has codes for it, so their sentences are read; what is not understood is shown as its last sentence.
"""

from __future__ import annotations

import re
from typing import NoReturn

from dagy.artifact.declared import redacted
from dagy.errors import ArtifactError

_LENGTH = 400
_WAY_OUT = (
    "ask for another version (in a requirements file: --requirements), or build a wheel, put it into a folder, and "
    "name the folder with find-links in the settings of uv or pip"
)


class NoFitError(ArtifactError):
    """The indexes have nothing that fits what is asked for; other versions might. It is always told as its parent."""


# In what uv says.
_OTHER_PLATFORM = re.compile(
    r"Wheels are available for `(?P<name>[^`]+)` \(v(?P<version>[^)]+)\) on the following platforms?: (?P<there>.+?)"
    r"(?= hint:|$)"
)
_OTHER_PYTHON = re.compile(
    r"You require .*?, but we only found wheels for `(?P<name>[^`]+)` \(v[^)]+\) with (?P<there>.+?)$"
)
_SOURCE_ONLY = re.compile(r"Wheels are required for `(?P<name>[^`]+)`")
_NOT_FOUND = re.compile(r"Because (?P<name>[\w.-]+) was not found in the (package registry|provided|cache)")

# In what pip says.
_NOTHING_FITS = re.compile(
    r"satisfies the requirement (?P<name>[\w.-]+)(?P<rest>.*?) \(from versions: (?P<versions>.*?)\)"
)
_CONFLICT = re.compile(r"The conflict is caused by: (?P<conflict>.*?)(To fix this|Additionally|ERROR:|$)")

# In what both say.
_SIGN_IN = re.compile(r"(?i)\b(401 \w+|403 \w+|HTTP error 40[13])")
_NETWORK = re.compile(
    r"(?i)dns error|failed to establish a new connection|error sending request|connection refused|timed out|"
    r"name or service not known|certificate verify failed|invalid peer certificate|network connectivity is disabled|"
    r"temporary failure in name resolution"
)


def explain_uv(text: str, place: str) -> NoReturn:
    """Raise the `ArtifactError` for what uv wrote when it found no wheels for `place`."""
    words = _one_line(text)
    if match := _OTHER_PLATFORM.search(words) or _OTHER_PYTHON.search(words):
        _refuse_platform(match["name"], place, f"those there are for {match['there']}")
    if match := _SOURCE_ONLY.search(words):
        _refuse_platform(match["name"], place, "there is its source, or wheels for other systems")
    if match := _NOT_FOUND.search(words):
        remedy = "check how it is written, or name your own index in uv.toml"
        if "the network was disabled" in words:
            remedy = "uv may not use the network: unset UV_OFFLINE, or name a folder with its wheel (find-links)"
        raise ArtifactError(f"no index has a package {match['name']!r}, which is needed for {place}; {remedy}")
    _refuse_set(place, uv_reason(text), words)


def explain_pip(text: str, place: str) -> NoReturn:
    """Raise the `ArtifactError` for what pip wrote when it found no wheels for `place`."""
    words = _one_line(text)
    match = _NOTHING_FITS.search(words)
    if match is None or _NETWORK.search(words) or _SIGN_IN.search(words):
        _refuse_set(place, pip_reason(text), words)
    if match["versions"] == "none":
        _refuse_platform(match["name"], place, "there may be other wheels, its source, or no package of that name")
    _refuse_platform(match["name"] + match["rest"], place, f"there are {_short(match['versions'])}")


def refuse_source(name: str) -> NoReturn:
    """Raise the `ArtifactError` of a package that would have to be built."""
    raise ArtifactError(
        f"{name!r} is there as source only, and to build it would run a stranger's code, on this machine for another; "
        f"{_WAY_OUT}"
    )


def refuse_environment(reason: str) -> NoReturn:
    """Raise the `ArtifactError` of an environment that could not be made."""
    raise ArtifactError(f"an environment with the artifact's requirements can't be made: {reason}")


def uv_reason(text: str) -> str:
    """Why uv failed."""
    words = re.sub(r"^error: |No solution found when resolving dependencies:?|[×╰─▶│]|cause: ", " ", _one_line(text))
    return _network_reason(words) or _short(words.partition(" hint: ")[0])


def pip_reason(text: str) -> str:
    """Why pip failed."""
    words = _one_line(text)
    if match := _CONFLICT.search(words):
        return _short(match["conflict"])
    errors = [line.removeprefix("ERROR: ") for line in text.splitlines() if line.startswith("ERROR: ")]
    return _network_reason(words) or _short(" ".join(errors) or words)


def _refuse_platform(name: str, place: str, there: str) -> NoReturn:
    raise NoFitError(f"there is no wheel of {name!r} for {place}; {there}; {_WAY_OUT}")


def _refuse_set(place: str, reason: str, words: str) -> NoReturn:
    kind = ArtifactError if _network_reason(words) else NoFitError
    raise kind(f"no set of wheels fits the requirements for {place}: {reason}")


def _network_reason(words: str) -> str:
    """A sentence when the network or the sign-in is at fault; else nothing."""
    if match := _SIGN_IN.search(words):
        return f"the index asks for a sign-in ({match[0]}); keep the password in ~/.netrc or in a keyring"
    if match := _NETWORK.search(words):
        return f"the index can't be reached ({match[0]}); check the network, and the index in the settings of uv or pip"
    return ""


def _one_line(text: str) -> str:
    return " ".join(redacted(text).split())


def _short(words: str) -> str:
    words = _one_line(words) or "it does not say why"
    return words if len(words) <= _LENGTH else f"{words[: _LENGTH - 3]}..."
