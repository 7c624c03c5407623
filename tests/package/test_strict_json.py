from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.errors import FormatError
from pocketseek.package.strict_json import MAX_CONTAINERS, MAX_FREE_DEPTH, Fields, JsonValue, check_free, load_object

LIMIT = 1 << 26


def fields(**values: JsonValue) -> Fields:
    return Fields(values, "it", frozenset(values))


@given(st.binary(max_size=300) | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_give_an_object_or_one_line(data: bytes) -> None:
    try:
        assert isinstance(load_object(data, "it", max_bytes=LIMIT), dict)
    except FormatError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - both outcomes are right


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63) + 1, 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_ordinary_json_comes_back_equal(value: JsonValue) -> None:
    assert load_object(json.dumps({"it": value}).encode(), "it", max_bytes=LIMIT) == {"it": value}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b"{} {}", "not valid JSON"),
        (b"[]", "the top is an array, not an object"),
        (b"null", "the top is null, not an object"),
        (b'{"a":1,"b":{"c":1,"c":2}}', "the key 'c' appears twice"),
        (b'{"a":NaN}', "NaN is not a JSON number"),
        (b'{"a":-Infinity}', "-Infinity is not a JSON number"),
        (b'{"a":1e999}', "a number too large"),
        (b'{"a":9223372036854775808}', "outside 64 bits"),
        (b'{"a":' + b"9" * 100_000 + b"}", "outside 64 bits"),
        (b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
        (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, "nested too deeply"),
        (b'{"a":[' + b"[]," * MAX_CONTAINERS + b"[]]}", "too many values"),
        (b'{"a":[' + b"1," * 9_000_000 + b"1]}", "too many values"),
    ],
    ids=range(16),
)
def test_hostile_documents_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=re.escape(words)):
        load_object(data, "it", max_bytes=LIMIT)


def test_a_document_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(FormatError, match="11 bytes, more than the 10 allowed"):
        load_object(b"x" * 11, "it", max_bytes=10)


def test_keys_must_be_exactly_those_that_are_known() -> None:
    Fields({"a": 1, "b": 2}, "it", frozenset("a"), frozenset("bc"))
    with pytest.raises(FormatError, match="it: lacks 'a'"):
        Fields({"b": 2}, "it", frozenset("a"), frozenset("b"))
    with pytest.raises(FormatError, match="it: has the unknown field 'z'"):
        Fields({"a": 1, "z": 2}, "it", frozenset("a"))
    with pytest.raises(FormatError, match="it: an array, not an object"):
        Fields([], "it", frozenset())


@pytest.mark.parametrize("value", [True, False, None, "3", 3.0, [3], {}, 0, 11, -1])
def test_integers_are_whole_numbers_in_range_and_never_bools(value: JsonValue) -> None:
    with pytest.raises(FormatError, match=r"it\.a"):
        fields(a=value).integer("a", 1, 10)


@pytest.mark.parametrize("value", [True, None, "3", [3], 0.5, 10.5])
def test_numbers_are_in_range_and_never_bools(value: JsonValue) -> None:
    with pytest.raises(FormatError, match=r"it\.a"):
        fields(a=value).number("a", 1, 10)


def test_a_whole_number_is_a_number_too() -> None:
    value = fields(a=3).number("a", 1, 10)
    assert isinstance(value, float)
    assert value == 3.0


@pytest.mark.parametrize("value", ["", "A", "ab\n", 3, None, "x" * 10_000])
def test_text_must_match_as_a_whole(value: JsonValue) -> None:
    with pytest.raises(FormatError, match=r"^it\.a: .{1,90} is not allowed; "):
        fields(a=value).text("a", re.compile("[a-z]{1,9}"))


def test_containers_and_flags_are_what_they_should_be() -> None:
    for wrong in (fields(a="text").items, fields(a=[1]).mapping, fields(a=1).flag, fields(a="x").free_mapping):
        with pytest.raises(FormatError, match=r"it\.a"):
            wrong("a")


def test_free_parts_are_limited_in_depth() -> None:
    value: JsonValue = 1
    for _ in range(MAX_FREE_DEPTH):
        value = [value]
    check_free(value, "it")
    with pytest.raises(FormatError, match="nested deeper than 32 levels"):
        check_free({"a": value}, "it")


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, [["a", "b\udc00"]]])
def test_free_parts_hold_only_text_that_can_be_encoded(value: JsonValue) -> None:
    with pytest.raises(FormatError, match="unpaired surrogate"):
        check_free(value, "it")
