"""A template is filled in with what came in; a name that is not there is an error with a line."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from dagy import flow, task
from dagy.errors import CodeFailedError, MissingExtraError, NodeConfigError, TaskFailedError
from dagy.nodes.library.templates import Template


def test_an_objects_fields_are_names_in_the_template() -> None:
    template = "Dear {{ name }}, {% for each in items %}{{ each }};{% endfor %} {{ value.name }}\n"
    assert Template(template=template)({"name": "Ada", "items": [1, 2]}) == "Dear Ada, 1;2; Ada\n"


def test_anything_else_is_called_value() -> None:
    assert Template(template="{{ value | length }} rows")([1, 2, 3]) == "3 rows"
    assert Template(template="{{ value }}")() == "None"


def test_more_values_are_names_too_and_come_before_those_that_came_in() -> None:
    node = Template(template="{{ greeting }} {{ name }}", values={"greeting": "Hello", "name": "you"})
    assert node({"name": "Ada"}) == "Hello you"
    with pytest.raises(NodeConfigError, match=r"'values' is \[1\]; give an object"):
        Template(template="x", values=[1])()


def test_html_is_escaped_only_when_asked() -> None:
    given = {"name": "<b>Ada</b>"}
    assert Template(template="<i>{{ name }}</i>")(given) == "<i><b>Ada</b></i>"
    escaped = Template(template="<i>{{ name }}</i>", autoescape="html")(given)
    assert escaped == "<i>&lt;b&gt;Ada&lt;/b&gt;</i>"


def test_a_name_that_is_not_there_is_an_error_with_its_line_and_what_may_be_meant() -> None:
    with pytest.raises(NodeConfigError, match="line 2 of the template: 'nmae' is undefined; did you mean 'name'"):
        Template(template="Dear\n{{ nmae }}")({"name": "Ada"})
    with pytest.raises(NodeConfigError, match="line 1 of the template: 'zzz' is undefined; there are 'value', 'name'"):
        Template(template="{{ zzz }}")({"name": "Ada"})
    with pytest.raises(NodeConfigError, match=r"line 1 of the template: .* has no attribute 'agee'"):
        Template(template="{{ value.agee }}")({"name": "Ada"})
    assert Template(template="{{ zzz | default('-') }}{% if zzz is defined %}!{% endif %}")({}) == "-"


def test_a_template_that_is_written_wrong_is_refused_when_it_is_configured() -> None:
    with pytest.raises(NodeConfigError, match=r"line 2 of the template: .*endfor") as caught:
        Template(template="one\n{% for each in items %}")
    assert set(caught.value.problems) == {"template"}


def test_what_a_template_raises_is_told_with_its_line() -> None:
    with pytest.raises(CodeFailedError, match="line 2 of the template: ZeroDivisionError") as caught:
        Template(template="\n{{ 1 / n }}")({"n": 0})
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_template_reaches_no_internals_and_changes_nothing() -> None:
    given = {"items": [1]}
    for template in ("{{ items.__class__.__mro__ }}", "{{ items.append(2) }}", "{{ ''.__class__ }}"):
        with pytest.raises(NodeConfigError, match="line 1 of the template: "):
            Template(template=template)(given)
    assert given == {"items": [1]}


def test_without_jinja_the_extra_that_has_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"the node 'template' needs 'jinja2'; .* 'dagy\[nodes\]'"):
        Template(template="not compiled before")


def test_a_template_may_come_from_a_task() -> None:
    @task
    def text(name: str) -> str:
        return f"Hello {{{{ {name} }}}}"

    @flow
    def greet(name: str = "who") -> Any:
        return Template(template=text(name))({"who": "Ada"})

    assert greet.run_local().value == "Hello Ada"
    with pytest.raises(TaskFailedError, match="'wo' is undefined; did you mean 'who'"):
        greet.run_local(name="wo")
