import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy_nb.names import Names, identifier, names_of, unused


def names(source: str) -> Names:
    (node,) = ast.parse(source).body
    return names_of(node, source)


@pytest.mark.parametrize(
    ("source", "binds", "eager", "late"),
    [
        ("a = b", "a", "b", ""),
        ("a = a + 1", "a", "a", ""),
        ("a += b", "a", "a b", ""),
        ("a: int = b", "a", "b int", ""),
        ("a: int", "", "int", ""),
        ("a, (b, *c) = d", "a b c", "d", ""),
        ("a.b = c", "", "a c", ""),
        ("a[i] = c", "", "a c i", ""),
        ("import a.b, c as d", "a d", "", ""),
        ("from a import b as c, d", "c d", "", ""),
        ("def f(x=a, *, y: b = c) -> d: return x + e", "f", "a b c d", "e"),
        ("@a(b)\ndef f(): return f()", "f", "a b", ""),
        ("async def f(): await g(h)", "f", "", "g h"),
        ("f = lambda x, y=a: x + y + b", "f", "a", "b"),
        ("a = [x + b for x in c if x > d]", "a", "b c d", ""),
        ("a = {k: [v + w for w in vs] for k, vs in m.items() for v in k}", "a", "m", ""),
        ("a = [f(lambda: x + y) for x in z]", "a", "f z", "y"),
        ("a = [(b := x) for x in c]", "a b", "c", ""),
        ("(a := b) + a", "a", "b", ""),
        ("f'{a!r:{b}} {c[0]}'", "", "a b c", ""),
        ("class A(B, metaclass=C):\n    x = d\n    y = x\n    def m(self): return e + A", "A", "B C d", "e"),
        ("for i in xs: y = i + z", "i y", "xs z", ""),
        ("while a: b = c", "b", "a c", ""),
        ("with a as b, c(b) as d: e = d + f", "b d e", "a c f", ""),
        ("try: a = b\nexcept E as e: print(e, a)\nelse: c = a\nfinally: d = 1", "a c d", "E b print", ""),
        ("if a: b = 1\nelse: b = c", "b", "a c", ""),
        ("match a:\n    case {'x': b, **c} if d: e = b\n    case [P(f), *g]: pass", "b c e f g", "P a d", ""),
        ("del a, b.c", "", "a b", ""),
        ("global a", "", "", ""),
        ("def f():\n    def g(): return h + x\n    x = 1\n    return g", "f", "", "h"),
        ("def f():\n    global a\n    a = 1", "f", "", ""),
        ("def f(a):\n    return [a for a in a if b]", "f", "", "b"),
        ("max = max(a)", "max", "a max", ""),
        ("x = 'text' if a else b", "x", "a b", ""),
        ("print((lambda: a)(), (lambda: b)())", "", "print", "a b"),
        ("raise a from b", "", "a b", ""),
        ("assert a, b", "", "a b", ""),
        ("x = await a(b)", "x", "a b", ""),
        ("async with a as b: pass", "b", "a", ""),
        ("x = [i async for i in a if f(i)]", "x", "a f", ""),
    ],
)
def test_a_statement_binds_and_reads_names_as_python_scopes_them(
    source: str, binds: str, eager: str, late: str
) -> None:
    found = names(source)

    assert (found.binds, found.eager, found.late) == (set(binds.split()), set(eager.split()), set(late.split()))


@pytest.mark.parametrize(
    ("source", "surely"),
    [
        ("if a: b = 1", ""),
        ("if a: b = 1\nelse: b = 2", "b"),
        ("for b in a: c = 1", ""),
        ("while a: b = 1", ""),
        ("try: b = 1\nexcept E: pass", ""),
        ("try: b = 1\nexcept E: b = 2", "b"),
        ("try: b = 1\nfinally: c = 2", "b c"),
        ("with a as b: c = 1", "b c"),
        ("a and (b := 1)", ""),
        ("x = (b := 1) if a else 2", "x"),
        ("match a:\n    case 1: b = 1\n    case _: b = 2", ""),
    ],
)
def test_a_name_is_surely_bound_only_when_every_path_binds_it(source: str, surely: str) -> None:
    assert names(source).surely == set(surely.split())


@pytest.mark.parametrize(
    "source",
    [
        "a['x'] = 1",
        "a.x = 1",
        "a.loc[i, 'x'] += 1",
        "del a['x']",
        "a.append(1)",
        "a.b.update(c)",
        "a.drop(columns='x', inplace=True)",
        "for i in xs: a[i] = i",
        "for a.x in xs: pass",
        "[a.append(x) for x in xs]",
        "with f() as a[0]: pass",
        "print(a.pop())",
    ],
)
def test_a_statement_that_changes_a_value_in_place_says_whose(source: str) -> None:
    assert names(source).mutates == {"a"}


@pytest.mark.parametrize("source", ["b = a.copy()", "a.head()", "a = 1", "f(a)", "a.drop(inplace=False)", "a().x = 1"])
def test_reading_and_rebinding_are_no_change_in_place(source: str) -> None:
    assert names(source).mutates == set()


@pytest.mark.parametrize(
    ("source", "perhaps"),
    [
        ("def f(x: 'pd.DataFrame') -> 'T | None': ...", "T pd"),
        ("class A:\n    limit = limit", "limit"),
        ("def f():\n    global a\n    a = 1", "a"),
        ("def f():\n    global a\n    a += 1", "a"),
        ("if a:\n    if b: c = 1\n    print(c)", "c"),
        ("def f(x: 'not python at all'): ...", ""),
    ],
)
def test_what_may_be_read_is_kept_apart_from_what_surely_is(source: str, perhaps: str) -> None:
    assert names(source).perhaps == set(perhaps.split())


@pytest.mark.parametrize("source", ["await a", "x = [await f(y) for y in z]", "async for x in y: pass", "f(await g())"])
def test_a_statement_that_awaits_says_so(source: str) -> None:
    assert names(source).awaits


@pytest.mark.parametrize("source", ["async def f(): await a", "f = lambda: (yield)", "x = [i for i in y]"])
def test_awaiting_inside_a_function_is_not_the_statements_own(source: str) -> None:
    assert not names(source).awaits


def test_names_are_bound_in_the_order_of_the_text() -> None:
    assert names("z, a = b, (m := 1)").order == ("m", "z", "a")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("01_quickstart", "quickstart"),
        ("load-data set", "load_data_set"),
        ("class", "class_"),
        ("2024", "fallback"),
        ("", "fallback"),
        ("été", "été"),
        ("__x__", "x"),
    ],
)
def test_a_text_becomes_a_python_name(text: str, name: str) -> None:
    assert identifier(text, default="fallback") == name


@given(st.text())
def test_any_text_becomes_a_name_that_python_takes(text: str) -> None:
    ast.parse(f"def {identifier(text, default='fallback')}(): pass")


def test_a_taken_name_gets_its_suffix_and_then_a_number() -> None:
    assert unused("df", {"df"}) == "df_2"
    assert unused("df", {"df", "df_2"}) == "df_3"
    assert unused("df", {"df"}, suffix="_output") == "df_output"
    assert unused("df", {"df", "df_output"}, suffix="_output") == "df_output_2"
