"""A node's configuration as a form, made of ipywidgets from the node's fields.

Each field has its input, a line of help and a place for what is wrong with it. What is entered is checked as it
changes, by the node's own rules, and fields come and go with their conditions; nothing waits for the page. A secret is
entered as the name of the environment variable that holds it: no value of one is ever in a widget.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dagy.drawing import markup_line, plain_line
from dagy.errors import MissingExtraError, NodeConfigError
from dagy.nodes import ConfigFieldType, FlowNode, NodeConfigField, Secret, definition_of
from dagy_nb.node_pages import bounds_of, example_of
from dagy_nb.tables import NO_MATH, html_table, text_lines

if TYPE_CHECKING:
    import ipywidgets  # type: ignore[import-untyped]  # it has no types

_HEAD = ("FIELD", "VALUE", "")
# How a problem begins: with what the field shows already.
_VALUE = re.compile(r"'\w+'(?: can't be .* \(\w+\))?: ", re.DOTALL)
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_WIDTH = "min(100%, 640px)"
_LABELS = 180  # pixels for the labels, left of the inputs
_SMALL = f"font-size:12px;line-height:1.4;margin-left:{_LABELS + 8}px"
_HELP = f"{_SMALL};opacity:.75"
_ALARM = f"{_SMALL};color:var(--jp-error-color1, light-dark(#b71c1c, #ff8a80))"
_NOTHING = object()  # what is entered where nothing is


class NodeForm:
    """A form for a node's configuration: `form.node` is the node as it is set now.

    It shows itself where a page draws widgets, and anywhere else as a table of what is set.
    """

    def __init__(
        self,
        cls: type[FlowNode],
        given: Mapping[str, Any] | None = None,
        *,
        is_live: bool = True,
        answered: Callable[[Callable[[], Any]], Any] = lambda action: action(),
    ) -> None:
        """`given` are values to begin with; `answered` calls what may raise a user's mistake, and tells it.

        Raises `NodeConfigError` for values that the node's fields don't take.
        """
        self.cls = cls
        self.fields = {each.id: each for each in definition_of(cls).fields}
        self._given = definition_of(cls).config.read(given or {})
        self._is_live = is_live
        self._answered = answered
        self._inputs: dict[str, ipywidgets.Widget] = {}
        self._rows: dict[str, ipywidgets.Box] = {}
        self._alarms: dict[str, ipywidgets.HTML] = {}
        self._code: ipywidgets.HTML | None = None
        self._touched: set[str] = set()  # the fields that were changed: of others nothing is said to be missing
        self._widget: ipywidgets.Widget | None = None

    @property
    def node(self) -> FlowNode:
        """The node, configured as the form is now. Raises `NodeConfigError`, as a notebook's one line, if it is not."""
        return self._answered(lambda: self._checked()[0])  # type: ignore[no-any-return]  # what the action returns

    @property
    def config(self) -> dict[str, Any]:
        """Every field's value, defaults too. Raises what `node` raises."""
        return dict(self.node.config)

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong, by field; empty when the node can be made."""
        try:
            self._checked()
        except NodeConfigError as error:
            return dict(error.problems) or {"": str(error)}
        return {}

    @property
    def widget(self) -> ipywidgets.Widget:
        """The form as a widget, to be put into others."""
        if self._widget is None:
            self._widget = self._made()
            self._refresh()
        return self._widget

    # -- what is entered

    def _entered(self) -> tuple[dict[str, Any], dict[str, str]]:
        """What each field is set to, and what is wrong with a text that was typed in, by field."""
        found: dict[str, Any] = {}
        wrong: dict[str, str] = {}
        for name, field in self.fields.items():
            try:
                value = self._value(field)
            except ValueError as error:
                wrong[name] = str(error)
                continue
            if value is not _NOTHING:
                found[name] = value
        return found, wrong

    def _value(self, field: NodeConfigField) -> Any:
        """What the field is set to, or `_NOTHING`; `ValueError` with what is wrong with the text that was typed."""
        if field.id not in self._inputs:
            return self._given.get(field.id, _NOTHING if field.default is None else field.default)
        return _read(field, self._inputs[field.id].value)

    def _checked(self) -> tuple[FlowNode, dict[str, Any]]:
        """The node, and the values that it is made of: of the fields that are shown, those that are no defaults."""
        entered, wrong = self._entered()
        shown = definition_of(self.cls).config.visible(entered)
        values = {each.id: entered[each.id] for each in shown if entered.get(each.id, each.default) != each.default}
        mistyped = {each.id: f"{each.id!r}: {wrong[each.id]}" for each in shown if each.id in wrong}
        try:
            made = self.cls(**values)
        except NodeConfigError as error:
            if not mistyped:
                raise
            mistyped = {**error.problems, **mistyped}
        if mistyped:
            told = "; ".join(mistyped.values())
            raise NodeConfigError(f"node {definition_of(self.cls).node_type!r}: {told}", mistyped)
        return made, values

    # -- the widget

    def _made(self) -> ipywidgets.Widget:
        try:
            import ipywidgets
        except ImportError as error:
            raise MissingExtraError("ipywidgets", "notebook", "a node's form") from error
        metadata = definition_of(self.cls).metadata
        head = ipywidgets.HTML(
            f'<div class="{NO_MATH}"><b>{markup_line(metadata.label)}</b> '
            f'<span style="opacity:.75">{markup_line(metadata.description)}</span></div>'
        )
        for name, field in self.fields.items():
            made = _input(field, self._given.get(name, field.default))
            alarm = ipywidgets.HTML()
            parts = [made, alarm]
            if told := _help(field):
                parts.insert(1, ipywidgets.HTML(f'<div style="{_HELP}">{markup_line(told)}</div>'))
            self._inputs[name], self._alarms[name] = made, alarm
            self._rows[name] = ipywidgets.VBox(parts, layout=ipywidgets.Layout(width=_WIDTH, margin="0 0 6px 0"))
            made.observe(lambda _, name=name: self._changed(name), "value")
        self._code = ipywidgets.HTML()
        return ipywidgets.VBox([head, *self._rows.values(), self._code])

    def _changed(self, name: str) -> None:
        self._touched.add(name)
        field, made = self.fields[name], self._inputs[name]
        if field.type is ConfigFieldType.SECRET and made.value and not _ENVIRONMENT_NAME.fullmatch(made.value):
            made.value = ""  # it may be the secret itself, which must not stay in a page
            self._alarms[name].value = _alarm("a secret is entered as the name of an environment variable")
            return
        self._refresh()

    def _refresh(self) -> None:
        """Show and hide fields, and say what is wrong."""
        entered, _ = self._entered()
        shown = {each.id for each in definition_of(self.cls).config.visible(entered)}
        for name, row in self._rows.items():
            row.layout.display = "" if name in shown else "none"
        problems = self.problems
        for name, alarm in self._alarms.items():
            is_told = name in problems and (name in self._touched or name in entered or name in self._given)
            alarm.value = _alarm(_short(name, problems[name])) if is_told else ""
        if self._code is not None:
            self._code.value = self._told(problems)

    def _told(self, problems: Mapping[str, str]) -> str:
        """What is under the form: the node as Python, or the fields that keep it from being one."""
        if problems:
            names = [each.label for name, each in self.fields.items() if name in problems] or problems.values()
            return f'<div style="{_HELP}">to be set: {markup_line(", ".join(names))}</div>'
        _, values = self._checked()
        lines = example_of(self.cls, values).split("\n")
        return f"<pre>{'<br/>'.join(map(markup_line, lines))}</pre>"

    # -- where no page is

    def _table(self) -> list[tuple[str, ...]]:
        problems, (entered, _) = self.problems, self._entered()
        return [
            (
                each.label,
                repr(entered[each.id]) if each.id in entered else "",
                _short(each.id, problems.get(each.id, "")),
            )
            for each in definition_of(self.cls).config.visible(entered)
        ]

    def __repr__(self) -> str:
        title = plain_line(f"{definition_of(self.cls).node_type}: {definition_of(self.cls).metadata.label}")
        return "\n".join([title, *text_lines(_HEAD, self._table())])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        title = markup_line(definition_of(self.cls).metadata.label)
        html = f'<div class="{NO_MATH}"><b>{title}</b>{html_table(_HEAD, self._table())}</div>'
        still = {"text/plain": repr(self), "text/html": html}
        if not self._is_live:
            return still
        made: Mapping[str, Any] = self.widget._repr_mimebundle_()
        return {**made, **still}


def _short(name: str, problem: str) -> str:
    """A problem as it stands beside its field, which need not be named again."""
    return (
        "it needs a value"
        if problem == f"it needs a value for {name!r}"
        else problem[found.end() if (found := _VALUE.match(problem)) else 0 :]
    )


def _help(field: NodeConfigField) -> str:
    """The line below a field's input: what the field is, and what it takes."""
    is_secret = field.type is ConfigFieldType.SECRET
    more = "The name of the environment variable that holds it." if is_secret else bounds_of(field).capitalize()
    return " ".join(filter(None, [field.description, more]))


