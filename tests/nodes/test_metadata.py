"""What a node says of itself, and what contradicts itself there."""

from __future__ import annotations

import pytest

from dagy.errors import DefinitionError
from dagy.nodes.metadata import ConfigFieldType, NodeCategory, NodeConfigField, NodeMetadata, SelectOption


def test_what_is_left_out_of_the_metadata_follows_from_the_type():
    metadata = NodeMetadata("read_csv", category="input", requires=["pandas"])
    assert (metadata.label, metadata.category, metadata.version) == ("Read csv", NodeCategory.INPUT, "1.0.0")
    assert metadata.requires == ("pandas",)


@pytest.mark.parametrize("node_type", ["", "read csv", "module:function", "1st", None])
def test_a_node_type_is_a_name(node_type):
    with pytest.raises(DefinitionError, match="a node_type is a name such as 'read_csv'"):
        NodeMetadata(node_type, "Read")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"category": "transfrom"}, "did you mean 'transform'"),
        ({"requires": "pandas"}, "requires must be a list of texts, not 'pandas'"),
        ({"tags": [1]}, "tags must be a list of texts"),
    ],
)
def test_metadata_that_has_no_meaning_is_refused(options, message):
    with pytest.raises(DefinitionError, match=message):
        NodeMetadata("load", "Load", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"id": "max-rows"}, "'max-rows' is none"),
        ({"type": "sekret"}, "did you mean 'secret'"),
        ({"type": "select"}, "needs options to choose from"),
        ({"options": ["a"]}, "has options, which only a SELECT has"),
        ({"minimum": 1}, "has bounds, which only a number has"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "minimum 2 is more than maximum 1"),
        ({"type": "integer", "pattern": "a"}, "has a pattern, which only text has"),
        ({"pattern": "("}, "is no regular expression"),
        ({"type": "secret", "default": "hunter2"}, "is a SECRET, which has no default"),
    ],
)
def test_a_field_that_contradicts_itself_is_refused(options, message):
    with pytest.raises(DefinitionError) as caught:
        NodeConfigField(**{"id": "x", **options})
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_options_may_be_plain_values():
    field = NodeConfigField("mode", type=ConfigFieldType.SELECT, options=["append", SelectOption(2, "Twice")])
    assert field.options == (SelectOption("append", "append"), SelectOption(2, "Twice"))
    assert field.choices == ("append", 2)
