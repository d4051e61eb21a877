"""FlowNode: its life cycle, what is checked when values pass, secrets, and how its class is registered."""

from __future__ import annotations

import asyncio
import collections
from typing import Any

import cloudpickle
import pytest

from dagy import flow
from dagy.errors import ConnectorError, DefinitionError, MissingSecretError, NodeConfigError, SkipTask, TaskFailedError
from dagy.nodes import (
    ConnectorDef,
    ExecutionContext,
    ExecutionResult,
    FlowNode,
    NodeConfigField,
    NodeMetadata,
    NodeState,
    Secret,
    definition_of,
    node_registry,
)
from dagy.nodes.execution import by_hand


@pytest.fixture(autouse=True)
def _own_registry():
    with node_registry.isolated() as registry:
        registry.clear()
        yield


def made(
    node_type: str = "made",
    *,
    inbound: dict[str, Any] | None = None,
    outbound: dict[str, Any] | None = None,
    fields: list[NodeConfigField] | None = None,
    base: tuple[type, ...] = (FlowNode,),
    **methods: Any,
) -> type[FlowNode]:
    """A node class with these connectors (options by id), fields and methods."""
    connectors = [ConnectorDef(each, "", "inbound", **options) for each, options in (inbound or {}).items()]
    outbound = {"result": {}} if outbound is None else outbound
    connectors += [ConnectorDef(each, "", "outbound", **options) for each, options in outbound.items()]
    body = {
        "metadata": classmethod(lambda cls: NodeMetadata(node_type)),
        "connectors": classmethod(lambda cls: connectors),
        "config_fields": classmethod(lambda cls: fields or []),
        "execute": lambda self, context: None,
        **methods,
    }
    return type(base[0])("Made", base, body)


def ran(cls: type[FlowNode], inputs: dict[str, Any] | None = None, **config: Any) -> ExecutionResult:
    return by_hand(cls(**config).run(ExecutionContext(inputs or {})), "made")


def recording(calls: list[str], *, is_async: bool, failing: str = "", skipping: bool = False) -> type[FlowNode]:
    """A node that notes each method that is called; `failing` names the one that raises."""

    def noting(name: str) -> Any:
        def method(self: FlowNode, context: ExecutionContext, *rest: object) -> Any:
            calls.append(name)
            if name == failing:
                raise ValueError(f"{name} failed")
            if name == "execute" and skipping:
                raise SkipTask("no new files")
            return name if name == "execute" else None

        async def async_method(self: FlowNode, context: ExecutionContext, *rest: object) -> Any:
            await asyncio.sleep(0)
            return method(self, context, *rest)

        return async_method if is_async else method

    names = ("before_execute", "execute", "after_execute", "on_error", "cleanup")
    return made(**{name: noting(name) for name in names})


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
class TestTheLifeCycle:
    def run(self, cls: type[FlowNode], *, is_async: bool) -> ExecutionResult:
        node, context = cls(), ExecutionContext()
        return asyncio.run(node.run(context)) if is_async else by_hand(node.run(context), "made")

    @pytest.mark.parametrize(
        ("failing", "expected"),
        [
            ("", "before_execute execute after_execute cleanup"),
            ("before_execute", "before_execute on_error cleanup"),
            ("execute", "before_execute execute on_error cleanup"),
            ("after_execute", "before_execute execute after_execute on_error cleanup"),
            ("cleanup", "before_execute execute after_execute cleanup"),
        ],
    )
    def test_hooks_are_called_in_their_order(self, is_async, failing, expected):
        calls: list[str] = []
        result = self.run(recording(calls, is_async=is_async, failing=failing), is_async=is_async)
        assert " ".join(calls) == expected
        assert result.state is (NodeState.FAILED if "on_error" in calls else NodeState.COMPLETED)
        assert str(result.error or "") == (f"{failing} failed" if "on_error" in calls else "")

    def test_a_skip_is_no_error(self, is_async):
        calls: list[str] = []
        result = self.run(recording(calls, is_async=is_async, skipping=True), is_async=is_async)
        assert (result.state, str(result.error)) == (NodeState.SKIPPED, "no new files")
        assert calls == ["before_execute", "execute", "cleanup"]

    def test_its_temporary_folder_lasts_through_cleanup(self, is_async):
        seen = []

        def look(self: FlowNode, context: ExecutionContext) -> None:
            seen.append((context.temp_dir, context.temp_dir.is_dir()))

        cls = recording([], is_async=is_async)
        cls = type(cls)("Made", (cls,), {"before_execute": look, "cleanup": look})
        self.run(cls, is_async=is_async)
        (before, was_there), (after, is_there) = seen
        assert (before == after, was_there, is_there, after.exists()) == (True, True, True, False)


