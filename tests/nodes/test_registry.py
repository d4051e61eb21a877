"""The registry: one class a node type, code that is run again, packages' own nodes, and threads that come at once."""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from dagy.errors import DefinitionError, UnknownNodeError
from dagy.nodes import FlowNode, NodeCategory, NodeRegistry, node_registry
from dagy.nodes.connectors import ConnectorDef, DataType
from dagy.nodes.metadata import NodeConfigField, NodeMetadata
from dagy.nodes.registry import misfit


@pytest.fixture
def registry():
    with node_registry.isolated() as registry:
        registry.clear()
        yield registry


def made(
    node_type: str,
    name: str = "Made",
    *,
    module: str = "my_nodes",
    takes: str = "any",
    gives: str = "any",
    category: str = "custom",
    fields: tuple[NodeConfigField, ...] = (),
    **told: object,
) -> type[FlowNode]:
    """A node class with one connector in and one out."""
    connectors = [ConnectorDef("value", "", "inbound", takes), ConnectorDef("result", "", "outbound", gives)]
    body = {
        "__module__": module,
        "__qualname__": name,
        "metadata": classmethod(lambda cls: NodeMetadata(node_type, category=category, **told)),
        "connectors": classmethod(lambda cls: connectors),
        "config_fields": classmethod(lambda cls: list(fields)),
        "execute": lambda self, context: None,
    }
    return type(FlowNode)(name, (FlowNode,), body)


def at_once(*works: Callable[[], object]) -> list[object]:
    """What each gives or raises, when all begin together, each in a thread of its own."""
    barrier = threading.Barrier(len(works))
    results: list[object] = [None] * len(works)

    def run(place: int, work: Callable[[], object]) -> None:
        barrier.wait(30)
        try:
            results[place] = work()
        except Exception as error:  # noqa: BLE001 (it is what is looked at)
            results[place] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that they really come between one another
    try:
        for each in threads:
            each.start()
        for each in threads:
            each.join(30)
    finally:
        sys.setswitchinterval(interval)
    return results


class TestOneClassANodeType:
    def test_a_class_is_registered_as_it_is_defined(self, registry):
        cls = made("load")
        assert registry.get("load") is cls
        assert FlowNode._registered_subclasses["load"] is cls

    def test_a_second_class_of_a_type_is_refused(self, registry):
        first = made("load", "Load")
        with pytest.raises(DefinitionError) as caught:
            made("load", "LoadAgain")
        assert str(caught.value) == (
            "there is a node type 'load' already, my_nodes.Load; give my_nodes.LoadAgain another node_type, "
            "or take the first one out: node_registry.unregister('load')"
        )
        assert registry.get("load") is FlowNode._registered_subclasses["load"] is first

    @pytest.mark.parametrize("module", ["my_nodes", "__main__"])
    def test_code_that_is_run_again_replaces_its_older_self(self, registry, module):
        first, second = made("load", module=module), made("load", module=module)
        assert first is not second
        assert registry.get("load") is second

    def test_the_same_name_in_another_module_is_another_class(self, registry):
        made("load", module="my_nodes")
        with pytest.raises(DefinitionError, match=r"already, my_nodes\.Made; give your_nodes\.Made another"):
            made("load", module="your_nodes")

    def test_what_is_taken_out_may_be_defined_anew(self, registry):
        made("load", "Load")
        registry.unregister("load")
        assert "load" not in FlowNode._registered_subclasses
        made("load", "LoadAgain")
        with pytest.raises(UnknownNodeError, match="there is no node type 'lod'; did you mean 'load'"):
            registry.unregister("lod")

    def test_a_type_that_is_not_there_is_an_error_that_knows_better(self, registry):
        made("read_csv")
        with pytest.raises(UnknownNodeError, match="did you mean 'read_csv'") as caught:
            registry.get("read_cvs")
        assert caught.value.known == ("read_csv",)


class TestEmptyAndFull:
    def test_what_happens_in_isolation_is_undone(self):
        before = node_registry.find()
        with node_registry.isolated():
            node_registry.clear()
            made("only_here")
            assert [cls.metadata().node_type for cls in node_registry.find()] == ["only_here"]
        assert node_registry.find() == before
        assert "only_here" not in FlowNode._registered_subclasses

    def test_every_class_that_was_made_can_be_brought_back(self, registry):
        cls = made("load")
        registry.clear()
        with pytest.raises(UnknownNodeError):
            registry.get("load")
        registry.sync_from_subclasses()
        assert registry.get("load") is cls

    def test_a_registry_of_ones_own_holds_what_is_put_in(self, registry):
        own, cls = NodeRegistry(), made("load")
        assert own.find() == []
        own.register(cls)
        assert own.find() == [cls]
        own.unregister("load")
        assert registry.get("load") is cls


