"""What the nodes of a flow ask for is what its artifact depends on, as if there were an import of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagy.artifact.choosing import with_nodes
from dagy.artifact.declared import Declared
from dagy.artifact.dependencies import check_reached, reached
from dagy.artifact.installed import Distribution, Installed
from dagy.artifact.packages import asked_by_nodes
from dagy.errors import ArtifactError
from dagy.spec import FlowSpec, NodeSpec, TaskSpec

READ = NodeSpec("read", "input", requires=("pandas", "openpyxl"))
HERE = Installed(
    {
        "pandas": Distribution("pandas", "3.0", ("pandas",), "/site/pandas"),
        "scikit-learn": Distribution("scikit-learn", "1.7", ("sklearn",), "/site/sklearn"),
    },
    (Path("/site"),),
)


def spec(*nodes: NodeSpec | None) -> FlowSpec:
    """A flow of these kinds of tasks."""
    tasks = tuple(TaskSpec(f"t{index}", "t", "m:t", node=node) for index, node in enumerate(nodes))
    return FlowSpec("f", tasks=tasks)


def test_each_kind_of_node_asks_once_for_what_it_requires() -> None:
    asked = asked_by_nodes(spec(READ, None, READ))
    assert [(who, wanted.module) for who, wanted in asked] == [("node 'read'", "openpyxl"), ("node 'read'", "pandas")]


def test_the_flows_own_modules_are_nobody_elses() -> None:
    own = ("etl.py", "openpyxl.py", "pandas/__init__.py")
    assert asked_by_nodes(spec(READ), own) == ()


def test_a_distribution_is_found_by_its_name() -> None:
    found = reached(asked_by_nodes(spec(READ)), HERE)
    assert [[one.requirement for one in each.distributions] for each in found] == [[], ["pandas==3.0"]]


def test_a_distribution_is_found_by_a_module_that_it_holds() -> None:
    (found,) = reached(asked_by_nodes(spec(NodeSpec("code", "code", requires=("sklearn",)))), HERE)
    assert [each.requirement for each in found.distributions] == ["scikit-learn==1.7"]


def test_what_nodes_ask_for_is_added_to_what_a_project_declares_but_not_to_a_requirements_file() -> None:
    found = reached(asked_by_nodes(spec(READ)), HERE)
    assert with_nodes(Declared(("numpy>=1",), origin="pyproject.toml"), found).requirements == ("numpy>=1", "pandas")
    for said in (Declared(), Declared(("Pandas>2",)), Declared(("numpy",), is_whole=True)):
        assert with_nodes(said, found) == said


def test_a_distribution_that_is_not_installed_is_named_with_who_asks_for_it() -> None:
    found = reached(asked_by_nodes(spec(READ)), HERE)
    with pytest.raises(
        ArtifactError, match="node 'read' needs 'openpyxl', which is not installed; install it with: pip"
    ):
        check_reached(found)
    with pytest.raises(ArtifactError, match=r"node 'read' needs 'openpyxl', .*; add it to pyproject\.toml"):
        check_reached(found, "pyproject.toml")
