"""A node's configuration: what is taken, what is converted, what is refused, and that three forms of it agree."""

from __future__ import annotations

import datetime

import jsonschema
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy import flow, task
from dagy.errors import DefinitionError, MissingSecretError, NodeConfigError
from dagy.nodes.config import ConfigFields, Secret, config_model, config_schema, missing, written
from dagy.nodes.metadata import ConfigFieldType, NodeConfigField, SelectOption

TYPE = ConfigFieldType


def field(field_id: str, kind: str = "string", **options: object) -> NodeConfigField:
    return NodeConfigField(field_id, type=TYPE(kind), **options)


def checked(fields: list[NodeConfigField], **values: object) -> dict[str, object]:
    return ConfigFields("load", fields).checked(values)


def refusal(fields: list[NodeConfigField], **values: object) -> str:
    with pytest.raises(NodeConfigError) as caught:
        checked(fields, **values)
    return str(caught.value)


WRITING = [
    field("mode", "select", options=["append", "replace", "merge"], default="append"),
    field("key", required=True, visible_when={"mode": "merge"}),
    field("order", "select", options=["first", "last"], required=True, visible_when={"mode": ["merge", "replace"]}),
]


PICKING = ConfigFields(
    "pick",
    [
        field("limit", "integer", minimum=1, maximum=9),
        field("name", pattern="^[a-m]"),
        field("mode", "select", options=["a", "b", 0.5], default="a"),
        field("tags", "multi_select", options=["a", "b"]),
        field("share", "number", maximum=1),
    ],
)
PICKING_SCHEMA = jsonschema.Draft202012Validator(config_schema(PICKING.fields))


class TestValues:
    @pytest.mark.parametrize(
        ("kind", "options", "given", "expected"),
        [
            ("string", {}, "text", "text"),
            ("string", {"pattern": "^a"}, "abc", "abc"),
            ("text", {}, "two\nlines", "two\nlines"),
            ("code", {"language": "python"}, "x = 1", "x = 1"),
            ("number", {}, 1.5, 1.5),
            ("number", {}, "2.5", 2.5),
            ("number", {}, "3", 3),
            ("integer", {"minimum": 0, "maximum": 10}, 10, 10),
            ("integer", {}, "7", 7),
            ("boolean", {}, True, True),
            ("boolean", {}, "true", True),
            ("select", {"options": ["a", "b"]}, "b", "b"),
            ("select", {"options": [1, None]}, 1, 1),
            ("multi_select", {"options": ["a", "b"]}, ["b", "a"], ["b", "a"]),
            ("json", {}, {"a": [1, None]}, {"a": [1, None]}),
            ("date", {}, datetime.date(2026, 1, 31), datetime.date(2026, 1, 31)),
            ("date", {}, "2026-01-31", datetime.date(2026, 1, 31)),
            ("secret", {}, Secret("TOKEN"), Secret("TOKEN")),
            ("secret", {}, {"$secret": "TOKEN"}, Secret("TOKEN")),
        ],
    )
    def test_a_value_that_fits_is_taken(self, kind, options, given, expected):
        found = checked([field("x", kind, **options)], x=given)["x"]
        assert (type(found), found) == (type(expected), expected)

    @pytest.mark.parametrize(
        ("kind", "options", "given", "message"),
        [
            ("string", {}, 5, "'x' can't be 5 (int): input should be a valid string"),
            ("string", {"pattern": "^a$"}, "b", "'x' can't be 'b' (str): string should match pattern '^a$'"),
            ("number", {}, "many", "'x' can't be 'many' (str)"),
            ("number", {}, True, "'x' can't be True (bool): it is a number"),
            ("number", {}, float("nan"), "finite"),
            ("integer", {}, 1.5, "'x' can't be 1.5 (float)"),
            ("integer", {"minimum": 1}, 0, "greater than or equal to 1"),
            ("integer", {"maximum": 9}, 10, "less than or equal to 9"),
            ("boolean", {}, "maybe", "'x' can't be 'maybe' (str)"),
            ("select", {"options": ["append", "replace"]}, "apend", "it is one of 'append', 'replace'; did you mean"),
            ("select", {"options": [1, 2]}, True, "it is one of 1, 2"),
            ("multi_select", {"options": ["a", "b"]}, ["a", "c"], "at [1]: it is one of 'a', 'b'"),
            ("json", {}, {1, 2}, "'x' can't be {1, 2} (set)"),
            ("date", {}, "31.1.2026", "'x' can't be '31.1.2026' (str)"),
        ],
    )
    def test_a_value_that_does_not_fit_is_refused_by_name(self, kind, options, given, message):
        told = refusal([field("x", kind, **options)], x=given)
        assert message in told
        assert told.startswith("node 'load': ")

    def test_what_is_left_out_has_its_default(self):
        fields = [field("limit", "integer", default=10), field("name")]
        assert checked(fields) == checked(fields, limit=None) == {"limit": 10, "name": None}

    def test_a_default_that_can_be_changed_is_each_ones_own(self):
        fields = ConfigFields("load", [field("columns", "json", default=["a"])])
        fields.checked({})["columns"].append("b")
        assert fields.checked({}) == {"columns": ["a"]}

    def test_every_problem_is_told_at_once(self):
        fields = [field("path", required=True), field("limit", "integer"), field("delimiter")]
        with pytest.raises(NodeConfigError) as caught:
            checked(fields, limit="x", delimeter=",")
        assert list(caught.value.problems) == ["limit", "delimeter", "path"]
        assert "did you mean 'delimiter'" in caught.value.problems["delimeter"]
        assert str(caught.value).count("\n  - ") == 3

    @pytest.mark.parametrize("given", [{}, {"path": None}, {"path": ""}])
    def test_what_is_required_needs_a_value(self, given):
        assert "it needs a value for 'path'" in refusal([field("path", required=True)], **given)


