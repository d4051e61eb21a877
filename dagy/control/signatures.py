"""What a flow may be given, and whether what a run is given fits: names, what is missing, and types that are plain.

Of other types the values are checked where the flow's code is, in the process that runs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dagy.control.names import checked_json, digest
from dagy.errors import ParameterError, did_you_mean, shown
from dagy.parameter_texts import check_values
from dagy.spec import FlowSpec, Json


def signature(spec: FlowSpec) -> list[dict[str, Json]]:
    """What `checked_parameters` needs to know of a flow, as JSON."""
    return [
        {"name": each.name, "fixed": spec.static.get(each.name)}  # its value when the graph was drawn
        if each.static
        else {"name": each.name, "required": each.required, "annotation": each.annotation}
        for each in spec.parameters
    ]


def checked_parameters(
    of: str, signature: Sequence[Mapping[str, Json]], given: Mapping[str, Json], *, all_given: bool = True
) -> dict[str, Json]:
    """`given`, which fits the signature of what `of` names; with `all_given` nothing that it needs is missing.

    Raises `ParameterError`, which names what is unknown, missing, fixed, not JSON or of the wrong type.
    """
    if not isinstance(given, Mapping):
        raise ParameterError(f"the parameters of {of} are a dict of values by name, not {shown(given)}")
    known = {str(each["name"]): each for each in signature}
    for name, value in given.items():
        if name not in known:
            takes = f"it takes {', '.join(map(repr, known))}" if known else "it takes none"
            hint = did_you_mean(name, known) if isinstance(name, str) else ""
            raise ParameterError(f"{of} has no parameter {shown(name)}{hint or f'; {takes}'}")
        checked_json(f"the parameter {name!r} of {of}", value)
        if "fixed" in known[name] and digest(value) != digest(known[name]["fixed"]):
            raise ParameterError(
                f"the parameter {name!r} of {of} shaped its graph when it was built, with "
                f"{shown(known[name]['fixed'])}; build it with another value to change it"
            )
    check_values(of, {name: str(each.get("annotation", "")) for name, each in known.items()}, given)
    missing = [name for name, each in known.items() if each.get("required") and name not in given]
    if all_given and missing:
        raise ParameterError(f"{of} needs {', '.join(map(repr, missing))}, and was not given it")
    return dict(given)
