"""`@node`: which parameters become fields, which become connectors, and what the class does."""

from __future__ import annotations

import asyncio
import datetime
from typing import Literal

import pandas as pd
import pytest

from dagy import flow, task
from dagy.errors import ConnectorError, DefinitionError, NodeConfigError
from dagy.nodes import (
    ConnectionCardinality,
    ConnectorDef,
    ConnectorDirection,
    DataType,
    ExecutionContext,
    NodeConfigField,
    Secret,
    definition_of,
    node,
    node_registry,
)
from dagy.nodes.connectors import type_names


@pytest.fixture(autouse=True)
def _own_registry():
    with node_registry.isolated() as registry:
        registry.clear()
        yield


def told(cls: type) -> dict[str, str]:
    """What each connector and field is: {"rows": "LIST", "limit": "integer"}."""
    definition = definition_of(cls)
    return {
        **{each.id: type_names(each.data_types) + ("" if each.required else "?") for each in definition.inbound},
        **{each.id: str(each.type) + ("!" if each.required else "") for each in definition.fields},
        **{f"-> {each.id}": type_names(each.data_types) for each in definition.outbound},
    }


class TestWhatItsParametersBecome:
    def test_what_has_a_plain_default_is_a_field_and_the_rest_comes_in(self):
        @node
        def clean(
            rows: list[dict],
            anything,
            more: list | None = None,
            other: pd.DataFrame | None = None,
            limit: int = 10,
            share: float = 0.5,
            name: str = "x",
            strict: bool = False,
            label: str | None = None,
            day: datetime.date | None = None,
            mode: Literal["a", "b"] = "a",
            maybe: Literal["a", "b"] | None = None,
            guess=3,
            free=None,
        ) -> dict[str, int]:
            return {}

        assert told(clean) == {
            "rows": "LIST", "anything": "ANY", "more": "LIST or NULL?", "other": "DATAFRAME or NULL?",
            "limit": "integer", "share": "number", "name": "string", "strict": "boolean", "label": "string",
            "day": "date", "mode": "select", "maybe": "select", "guess": "integer", "free": "json",
            "-> result": "OBJECT",
        }  # fmt: skip

    def test_config_makes_a_parameter_a_field_whatever_its_default(self):
        fields = [NodeConfigField("code", type="code", language="sql", required=True), "columns", "limit"]

        @node(config=fields)
        def query(frame: pd.DataFrame, code: str, columns: list, limit: int):
            return frame

        assert told(query) == {
            "frame": "DATAFRAME", "code": "code!", "columns": "json!", "limit": "integer!", "-> result": "ANY",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("port", "expected"),
        [
            (DataType.DATAFRAME, "DATAFRAME"),
            ("dataframe", "DATAFRAME"),
            ({"json", "bytes"}, "BYTES or JSON"),
            (pd.DataFrame, "DATAFRAME"),
            (int | None, "INTEGER or NULL"),
        ],
    )
    def test_inputs_and_outputs_say_what_passes(self, port, expected):
        @node(inputs={"limit": port}, outputs={"out": port})
        def clean(limit: int = 3):
            return limit

        assert told(clean) == {"limit": f"{expected}?", "-> out": expected}

    def test_a_whole_connector_may_be_given(self):
        many = ConnectorDef("frames", "Frames", "inbound", "integer", cardinality="one_or_many")

        @node(inputs={"frames": many})
        def total(frames) -> int:
            return sum(frames)

        assert definition_of(total).inbound == (many,)
        assert total()([1, 2]) == 3

    def test_metadata_comes_from_the_function_or_the_options(self):
        @node
        def read_text(path: str = "") -> str:
            """Read a text."""
            return path

        @node(node_type="mine", label="Mine", category="code", version="2", icon="x", tags=["a"], requires=["pandas"])
        def other():
            return None

        assert definition_of(read_text).metadata.node_type == "read_text"
        assert definition_of(read_text).metadata.label == "Read text"
        assert definition_of(read_text).metadata.description == "Read a text."
        metadata = definition_of(other).metadata
        assert (metadata.node_type, metadata.label, metadata.category) == ("mine", "Mine", "code")
        assert (metadata.version, metadata.icon, metadata.tags, metadata.requires) == ("2", "x", ("a",), ("pandas",))
        assert (read_text.__module__, read_text.__qualname__) == (__name__, read_text.function.__qualname__)