class TestSearching:
    @pytest.fixture(autouse=True)
    def _nodes(self, registry):
        made("read_csv", gives="dataframe", category="input", label="Read CSV", description="Rows from a text file.")
        made("to_records", takes="dataframe", gives="list", category="convert", tags=("rows",))
        made("to_json", takes="any", gives="string", category="convert")
        made("count", takes="list", gives="integer", category="transform")

    @pytest.mark.parametrize(
        ("wish", "expected"),
        [
            ({}, "count read_csv to_json to_records"),
            ({"text": "csv"}, "read_csv"),
            ({"text": "ROWS"}, "read_csv to_records"),
            ({"text": "rows file"}, "read_csv"),
            ({"text": "nothing"}, ""),
            ({"category": NodeCategory.CONVERT}, "to_json to_records"),
            ({"category": "input"}, "read_csv"),
            ({"accepts": DataType.DATAFRAME}, "read_csv to_json to_records"),
            ({"accepts": "json"}, "read_csv to_json"),
            ({"gives": "number"}, "count"),
            ({"gives": "json"}, "count to_json to_records"),
            ({"text": "to", "category": "convert", "accepts": "dataframe", "gives": "list"}, "to_records"),
        ],
    )
    def test_a_search_finds_by_words_category_and_types(self, wish, expected):
        assert " ".join(cls.metadata().node_type for cls in node_registry.find(**wish)) == expected

    @pytest.mark.parametrize("wish", [{"category": "inptu"}, {"accepts": "dataframes"}])
    def test_what_there_is_none_of_is_refused(self, wish):
        with pytest.raises(DefinitionError, match="did you mean"):
            node_registry.find(**wish)

    def test_converters_come_with_the_most_particular_first(self):
        made("to_text", takes="dataframe", gives="string", category="convert")
        found = node_registry.converters(frozenset({DataType.DATAFRAME}), frozenset({DataType.STRING}))
        assert [cls.metadata().node_type for cls in found] == ["to_text", "to_json"]

    def test_a_misfit_names_both_ends_both_types_and_the_way_out(self):
        frame, text = frozenset({DataType.DATAFRAME}), frozenset({DataType.STRING})
        assert misfit("output 'rows' of 'read'", frame, "input 'text' of 'send'", text) == (
            "output 'rows' of 'read' gives DATAFRAME, and input 'text' of 'send' takes STRING; "
            "the node 'to_json' between them would convert it"
        )
        assert misfit("a", text, "b", frame) == "a gives STRING, and b takes DATAFRAME"


def test_the_catalog_is_json_with_all_that_a_designer_shows(registry):
    fields = (
        NodeConfigField("limit", type="integer", default=5),
        NodeConfigField("day", type="date", default="2026-01-31"),
    )
    made("load", gives="dataframe", fields=fields, requires=("pandas",))
    (entry,) = json.loads(json.dumps(registry.catalog()))
    assert (entry["node_type"], entry["label"], entry["requires"]) == ("load", "Load", ["pandas"])
    assert entry["class"] == "my_nodes:Made"
    assert [each["id"] for each in entry["inbound"]] == ["value"]
    assert entry["outbound"][0]["data_types"] == ["dataframe"]
    assert entry["outbound"][0]["cardinality"] == "one"
    assert [each["default"] for each in entry["config_fields"]] == [5, "2026-01-31"]
    jsonschema.Draft202012Validator.check_schema(entry["config_schema"])


class TestPackages:
    @pytest.fixture
    def installed(self, tmp_path: Path, monkeypatch) -> Callable[[str, str], None]:
        """Makes a package that names its module of nodes: `installed("my_nodes", code)`."""
        monkeypatch.syspath_prepend(str(tmp_path))
        modules = set(sys.modules)

        def install(name: str, code: str) -> None:
            (tmp_path / f"{name}.py").write_text(code, "utf-8")
            info = tmp_path / f"{name}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8")
            (info / "entry_points.txt").write_text(f"[dagy.nodes.testing]\nmine = {name}\n", "utf-8")
            importlib.invalidate_caches()

        yield install
        for each in set(sys.modules) - modules:
            if each.endswith("_nodes"):
                del sys.modules[each]

    CODE = (
        "from dagy.nodes import node, node_registry\n"
        "@node(node_type='of_package')\n"
        "def mine(rows: list) -> list:\n"
        "    return rows\n"
    )

    @pytest.fixture
    def packaged(self):
        """A registry of its own group of entry points, which takes in what this process has made."""
        with node_registry.isolated() as registry:
            registry.clear()
            registry._group, group = "dagy.nodes.testing", registry._group
            registry._is_loaded = False
            yield registry
            registry._group = group

    def test_their_nodes_are_there_when_they_are_needed(self, installed, packaged):
        installed("packed_nodes", self.CODE)
        assert "packed_nodes" not in sys.modules
        assert packaged.get("of_package").__module__ == "packed_nodes"

    def test_a_listing_has_them_too(self, installed, packaged):
        installed("packed_nodes", self.CODE)
        assert [cls.metadata().node_type for cls in packaged.find()] == ["of_package"]

    def test_a_package_that_fails_is_a_warning_that_names_it_once(self, installed, packaged):
        installed("broken_nodes", "raise ImportError('no such library')")
        installed("packed_nodes", self.CODE)
        with pytest.warns(
            RuntimeWarning, match=r"'mine' \(broken_nodes\) can't be loaded: ImportError: no such lib"
        ) as told:
            assert packaged.get("of_package")
        assert len(told) == 1
        assert packaged.find()

    def test_a_module_that_asks_for_a_node_while_it_is_loaded_gets_it(self, installed, packaged):
        installed("asking_nodes", f"{self.CODE}found = node_registry.get('of_package')\n")
        assert packaged.get("of_package") is sys.modules["asking_nodes"].found

    def test_threads_that_need_them_at_once_all_get_them(self, installed, packaged):
        installed("packed_nodes", self.CODE)
        found = at_once(*[lambda: packaged.get("of_package")] * 12)
        assert set(found) == {packaged.get("of_package")}

    def test_one_whose_type_is_taken_leaves_it_to_the_program(self, installed, packaged):
        own = made("of_package", "Own")
        installed("packed_nodes", f"{self.CODE}@node\ndef other(rows: list) -> list:\n    return rows\n")
        with pytest.warns(RuntimeWarning, match=r"packed_nodes\.mine is not registered: .* taken by my_nodes\.Own"):
            assert packaged.get("other").__module__ == "packed_nodes"
        assert packaged.get("of_package") is own