class TestEndsThatAreNobodysChoice:
    def test_cleanup_runs_when_the_node_is_cancelled(self):
        calls: list[str] = []

        async def execute(self: FlowNode, context: ExecutionContext) -> None:
            calls.append("execute")
            await asyncio.Event().wait()

        async def cleanup(self: FlowNode, context: ExecutionContext) -> None:
            await asyncio.sleep(0)
            calls.append("cleanup")

        def on_error(self: FlowNode, context: ExecutionContext, error: Exception) -> None:
            calls.append("on_error")

        async def cancelled() -> None:
            running = asyncio.ensure_future(
                made(execute=execute, cleanup=cleanup, on_error=on_error)().run(ExecutionContext())
            )
            await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

        asyncio.run(cancelled())
        assert calls == ["execute", "cleanup"]

    def test_cleanup_runs_when_the_engine_stops_a_thread(self):
        class Stopped(BaseException):
            pass

        calls: list[str] = []

        def execute(self: FlowNode, context: ExecutionContext) -> None:
            raise Stopped

        cls = made(execute=execute, cleanup=lambda self, context: calls.append("cleanup"))
        with pytest.raises(Stopped):
            ran(cls)
        assert calls == ["cleanup"]

    def test_what_a_hook_raises_after_the_end_is_logged(self, caplog):
        calls: list[str] = []
        ran(recording(calls, is_async=False, failing="cleanup"))
        assert caplog.messages == ["node 'made': cleanup raised ValueError: cleanup failed"]

    def test_an_error_hook_that_fails_hides_nothing(self, caplog):
        def fail(self: FlowNode, *rest: object) -> None:
            raise ValueError("no rows")

        def fail_again(self: FlowNode, *rest: object) -> None:
            raise OSError("can't tell")

        assert str(ran(made(execute=fail, on_error=fail_again)).error) == "no rows"
        assert caplog.messages == ["node 'made': on_error raised OSError: can't tell"]


