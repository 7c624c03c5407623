from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketseek.convert.sources.json_text import MAX_VALUES, parse_json_object, read_json_object
from pocketseek.errors import FormatError, NotFoundError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), json_values), st.booleans())
def test_objects_survive_the_round_trip(value: dict[str, object], ascii_only: bool) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8")
    assert parse_json_object(data, max_depth=100) == value


@given(st.binary(max_size=200))
def test_random_bytes_raise_value_error_or_parse(data: bytes) -> None:
    with suppress(ValueError):
        parse_json_object(b"{" + data)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 2}', "twice"),
        ('{"a": {"b": 1, "b": 1}}', "twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": 1e999}', "out of range"),
        ('{"a": ' + "9" * 5000 + "}", "digits"),
        (r'{"a": "\ud800"}', "Unicode"),
        (r'{"\udc00": 1}', "Unicode"),
        ("[1]", "not an object"),
        ("", "Expecting value"),
        ('{"a": 1', "Expecting"),
        ('{"a": "\n"}', "control character"),
    ],
)
def test_doubtful_text_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json_object(text.encode())


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ValueError, match="Unicode"):
        parse_json_object(b'{"a": "\xff"}')


@pytest.mark.parametrize("opening", ['{"a":', "["])
def test_deep_nesting_is_refused_before_the_parser_sees_it(opening: str) -> None:
    with pytest.raises(ValueError, match="deeper than"):
        parse_json_object(b'{"x":' + opening.encode() * 1_000_000)


def test_brackets_inside_strings_do_not_count_as_nesting() -> None:
    text = json.dumps({"template": '{%[[{{"' * 1000 + "\\"})
    assert parse_json_object(text.encode(), max_depth=1)["template"]


def test_too_many_values_are_refused() -> None:
    with pytest.raises(ValueError, match="brackets and commas"):
        parse_json_object(b'{"a": [' + b"0," * MAX_VALUES + b"0]}")


@pytest.mark.parametrize("piece", [b'\\"', b"\\", b'"', b"\\u"])
def test_unterminated_strings_take_linear_time(piece: bytes) -> None:
    with pytest.raises(ValueError, match=r"Invalid|Expecting|Unterminated"):
        parse_json_object(b'{"a": "' + piece * 1_000_001)


def test_a_file_error_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{")
    with pytest.raises(FormatError, match=r"config\.json .*; download it again"):
        read_json_object(path, 100)
    with pytest.raises(NotFoundError):
        read_json_object(tmp_path / "other.json", 100)