class TestConditions:
    @pytest.mark.parametrize(
        ("given", "missing"),
        [
            ({}, []),
            ({"mode": "append"}, []),
            ({"mode": "replace"}, ["order"]),
            ({"mode": "merge"}, ["key", "order"]),
            ({"mode": "merge", "key": "id", "order": "last"}, []),
            ({"mode": "merge", "key": "", "order": "last"}, ["key"]),
        ],
    )
    def test_a_field_is_required_only_where_it_is_visible(self, given, missing):
        try:
            problems = []
            checked(WRITING, **given)
        except NodeConfigError as error:
            problems = list(error.problems)
        assert problems == missing

    @pytest.mark.parametrize("mode", [None, "append", "replace", "merge"])
    @pytest.mark.parametrize("key", [None, "", "id"])
    @pytest.mark.parametrize("order", [None, "last"])
    def test_model_and_schema_say_the_same_as_the_check(self, mode, key, order):
        given = {name: each for name, each in {"mode": mode, "key": key, "order": order}.items() if each is not None}

        def is_taken(check, error):
            try:
                check()
            except error:
                return False
            return True

        model, schema = config_model(WRITING, "Writing"), config_schema(WRITING)
        by_check = is_taken(lambda: checked(WRITING, **given), NodeConfigError)
        assert by_check is is_taken(lambda: model.model_validate(given), pydantic.ValidationError)
        assert by_check is is_taken(lambda: jsonschema.validate(given, schema), jsonschema.ValidationError)

    def test_what_an_invisible_field_shows_is_invisible_too(self):
        fields = [
            field("a", "boolean", default=False),
            field("b", "boolean", default=True, visible_when={"a": True}),
            field("c", required=True, visible_when={"b": True}),
        ]
        assert checked(fields)["c"] is None
        assert "'c'" in refusal(fields, a=True)

    @pytest.mark.parametrize(("level", "is_required"), [(1, True), (1.0, True), (True, False), (2, False)])
    def test_values_are_compared_as_json_has_them(self, level, is_required):
        fields = [field("level", "json"), field("key", required=True, visible_when={"level": 1})]
        assert list(missing(fields, {"level": level, "key": None})) == (["key"] if is_required else [])

    @pytest.mark.parametrize("name", ["later", "modes"])
    def test_a_condition_names_a_field_that_stands_before(self, name):
        with pytest.raises(DefinitionError, match=f"'{name}' must be a field that stands before it"):
            ConfigFields("load", [field("mode"), field("x", visible_when={name: "a"}), field("later")])