def _alarm(text: str) -> str:
    return f'<div role="alert" style="{_ALARM}">{markup_line(text)}</div>'


def _input(field: NodeConfigField, value: Any) -> ipywidgets.Widget:
    """The input of a field. Its label is the field's, which ipywidgets binds to the input."""
    import ipywidgets

    common: dict[str, Any] = {
        "description": f"{field.label} *" if field.required else field.label,
        "tooltip": field.description or field.label,
        "style": {"description_width": f"{_LABELS}px"},
        "layout": ipywidgets.Layout(width="auto"),
    }
    match field.type:
        case ConfigFieldType.BOOLEAN:
            return ipywidgets.Checkbox(value=bool(value), **common)
        case ConfigFieldType.SELECT:
            choices = [(each.label, each.value) for each in field.options]  # type: ignore[union-attr]  # all are options
            options = [("", None), *choices] if value is None else choices
            return ipywidgets.Dropdown(options=options, value=value, **common)
        case ConfigFieldType.MULTI_SELECT:
            choices = [(each.label, each.value) for each in field.options]  # type: ignore[union-attr]  # all are options
            return ipywidgets.SelectMultiple(options=choices, value=value or (), rows=min(8, len(choices)), **common)
        case ConfigFieldType.DATE:
            return ipywidgets.DatePicker(value=value, **common)
        case ConfigFieldType.TEXT | ConfigFieldType.CODE | ConfigFieldType.JSON:
            rows = 8 if field.type is ConfigFieldType.CODE else 4
            return ipywidgets.Textarea(value=_typed(field, value), rows=rows, placeholder=_placeholder(field), **common)
        case _:
            return ipywidgets.Text(
                value=_typed(field, value), placeholder=_placeholder(field), continuous_update=True, **common
            )


