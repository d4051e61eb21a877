"""How the nodes of this library say what they are: in class attributes, with a short word for each kind of field.

class Limit(LibraryNode):
    about = NodeMetadata("limit", "First rows", "The first rows of a table.", NodeCategory.TRANSFORM)
    ports = (inbound("frame", DataType.DATAFRAME, required=True), outbound("result", DataType.DATAFRAME))
    fields = (count("n", "How many at most.", label="Rows", required=True),)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from dagy.errors import NodeConfigError
from dagy.nodes.base import FlowNode
from dagy.nodes.connectors import ANYTHING, ConnectorDef, ConnectorDirection, DataType
from dagy.nodes.definitions import definition_of
from dagy.nodes.metadata import ConfigFieldType, NodeConfigField, NodeMetadata, SelectOption, title


class LibraryNode(FlowNode):
    """A node whose description stands in `about`, `ports` (its connectors) and `fields`."""

    about: ClassVar[NodeMetadata]
    ports: ClassVar[tuple[ConnectorDef, ...]]
    fields: ClassVar[tuple[NodeConfigField, ...]] = ()

    @classmethod
    def metadata(cls) -> NodeMetadata:
        """`about`."""
        return cls.about

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        """`ports`."""
        return list(cls.ports)

    @classmethod
    def config_fields(cls) -> list[NodeConfigField]:
        """`fields`."""
        return list(cls.fields)

    @classmethod
    def requirements(cls, config: Mapping[str, Any]) -> Sequence[str]:
        """What `about` says; where a field chooses whose frames there are, theirs in the place of pandas."""
        definition = definition_of(cls)
        chooses = next((each.id for each in definition.fields if each.id in ("engine", "gives")), None)
        if chooses is None:
            return definition.metadata.requires
        chosen = {"pandas": ["pandas"], "polars": ["polars"], "rows": []}.get(config.get(chooses, ""))
        others = [each for each in definition.metadata.requires if each != "pandas"]
        return [*others, *(["pandas", "polars"] if chosen is None else chosen)]


def inbound(connector_id: str, *types: DataType, name: str = "", **more: Any) -> ConnectorDef:
    """An inbound connector for values of those types, or of any; `more` is what a `ConnectorDef` takes besides."""
    types_or_any = frozenset(types) or ANYTHING
    return ConnectorDef(connector_id, name or title(connector_id), ConnectorDirection.INBOUND, types_or_any, **more)


def outbound(connector_id: str, *types: DataType, name: str = "", **more: Any) -> ConnectorDef:
    """An outbound connector, as `inbound`."""
    types_or_any = frozenset(types) or ANYTHING
    return ConnectorDef(connector_id, name or title(connector_id), ConnectorDirection.OUTBOUND, types_or_any, **more)


def field(
    field_id: str, description: str, kind: ConfigFieldType = ConfigFieldType.STRING, **more: Any
) -> NodeConfigField:
    """A field, of text unless `kind` says otherwise; `more` is what a `NodeConfigField` takes besides."""
    return NodeConfigField(field_id, type=kind, description=description, **more)


def json_field(field_id: str, description: str, **more: Any) -> NodeConfigField:
    """A field of any value that JSON has."""
    return field(field_id, description, ConfigFieldType.JSON, **more)


def count(field_id: str, description: str, *, minimum: int = 0, **more: Any) -> NodeConfigField:
    """A field of a whole number, 0 or more."""
    return field(field_id, description, ConfigFieldType.INTEGER, minimum=minimum, **more)


def flag(field_id: str, description: str, *, default: bool, **more: Any) -> NodeConfigField:
    """A field of true or false."""
    return field(field_id, description, ConfigFieldType.BOOLEAN, default=default, **more)


def choice(field_id: str, description: str, options: Mapping[str, str] | Iterable[str], **more: Any) -> NodeConfigField:
    """A field of one of the options, the first unless something else is chosen; a mapping has their labels."""
    labels = options if isinstance(options, Mapping) else {each: each for each in options}
    choices = tuple(SelectOption(value, text) for value, text in labels.items())
    return field(field_id, description, ConfigFieldType.SELECT, default=choices[0].value, options=choices, **more)


def fault(field_id: str, sentence: str) -> NodeConfigError:
    """The error of one configuration field."""
    return NodeConfigError(sentence, {field_id: sentence})