class TestWhatExecuteGives:
    @pytest.mark.parametrize(
        ("outbound", "given", "expected"),
        [
            ({"result": {}}, 3, {"result": 3}),
            ({"result": {}}, {"result": 3}, {"result": {"result": 3}}),
            ({"result": {}}, ExecutionResult.from_success({"result": 3}), {"result": 3}),
            ({"yes": {}, "no": {"required": False}}, {"yes": 1}, {"yes": 1}),
            ({}, None, {}),
        ],
    )
    def test_it_may_be_plain(self, outbound, given, expected):
        result = ran(made(outbound=outbound, execute=lambda self, context: given))
        assert (result.state, result.outputs) == (NodeState.COMPLETED, expected)

    @pytest.mark.parametrize(
        ("outbound", "given", "message"),
        [
            ({"yes": {}, "no": {}}, 3, "returns a dict with 'yes', 'no', or an ExecutionResult, not 3"),
            (
                {"yes": {}, "no": {}}, ExecutionResult.from_success([1]),  # type: ignore[arg-type]  # as users do
                "are a dict by connector id, such as {'yes': ..., 'no': ...}, not [1]",
            ),
            ({"yes": {}, "no": {}}, {"yes": 1}, "must give a value at 'no', and gave none; an output that may"),
            ({"yes": {}, "no": {}}, {"yes": 1, "no": 2, "nay": 3}, "no outbound connector 'nay'; it has 'yes', 'no'"),
            ({"result": {"data_types": "json"}}, b"raw", "at 'result' passes JSON, and b'raw' (bytes) went out"),
            ({"result": {"cardinality": "one_or_many"}}, 3, "many values pass at 'result', as a list, not as 3 (int)"),
            ({"result": {"cardinality": "one_or_many"}}, [], "at least one value passes at 'result', not none"),
            (
                {"result": {"cardinality": "zero_or_many", "data_types": "string"}}, ["a", 1],
                "at 'result'[1] passes STRING, and 1 (int) went out",
            ),
        ],
    )  # fmt: skip
    def test_it_must_fit_the_connectors(self, outbound, given, message):
        result = ran(made(outbound=outbound, execute=lambda self, context: given))
        assert result.state is NodeState.FAILED
        assert isinstance(result.error, ConnectorError)
        assert message in str(result.error)

    def test_a_failed_result_is_as_good_as_an_error(self):
        failed = ExecutionResult.from_error(ValueError("no rows"))

        @flow
        def failing():
            return made(execute=lambda self, context: failed)()()

        with pytest.raises(TaskFailedError) as caught:
            failing()
        assert isinstance(caught.value.__cause__, ValueError)

    def test_a_plain_execute_that_gives_something_to_wait_for_is_refused(self):
        async def wait() -> int:
            return 3

        cls = made(execute=lambda self, context: wait())
        assert "write it as 'async def'" in str(ran(cls).error)
        with pytest.raises(DefinitionError, match="write it as 'async def'"):
            cls()()


class TestWhatComesIn:
    @pytest.mark.parametrize(
        ("inbound", "given", "message"),
        [
            ({"rows": {"required": True}}, {}, "needs a value at 'rows', and none came in"),
            ({"rows": {}}, {"row": 1}, "no inbound connector 'row'; did you mean 'rows'?"),
            ({"rows": {"data_types": "list"}}, {"rows": 3}, "at 'rows' passes LIST, and 3 (int) came in"),
            ({"rows": {"cardinality": "zero_or_many"}}, {"rows": 3}, "many values pass at 'rows', as a list"),
        ],
    )
    def test_it_must_fit_the_connectors(self, inbound, given, message):
        result = ran(made(inbound=inbound, execute=lambda self, context: 1), given)
        assert message in str(result.error)

    def test_the_message_names_a_node_that_would_convert(self):
        made(
            "to_list",
            inbound={"value": {"data_types": "integer"}},
            outbound={"result": {"data_types": "list"}},
            metadata=classmethod(lambda cls: NodeMetadata("to_list", category="convert")),
        )
        result = ran(made(inbound={"rows": {"data_types": "list"}}), {"rows": 3})
        assert str(result.error).endswith("; the node 'to_list' between them would convert it")


