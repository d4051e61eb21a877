"""How the verdict on a notebook is told."""

from __future__ import annotations

from dagy_nb.checking import Check
from dagy_nb.pieces import LeftOut
from dagy_nb.staleness import Finding


def test_a_clean_notebook_is_told_in_few_words() -> None:
    check = Check(flows=("etl",), file="etl.ipynb was saved just now")
    assert check.is_clean
    assert repr(check) == "every cell is as it ran last\nan export holds etl\netl.ipynb was saved just now"


def test_everything_that_is_wrong_is_listed_with_its_remedy_and_escaped() -> None:
    check = Check(
        findings=(Finding("edited", "cell [1]", "it is edited", "run it <again>"),),
        undrawn=("flow 'etl' asks for a length",),
        refused=("cell [2] needs 'here'",),
        left_out=(LeftOut("cell [3]", "no flow needs `x`"),),
        file="no file is known",
    )
    assert not check.is_clean
    assert repr(check).splitlines() == [
        "not as it looks:",
        "  - cell [1]: it is edited; run it <again>",
        "not every flow can be drawn, so not run either:",
        "  - flow 'etl' asks for a length",
        "an export is refused:",
        "  - cell [2] needs 'here'",
        "left out of the export:",
        "  - cell [3]: no flow needs `x`",
        "no file is known",
    ]
    page = check._repr_html_()
    assert "run it &lt;again&gt;" in page
    assert page.count("<li>") == 4


def test_a_warning_is_not_clean_nor_is_a_flow_that_can_not_be_drawn() -> None:
    assert not Check(warnings=("a name is bound twice",)).is_clean
    assert not Check(undrawn=("flow 'etl' asks for a length",)).is_clean
