import pytest

from dagy.errors import CycleError, DefinitionError
from dagy_nb.cells import Cell, TaskCell, read_cell, task_cell
from dagy_nb.joining import JoinedTask, flow_parameters, join, wire


def cells(*sources: str) -> list[TaskCell]:
    return [
        task_cell(read_cell(Cell(f"id-{number}", f"%%dagy_task {source}", f"cell {number}")))
        for number, source in enumerate(sources, 1)
    ]


def joined(*sources: str, defined: tuple[str, ...] = ()) -> dict[str, JoinedTask]:
    return {each.name: each for each in join(cells(*sources), flow="etl", defined=defined)}


def wires(task: JoinedTask) -> dict[str, tuple[str | None, str | None]]:
    return {each.parameter: (each.task, each.part) for each in task.wires}


def test_a_statements_cell_takes_what_others_bind() -> None:
    tasks = joined("load\nraw = [1]", "clean\ncleaned = raw[:]")

    assert wires(tasks["clean"]) == {"raw": ("load", None)}
    assert tasks["load"].outputs == ("raw",)
    assert tasks["clean"].outputs == ()


def test_of_several_names_each_reader_takes_its_part() -> None:
    tasks = joined("split\ntrain, test = [1], [2]", "fit\nmodel = train", "score\npoints = model, test")

    assert tasks["split"].outputs == ("train", "test")
    assert wires(tasks["fit"]) == {"train": ("split", "train")}
    assert wires(tasks["score"]) == {"model": ("fit", None), "test": ("split", "test")}


def test_parameters_of_a_function_are_wired_by_their_names() -> None:
    tasks = joined("\ndef raw(path): ...", "tidy\ndef clean(raw): ...", "\ndef report(clean, tidy, raw): ...")

    assert wires(tasks["raw"]) == {"path": (None, None)}
    assert wires(tasks["report"]) == {"clean": ("tidy", None), "tidy": ("tidy", None), "raw": ("raw", None)}


def test_the_latest_maker_above_the_reader_counts() -> None:
    tasks = joined("a\ndf = [1]", "b\ndf = df + [2]", "c\nn = len(df)", "d\ndf = [3]")

    assert wires(tasks["b"]) == {"df": ("a", None)}
    assert wires(tasks["c"]) == {"df": ("b", None)}
    assert wires(tasks["d"]) == {}


def test_a_maker_below_counts_when_it_is_the_only_one() -> None:
    tasks = join(cells("report\nn = len(df)", "load\ndf = [1]"), flow="etl")

    assert [each.name for each in tasks] == ["load", "report"]
    assert wires(tasks[1]) == {"df": ("load", None)}


def test_a_name_that_an_ordinary_cell_defines_is_not_taken_from_below() -> None:
    assert wires(joined("a\nn = n0 + 1", "b\nn0 = n", defined=("n0",))["a"]) == {}


def test_several_makers_below_are_a_choice_that_the_user_makes() -> None:
    with pytest.raises(DefinitionError, match="cell 1 reads 'df', which cell 2 and cell 3 make, all below it"):
        joined("report\nn = len(df)", "a\ndf = [1]", "b\ndf = [2]")


def test_a_circle_names_its_tasks() -> None:
    with pytest.raises(CycleError, match="flow 'etl' goes in a circle") as caught:
        joined("a\nx = y", "b\ny = x")

    assert set(caught.value.cycle) == {"a", "b"}


def test_a_value_changed_in_place_comes_from_the_cell_that_changed_it() -> None:
    tasks = joined("load\ndf = {}", "extend\ndf['a'] = 1", "report\nn = len(df)")

    assert tasks["extend"].outputs == ("df",)
    assert wires(tasks["report"]) == {"df": ("extend", None)}


@pytest.mark.parametrize(
    "change",
    [
        "df['a'] = 1",
        "df += 1",
        "df |= rows",
        "df.put(1)\nx = 1",
        "view = df\nview += 1",
        "grow = df\ngrow.sort()",
    ],
)
def test_what_changes_a_value_in_place_waits_for_the_readers_above_it(change: str) -> None:
    tasks = joined("load\ndf = {}", "count\nn = len(df)", "size\nm = len(df)", f"extend\n{change}", "end\nk = df")

    assert tasks["extend"].after == ("count", "size")
    assert "extend" in tasks["end"].upstream
    assert tasks["count"].after == ()
    assert not any("may read it" in problem for each in tasks.values() for problem in each.problems)