class TestAside:
    def test_code_that_is_loaded_once_more_leaves_the_live_one_alone(self, registry):
        live, other = made("load", "Load"), made("other")
        with registry.aside():
            copy = made("load", "LoadAgain")
            new = made("new")
            assert registry.get("load") is copy
            assert registry.find() == [copy, new, other]
        assert registry.find() == [live, other]
        assert FlowNode._registered_subclasses["load"] is live

    def test_what_stays_loaded_stays_registered(self, registry, monkeypatch):
        live = made("load", "Load")
        with registry.aside():
            kept, gone, copy = made("kept", "Kept"), made("gone", "Gone"), made("load", "LoadAgain")
            monkeypatch.setitem(sys.modules, "my_nodes", types.SimpleNamespace(Kept=kept, LoadAgain=copy))
        assert registry.find() == [kept, live]
        assert gone not in FlowNode._registered_subclasses.values()

    def test_other_threads_go_on_as_before(self, registry):
        made("load", "Load")
        with registry.aside():
            made("load", "LoadAgain")
            (seen,) = at_once(lambda: made("meanwhile") and registry.get("load").__name__)
        assert seen == "Load"
        assert [cls.metadata().node_type for cls in registry.find()] == ["load", "meanwhile"]


class LettingOthers(dict):
    """A dict that lets other threads go on between a look and what follows from it."""

    def get(self, *args: object) -> object:
        found = super().get(*args)
        for _ in range(20):
            time.sleep(0)
        return found


class TestThreads:
    @pytest.fixture(autouse=True)
    def _let_others(self, registry):
        """Undone here: monkeypatch may be older than `registry`, and would undo it after the types were put back."""
        registry._types, types = LettingOthers(), registry._types
        yield
        registry._types = types

    def test_of_many_classes_of_one_type_exactly_one_is_registered(self, registry):
        for _ in range(5):
            registry.clear()
            results = at_once(*[lambda n=n: made("load", f"Load{n}") for n in range(8)])
            classes = [each for each in results if isinstance(each, type)]
            assert classes == [registry.get("load")] == [FlowNode._registered_subclasses["load"]]
            assert sum(isinstance(each, DefinitionError) for each in results) == 7

    def test_a_registry_of_ones_own_is_as_safe(self, registry):
        classes = []
        for number in range(8):
            with registry.aside():
                classes.append(made("load", f"Load{number}"))
        for _ in range(5):
            own = NodeRegistry()
            own._types = LettingOthers()
            results = at_once(*[lambda cls=cls, own=own: own.register(cls) for cls in classes])
            assert results.count(None) == 1
            assert results[classes.index(own.get("load"))] is None

    def test_classes_of_many_types_are_all_registered(self, registry):
        classes = at_once(*[lambda n=n: [made(f"load_{n}_{m}") for m in range(20)] for n in range(8)])
        assert {id(cls) for some in classes for cls in some} == {id(cls) for cls in registry.find()}

    def test_one_may_search_while_others_define(self, registry):
        works = [lambda n=n: [made(f"load_{n}_{m}") for m in range(20)] for n in range(4)]
        searches = [lambda: [len(registry.find("load")) for _ in range(20)]] * 4
        counts = at_once(*works, *searches)[4:]
        assert all(isinstance(each, list) and each == sorted(each) for each in counts)
        assert len(registry.find()) == 80

    def test_the_same_cell_run_at_once_leaves_one_of_its_classes(self, registry):
        classes = at_once(*[lambda: made("load", module="__main__")] * 8)
        assert registry.get("load") in classes
        assert registry.get("load") is FlowNode._registered_subclasses["load"]