class TestReferences:
    def test_what_is_there_only_when_the_flow_runs_is_passed_on(self):
        seen = {}

        @task
        def place():
            return "a.csv"

        @flow
        def loading(limit: int):
            fields = [field("path", required=True), field("limit", "integer"), field("more", "json")]
            given = {"path": place(), "limit": limit, "more": [place()]}
            seen["same"] = {name: each is given[name] for name, each in checked(fields, **given).items()}

        _ = loading.spec
        assert seen["same"] == {"path": True, "limit": True, "more": True}

    def test_what_depends_on_one_is_asked_for_when_it_is_known(self):
        seen = {}

        @flow
        def writing(mode: str):
            seen["key"] = checked(WRITING, mode=mode)["key"]

        _ = writing.spec
        assert seen == {"key": None}


class TestSecrets:
    def test_a_secret_is_never_written_down(self):
        told = refusal([field("password", "secret")], password="hunter2")
        assert "hunter2" not in told
        assert 'password=Secret("PASSWORD")' in told

    def test_nor_by_the_model(self):
        with pytest.raises(pydantic.ValidationError) as caught:
            config_model([field("password", "secret")], "Login").model_validate({"password": "hunter2"})
        assert "hunter2" not in str(caught.value)

    def test_its_text_is_looked_up_when_it_is_asked_for(self, monkeypatch):
        secret = Secret("WAREHOUSE_URL")
        monkeypatch.setenv("WAREHOUSE_URL", "postgres://me:hunter2@host")
        assert secret.value() == "postgres://me:hunter2@host"
        assert repr(secret) == "Secret(name='WAREHOUSE_URL')"
        monkeypatch.delenv("WAREHOUSE_URL")
        with pytest.raises(MissingSecretError, match="set the environment variable"):
            secret.value()

    def test_its_name_is_that_of_a_variable(self):
        with pytest.raises(DefinitionError, match="the name of an environment variable"):
            Secret("postgres://host?password=hunter2")

    @pytest.mark.parametrize("value", [Secret("TOKEN"), datetime.date(2026, 1, 31), "text", [1]])
    def test_what_is_written_is_taken_back(self, value):
        kind = {Secret: "secret", datetime.date: "date"}.get(type(value), "json")
        assert checked([field("x", kind)], x=written(value))["x"] == value


class TestModelAndSchema:
    def test_the_model_gives_what_the_check_gives(self):
        fields = [field("limit", "integer", default=10), field("copy", "boolean"), field("_from", required=True)]
        model = config_model(fields, "Load").model_validate({"_from": "x", "copy": "yes"})
        assert model.model_dump(by_alias=True) == checked(fields, _from="x", copy="yes")

    def test_the_schema_says_what_a_form_needs(self):
        schema = config_schema(
            [
                NodeConfigField("path", "File", required=True, description="Where it is."),
                field("limit", "integer", minimum=1, maximum=9, default=5),
                field("mode", "select", options=[SelectOption("a", "First"), "b"], required=True),
                field("token", "secret"),
            ],
            "Load",
        )
        assert schema["title"] == "Load"
        assert schema["required"] == ["path", "mode"]
        assert schema["properties"]["path"] == {
            "title": "File", "description": "Where it is.", "minLength": 1, "type": "string",
        }  # fmt: skip
        assert schema["properties"]["limit"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 9}
        assert schema["properties"]["mode"]["enum"] == ["a", "b"]
        assert schema["properties"]["token"]["anyOf"][0]["required"] == ["$secret"]
        jsonschema.Draft202012Validator.check_schema(schema)

    @given(
        st.dictionaries(
            st.sampled_from(["limit", "name", "mode", "tags", "share"]),
            st.one_of(st.none(), st.booleans(), st.integers(0, 12), st.sampled_from(["a", "c", 0.5, ["a"], ["z"]])),
        )
    )
    def test_what_the_schema_takes_the_check_takes(self, values):
        if PICKING_SCHEMA.is_valid(values):
            left_out = {name for name, each in values.items() if each is None}
            given = {name: each for name, each in values.items() if name not in left_out}
            assert PICKING.checked(values) == {**PICKING.checked({}), **given}


def test_a_required_field_may_be_given_what_is_there_only_when_the_flow_runs():
    seen = []

    @task
    def text():
        return "hello"

    @flow
    def telling():
        seen.append(checked([field("template", required=True)], template=text()))

    _ = telling.spec
    assert len(seen) == 1


def test_a_default_fits_its_field():
    assert checked([field("day", "date", default="2026-01-31")]) == {"day": datetime.date(2026, 1, 31)}
    with pytest.raises(DefinitionError, match="node 'load': the default of 'limit' can't be 'ten'"):
        ConfigFields("load", [field("limit", "integer", default="ten")])
