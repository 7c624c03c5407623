from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.convert.families.fields import Fields
from pocketseek.errors import FormatError

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def fields(**values: object) -> Fields:
    return Fields("config.json", values)


@pytest.mark.parametrize("value", [0, -1, 2**26 + 1, 10**400, 1.5, 4.0, True, "4", [4], {}])
def test_whole_numbers_out_of_range_or_of_another_kind_are_refused(value: object) -> None:
    with pytest.raises(FormatError, match=r"config.json: size is .* not a whole number from 1 to 67108864"):
        fields(size=value).whole("size")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 2.0, 10**400, True, "1", None])
def test_numbers_out_of_range_or_of_another_kind_are_refused(value: object) -> None:
    with pytest.raises(FormatError):
        fields(x=value).number("x", low=0, high=1)


def test_a_missing_key_without_default_is_named() -> None:
    with pytest.raises(FormatError, match=r"config.json does not give hidden_size; get"):
        fields().whole("hidden_size")


def test_null_counts_as_not_given() -> None:
    assert fields(head_dim=None).whole("head_dim", 64) == 64
    assert not fields(head_dim=None).has("head_dim")


def test_integers_are_numbers_too() -> None:
    assert fields(factor=4).number("factor", low=1, high=10) == 4.0


def test_messages_stay_one_short_line_whatever_the_value() -> None:
    with pytest.raises(FormatError) as caught:
        fields(size="a\n" * 10_000).whole("size")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@given(value=anything)
def test_any_value_is_either_taken_or_a_format_error(value: object) -> None:
    given_fields = fields(x=value)
    for read in (
        lambda: given_fields.whole("x", 1),
        lambda: given_fields.number("x", 1.0, low=-1, high=1),
        lambda: given_fields.flag("x", True),
        lambda: given_fields.text("x", ""),
        lambda: given_fields.texts("x"),
        lambda: given_fields.nested("x"),
    ):
        with suppress(FormatError):
            read()