class TestSecrets:
    @pytest.fixture
    def opening(self, monkeypatch) -> type[FlowNode]:
        monkeypatch.setenv("WAREHOUSE_URL", "postgres://me:hunter2@host")

        def execute(self: FlowNode, context: ExecutionContext) -> str:
            if self.config["fail"]:
                raise OSError(f"can't open {context.secrets['url']}")
            return context.secrets["url"][:8]

        fields = [
            NodeConfigField("url", type="secret", required=True),
            NodeConfigField("fail", type="boolean", default=False),
        ]
        return made("opening", fields=fields, execute=execute)

    def test_the_node_has_its_text_and_nothing_else_does(self, opening):
        node = opening(url=Secret("WAREHOUSE_URL"))

        @flow
        def reading():
            return node()

        assert reading() == "postgres"
        assert "hunter2" not in f"{node!r} {node.config} {vars(node)} {reading.spec.model_dump_json()}"
        assert "WAREHOUSE_URL" in reading.spec.model_dump_json()

    def test_an_error_does_not_show_it(self, opening):
        @flow
        def reading():
            return opening(url=Secret("WAREHOUSE_URL"), fail=True)()

        result = reading.run_local(fail_fast=False)
        error = result.task_runs["opening"].error
        assert "can't open ***" in str(error)
        assert "hunter2" not in f"{error!r} {error.__cause__!r} {error.__context__!r} {result!r}"

    def test_neither_a_skip_nor_a_log_shows_it(self, monkeypatch, caplog):
        monkeypatch.setenv("KEY", "hunter2")

        def execute(self: FlowNode, context: ExecutionContext) -> None:
            try:
                int(context.secrets["key"])
            except ValueError:
                context.logger.exception("no answer with %s", context.secrets["key"])
            raise SkipTask(f"no rows for {context.secrets['key']}")

        result = ran(made(fields=[NodeConfigField("key", type="secret")], execute=execute), key=Secret("KEY"))
        assert (result.state, str(result.error)) == (NodeState.SKIPPED, "no rows for ***")
        assert "no answer with ***" in caplog.text
        assert "base 10: '***'" in caplog.text
        assert "hunter2" not in caplog.text

    def test_one_that_is_not_there_fails_before_the_work(self, opening, monkeypatch):
        monkeypatch.delenv("WAREHOUSE_URL")
        result = ran(opening, url=Secret("WAREHOUSE_URL"))
        assert isinstance(result.error, MissingSecretError)

    def test_a_test_may_give_it(self, opening):
        context = ExecutionContext(secrets={"url": "sqlite:///x"})
        assert by_hand(opening(url=Secret("WAREHOUSE_URL")).run(context), "opening").outputs == {"result": "sqlite:/"}


class TestInstances:
    def test_an_instance_is_its_class_with_a_configuration(self):
        cls = made(fields=[NodeConfigField("limit", type="integer", default=10), NodeConfigField("name")])
        node = cls(limit="5")
        assert (node.config, node.given) == ({"limit": 5, "name": None}, {"limit": "5"})
        assert repr(node) == "Made(limit='5')"

    def test_what_is_no_configuration_is_refused_with_where_it_goes(self):
        cls = made(inbound={"rows": {}})
        with pytest.raises(
            NodeConfigError, match=r"line \d+ of .*its connectors in brackets of their own: Made\(...\)"
        ):
            cls([1])
        with pytest.raises(NodeConfigError) as caught:
            cls(rows=[1], retries=2)
        assert "'rows' is no field but an inbound connector, whose value comes later: (...)(rows=...)" in str(
            caught.value
        )
        assert "'retries' is no field but an option of how it runs: (...).with_options(retries=...)" in str(
            caught.value
        )

    def test_a_wrong_configuration_in_a_flow_is_told_with_its_line(self):
        with pytest.raises(NodeConfigError, match=r"line \d+ of test_base.py: node 'made': it has no field 'limit'"):
            _ = flow(name="etl")(lambda: made()(limit=5)()).spec

    def test_a_wrong_configuration_is_refused_at_once(self):
        with pytest.raises(NodeConfigError, match="node 'made': it has no field 'limit'; it has none"):
            made()(limit=5)

    def test_state_is_never_shared_between_executions(self):
        def remember(self: FlowNode, **config: Any) -> None:
            FlowNode.__init__(self, **config)
            self.seen = collections.Counter()

        def execute(self: FlowNode, context: ExecutionContext) -> int:
            self.seen["times"] += 1
            return self.seen["times"]

        node = made(__init__=remember, execute=execute)()

        @flow
        def twice():
            return [node(), node()]

        assert twice() == [1, 1]
        assert node() == node() == 1
        assert not node.seen

    def test_a_copy_with_options_leaves_the_first_as_it_was(self):
        first = made(execute=lambda self, context: 1)()

        @flow
        def alone():
            first()

        assert len(alone.spec.tasks) == 1
        second = first.with_options(name="one", retries=2).with_options(retries=3)

        @flow
        def both():
            return [first(), second.after(first())()]

        tasks = {each.id: each for each in both.spec.tasks}
        assert [(each.id, each.options.retries) for each in tasks.values()] == [("made", 0), ("made-2", 0), ("one", 3)]
        assert tasks["one"].after == ("made-2",)

    def test_a_class_may_say_how_its_nodes_run(self):
        @flow
        def patient():
            return made(task_options={"retries": 2, "timeout_seconds": 5})().with_options(retries=1)()

        (only,) = patient.spec.tasks
        assert (only.options.retries, only.options.timeout_seconds) == (1, 5.0)

    def test_an_option_without_meaning_is_refused(self):
        with pytest.raises(DefinitionError, match="did you mean 'retries'"):
            made()().with_options(retires=2)