@pytest.mark.parametrize("change", ["df = df + 1", "df += 'text'", "df += f'{1}'", "df = df.copy()\ndf += 1"])
def test_what_gives_a_name_a_new_value_waits_for_nobody(change: str) -> None:
    assert joined("load\ndf = {}", "count\nn = len(df)", f"extend\n{change}")["extend"].after == ()


def test_a_task_waits_for_no_more_than_it_must() -> None:
    tasks = joined(
        "load\ndf = [1]", "a\nx = df[0]", "b\ny = x + df[0]", "c\nz = y + 1", "extend\ndf.append(z)", "d\nw = df",
        "more\ndf.append(1)",
    )  # fmt: skip

    assert tasks["extend"].needs == ("load", "c")
    assert tasks["extend"].after == ()
    assert tasks["more"].after == ("d",)


def test_counting_up_is_no_problem() -> None:
    tasks = joined("a\ntotal = 0", "b\nn = total", "c\ntotal += 1", "d\ntotal += n")

    assert tasks["c"].after == ("b",)
    assert not any((*each.problems, *each.races) for each in tasks.values())


def test_what_reads_another_name_of_a_changed_value_comes_where_it_stands() -> None:
    tasks = joined("a\nxs = [1]", "b\nview = xs", "c\nn = len(view)", "d\nxs.append(2)", "e\nm = len(view)")

    assert tasks["d"].after == ("c",)
    assert tasks["e"].after == ("d",)


def test_a_flow_written_by_hand_is_told_of_a_race_that_the_joined_one_does_not_have() -> None:
    tasks = joined("load\ndf = {}", "count\nn = len(df)", "extend\ndf['a'] = 1")

    (race,) = tasks["extend"].races
    assert "changes 'df' in place while task 'count' (cell 2) may read it" in race
    assert race.endswith(
        "begin the cell with `df = df.copy()` (`copy.deepcopy(df)` where that is not enough), or put both into one cell"
    )


def test_a_function_that_changes_what_a_later_one_reads_too_is_a_problem() -> None:
    tasks = joined("\ndef df(): return {}", "\ndef extend(df): df['a'] = 1", "\ndef count(df): return len(df)")

    (problem,) = tasks["extend"].problems
    assert "changes 'df' in place while task 'count' (cell 3) may read it; begin it with" in problem
    assert tasks["extend"].after == tasks["count"].after == ()


def test_a_reader_that_needs_what_changes_its_value_comes_after_that_wherever_it_stands() -> None:
    tasks = joined("load\ndf = {}", "\ndef count(df, extend): ...", "\ndef extend(df):\n    df['a'] = 1")

    assert list(tasks) == ["load", "extend", "count"]
    assert tasks["extend"].after == ()


def test_a_circle_of_changed_values_is_found_and_told() -> None:
    with pytest.raises(CycleError, match="goes in a circle"):
        joined("a\nx += 1", "b\nif n:\n    x = 2", "c\ny = x", defined=("n",))


def test_a_name_bound_on_some_path_only_may_come_from_above() -> None:
    tasks = joined("a\nx = 1", "b\nif n:\n    x = 2", "c\ny = x", defined=("n",))

    assert wires(tasks["b"]) == {"x": ("a", None)}
    assert wires(tasks["c"]) == {"x": ("b", None)}


def test_calling_a_function_cell_is_no_input_but_using_its_value_is() -> None:
    tasks = joined("\ndef clean(x): return x", "a\ny = clean(3)", "b\nz = clean + 1")

    assert wires(tasks["a"]) == {}
    assert wires(tasks["b"]) == {"clean": ("clean", None)}


def test_imports_and_loop_variables_of_other_cells_are_no_inputs() -> None:
    tasks = joined("a\nimport math\nx = math.pi\nfor i in [1]: pass", "b\ny = math.e\nfor i in [2]: z = i")

    assert wires(tasks["b"]) == {}


def test_a_name_of_the_module_that_is_rebound_is_captured() -> None:
    tasks = joined("a\nlimit = limit + 1", "b\nfor x in []: found = x\nprint(found)", defined=("limit",))

    assert tasks["a"].captured == ("limit",)
    assert tasks["b"].captured == ()


def test_a_parameter_nobody_makes_belongs_to_the_flow_once() -> None:
    tasks = join(cells("\ndef a(path: str = 'x', n=None): ...", "\ndef b(path, a, url): ..."), flow="etl")

    assert [(each.name, each.annotation, each.default) for each in flow_parameters(tasks)] == [
        ("url", "", None),
        ("path", "str", "'x'"),
        ("n", "", "None"),
    ]


