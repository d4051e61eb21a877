"""What the library says of itself: every node is described whole, its defaults are valid, and importing it is light."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from typing import Any

import jsonschema
import pytest

import dagy.nodes.library as library
from dagy.nodes.base import FlowNode
from dagy.nodes.definitions import definition_of
from dagy.nodes.metadata import ConfigFieldType, NodeCategory, NodeConfigField
from dagy.nodes.registry import node_registry

NODES: list[type[FlowNode]] = [getattr(library, name) for name in library.__all__]
each_node = pytest.mark.parametrize("node", NODES, ids=lambda node: node.metadata().node_type)

HEAVY = frozenset(
    {"pandas", "polars", "narwhals", "pyarrow", "openpyxl", "numpy", "httpx", "httpcore", "sqlalchemy", "jinja2"}
    | {"botocore", "boto3", "pydantic", "asyncio", "ssl", "importlib.metadata", "sqlite3"}
)


def test_every_node_of_the_library_is_exported_and_registered() -> None:
    registered = node_registry.find()
    mine = [each for each in registered if each.__module__.startswith("dagy.nodes.library.")]
    assert {each.__name__ for each in mine} == set(library.__all__)
    assert set(NODES) <= set(registered)


@each_node
def test_a_node_says_what_it_is(node: type[FlowNode]) -> None:
    about = node.metadata()
    assert re.fullmatch(r"[a-z][a-z0-9_]*", about.node_type)
    assert re.fullmatch(r"[A-Z][^.]*", about.label)
    assert len(about.description) >= 30
    assert re.search(r"\.\)?$", about.description)
    assert about.category is not NodeCategory.CUSTOM
    assert node.__doc__
    assert node.__doc__ != FlowNode.__doc__


@each_node
def test_every_field_is_described_and_every_connector_has_a_label(node: type[FlowNode]) -> None:
    definition = definition_of(node)
    for field in definition.fields:
        assert field.label, field.id
        assert field.description.endswith("."), field.id
    for connector in (*definition.inbound, *definition.outbound):
        assert connector.name, connector.id


@each_node
def test_the_defaults_are_valid_by_the_node_s_own_schema(node: type[FlowNode]) -> None:
    schema = node.config_schema()
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    fields = definition_of(node).fields
    given: dict[str, Any] = {each.id: _some_value(each) for each in fields if each.required}
    defaults = {each.id: each.json_default for each in fields if not each.required and each.default is not None}
    assert list(validator(schema).iter_errors({**defaults, **given})) == []
    if not given:
        assert node().config.items() >= defaults.items()


def _some_value(field: NodeConfigField) -> object:
    match field.type:
        case ConfigFieldType.SECRET:
            return {"$secret": "A_SECRET"}
        case ConfigFieldType.JSON:
            return []
        case ConfigFieldType.INTEGER | ConfigFieldType.NUMBER:
            return 1
        case _:
            return field.placeholder or "text"


@each_node
def test_what_a_node_requires_is_an_installable_package_that_dagy_names(node: type[FlowNode]) -> None:
    named = {re.split(r"[\s\[<>=!~;]", each, maxsplit=1)[0] for each in metadata.requires("dagy") or ()}
    assert set(node.metadata().requires) <= named


def test_importing_the_library_loads_none_of_what_its_nodes_need() -> None:
    code = "import sys, dagy.nodes.library; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY & set(loaded) == set()


@pytest.mark.parametrize(
    ("node", "config", "needed"),
    [
        (library.ReadCsv, {"engine": "pandas"}, {"narwhals", "pandas"}),
        (library.ReadCsv, {"engine": "polars"}, {"narwhals", "polars"}),
        (library.ReadCsv, {}, {"narwhals", "pandas", "polars"}),
        (library.ReadSql, {"gives": "rows"}, {"sqlalchemy"}),
        (library.Filter, {}, {"narwhals"}),
        (library.ForEach, {"node_type": "to_dataframe", "config": {"engine": "polars"}}, {"narwhals", "polars"}),
        (library.ForEach, {"node_type": "template"}, {"jinja2"}),
        (library.ForEach, {"config": None}, set()),
        (
            library.PythonCode,
            {"code": "import os, sklearn.svm\nfrom numpy import pi\nimport dagy"},
            {"numpy", "sklearn"},
        ),
        (library.PythonCode, {}, set()),
    ],
)
def test_what_a_node_needs_follows_from_its_configuration(
    node: type[FlowNode], config: dict[str, Any], needed: set[str]
) -> None:
    assert set(node.requirements(config)) == needed
