import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.errors import FormatError
from pocketseek.text.settings_file import parse_text_settings, render_text_settings
from pocketseek.types import TextSettings

ids = st.integers(0, 2**31 - 1)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
tags = st.tuples(words, words).filter(lambda pair: bool(pair[0]) == bool(pair[1]))


@given(st.none() | ids, st.lists(ids, max_size=5), st.booleans(), words, words, tags)
def test_what_was_rendered_is_parsed_back(
    bos_id: int | None, eos_ids: list[int], add_bos: bool, bos: str, eos: str, tags: tuple[str, str]
) -> None:
    settings = TextSettings(bos_id, tuple(eos_ids), add_bos, bos, eos, *tags)
    assert parse_text_settings(render_text_settings(settings)) == settings


def test_rendering_is_canonical() -> None:
    data = render_text_settings(TextSettings(bos_id=1, bos_token="<｜begin｜>"))
    assert data.startswith(b'{"add_bos":false,"bos_id":1,')
    assert data.endswith(b"}\n")
    assert b" " not in data
    assert "<｜begin｜>".encode() in data


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bos_id", -1),
        ("bos_id", True),
        ("bos_id", 1.0),
        ("bos_id", 2**31),
        ("eos_ids", 5),
        ("eos_ids", [None]),
        ("eos_ids", list(range(1000))),
        ("add_bos", 1),
        ("add_bos", None),
        ("bos_token", None),
        ("eos_token", "x" * 5000),
        ("reasoning_start", ""),
        ("version", 2),
        ("version", True),
        ("surprise", 1),
    ],
)
def test_a_wrong_field_is_refused(field: str, value: object) -> None:
    values = json.loads(render_text_settings(TextSettings())) | {field: value}
    with pytest.raises(FormatError, match=r"text\.json"):
        parse_text_settings(json.dumps(values).encode())


@pytest.mark.parametrize("field", sorted(json.loads(render_text_settings(TextSettings()))))
def test_a_missing_field_is_refused(field: str) -> None:
    values = json.loads(render_text_settings(TextSettings()))
    del values[field]
    with pytest.raises(FormatError, match=field):
        parse_text_settings(json.dumps(values).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"{",
        b'{"bos_id":1,"bos_id":2}',
        b"[" * 60_000,
        b'{"bos_id":' + b"9" * 10_000 + b"}",
        b'{"bos_id":NaN}',
        b" " * 100_000,
    ],
)
def test_hostile_json_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        parse_text_settings(data)
    assert "\n" not in str(caught.value)


def test_an_unpaired_surrogate_is_refused() -> None:
    data = render_text_settings(TextSettings(bos_token="X")).replace(b'"X"', b'"\\ud800"')
    with pytest.raises(FormatError, match="Unicode"):
        parse_text_settings(data)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_text_settings(data)


@given(st.data())
def test_a_damaged_file_is_refused_or_still_settings(data: st.DataObject) -> None:
    damaged = bytearray(render_text_settings(TextSettings(bos_id=1, eos_ids=(2, 3), eos_token="</s>")))
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] = data.draw(st.integers(0, 255))
    try:
        settings = parse_text_settings(bytes(damaged))
    except FormatError:
        return
    assert isinstance(settings, TextSettings)