def _placeholder(field: NodeConfigField) -> str:
    match field.type:
        case ConfigFieldType.SECRET:
            other = "NAME_OF_A_VARIABLE"
        case ConfigFieldType.INTEGER:
            other = "a whole number"
        case ConfigFieldType.NUMBER:
            other = "a number"
        case _:
            other = field.language
    return field.placeholder or other


def _typed(field: NodeConfigField, value: Any) -> str:
    """The text that stands for a value in its input."""
    if value is None:
        return ""
    if isinstance(value, Secret):
        return value.name
    if field.type is ConfigFieldType.JSON:
        return json.dumps(value, ensure_ascii=False, indent=2 if isinstance(value, dict | list) else None)
    return str(value)


def _read(field: NodeConfigField, entered: Any) -> Any:
    """The value that is entered, or `_NOTHING`; whether it fits is the node's to say. May raise `ValueError`."""
    if field.type is ConfigFieldType.BOOLEAN:
        return bool(entered)
    if field.type is ConfigFieldType.MULTI_SELECT:
        return list(entered) if entered or field.default is not None else _NOTHING
    if entered == "" and field.type.is_text and field.default:
        return entered  # it was emptied, and is not the default any more
    if entered is None or entered == "":
        return _NOTHING
    match field.type:
        case ConfigFieldType.SECRET:
            return Secret(entered)
        case ConfigFieldType.INTEGER | ConfigFieldType.NUMBER:
            return _number(field, entered)
        case ConfigFieldType.JSON:
            try:
                return json.loads(entered)
            except ValueError as error:
                raise ValueError(f"not JSON: {error}; a text goes in quotes") from error
        case _:
            return entered


def _number(field: NodeConfigField, text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        kind = "a whole number" if field.type is ConfigFieldType.INTEGER else "a number"
        raise ValueError(f"{text!r} is not {kind}") from None
