"""Text from a template: Jinja's, in its sandbox, in which a name that nothing was given for is an error."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dagy.errors import CodeFailedError, DagyError, MissingExtraError, did_you_mean, sentence, shown
from dagy.nodes.connectors import DataType
from dagy.nodes.execution import ExecutionContext
from dagy.nodes.library.descriptions import LibraryNode, choice, fault, field, inbound, json_field, outbound
from dagy.nodes.metadata import ConfigFieldType, NodeCategory, NodeMetadata

if TYPE_CHECKING:
    import jinja2


class Template(LibraryNode):
    """A text, written with what came in."""

    about = NodeMetadata(
        "template",
        "Template",
        "Fills in a Jinja template. What came in is called 'value', and an object's fields have their "
        "own names, as those of 'values' do. A name that is not there is an error.",
        NodeCategory.TRANSFORM,
        tags=("text", "jinja", "format", "mail", "html"),
        requires=("jinja2",),
    )
    ports = (
        inbound("value", description="An object, or anything else."),
        outbound("result", DataType.STRING, name="Text"),
    )
    fields = (
        field(
            "template",
            "Text, with names in {{ }} and loops and conditions in {% %}.",
            ConfigFieldType.CODE,
            required=True,
            language="jinja2",
            placeholder="{{ name }} has {{ items | length }} items.",
        ),
        json_field("values", "An object: its fields' names.", label="More values"),
        choice(
            "autoescape",
            "Where the text goes: in HTML what comes in must not be read as markup.",
            {"none": "nothing", "html": "HTML and XML"},
            label="Escape for",
        ),
    )

    def __init__(self, /, **config: Any) -> None:
        super().__init__(**config)
        if isinstance(self.config["template"], str):  # and not an output of a task, which is there when the flow runs
            _compiled(self.config["template"], escapes=False)

    def execute(self, context: ExecutionContext) -> object:
        config, value = context.config, context.get_upstream_data("value", default=None)
        values = config["values"] or {}
        if not isinstance(values, Mapping):
            raise fault("values", f"'values' is {shown(values)}; give an object, whose fields' names the template has")
        named = {"value": value, **(value if isinstance(value, Mapping) else {}), **values}
        template = _compiled(config["template"], escapes=config["autoescape"] == "html")
        return _filled_in(template, named)


@functools.lru_cache(maxsize=128)
def _compiled(text: str, *, escapes: bool) -> jinja2.Template:
    """The template; `NodeConfigError` with the line when it is written wrong."""
    try:
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise MissingExtraError("jinja2", "nodes", "the node 'template'") from error
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, autoescape=escapes, keep_trailing_newline=True
    )
    try:
        return environment.from_string(text)
    except jinja2.TemplateSyntaxError as error:
        raise fault("template", f"line {error.lineno} of the template: {error.message}") from error


def _filled_in(template: jinja2.Template, named: Mapping[str, Any]) -> str:
    """The text; `NodeConfigError` for a name that is not there, with the line and a name that may be meant."""
    import jinja2

    try:
        return template.render(named)
    except DagyError:
        raise
    except Exception as error:
        where = f"line {_line(error)} of the template"
        if not isinstance(error, jinja2.TemplateError):
            raise CodeFailedError(f"{where}: {sentence(error)}") from error
        name = next((each for each in str(error).split("'")[1::2] if each not in named), "")
        hint = did_you_mean(name, map(str, named)) or f"; there are {', '.join(map(repr, named))}"
        raise fault("template", f"{where}: {error}{hint}") from error


def _line(error: Exception) -> int | None:
    """Where in the template it was raised: Jinja writes the template's own lines into the traceback."""
    lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == "<template>"]
    return lines[-1] if lines else None
