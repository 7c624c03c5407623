import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.text.template_filters import DEEP_FILTERS, allowed_filters, check_filter, to_json
from pocketseek.text.template_meter import LimitError, Meter

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_tojson_is_json_with_letters_as_they_are(value: object) -> None:
    assert json.loads(to_json(value)) == value
    assert to_json("<é>") == '"<é>"'


def test_filters_for_html_and_chance_are_not_offered() -> None:
    assert not {"urlize", "xmlattr", "striptags", "random", "pprint", "wordwrap"} & allowed_filters().keys()
    assert {"trim", "join", "tojson", "map", "selectattr", "items"} <= allowed_filters().keys()
    assert allowed_filters().keys() >= DEEP_FILTERS


def test_join_gets_a_list_that_can_be_read_twice() -> None:
    arguments: list[object] = [(str(number) for number in range(3)), ","]
    check_filter("join", Meter(0), arguments, {})
    assert arguments[0] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("center", ["a", 10**9], {}),
        ("center", ["a"], {"width": 10**9}),
        ("indent", ["a\n", 10**9], {}),
        ("indent", ["a\n" * 1000, "x" * 100_000], {}),
        ("batch", [[1], 10**9], {}),
        ("slice", [[1]], {"slices": 10**9}),
        ("slice", [[1], "x"], {}),
        ("round", [1.5, 10**9], {}),
        ("round", [1.5], {"precision": -(10**9)}),
        ("sum", [[[1]]], {"start": []}),
        ("tojson", [[1]], {"indent": 10**6}),
        ("tojson", [[1]], {"indent": " " * 10**6}),
        ("replace", ["a" * 100_000, "a", "b" * 100_000], {}),
        ("format", ["%1000000d", 1], {}),
    ],
)
def test_arguments_that_would_blow_up_are_refused(name: str, arguments: list[object], named: dict[str, object]) -> None:
    with pytest.raises(LimitError):
        check_filter(name, Meter(0), arguments, named)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("center", ["a"]),
        ("indent", ["a\nb", 4]),
        ("indent", ["a\nb", "> "]),
        ("round", [1.5, 2]),
        ("sum", [[1, 2]]),
        ("tojson", [[1], False, 4]),
        ("replace", ["aba", "a", "b"]),
        ("upper", ["a"]),
    ],
)
def test_ordinary_arguments_pass(name: str, arguments: list[object]) -> None:
    check_filter(name, Meter(0), arguments, {})
