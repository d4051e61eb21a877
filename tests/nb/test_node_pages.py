"""`%dagy_nodes`: the node types there are, and all of one of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dagy.nodes import ConfigFieldType, NodeConfigField, node, node_registry
from dagy_nb.node_pages import NodePage
from dagy_nb.tables import Listing
from tests.nb.conftest import NotebookShell

SCALE = """%%dagy_node scale --config 'factor:number(0..10)=2' --takes rows:list --description 'Grows rows. By a factor'
scaled = [factor * each for each in rows]"""
BRANCH = "%%dagy_node sized --category control --takes rows:list\nif rows:\n    some = rows\nelse:\n    none = rows"


@pytest.fixture
def shell(notebook: NotebookShell) -> Iterator[NotebookShell]:
    """A notebook with two nodes of its own."""
    with node_registry.isolated():
        node_registry.clear()
        notebook.ok(SCALE)
        notebook.ok(BRANCH)
        yield notebook


def types(listing: Listing[object]) -> list[str]:
    return [row[0] for row in listing.rows]


def test_each_type_is_listed_with_what_it_takes_and_gives_and_its_cell(shell: NotebookShell) -> None:
    listing = shell.ok("%dagy_nodes").value
    assert listing.rows == (
        ("scale", "Grows rows", "custom", "rows: list", "scaled: list", "cell [2]"),
        ("sized", "Sized", "control", "rows: list", "some, none", "cell [3]"),
    )


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("factor", ["scale"]),
        ("--category control", ["sized"]),
        ("--accepts list", ["scale", "sized"]),
        ("--accepts string", []),
        ("--gives list", ["scale"]),
    ],
)
def test_words_a_category_and_types_are_looked_for(shell: NotebookShell, line: str, found: list[str]) -> None:
    assert types(shell.ok(f"%dagy_nodes {line}").value) == found


def test_the_nearest_type_is_named_where_nothing_is_found(shell: NotebookShell) -> None:
    assert repr(shell.ok("%dagy_nodes scael").value) == "no node type fits 'scael'; did you mean 'scale'?"


def test_a_types_name_shows_its_page(shell: NotebookShell) -> None:
    page = shell.ok("%dagy_nodes scale").value
    assert repr(page).split("\n") == [
        "scale: Scale (custom, version 1.0.0)",
        "Grows rows. By a factor",
        "",
        "CONNECTOR       TYPE  HOW MANY",
        "rows       in   list  one",
        "scaled     out  list  one",
        "",
        "FIELD   TYPE                 DEFAULT",
        "factor  number from 0 to 10  2",
        "",
        "scaled = scale()(rows=rows)",
        "",
        "from cell [2]",
    ]
    assert "<th" in page._repr_html_()


def test_a_field_says_in_the_fewest_words_when_it_is_shown() -> None:
    fields = [
        NodeConfigField("how", type=ConfigFieldType.SELECT, options=["a", "b", "c"], default="a", description="How."),
        NodeConfigField("most", visible_when={"how": ["a", "b"]}, description="What."),
        NodeConfigField("one", visible_when={"how": "c"}),
    ]
    with node_registry.isolated():
        page = repr(NodePage(node(config=fields)(called), "cell [1]"))
    assert "What. Only when how is not 'c'." in page
    assert "Only when how is 'c'." in page


def called(how: str, most: str, one: str) -> None: ...


def test_the_example_of_a_library_node_runs_as_it_stands() -> None:
    with node_registry.isolated():
        page = NodePage(node_registry.get("to_text"), "dagy.nodes.library")
        names: dict[str, object] = {"value": 5}
        exec(page.example, names)
        assert names["result"] == "5"


def test_the_functions_do_what_the_magic_does(shell: NotebookShell) -> None:
    shell.ok("import dagy_nb")
    assert types(shell.ok("dagy_nb.nodes(category='control')").value) == ["sized"]
    assert isinstance(shell.ok("dagy_nb.nodes('sized')").value, NodePage)


def test_a_wrong_option_is_told_in_one_line(shell: NotebookShell) -> None:
    assert "Traceback" not in shell.fails("%dagy_nodes --accepts frame")
    assert "--form needs a node's type" in shell.fails("%dagy_nodes --form")
    assert "did you mean 'scale'?" in shell.fails("%dagy_nodes scael --form")


def test_a_nodes_texts_are_no_markup(notebook: NotebookShell) -> None:
    with node_registry.isolated():
        notebook.ok("%%dagy_node bad --label '<img src=x>' --description '<script>1</script>'\nout = 2 * n")
        shown = [notebook.ok(f"%dagy_nodes {text}").value for text in ("bad", "script")]
        form = notebook.ok("%dagy_nodes bad --form").value._repr_mimebundle_()
    html = "".join([*(each._repr_html_() for each in shown), form["text/html"]])
    assert "<script" not in html
    assert "<img" not in html


def test_help_lists_the_two_magics(notebook: NotebookShell) -> None:
    text = notebook.ok("%dagy").text
    assert "%%dagy_node " in text
    assert "%dagy_nodes " in text
