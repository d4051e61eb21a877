"""JSONata, the language of the expressions in a state machine: moto parses around it, and lacks what evaluates it."""

from __future__ import annotations

import json
from typing import Any

from dagy.testing.local_aws.bridge.patching import replace_everywhere
from dagy.testing.local_aws.world import World


def install(world: World) -> None:
    """Put it in place."""
    import moto.stepfunctions.parser.models  # noqa: F401 (all modules that use the two names are loaded then)

    replace_everywhere("moto.stepfunctions.parser", "eval_jsonata_expression", evaluate)
    replace_everywhere("moto.stepfunctions.parser", "encode_jsonata_variable_declarations", declarations)


def evaluate(expression: str) -> Any:
    """The expression's value; None where it has none. Raises moto's `JSONataException`."""
    from jsonata import jsonata
    from moto.stepfunctions.parser.asl.jsonata.jsonata import JSONataException

    try:
        value = jsonata.Jsonata(expression).evaluate(None)
    except Exception as error:  # whatever the expression leads to: a JException, a RecursionError, ...
        raise JSONataException("UNKNOWN", str(error)) from error
    return json.loads(json.dumps(value, default=lambda _function: None))


def declarations(bindings: dict[str, Any]) -> str:
    """The variables with their values, before an expression; moto does not escape what is in a text."""
    return "".join(f"{name}:={json.dumps(value, ensure_ascii=False)};" for name, value in bindings.items())
