"""The lines of the magics: what is read from them, what is answered to a mistake, and their help."""

from __future__ import annotations

import pytest

import dagy_nb
from dagy.errors import DefinitionError
from dagy_nb.lines import parsers


@pytest.mark.parametrize("magic", list(parsers()))
def test_every_magic_has_help_with_its_options(magic: str) -> None:
    parser = parsers()[magic]
    text = parser.format_help()
    assert text.startswith(f"usage: %{magic} ")
    assert parser.summary in text
    assert all(name in text for name in parser.option_names)
    assert parser.summary.endswith(".")


@pytest.mark.parametrize("magic", [each for each in parsers() if each != "dagy"])
def test_every_magic_has_a_function(magic: str) -> None:
    name = magic.removeprefix("dagy_")
    function = {"export": "export_notebook", "runs": "past_runs"}.get(name, name)
    assert callable(getattr(dagy_nb, function))
    assert function in dir(dagy_nb)


@pytest.mark.parametrize("line", ["-h", "--help", "weekly --help", "--nosuch -h", "-p"])
def test_help_is_asked_for_anywhere_on_the_line(line: str) -> None:
    if line == "-p":
        with pytest.raises(DefinitionError, match="expected one argument"):
            parsers()["dagy_run"].parse_line(line)
    else:
        assert parsers()["dagy_run"].parse_line(line).help is True


def test_a_line_is_read() -> None:
    given = parsers()["dagy_run"].parse_line("weekly -p n=1 --param 'day=a b' --background  # tonight")
    assert (given.flow, given.param, given.background, given.help) == ("weekly", ["n=1", "day=a b"], True, False)
    assert parsers()["dagy_dag"].parse_line("weekly;").flow == "weekly"
    assert parsers()["dagy_runs"].parse_line("").limit == 20


@pytest.mark.parametrize(
    ("magic", "line", "answer"),
    [
        ("dagy_run", "--backgruond", "unrecognized arguments: --backgruond; did you mean '--background'?"),
        ("dagy_run", "--back", "unrecognized arguments: --back; did you mean '--background'?"),
        ("dagy_logs", "--tsak load", "did you mean '--task'?"),
        ("dagy_run", "--isolation cloud", "invalid choice: 'cloud'"),
        ("dagy_runs", "-n many", "invalid int value: 'many'"),
        ("dagy_load", "", "the following arguments are required: TASK"),
        ("dagy_check", "now", "unrecognized arguments: now; %dagy_check? shows the options"),
        ("dagy_run", "'open", "%dagy_run 'open: No closing quotation"),
    ],
)
def test_a_mistake_is_told_with_the_remedy(magic: str, line: str, answer: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parsers()[magic].parse_line(line)
    assert answer in str(caught.value)
