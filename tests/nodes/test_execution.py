"""What a node is given when it is executed, and what it gives back."""

from __future__ import annotations

import asyncio
import logging

import pytest

from dagy import flow, task
from dagy.engine import RunOptions, TaskWrote, start
from dagy.errors import ConnectorError, DefinitionError, SkipTask
from dagy.nodes import ExecutionContext, ExecutionResult, FlowNode, NodeState
from dagy.nodes.connectors import ConnectorDef, ConnectorDirection
from dagy.nodes.execution import by_hand, masked
from dagy.nodes.metadata import NodeMetadata
from dagy.nodes.registry import node_registry

IN, OUT = ConnectorDirection.INBOUND, ConnectorDirection.OUTBOUND


@pytest.fixture(autouse=True)
def _own_registry():
    with node_registry.isolated():
        yield


class TestAContextByItself:
    def test_it_has_what_it_was_given(self):
        context = ExecutionContext(
            {"rows": [1]}, config={"limit": 2}, node_id="load", run_id="r1", flow_name="etl", attempt=3, item=4,
            parameters={"city": "Bern"}, secrets={"token": "t"},
        )  # fmt: skip
        assert context.get_upstream_data("rows") == [1]
        assert (context.config, context.secrets, context.parameters) == ({"limit": 2}, {"token": "t"}, {"city": "Bern"})
        assert (context.node_id, context.run_id, context.flow_name) == ("load", "r1", "etl")
        assert (context.attempt, context.item) == (3, 4)

    def test_what_is_left_out_is_nothing(self):
        context = ExecutionContext()
        assert (context.node_id, context.run_id, context.flow_name, context.item) == ("", "", "", None)
        assert (context.attempt, context.parameters, context.config, context.secrets) == (1, {}, {}, {})

    def test_what_did_not_come_in_is_an_error_or_the_default(self):
        context = ExecutionContext({"rows": [1]})
        assert context.get_upstream_data("other", default=None) is None
        with pytest.raises(ConnectorError, match="nothing came in at 'other'; what came in: 'rows'"):
            context.get_upstream_data("other")

    def test_its_folder_is_there_when_it_is_asked_for_and_gone_when_it_is_closed(self):
        context = ExecutionContext()
        folder = context.temp_dir
        assert folder.is_dir()
        assert context.temp_dir == folder
        context.close()
        assert not folder.exists()


class Asking(FlowNode):
    """Gives what `question(context)` says."""

    question = staticmethod(lambda context: None)

    @classmethod
    def metadata(cls):
        return NodeMetadata("asking", "Asking")

    @classmethod
    def connectors(cls):
        return [
            ConnectorDef("one", "One", IN),
            ConnectorDef("many", "Many", IN, cardinality="zero_or_many"),
            ConnectorDef("result", "Result", OUT),
        ]

    def execute(self, context):
        return type(self).question(context)


class TestAContextInARun:
    def test_it_knows_the_run_as_the_engine_does(self, monkeypatch):
        monkeypatch.setattr(
            Asking,
            "question",
            lambda context: [context.node_id, context.flow_name, context.attempt, dict(context.parameters)],
        )

        @flow
        def asking(city: str):
            return Asking().with_options(name="who")()

        result = asking.run_local(city="Bern")
        assert result.value == ["who", "asking", 1, {"city": "Bern"}]

    def test_each_item_knows_its_place(self, monkeypatch):
        monkeypatch.setattr(Asking, "question", lambda context: [context.item, context.get_upstream_data("one")])

        @flow
        def asking():
            return Asking().map(["a", "b"])

        assert asking() == [[0, "a"], [1, "b"]]

    def test_where_nothing_came_in_it_says_so(self, monkeypatch):
        monkeypatch.setattr(
            Asking, "question", lambda context: [context.get_upstream_data("one"), context.get_upstream_data("many")]
        )
        assert by_hand(Asking().run(ExecutionContext()), "asking").outputs == {"result": [None, []]}

    def test_a_connector_that_is_not_there_is_an_error(self, monkeypatch):
        monkeypatch.setattr(Asking, "question", lambda context: context.get_upstream_data("on", default=1))
        error = by_hand(Asking().run(ExecutionContext()), "asking").error
        assert str(error) == "node 'asking' has no inbound connector 'on'; did you mean 'one'?"

    def test_what_it_logs_is_kept_with_the_run(self, monkeypatch):
        monkeypatch.setattr(Asking, "question", lambda context: context.logger.warning("%d rows", 3))

        @flow
        def asking():
            return Asking()()

        handle = start(asking.program(), {}, RunOptions("run-1", capture=True))
        written = "".join(each.text for each in handle.events() if isinstance(each, TaskWrote))
        assert "dagy.nodes.asking: 3 rows" in written


