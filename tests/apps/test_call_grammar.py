"""Where a JSON object ends, whatever its strings hold; which calls are read as a whole."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.call_grammar import GRAMMARS, Braces, whole_call

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=3), parts, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, max_size=3), st.booleans(), st.sampled_from([None, 2]))
def test_an_object_ends_at_its_last_brace(value: dict[str, object], ascii_only: bool, indent: int | None) -> None:
    braces, text = Braces(), json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert [braces.closes_with(character) for character in text] == [False] * (len(text) - 1) + [True]


@pytest.mark.parametrize(
    ("beginning", "name"),
    [
        ('{"name": "f", "arguments": {', "f"),
        ('{"name": "\\u0066", "parameters": {', "f"),
        ('{"name": "f", "arguments": ', None),
        ('{"arguments": {', None),
        ('{"name": "' + "f" * 600 + '", "arguments": {', None),
    ],
)
def test_a_name_is_known_at_the_brace_of_the_arguments(beginning: str, name: str | None) -> None:
    assert GRAMMARS["hermes"].name_in(beginning) == name


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"name": 1}', '{"name": "f", "arguments": "x"}', "[" * 100_000])
def test_what_is_no_call(body: str) -> None:
    assert whole_call(body) is None
