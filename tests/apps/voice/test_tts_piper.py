"""What is too long to be spoken at once is parted where a voice may pause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.voice.tts_piper import MOST_CHARS, short_parts

LONG = "it was the age of wisdom"


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("Short.", ["Short."]),
        (f"{LONG}. {LONG}, {LONG}, {LONG}.", ["wisdom.", "wisdom."]),
        (f"{LONG} {LONG}, {LONG} {LONG}.", ["wisdom,", "wisdom."]),
        (f"{LONG} {LONG} that {LONG} {LONG}.", ["wisdom", "wisdom."]),
    ],
)
def test_it_is_parted_at_the_best_place(text: str, ends: list[str]) -> None:
    assert [part.rpartition(" ")[2] for part in short_parts(text)] == ends


@given(st.text(alphabet="ab ,.;!?\nand", max_size=400))
def test_nothing_is_lost_and_nothing_is_long(text: str) -> None:
    parts = list(short_parts(text))
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(0 < len(part) <= MOST_CHARS + 1 for part in parts)
