"""Names of states that Step Functions takes, unique in a whole definition, and as like to the tasks' as can be."""

from __future__ import annotations

import re
from hashlib import sha256

from dagy.backends.limits import LIMITS

MOST_CHARACTERS = int(LIMITS["machine.state_name"].value)

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff<>{}\[\]?*"#%\\^|~`$&,;:/]+')
_TAIL = 8  # characters of a digest, where a name had to be cut


class StateNames:
    """Gives out names, none of them twice, whatever is asked for."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, wanted: str, what: str = "") -> str:
        """A legal name like `wanted`, with `what` behind it in brackets: `score (item)`."""
        tail = f" ({what})" if what else ""
        name = legal(wanted, MOST_CHARACTERS - len(tail)) + tail
        number = 2
        while name in self._taken:
            again = f" {number}{tail}"
            name = legal(wanted, MOST_CHARACTERS - len(again)) + again
            number += 1
        self._taken.add(name)
        return name


def legal(wanted: str, most: int = MOST_CHARACTERS) -> str:
    """`wanted` without what a state's name can't have, in at most `most` characters; a cut name ends in a digest."""
    name = _FORBIDDEN.sub("-", wanted).strip(" -") or "task"
    if len(name) <= most:
        return name
    return f"{name[: most - _TAIL - 1]}-{sha256(wanted.encode(errors='surrogatepass')).hexdigest()[:_TAIL]}"