class TestWhatItDoes:
    def test_it_is_used_as_any_node(self):
        @node(retries=2)
        def first(rows: list, limit: int = 10) -> list:
            return rows[:limit]

        @task
        def load() -> list:
            return [1, 2, 3]

        @flow
        def some(limit: int):
            return first(limit=limit)(load())

        assert first(limit=2)([1, 2, 3]) == [1, 2]
        assert some(limit=1) == [1]
        assert some.spec.tasks[1].options.retries == 2

    def test_an_async_function_is_an_async_node(self):
        @node
        async def later(value: int) -> int:
            await asyncio.sleep(0)
            return value + 1

        @flow
        def run():
            return later()(1)

        assert run() == later()(1) == 2

    def test_several_outputs_are_returned_as_a_dict(self):
        left_out = ConnectorDef("no", "", "outbound", required=False)

        @node(outputs={"yes": "list", "no": left_out})
        def split(rows: list):
            return {"yes": rows}

        @flow
        def run():
            return split()([1])["yes"]

        assert run() == [1]

    def test_an_output_left_out_that_must_be_given_is_refused_with_what_lets_it_be_left_out(self):
        def split(rows: list):
            return {"yes": rows}

        with pytest.raises(ConnectorError, match="must give a value at 'no', and gave none") as refused:
            node(outputs={"yes": "list", "no": "list"})(split)()([1])
        remedy = str(refused.value).partition("outputs=")[2]
        told = (ConnectorDef, ConnectorDirection, ConnectionCardinality)
        outputs = eval(remedy, {each.__name__: each for each in told})  # what the message says to write
        kind = node(node_type="split_so", outputs={"yes": "list", **outputs})(split)
        assert flow(name="run")(lambda: kind()([1])["yes"])() == [1]

    def test_a_function_that_returns_nothing_gives_nothing(self):
        calls = []

        @node
        def send(rows: list) -> None:
            calls.append(rows)

        @node(outputs={})
        def send_too(rows: list):
            return "ignored"

        assert definition_of(send).outbound == definition_of(send_too).outbound == ()
        assert send()([1]) is send_too()([1]) is None
        assert calls == [[1]]

    def test_context_and_secrets_come_by_annotation(self, monkeypatch):
        monkeypatch.setenv("API_TOKEN", "hunter2")

        @node
        def fetch(context: ExecutionContext, token: Secret, path: str = "/") -> str:
            return f"{token} {path} {context.config['path']}"

        assert fetch(token=Secret("API_TOKEN"))() == "hunter2 / /"
        with pytest.raises(NodeConfigError, match="it needs a value for 'token'"):
            fetch()

    def test_what_does_not_come_in_is_the_functions_default(self):
        @node
        def join(one: list, other: list = (), *, third: list | None = None) -> list:
            return [one, other, third]

        assert join()([1]) == [[1], (), None]
        assert join()([1], third=[3]) == [[1], (), [3]]

    def test_its_result_is_checked(self):
        @node
        def count(rows: list) -> int:
            return str(len(rows))

        with pytest.raises(ConnectorError, match="at 'result' passes INTEGER, and '1' "):
            count()([1])


class TestWhatHasNoMeaning:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"nod_type": "x"}, "@node has no option 'nod_type'; did you mean 'node_type'?"),
            ({"retires": 2}, "did you mean 'retries'?"),
            ({"retries": -1}, "retries"),
            ({"config": ["row"]}, "config names 'row', which is no parameter of it; did you mean 'rows'?"),
            ({"inputs": {"row": int}}, "inputs names 'row', which is no parameter"),
            ({"outputs": {"x": "frames"}}, "there is no data type 'frames'"),
            ({"outputs": {"x": ConnectorDef("y", "", "outbound")}}, "at 'x' there is the outbound connector 'y'"),
            ({"inputs": {"rows": ConnectorDef("rows", "", "outbound")}}, "give each under its id"),
            ({"category": "transfrom"}, "did you mean 'transform'"),
        ],
    )
    def test_an_option_is_refused(self, options, message):
        with pytest.raises(DefinitionError) as caught:

            @node(**options)
            def clean(rows: list):
                return rows

        assert message in str(caught.value)

    def test_a_function_that_can_not_be_a_node_is_refused(self):
        def many(*rows):
            return rows

        def stream(rows):
            yield rows

        for function, message in [
            (many, r"'\*rows' can't be a connector"),
            (stream, "is a generator"),
            (lambda: 1, "needs a name"),
            (3, "goes above a function, not above 3"),
        ]:
            with pytest.raises(DefinitionError, match=message):
                node(function)
