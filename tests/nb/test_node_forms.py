"""A node's form: what is entered becomes the node, what is wrong is told at its field, and secrets stay out of it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

import pytest

from dagy.errors import NodeConfigError
from dagy.nodes import ConfigFieldType, FlowNode, NodeConfigField, Secret, node, node_registry
from dagy_nb.node_forms import NodeForm
from tests.nb.conftest import NotebookShell, RecordingComm

FIELDS = [
    NodeConfigField("path", "Where to", required=True, description="A file", pattern=r"\.csv$"),
    NodeConfigField("mode", type=ConfigFieldType.SELECT, options=["append", "replace"], default="append"),
    NodeConfigField("key", "Key column", required=True, visible_when={"mode": "replace"}),
    NodeConfigField("share", type=ConfigFieldType.NUMBER, minimum=0, maximum=1),
    NodeConfigField("rows", type=ConfigFieldType.INTEGER, default=10),
    NodeConfigField("index", type=ConfigFieldType.BOOLEAN, default=False),
    NodeConfigField("some", type=ConfigFieldType.MULTI_SELECT, options=["a", "b", "c"]),
    NodeConfigField("token", type=ConfigFieldType.SECRET),
    NodeConfigField("body", type=ConfigFieldType.CODE, language="sql"),
    NodeConfigField("note", type=ConfigFieldType.TEXT, default="hello"),
    NodeConfigField("extra", type=ConfigFieldType.JSON),
    NodeConfigField("day", type=ConfigFieldType.DATE),
]


@pytest.fixture
def cls(comms: list[RecordingComm]) -> Iterator[type[FlowNode]]:
    """A node with a field of every type; pages are recorded."""

    def save(table: Any, path: Any, mode: Any, key: Any, share: Any, rows: Any, index: Any, some: Any, token: Any,
             body: Any, note: Any, extra: Any, day: Any) -> Any:  # fmt: skip
        return table

    with node_registry.isolated():
        yield node(config=FIELDS)(save)


def entered(form: NodeForm, **values: Any) -> NodeForm:
    """The form after somebody has filled it in."""
    assert form.widget is not None
    for name, value in values.items():
        form._inputs[name].value = value
    return form


def alarm(form: NodeForm, field: str) -> str:
    return str(form._alarms[field].value)


def test_every_type_of_field_is_entered_and_becomes_the_nodes(cls: type[FlowNode]) -> None:
    form = entered(
        NodeForm(cls),
        path="out.csv",
        mode="replace",
        key="id",
        share="0.5",
        rows="7",
        index=True,
        some=("a", "c"),
        token="API_TOKEN",
        body="select 1",
        note="two\nlines",
        extra='{"a": [1, null]}',
        day=datetime.date(2026, 1, 31),
    )
    assert isinstance(form.node, cls)
    assert form.node.given == {
        "path": "out.csv",
        "mode": "replace",
        "key": "id",
        "share": 0.5,
        "rows": 7,
        "index": True,
        "some": ["a", "c"],
        "token": Secret("API_TOKEN"),
        "body": "select 1",
        "note": "two\nlines",
        "extra": {"a": [1, None]},
        "day": datetime.date(2026, 1, 31),
    }


def test_defaults_are_there_from_the_start_and_are_not_written_out(cls: type[FlowNode]) -> None:
    form = entered(NodeForm(cls), path="out.csv")
    assert form.node.given == {"path": "out.csv"}
    assert (form.config["mode"], form.config["rows"], form.config["note"]) == ("append", 10, "hello")


def test_a_field_comes_with_its_condition_and_goes_again(cls: type[FlowNode]) -> None:
    form = entered(NodeForm(cls), path="out.csv")
    assert form._rows["key"].layout.display == "none"
    entered(form, mode="replace")
    assert form._rows["key"].layout.display == ""
    assert [*form.problems] == ["key"]
    entered(form, mode="append")
    assert form._rows["key"].layout.display == "none"
    assert form.problems == {}


def test_a_field_goes_with_the_field_that_it_depends_on() -> None:
    fields = [
        NodeConfigField("deep", type=ConfigFieldType.BOOLEAN, default=False),
        NodeConfigField("how", default="near", visible_when={"deep": True}),
        NodeConfigField("far", visible_when={"how": "far"}),
    ]

    def searched(deep: bool, how: str, far: str) -> None: ...

    with node_registry.isolated():
        made = node(config=fields)(searched)
    form = NodeForm(made, {"deep": True, "how": "far", "far": "x"}, is_live=False)
    assert len(form._table()) == 3
    assert len(NodeForm(made, {"deep": False, "how": "far", "far": "x"}, is_live=False)._table()) == 1


def test_a_field_that_is_not_shown_is_not_passed_on(cls: type[FlowNode]) -> None:
    form = entered(NodeForm(cls), path="out.csv", mode="replace", key="id")
    entered(form, mode="append")
    assert form.node.given == {"path": "out.csv"}


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("path", "out.txt", ">string should match pattern"),  # the field itself and its value need not be told
        ("share", "1.5", "less than or equal to 1<"),
        ("share", "half", "&#x27;half&#x27; is not a number"),
        ("rows", "1.5", "a valid integer"),
        ("extra", "{", "not JSON"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(cls: type[FlowNode], field: str, value: str, told: str) -> None:
    form = entered(NodeForm(cls, {"path": "a.csv"}), **{field: value})
    assert [*form.problems] == [field]
    assert told in alarm(form, field)
    assert 'role="alert"' in alarm(form, field)
    with pytest.raises(NodeConfigError):
        _ = form.node
    assert [name for name in form.fields if name != field and alarm(form, name)] == []


def test_all_that_is_wrong_is_told_at_once(cls: type[FlowNode]) -> None:
    form = entered(NodeForm(cls), rows="x", path="a.txt", mode="replace")
    assert sorted(form.problems) == ["key", "path", "rows"]
    assert [name for name in form.fields if alarm(form, name)] == ["path", "rows"]
    assert form._code is not None
    assert "to be set: Where to, Key column, Rows<" in form._code.value


def test_nothing_is_said_to_be_missing_before_something_is_entered(cls: type[FlowNode]) -> None:
    form = NodeForm(cls)
    assert form.widget is not None
    assert [*form.problems] == ["path"]
    assert alarm(form, "path") == ""
    entered(entered(form, path="x.csv"), path="")
    assert alarm(form, "path") != ""


def test_a_text_that_is_emptied_is_not_its_default(cls: type[FlowNode]) -> None:
    assert entered(NodeForm(cls, {"path": "a.csv"}), note="").node.config["note"] == ""


def test_no_value_of_a_secret_reaches_a_page(
    cls: type[FlowNode], comms: list[RecordingComm], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "s3cr3t-v4lue")
    form = entered(NodeForm(cls, {"path": "a.csv", "token": Secret("API_TOKEN")}), rows="3")
    shown = json.dumps([each.sent for each in comms]) + repr(form) + str(form._repr_mimebundle_())
    assert "API_TOKEN" in shown
    assert "s3cr3t-v4lue" not in shown


def test_a_secret_that_is_typed_in_itself_is_taken_out_again(cls: type[FlowNode]) -> None:
    form = entered(NodeForm(cls, {"path": "a.csv"}), token="sk-12/34")
    assert form._inputs["token"].value == ""
    assert "the name of an environment variable" in alarm(form, "token")
    assert "sk-12" not in str(form._repr_mimebundle_())


def test_every_input_has_its_fields_label(cls: type[FlowNode]) -> None:
    form = NodeForm(cls)
    assert form.widget is not None
    labels = {name: each.description.removesuffix(" *") for name, each in form._inputs.items()}
    assert labels == {name: each.label for name, each in form.fields.items()}
    assert form._inputs["path"].description == "Where to *"


def test_under_the_form_stands_the_node_as_python(cls: type[FlowNode]) -> None:
    form = entered(NodeForm(cls), path="a.csv")
    assert form._code is not None
    assert "table = " not in form._code.value
    assert "save(path=&#x27;a.csv&#x27;)(table=table)" in form._code.value


def test_a_form_begins_with_what_a_node_has(cls: type[FlowNode]) -> None:
    form = NodeForm(cls, cls(path="a.csv", share=0.25, some=["b"], day=datetime.date(2026, 2, 1)).given)
    assert form.widget is not None
    assert (form._inputs["share"].value, form._inputs["some"].value) == ("0.25", ("b",))
    assert form.node.given == {"path": "a.csv", "share": 0.25, "some": ["b"], "day": datetime.date(2026, 2, 1)}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"mode": "apend"}, "did you mean 'append'?"),
        ({"some": 5}, "a valid list"),
        ({"extra": {1}}, "a valid JSON value"),
        ({"token": "s3cr3t/v4lue"}, "put it into an environment variable"),
    ],
)
def test_a_form_begins_with_nothing_that_the_node_would_refuse(
    cls: type[FlowNode], comms: list[RecordingComm], given: dict[str, Any], told: str
) -> None:
    with pytest.raises(NodeConfigError) as raised:
        NodeForm(cls, given)
    assert told in str(raised.value)
    assert "s3cr3t" not in str(raised.value)
    assert comms == []


def test_a_value_to_begin_with_means_what_it_means_to_the_node(cls: type[FlowNode]) -> None:
    form = NodeForm(cls, {"path": "a.csv", "index": "true", "day": "2026-01-31", "token": {"$secret": "TOKEN"}})
    assert form.widget is not None
    assert form._inputs["index"].value is True
    assert form.node.given["day"] == datetime.date(2026, 1, 31)
    assert form.node.given["token"] == Secret("TOKEN")


def test_without_a_page_the_form_is_a_table(cls: type[FlowNode], comms: list[RecordingComm]) -> None:
    bundle = NodeForm(cls, {"path": "a.csv"}, is_live=False)._repr_mimebundle_()
    assert sorted(bundle) == ["text/html", "text/plain"]
    assert "'a.csv'" in bundle["text/plain"]
    assert comms == []


def test_a_page_gets_the_widget_and_the_table(cls: type[FlowNode]) -> None:
    bundle = NodeForm(cls)._repr_mimebundle_()
    assert sorted(bundle) == ["application/vnd.jupyter.widget-view+json", "text/html", "text/plain"]


def test_a_notebooks_form_tells_its_mistakes_in_one_line(notebook: NotebookShell) -> None:
    with node_registry.isolated():
        notebook.ok("%%dagy_node save --config path:string\nrows.save(path)")
        notebook.ok("form = %dagy_nodes save --form")
        told = notebook.fails("form.node")
        assert "Traceback" not in told
        assert "path" in told
        notebook.ok("import dagy_nb\nform = dagy_nb.node_form(save, path='x')")
        assert notebook.ok("form.config").value == {"path": "x"}
        assert "has no field 'pth'; did you mean 'path'?" in notebook.fails("dagy_nb.node_form(save, pth='x')")