def test_two_defaults_for_one_parameter_are_refused_with_both_cells() -> None:
    with pytest.raises(DefinitionError, match=r"default 'x' in cell 1 and 'y' in cell 2"):
        joined("\ndef a(path='x'): ...", "\ndef b(path='y'): ...")


def test_tasks_that_a_flow_calls_itself_may_have_defaults_of_their_own() -> None:
    assert len(wire(cells("\ndef a(path='x'): ...", "\ndef b(path='y'): ..."))) == 2


def test_a_parameter_with_the_name_of_its_own_task_is_refused() -> None:
    with pytest.raises(DefinitionError, match="rename the parameter"):
        joined("\ndef path(path): ...")


def test_a_function_that_reads_a_tasks_value_past_its_parameters_is_a_problem() -> None:
    tasks = joined("a\nlimit = 3", "\ndef check(rows): return rows[:limit]")

    assert tasks["check"].problems == (
        "cell 2: task 'check' reads 'limit', which cell 1 makes, past its parameters; "
        "add 'limit' as a parameter so that the graph knows",
    )


def test_code_that_hides_its_names_is_a_problem() -> None:
    assert "exec(), whose names Dagy can't follow" in joined("a\nx = 1\nexec('y = x')")["a"].problems[0]


def test_unnamed_cells_that_bind_the_same_name_get_numbers() -> None:
    tasks = join(cells("\ndf = [1]", "\ndf = df + [2]", "\ndf = df + [3]"), flow="etl")

    assert [(each.name, each.function) for each in tasks] == [("df", "df"), ("df_2", "df_2"), ("df_3", "df_3")]


def test_two_tasks_of_one_name_are_refused_with_both_cells() -> None:
    with pytest.raises(DefinitionError, match="cell 1 and cell 2 both define the task 'clean'"):
        joined("clean\nx = 1", "\ndef clean(y): ...")


def test_a_function_never_takes_the_name_of_a_builtin_or_of_the_module() -> None:
    tasks = joined("\nmax = 3", "\nmetrics = {}", "load-data\nx = 1", "flow\ny = 1", defined=("metrics",))

    assert [each.function for each in tasks.values()] == ["max_task", "metrics_task", "load_data", "flow_task"]
    assert [each.options for each in tasks.values()] == [
        {"name": "max"},
        {"name": "metrics"},
        {"name": "load-data"},
        {"name": "flow"},
    ]


def test_options_of_the_directive_reach_the_task() -> None:
    assert joined("tidy --retries 2\ndef clean(): ...")["tidy"].options == {"name": "tidy", "retries": 2}


# -- changes in place -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "extend\ndf['a'] = 1",
        "extend\nview = df\nview['a'] = 1",
        "extend\ndf += [1]",
        "\ndef extend(df):\n    df.sort()",
    ],
)
def test_changing_what_another_task_returned_is_a_problem_even_when_nobody_else_reads_it(change: str) -> None:
    (problem,) = joined("load\ndf = {}", change)["extend"].problems

    assert "changes 'df' in place, which task 'load' (cell 1) returned: a retry, a resumed run" in problem
    assert "with `df = df.copy()`" in problem


@pytest.mark.parametrize(
    "change",
    [
        "extend\ndf = df.copy()\ndf['a'] = 1",
        "extend --isolation process\ndf['a'] = 1",
        "extend\ndf = []\ndf.append(1)",
        "\ndef extend(df):\n    df = list(df)\n    df.sort()\n    return df",
        "extend\nn = len(df)",
    ],
)
def test_a_copy_or_a_process_of_its_own_is_no_problem(change: str) -> None:
    tasks = joined("load\ndf = {}", "count\nn = len(df)", change)

    assert not any(each.problems for each in tasks.values())


def test_changing_a_value_of_an_ordinary_cell_is_a_problem_but_setting_up_a_module_is_none() -> None:
    found = cells("t\ntable['a'] = 1\nnp.random.seed(3)\nx = table")

    (task,) = wire(found, defined={"table", "np"}, imported={"np"})
    (problem,) = task.problems
    assert "changes 'table' in place, which an ordinary cell made" in problem


def test_a_function_that_would_see_another_value_in_the_notebook_is_a_problem() -> None:
    tasks = joined("a\nn = 1\ndef f():\n    return n", "b\nn = 2", "c\ny = f()")

    (problem,) = tasks["c"].problems
    assert "'f' of cell 1, which keeps the 'n' it had there, though cell 2 binds it again" in problem
    assert not joined("a\nn = 1\ndef f():\n    return n", "c\ny = f()")["c"].problems


