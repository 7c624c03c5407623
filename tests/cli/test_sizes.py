"""Sizes are read as people write them, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.cli.sizes import parse_size
from pocketseek.errors import UsageError


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("600MB", 600_000_000),
        ("600 mb", 600_000_000),
        ("512MiB", 512 << 20),
        ("1.5GB", 1_500_000_000),
        ("0.5GiB", 1 << 29),
        ("3gb", 3_000_000_000),
        ("2kB", 2000),
        ("600M", 600_000_000),
        ("600m", 600_000_000),
        ("1.5G", 1_500_000_000),
        ("800000000", 800_000_000),
        ("17B", 17),
        ("1.1kB", 1100),  # exact, not as a float has it
        (" 1TiB ", 1 << 40),
    ],
)
def test_decimal_and_binary_units(text: str, num_bytes: int) -> None:
    assert parse_size(text) == num_bytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MB",
        "6x",
        "-1MB",
        "1e9",
        "1,5GB",
        "1.GB",
        ".5GB",
        "0",
        "0.4B",
        "nan",
        "1 M B",
        "99999TB",
        "٣MB",
        "1MB\n2",
    ],
)
def test_what_is_no_size_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size; write it like 600MB"):
        parse_size(text)


@pytest.mark.parametrize("text", ["600", "3", " 999999 ", "1.5"])
def test_a_number_that_must_have_meant_another_unit_is_refused_with_a_guess(text: str) -> None:
    with pytest.raises(UsageError, match=f"write {text.strip()}MB or {text.strip()}GB"):
        parse_size(text)


@given(st.text(max_size=30))
def test_any_text_is_a_size_or_a_usage_error(text: str) -> None:
    try:
        num_bytes = parse_size(text)
    except UsageError:
        return
    assert num_bytes > 0