class TestClasses:
    def test_an_abstract_class_in_between_is_not_registered(self):
        class Reading(FlowNode):
            @classmethod
            def connectors(cls) -> list[ConnectorDef]:
                return [ConnectorDef("result", "", "outbound")]

        class ReadText(Reading):
            @classmethod
            def metadata(cls) -> NodeMetadata:
                return NodeMetadata("read_text")

            def execute(self, context: ExecutionContext) -> str:
                return "text"

        assert node_registry.get("read_text") is ReadText
        assert Reading not in node_registry.find()
        with pytest.raises(DefinitionError, match=r"'.*Reading' is abstract: it lacks execute, metadata"):
            definition_of(Reading)
        with pytest.raises(TypeError, match="abstract"):
            Reading()

    def test_a_variant_that_adds_nothing_is_not_registered(self):
        cls = made()
        type(cls)("Variant", (cls,), {})
        assert node_registry.get("made") is cls

    def test_a_definition_is_read_once(self):
        cls = made(inbound={"a": {"each": True}, "b": {}})
        definition = definition_of(cls)
        assert definition is definition_of(cls)
        assert [each.id for each in definition.inbound] == ["a", "b"]
        assert (definition.each, definition.is_async, definition.hooks) == (("a",), False, frozenset())

    @pytest.mark.parametrize("name", ["execute", "before_execute", "after_execute", "on_error", "cleanup"])
    def test_one_method_that_is_async_makes_the_node_so(self, name):
        async def wait(self: FlowNode, *rest: object) -> None:
            pass

        definition = definition_of(made(**{name: wait}))
        assert (definition.is_async, definition.is_bare) == (True, False)
        assert definition.hooks == {name} - {"execute"}

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"metadata": classmethod(lambda cls: "made")}, "metadata() must return a NodeMetadata, not 'made'"),
            (
                {"metadata": lambda self: NodeMetadata("made")},
                "metadata must be a classmethod; write @classmethod above",
            ),
            ({"metadata": classmethod(lambda cls: cls.missing)}, "metadata() raised AttributeError"),
            ({"connectors": classmethod(lambda cls: None)}, "connectors() must return a Sequence, not None"),
            ({"connectors": classmethod(lambda cls: ["rows"])}, "a list of ConnectorDef, and in it is 'rows'"),
            (
                {"inbound": {"limit": {}}, "fields": [NodeConfigField("limit")]},
                "node 'made' has 'limit' twice among its inbound connectors and fields",
            ),
            ({"fields": [NodeConfigField("a"), NodeConfigField("a")]}, "has 'a' twice"),
        ],
    )
    def test_one_that_is_written_wrong_is_refused_where_it_is_written(self, options, message):
        with pytest.raises(DefinitionError) as caught:
            made(**options)
        assert message in str(caught.value)
        assert "made" not in FlowNode._registered_subclasses

    def test_one_may_have_an_inbound_and_an_outbound_connector_of_one_name(self):
        definition = definition_of(made(inbound={"frame": {}}, outbound={"frame": {}}))
        assert definition.inbound_connector("frame") is not definition.outbound_connector("frame")

    def test_a_class_of_a_cell_travels_by_value(self):
        cls = made(
            "travels", fields=[NodeConfigField("n", type="integer")], execute=lambda self, context: self.config["n"]
        )
        cls.__module__ = "__main__"
        copy = cloudpickle.loads(cloudpickle.dumps(cls(n=3)))
        assert copy() == 3
        assert node_registry.get("travels") is cls
