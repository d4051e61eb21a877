"""What of a notebook is older than it looks, told from the cells that ran and the file as it was saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagy.errors import DefinitionError
from dagy_nb.cells import Cell
from dagy_nb.notebook import Notebook
from dagy_nb.notebook_file import SavedNotebook
from dagy_nb.staleness import Finding, export_notes, findings, marks, renamed, summary, twice


class Kernel:
    """A notebook whose cells are run, edited and saved; every step takes a second."""

    def __init__(self) -> None:
        self.now = 100.0
        self.notebook = Notebook({}, path=Path("etl.ipynb"), clock=lambda: self.now)
        self._number = 0

    def run(self, cell_id: str, source: str) -> Cell:
        """Run a cell that succeeds."""
        self.now += 1
        self._number += 1
        cell = Cell(cell_id, source, f"cell [{self._number}]")
        defined = self.notebook.check(cell)
        waits = bool(self.notebook.waits_for(defined))
        if not waits:
            lines = source.split("\n")
            text = "\n".join(lines[1:]) if lines[0].startswith(("%%", "#|")) else source
            exec(compile(text, f"<{self._number}>", "exec"), self.notebook.namespace)  # type: ignore[arg-type]
        self.notebook.keep(cell, f"<{self._number}>", has_run=not waits)
        return cell

    def fail(self, cell_id: str, source: str) -> None:
        """Run a cell that raises."""
        self.now += 1
        self._number += 1
        self.notebook.failed(Cell(cell_id, source, f"cell [{self._number}]"))

    def save(self, **sources: str) -> None:
        """Save the notebook, with these cells in this order."""
        self.now += 1
        cells = tuple(Cell(key, text, f"cell {place}") for place, (key, text) in enumerate(sources.items(), 1))
        self.notebook.arrange(SavedNotebook(Path("etl.ipynb"), self.now, cells))

    def findings(self, *, ran_at: float | None = None, has_run: tuple[str, ...] = ()) -> tuple[Finding, ...]:
        try:
            joined = self.notebook.tasks()
        except DefinitionError:
            joined = ()
        return findings(
            self.notebook.kept,
            joined,
            failed=self.notebook.not_kept,
            saved=self.notebook.saved,
            ran_at=ran_at,
            has_run=has_run,
        )

    def told(self) -> list[tuple[str, str]]:
        return [(each.kind, each.cell) for each in self.findings()]


LOAD = "%%dagy_task\ndef load(n=3):\n    return n"
TOTAL = "%%dagy_task\ndef total(load):\n    return load * 2"


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


# ---- edited


def test_cells_as_they_ran_are_no_finding(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.run("b", TOTAL)
    kernel.save(a=LOAD, b=TOTAL)
    assert kernel.findings() == ()


def test_a_cell_that_is_edited_and_not_run_is_found_with_the_remedy(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.save(a=LOAD.replace("3", "4"))
    (found,) = kernel.findings()
    assert (found.kind, found.cell, found.tasks) == ("edited", "cell [1]", ("load",))
    assert str(found) == "cell [1]: it is edited and not run; run it again"


def test_a_file_that_is_older_than_the_run_says_nothing_of_the_cell(kernel: Kernel) -> None:
    kernel.save(a=LOAD)
    saved = kernel.notebook
    kernel.run("a", LOAD.replace("3", "4"))
    saved.arrange(SavedNotebook(Path("etl.ipynb"), kernel.now - 1, (Cell("a", LOAD, "cell 1"),)))
    assert kernel.findings() == ()


def test_line_ends_and_trailing_blanks_are_no_edit(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.save(a=LOAD.replace("\n", "\r\n") + "  \n\n")
    assert kernel.findings() == ()


def test_an_edit_that_failed_is_told_apart_from_one_that_was_not_run(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    edited = LOAD.replace("3", "1 / 0")
    kernel.fail("a", edited)
    assert kernel.told() == [("failed edit", "cell [1]")]
    kernel.save(a=edited)
    assert kernel.told() == [("failed edit", "cell [1]")]
    assert "what it was before still counts" in str(kernel.findings()[0])


def test_an_edit_that_failed_and_was_taken_back_is_no_finding(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.fail("a", "%%dagy_task\ndef load(:")
    kernel.save(a=LOAD)
    assert kernel.findings() == ()


def test_a_cell_that_runs_well_again_is_no_longer_a_failed_edit(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.fail("a", "%%dagy_task\ndef load(:")
    kernel.run("a", LOAD)
    assert kernel.findings() == ()


def test_the_same_text_that_fails_is_no_edit(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.fail("a", LOAD)
    assert kernel.findings() == ()


def test_a_task_cell_that_failed_before_it_was_kept_is_found_until_it_runs_well(kernel: Kernel) -> None:
    kernel.fail("a", "%%dagy_task\nrows = nothing")
    kernel.fail("b", "%%dagy_flow nightly\nrows")
    kernel.fail("c", "1 / 0")
    assert list(map(str, kernel.findings())) == [
        "cell [1]: it was to be the task 'rows', and failed when it ran, so it is not kept; "
        "mend it and run it again, or forget it with %dagy_reset 1",
        "cell [2]: it was to be the flow 'nightly', and failed when it ran, so it is not kept; "
        "mend it and run it again, or forget it with %dagy_reset 2",
    ]
    assert summary(kernel.findings()) == "2 cells failed and are not kept"
    kernel.run("a", "%%dagy_task\nrows = 1")
    kernel.notebook.forget("nightly")
    assert kernel.findings() == ()


def test_a_cell_that_failed_and_is_gone_is_no_finding(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    for name in ("b", "c", "d"):
        kernel.fail(name, f"%%dagy_task {name}\nrows = nothing")
    kernel.notebook.deleted(["b"])
    assert kernel.told() == [("not kept", "cell [3]"), ("not kept", "cell [4]")]
    kernel.save(a=LOAD, d="%%dagy_task d\nrows = nothing")
    assert kernel.told() == [("not kept", "cell [4]")]  # and it is not said a second time that it has not run


def test_an_ordinary_cell_only_counts_where_a_task_reads_it(kernel: Kernel) -> None:
    kernel.run("a", "FACTOR = 2")
    kernel.run("b", "unrelated = 5")
    kernel.run("c", "%%dagy_task\ndef load():\n    return FACTOR")
    kernel.save(a="FACTOR = 3", b="unrelated = 6", c="%%dagy_task\ndef load():\n    return FACTOR")
    (found,) = kernel.findings()
    assert (found.kind, found.cell, found.tasks) == ("edited", "cell [1]", ("load",))


def test_a_plain_task_is_found_like_a_task_cell(kernel: Kernel) -> None:
    plain = "from dagy import task\n@task\ndef load():\n    return 1"
    kernel.run("a", plain)
    kernel.save(a=plain.replace("1", "2"))
    (found,) = kernel.findings()
    assert (found.kind, found.tasks) == ("edited", ("load",))


# ---- not run, deleted


def test_a_task_cell_of_the_file_that_nobody_ran_is_found(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.save(a=LOAD, b=TOTAL, c="x = 1", d="%%dagy_task --retires 2\nx = 1")
    (found,) = kernel.findings()
    assert str(found) == "cell 2 of etl.ipynb: it is the task 'total' and has not run; run it"


def test_a_cell_that_the_page_says_was_deleted_still_counts_and_is_found(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.run("b", TOTAL)
    kernel.notebook.deleted(["b", "unknown"])
    (found,) = kernel.findings()
    assert (found.kind, found.tasks) == ("deleted", ("total",))
    assert "forget it with %dagy_reset total" in str(found)
    kernel.notebook.forget("total")
    assert kernel.findings() == ()


def test_a_cell_that_a_newer_file_does_not_hold_was_deleted(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.run("b", TOTAL)
    kernel.save(a=LOAD)
    assert kernel.told() == [("deleted", "cell [2]")]


def test_a_deletion_that_was_taken_back_is_no_finding(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.notebook.deleted(["a"])
    kernel.save(a=LOAD)
    assert kernel.findings() == ()


def test_a_deleted_cell_that_runs_again_is_there_again(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.notebook.deleted(["a"])
    kernel.run("a", LOAD)
    assert kernel.findings() == ()


def test_a_page_that_repeats_itself_deletes_nothing_that_ran_meanwhile(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.notebook.deleted(["a"])
    kernel.run("a", LOAD)
    kernel.notebook.deleted(["a"])
    assert kernel.findings() == ()
    kernel.notebook.deleted([])
    kernel.notebook.deleted(["a"])
    assert kernel.told() == [("deleted", "cell [2]")]


def test_another_notebooks_file_is_not_believed(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.save(x="other = 1", y="%%dagy_task\ndef far():\n    return 1")
    assert kernel.notebook.saved is None
    assert kernel.findings() == ()


def test_a_cell_of_visual_studio_code_is_known_by_its_text(kernel: Kernel) -> None:
    kernel.run("vscode-notebook-cell:/etl.ipynb#W1", LOAD)
    kernel.run("vscode-notebook-cell:/etl.ipynb#W2", TOTAL)
    kernel.save(a=LOAD, b=TOTAL)
    assert kernel.findings() == ()
    kernel.save(a=LOAD, b=TOTAL.replace("2", "3"))
    (found,) = kernel.findings()
    assert found.kind == "edited"
    assert "edited and not run, or deleted; run it again, or forget it with %dagy_reset 2" in str(found)


# ---- order


def test_a_cell_that_took_its_value_from_below_is_out_of_order(kernel: Kernel) -> None:
    kernel.run("b", "rows = [1, 2]")
    kernel.run("a", "%%dagy_task\nmost = max(rows)")
    kernel.save(a="%%dagy_task\nmost = max(rows)", b="rows = [1, 2]")
    (found,) = kernel.findings()
    assert (found.kind, found.cell, found.tasks) == ("out of order", "cell [2]", ("most",))
    assert "took 'rows' from cell [1], which is below it" in found.message
    assert found.remedy == "move cell [1] above it"


def test_a_cell_that_takes_another_value_when_all_cells_run_is_out_of_order(kernel: Kernel) -> None:
    kernel.run("a", "rows = [1]")
    kernel.run("c", "rows = [1, 2]")
    kernel.run("b", "%%dagy_task\nmost = max(rows)")
    kernel.save(a="rows = [1]", b="%%dagy_task\nmost = max(rows)", c="rows = [1, 2]")
    (found,) = kernel.findings()
    assert found.kind == "out of order"
    assert "took 'rows' from cell [2], and takes it from cell [1] when all cells run in order" in found.message


def test_an_order_that_changes_nothing_is_no_finding(kernel: Kernel) -> None:
    kernel.run("b", "%%dagy_task\nother = 1")
    kernel.run("a", "rows = [1]")
    kernel.run("c", "%%dagy_task\nmost = max(rows)")
    kernel.save(a="rows = [1]", b="%%dagy_task\nother = 1", c="%%dagy_task\nmost = max(rows)")
    assert kernel.findings() == ()


# ---- older than what they take


def test_values_are_older_than_a_cell_that_ran_again_and_so_is_what_was_made_of_them(kernel: Kernel) -> None:
    kernel.run("a", "%%dagy_task\nrows = [1]")
    kernel.run("b", "%%dagy_task\nmost = max(rows)")
    kernel.run("c", "%%dagy_task\nhalf = most / 2")
    kernel.run("a", "%%dagy_task\nrows = [1]")
    first, second = kernel.findings()
    assert (first.kind, first.tasks) == ("older", ("most",))
    assert first.message == "its values are older than 'rows' of cell [4]"
    assert second.message == "its values were made from 'most' of cell [2], which is out of date"
    kernel.run("b", "%%dagy_task\nmost = max(rows)")
    kernel.run("c", "%%dagy_task\nhalf = most / 2")
    assert kernel.findings() == ()


def test_an_import_or_a_function_that_runs_again_makes_nothing_older(kernel: Kernel) -> None:
    imports = "import math\ndef twice(x):\n    return 2 * x"
    kernel.run("a", imports)
    kernel.run("b", "%%dagy_task\narea = twice(math.pi)")
    kernel.run("a", imports)
    assert kernel.findings() == ()
    kernel.run("a", imports.replace("2 *", "3 *"))
    assert kernel.told() == [("older", "cell [2]")]


def test_the_last_result_is_older_than_a_cell_that_was_changed_since(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.run("b", TOTAL)
    kernel.run("c", "%%dagy_task\ndef apart():\n    return 1")
    ran_at = kernel.now + 0.5
    kernel.run("a", LOAD)
    tasks = ("load", "total", "apart")
    assert kernel.findings(ran_at=ran_at, has_run=tasks) == ()
    kernel.run("a", LOAD.replace("3", "4"))
    found = kernel.findings(ran_at=ran_at, has_run=tasks)
    assert [(each.kind, each.tasks) for each in found] == [("older", ("load",)), ("older", ("total",))]
    assert [each.message for each in found] == [
        "the last run's result is older than its code",
        "the last run's result is older than cell [5]",
    ]


def test_the_last_result_is_older_than_a_constant_that_was_changed_since(kernel: Kernel) -> None:
    task = "%%dagy_task\ndef load():\n    return FACTOR"
    kernel.run("a", "FACTOR = 1")
    kernel.run("b", task)
    ran_at = kernel.now + 0.5
    kernel.run("a", "FACTOR = 2")
    (found,) = kernel.findings(ran_at=ran_at, has_run=("load",))
    assert found.tasks == ("load",)


# ---- names


def test_two_cells_of_one_task_are_told_apart_and_a_copy_is_called_one(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    copy = kernel.run("b", LOAD)
    (found,) = kernel.findings()
    assert (found.kind, found.cell, found.tasks) == ("twice", "cell [2]", ("load",))
    assert found.message == "it is a copy of cell [1], and both define the task 'load'"
    assert "forget one with %dagy_reset 2" in found.remedy
    assert twice(kernel.notebook.kept, copy) == (found,)
    kernel.run("b", LOAD.replace("load", "fetch"))
    assert kernel.findings() == ()


def test_a_copy_is_one_under_another_spelling_and_stays_the_copy_when_the_original_runs_again(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.run("b", LOAD.replace("%%dagy_task", "#| dagy_task --retries 2"))
    kernel.run("a", LOAD)
    (found,) = kernel.findings()
    assert (found.cell, found.message) == ("cell [2]", "it is a copy of cell [3], and both define the task 'load'")


def test_a_task_cell_and_a_plain_task_of_one_name_are_two(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.run("b", "from dagy import task\n@task\ndef load():\n    return 1")
    (found,) = kernel.findings()
    assert found.message == "it defines the task 'load', as cell [1] does"


def test_a_renamed_task_asks_as_long_as_the_old_name_is_read(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.run("b", TOTAL)
    kernel.run("c", "%%dagy_flow weekly\ntotal(load(2))")
    cell = kernel.run("a", LOAD.replace("load", "fetch"))
    (found,) = kernel.findings()
    assert (found.kind, found.cell, found.tasks) == ("renamed", "cell [4]", ("total",))
    assert found.message == (
        "the task 'fetch' was 'load' until now, and cell [2] (task 'total'), cell [3] (flow 'weekly') still read 'load'"
    )
    assert found.remedy == "write 'fetch' there and run it, or call this one 'load' again"
    assert renamed(kernel.notebook.kept, cell) == (found,)

    kernel.run("b", TOTAL.replace("load", "fetch"))
    assert "cell [3] (flow 'weekly') still reads 'load'" in kernel.findings()[0].message
    kernel.run("c", "%%dagy_flow weekly\ntotal(fetch(2))")
    assert kernel.findings() == ()


def test_a_rename_that_is_taken_back_asks_no_more(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.run("b", TOTAL)
    kernel.run("a", LOAD.replace("load", "fetch"))
    kernel.run("a", LOAD)
    assert kernel.findings() == ()


def test_a_name_that_nobody_reads_is_renamed_without_a_word(kernel: Kernel) -> None:
    kernel.run("a", LOAD)
    kernel.run("a", LOAD.replace("load", "fetch"))
    assert kernel.findings() == ()


# ---- in short


def test_the_gravest_finding_marks_a_task() -> None:
    found = [
        Finding("older", "cell [1]", "", "", ("a", "b")),
        Finding("edited", "cell [1]", "", "", ("a",)),
        Finding("twice", "cell [2]", "", "", ("c",)),
    ]
    assert marks(found) == {"a": "edited", "b": "older", "c": "twice"}


def test_the_notes_on_an_export_name_the_cells_whose_older_text_it_holds() -> None:
    edited = Finding("edited", "cell [1]", "", "", ("load",))
    failed = Finding("failed edit", "cell [2]", "", "", ("a", "b"))
    other = Finding("deleted", "cell [3]", "", "", ("c",))
    assert export_notes([edited, failed, other], ["cell [1]", "cell [2]"]) == (
        "1 cell is edited and not run, 1 cell is edited and failed, 1 cell is deleted and still counts: %dagy_check",
        "the export has what cell [1] (task 'load'), cell [2] held before",
    )
    assert export_notes([Finding("not run", "cell 4", "", "")], ["cell 4"]) == ("1 cell has not run: %dagy_check",)
    assert export_notes([], ["cell [1]"]) == ()


def test_a_summary_counts_what_a_run_would_not_know_of() -> None:
    edited = Finding("edited", "cell [1]", "", "")
    assert summary([]) == ""
    assert summary([Finding("older", "cell [1]", "", "")]) == ""
    assert summary([edited]) == "1 cell is edited and not run"
    assert summary([edited, edited, Finding("deleted", "cell [2]", "", "")]) == (
        "2 cells are edited and not run, 1 cell is deleted and still counts"
    )
