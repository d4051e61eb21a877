import pytest

from dagy.errors import DefinitionError
from dagy_nb.directives import (
    ExportDirective,
    FlowDirective,
    TaskDirective,
    TryDirective,
    find_directive,
    flow_help,
    near_miss,
    option_names,
    parse_flow,
    parse_task,
    task_help,
)


@pytest.mark.parametrize(
    ("line", "name", "options"),
    [
        ("", None, {}),
        ("clean", "clean", {}),
        ("clean --retries 2", "clean", {"retries": 2}),
        ("--retries=2 clean", "clean", {"retries": 2}),
        ("--retry-delay 5", None, {"retry_delay_seconds": 5}),
        ("--retry-delay 0.5,1,2", None, {"retry_delay_seconds": [0.5, 1, 2]}),
        ("--retry-jitter 0.5", None, {"retry_jitter_factor": 0.5}),
        ("--timeout 30", None, {"timeout_seconds": 30}),
        ("--isolation process", None, {"isolation": "process"}),
        ("--cache clean", "clean", {"cache": True}),
        ("--cache-for 60", None, {"cache": 60}),
        ("--concurrency 4", None, {"concurrency_limit": 4}),
        ("--executor step-functions", None, {"executor": "step-functions"}),
        ("--executor large --memory 6000", None, {"executor": "large", "memory_mb": 6000}),
        ("--description 'Reads it # all'", None, {"description": "Reads it # all"}),
        ("--no-validate", None, {"validate_parameters": False}),
        ("clean # the second step, isn't it", "clean", {}),
        ("clean --retries 1 #", "clean", {"retries": 1}),
        ("issue#5", "issue#5", {}),
        ('"load data"', "load data", {}),
    ],
)
def test_a_task_line_becomes_arguments_of_task(line: str, name: str | None, options: dict[str, object]) -> None:
    assert parse_task(line) == TaskDirective(name, options)


def test_a_flow_line_becomes_arguments_of_flow() -> None:
    line = "etl --version 1.2.0 --description 'Every night'"

    assert parse_flow(line) == FlowDirective("etl", {"version": "1.2.0", "description": "Every night"})


def test_a_flow_line_says_how_the_run_as_a_whole_is_tried_again_and_limited() -> None:
    line = "--retries 2 --retry-delay 1,5 --timeout 600"

    options = {"retries": 2, "retry_delay_seconds": [1, 5], "timeout_seconds": 600}
    assert parse_flow(line) == FlowDirective(None, options)


def test_a_flow_line_says_that_a_failure_does_not_end_the_run() -> None:
    assert parse_flow("--no-fail-fast").options == {"fail_fast": False}


def test_a_flow_line_says_where_it_runs_and_with_how_much() -> None:
    assert parse_flow("--executor ecs --memory 4096").options == {"executor": "ecs", "memory_mb": 4096}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--retires 3", "has no option '--retires'; did you mean '--retries'"),
        ("--cash", "its options: --retries, --retry-delay"),
        ("--cache-for 0", "not a number of seconds above 0"),
        ("--isolation loop", "choose from"),
        ("--retries two", "'two' is not a whole number from 0 up"),
        ("--retries -1", "'-1' is not a whole number from 0 up"),
        ("--concurrency 0", "'0' is not a whole number from 1 up"),
        ("--timeout 0", "not a number of seconds above 0"),
        ("--timeout inf", "'inf' is not a number of seconds"),
        ("--timeout 5m", "'5m' is not a number of seconds"),
        ("--retry-delay 1,,2", "'' is not a number of seconds"),
        ("--retry-jitter 2", "'2' is not a number from 0 to 1"),
        ("--retry-jitter nan", "'nan' is not a number from 0 to 1"),
        ("--executor ec2", "choose from"),
        ("--retries", "expected one argument"),
        ("load data", "can't place 'data'"),
        ("-x", "can't place '-x'"),
        ("--description 'open", "no closing quotation"),
    ],
)
def test_a_line_that_is_written_wrong_is_refused_with_the_way_out(line: str, message: str) -> None:
    with pytest.raises(DefinitionError, match="%%dagy_task") as caught:
        parse_task(line)

    assert message in str(caught.value)