class TestLoggingWithSecrets:
    def test_the_text_of_a_secret_is_masked(self, caplog):
        context = ExecutionContext(secrets={"url": "postgres://hunter2"})
        context.logger.warning("connecting to %s", "postgres://hunter2/db")
        assert caplog.messages == ["connecting to ***/db"]

    def test_levels_are_those_of_the_logger_it_logs_to(self, caplog):
        logger = logging.getLogger("dagy.nodes")
        logger.setLevel(logging.ERROR)
        try:
            context = ExecutionContext(secrets={"url": "x"})
            context.logger.warning("quiet")
            context.logger.error("loud")
        finally:
            logger.setLevel(logging.NOTSET)
        assert caplog.messages == ["loud"]


class TestMasking:
    def test_an_error_without_a_secret_is_the_same_error(self):
        error = ValueError("no rows")
        assert masked(error, ["hunter2"]) is error
        assert masked(error, [""]) is error

    @pytest.mark.parametrize("place", ["text", "cause", "context", "attribute", "note", "group"])
    def test_an_error_with_a_secret_anywhere_tells_the_same_without_it(self, place):
        error = ValueError("can't open")
        match place:
            case "text":
                error = ValueError("can't open postgres://hunter2@host")
            case "cause":
                error.__cause__ = OSError("hunter2 refused")
            case "context":
                error.__context__ = OSError("hunter2 refused")
            case "attribute":
                error.url = "postgres://hunter2@host"
            case "note":
                error.add_note("tried hunter2")
            case "group":
                error = ExceptionGroup("can't open", [ValueError("hunter2")])
        hidden = masked(error, ["hunter2"])
        assert "hunter2" not in f"{hidden} {hidden!r} {vars(hidden)} {hidden.__cause__} {hidden.__context__}"
        assert "can't open" in str(hidden)


class TestResults:
    def test_each_way_to_end(self):
        error = ValueError("no rows")
        assert ExecutionResult.from_success({"a": 1}) == ExecutionResult(NodeState.COMPLETED, {"a": 1})
        assert ExecutionResult.from_error(error) == ExecutionResult(NodeState.FAILED, error=error)
        assert str(ExecutionResult.from_error("no rows").error) == "no rows"
        skipped = ExecutionResult.from_skip("no new files")
        assert (skipped.state, type(skipped.error), str(skipped.error)) == (NodeState.SKIPPED, SkipTask, "no new files")
        assert [each.is_success for each in (ExecutionResult.from_success(), skipped)] == [True, False]


class TestByHand:
    def test_a_coroutine_that_does_not_wait_needs_no_loop(self):
        async def three():
            return 3

        assert by_hand(three(), "three") == 3

    def test_one_that_waits_is_refused(self):
        async def wait():
            await asyncio.sleep(0)

        with pytest.raises(DefinitionError, match=r"node 'waiting': .* write that function as 'async def'"):
            by_hand(wait(), "waiting")


def test_a_task_in_the_same_flow_is_none_of_the_contexts_business():
    @task
    def rows():
        return [1]

    @flow
    def both():
        return Asking()(rows())

    assert both() is None
