from __future__ import annotations

import pytest
from bisupervised.agents.remote.protocols.templates import names_in, parse, parse_json, values_of
from bisupervised.schemas.errors import InvalidRequest


def test_whole_values_go_in_and_nothing_else_changes() -> None:
    template = parse("{a}, {b-c} {{a}} é")
    assert template.names == {"a", "b-c"}
    assert template.render({"a": "{b-c}", "b-c": [1, "é"], "d": 3}) == '{b-c}, [1,"é"] {a} é'


@pytest.mark.parametrize(
    "text", ["{", "}", "{}", "{0}", "{a.}", "{.a}", "{a..b}", "{a[0]}", "{a!r}", "{a:>9}", '{"a": 1}', "{ a }"]
)
def test_a_template_reaches_into_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="a brace that is meant as one is doubled"):
        parse(text)


@pytest.mark.parametrize("name", ["a.b", "a.__class__", r"a\.b.0"])
def test_a_name_with_dots_is_one_name(name: str) -> None:
    template = parse(f"<{{{name}}}>")
    assert template.names == {name}
    assert template.render({name: "x", "a": {"b": "y"}}) == "<x>"
    with pytest.raises(InvalidRequest):
        template.render({"a": {"b": "y"}})


def test_a_missing_field_is_the_requests_fault() -> None:
    with pytest.raises(InvalidRequest, match="'b'"):
        parse("{a}{b}").render({"a": 1})


def test_names_anywhere_in_json() -> None:
    assert names_in(parse_json({"{k}": ["{a}", {"x": "-{b}-"}], "n": 3})) == {"a", "b"}


def test_an_input_without_fields_is_called_input() -> None:
    assert values_of([1], ()) == {"input": [1]}
    assert values_of({"a": 1}, ("a",)) == {"a": 1}