def test_asking_for_help_raises_nothing() -> None:
    assert parse_task("-h") == TaskDirective(help_wanted=True)
    assert parse_flow("name --help") == FlowDirective("name", help_wanted=True)


def test_the_help_names_every_option_and_no_terminal_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    text = task_help()
    monkeypatch.setenv("COLUMNS", "20")

    assert task_help() == text
    assert max(map(len, text.splitlines())) <= 120
    for option in ("--retries", "--retry-delay", "--retry-jitter", "--timeout", "--concurrency", "--executor"):
        assert option in text
    assert "--version" in flow_help()


@pytest.mark.parametrize("line", ["%%dagy_task clean", "%dagy_task clean", "#| dagy_task clean", "#|dagy_task clean"])
def test_the_three_spellings_mean_the_same(line: str) -> None:
    assert find_directive(f"{line}\nx = 1") == (TaskDirective("clean"), 0)


def test_blank_lines_may_stand_above_the_directive() -> None:
    assert find_directive("\n  \n%%dagy_flow etl") == (FlowDirective("etl"), 2)


@pytest.mark.parametrize(
    "source", ["", "\n", "x = 1", "%dagy_tasks", "# dagy_task", "x = 1\n%%dagy_task", "%%dagy_taskx"]
)
def test_other_cells_have_no_directive(source: str) -> None:
    assert find_directive(source) is None


def test_a_semicolon_at_the_end_only_silences_the_output() -> None:
    assert parse_task("load --retries 2 ;") == TaskDirective("load", {"retries": 2})
    assert parse_task("load;") == TaskDirective("load")


@pytest.mark.parametrize("line", ["#| dagy_export", "#|dagy_export", "#| dagy_export  # a helper"])
def test_a_cell_can_ask_to_be_exported(line: str) -> None:
    assert find_directive(f"\n{line}\nx = 1") == (ExportDirective(), 1)


@pytest.mark.parametrize("line", ["%dagy_export flow.py", "%%dagy_export", "#| dagy_exports", "# dagy_export"])
def test_only_the_comment_spelling_asks_for_the_export_of_a_cell(line: str) -> None:
    assert find_directive(f"{line}\nx = 1") is None


def test_a_cell_that_asks_to_be_exported_gives_nothing_else() -> None:
    with pytest.raises(DefinitionError, match=r"#\| dagy_export takes nothing else, and can't place 'flow\.py'"):
        find_directive("#| dagy_export flow.py")


def test_a_mark_keeps_a_cell_out_of_everything() -> None:
    assert find_directive("#| dagy_try  # by hand\nx = 1") == (TryDirective(), 0)
    assert find_directive("#| dagy_trying\nx = 1") is None
    with pytest.raises(DefinitionError, match=r"#\| dagy_try takes nothing else, and can't place 'load'"):
        find_directive("#| dagy_try load")


def test_the_options_can_be_listed() -> None:
    assert option_names("task")[:2] == ("--retries", "--retry-delay")
    assert set(option_names("flow")) - set(option_names("task")) == {"--version", "--no-fail-fast"}


@pytest.mark.parametrize("source", ["\x0c\n%%dagy_task t", "\r%%dagy_task t", "\r\n%%dagy_task t", "\u2028"])
def test_lines_are_counted_as_python_counts_them(source: str) -> None:
    assert [index for _, index in filter(None, [find_directive(source)])] == [1] * ("task" in source)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("#| dagytask\nx = 1", 1),
        ("#| dagy_tasks foo\nx = 1", 1),
        ("# | dagy_task\nx = 1", 1),
        ("# dagy_task\nx = 1", 1),
        ("#| label: fig\n#| dagy_task\nx = 1", 2),
        ("\n# a comment\n\n#| dagy_flow etl\nx = 1", 4),
    ],
)
def test_a_comment_that_was_meant_for_a_directive_is_noticed(source: str, line: int) -> None:
    told = near_miss(source)
    assert told is not None
    assert told.startswith(f"line {line}, ")
    assert "as the first line" in told


@pytest.mark.parametrize(
    "source", ["#| dagy_task\nx = 1", "\n#| dagy_task x", "x = 1\n#| dagy_task", "# dagy_tasked", ""]
)
def test_what_is_no_near_miss_is_left_alone(source: str) -> None:
    assert near_miss(source) is None