HELPERS = [
    "def tri(x): return x * k",
    "def outer(x): return inner(x)\ndef inner(x): return x * k",
    "class Tri:\n    def of(self, x): return x * k\ntri = Tri().of",
    "tri = lambda x: x * k",
    "def tri(x):\n    global k\n    k += 1\n    return x * 3",
    "def tri(x):\n    global k\n    k = 1\n    return x * 3",
]


def with_helpers(helpers: str, *sources: str) -> list[JoinedTask]:
    ordinary = read_cell(Cell("helpers", helpers, "cell 0")).statements
    return list(wire(cells(*sources), defined={"tri", "outer", "inner", "Tri"}, ordinary=ordinary))


@pytest.mark.parametrize("helpers", HELPERS)
@pytest.mark.parametrize("task", ["z\nz = {}(4)", "\ndef z(): return {}(4)", "z\nz = list(map({}, [4]))"])
def test_a_helper_that_reads_what_a_task_makes_is_a_problem(helpers: str, task: str) -> None:
    called, reads = ("outer", "inner") if "outer" in helpers else ("Tri", "Tri") if "Tri" in helpers else ("tri", "tri")

    _, found = with_helpers(helpers, "k\nk = 3", task.format(called))
    assert found.problems == (
        f"cell 2: task 'z' calls {reads!r}, which reads 'k' that cell 1 (task 'k') makes, and sees the notebook's "
        f"value, not the run's; give it to {reads!r} as a parameter",
    )


def test_a_helper_that_reads_what_its_own_caller_makes_is_a_problem() -> None:
    (found,) = with_helpers(HELPERS[0], "z\nk = 3\nz = tri(4)")

    assert "calls 'tri', which reads 'k' that it makes" in found.problems[0]


@pytest.mark.parametrize("helpers", ["def tri(x, k=1): return x * k", "def tri(x):\n    k = 2\n    return x * k"])
def test_a_helper_with_a_name_of_its_own_is_no_problem(helpers: str) -> None:
    assert not any(each.problems for each in with_helpers(helpers, "k\nk = 3", "z\nz = tri(k)"))


def test_a_helper_that_nobody_calls_is_no_problem() -> None:
    assert not any(each.problems for each in with_helpers(HELPERS[0], "k\nk = 3", "z\nz = k"))


def test_a_helper_that_counts_calls_in_a_global_is_a_problem() -> None:
    (found,) = with_helpers(HELPERS[4], "z\nz = tri(4)")

    assert "task 'z' calls 'tri', which changes the global 'k': every run changes it again" in found.problems[0]
    assert not with_helpers(HELPERS[5], "z\nz = tri(4)")[0].problems


@pytest.mark.parametrize("above", ["X = 3", "import os\nX: int = 3", '"""Words."""\nX = 3\nY = X'])
def test_a_function_below_constants_is_told_that_it_is_a_value_only(above: str) -> None:
    (problem,) = joined(f"\n{above}\ndef fetch(url): return url * X")["fetch"].problems

    assert problem.endswith(
        "the value of task 'fetch' is the function 'fetch' itself; "
        "move what stands beside it into an ordinary cell, and the function is the task"
    )


def test_a_function_whose_cell_calls_it_or_that_others_call_is_a_value_that_was_meant() -> None:
    fetch = "X = 3\ndef fetch(url): return url * X"

    assert not joined(f"\n{fetch}\ny = fetch(2)")["y"].problems
    assert not joined(f"\n{fetch}", "z\nz = fetch(2)")["fetch"].problems


def test_a_class_that_binds_a_name_of_its_cell_anew_is_refused_with_its_line() -> None:
    with pytest.raises(DefinitionError, match="cell 1, line 3: a class reads 'n' and binds it too"):
        joined("t\nn = 1\nclass A:\n    n = n")


def test_a_builtin_is_not_taken_from_a_cell_below_that_shadows_it() -> None:
    tasks = joined("a\nx = max(1, 2)", "b\nmax = 3")

    assert wires(tasks["a"]) == {}
    assert (tasks["a"].captured, tasks["a"].builtin) == (("max",), ("max",))


def test_a_cell_that_returns_gives_one_value_under_its_name() -> None:
    tasks = joined("low\nrows = [1]\nreturn rows", "b\nx = low", "c\nreturn_ = rows", defined=("rows",))

    assert wires(tasks["b"]) == {"low": ("low", None)}
    assert wires(tasks["c"]) == {}
