"""A text is known again however it is wrapped, and whatever its script; others of its kind are not taken for it."""

from __future__ import annotations

import random
import textwrap

import pytest

from pocketseek.convert import unseen
from pocketseek.convert.unseen import check_unseen, shared_part
from pocketseek.errors import UsageError


def prose(seed: int) -> str:
    words = ["a", "river", "green", "bottles", "hanging", "wall", "fall", "should", "the", "stone", "of", "over"]
    return " ".join(random.Random(seed).choices(words, k=1500))


def chinese(seed: int) -> str:
    """Lines of a dozen characters."""
    chooser = random.Random(seed)
    letters = [chr(0x4E00 + number) for number in range(400)]
    return "\n".join("".join(chooser.choices(letters, k=12)) for _ in range(80))


def code(seed: int) -> str:
    chooser = random.Random(seed)
    return "\n".join(f"    x{chooser.randrange(100)} = y{chooser.randrange(100)}" for _ in range(200))


TEXTS = [prose, chinese, code]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("wrap", [str, lambda text: textwrap.fill(text, 61), lambda text: textwrap.indent(text, "\t")])
def test_the_same_text_is_known_however_it_is_wrapped(text, wrap) -> None:  # type: ignore[no-untyped-def]
    assert shared_part(wrap(text(1)), [prose(5), text(1)]) > 0.95
    with pytest.raises(UsageError, match="'mine' to check with is in the calibration text"):
        check_unseen({"other": text(2), "mine": wrap(text(1))}, [text(1)])


@pytest.mark.parametrize("text", TEXTS)
def test_other_text_of_the_kind_is_accepted(text) -> None:  # type: ignore[no-untyped-def]
    check_unseen({"mine": text(1)}, [text(2), text(3)])
    assert shared_part(text(1), [text(2), text(3)]) < 0.1


def test_a_part_counts_as_what_it_is() -> None:
    assert shared_part(prose(1)[:3000] + prose(2)[:7000], [prose(1)]) == pytest.approx(0.3, abs=0.02)
    assert shared_part(prose(1), [prose(1)[:3000]]) == pytest.approx(3000 / len(prose(1)), abs=0.02)


@pytest.mark.parametrize("piece", [1, 7, 100, 5000])
def test_pieces_of_the_calibration_text_hide_nothing(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unseen, "_PIECE_CHARS", piece)
    assert shared_part(chinese(1), [chinese(2), chinese(1)]) == 1.0


@pytest.mark.parametrize("text", ["", "short", " \n" * 100])
def test_less_than_a_run_has_nothing_in_common(text: str) -> None:
    assert shared_part(text, [text, prose(1)]) == 0.0
    assert shared_part(prose(1), [text]) == 0.0
