from __future__ import annotations

import numpy as np
import pytest
from tiny_tokenizer import tiny_tokenizer

from pocketseek.convert.calibration_text import FEWEST_TOKENS, calibration_windows
from pocketseek.errors import FormatError, UsageError
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import TextSettings


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_json(tiny_tokenizer().json, TextSettings())


def test_windows_are_pieces_of_the_texts_as_they_stand(tokenizer: Tokenizer) -> None:
    text = "".join(f"{number} bottles. " for number in range(3000))
    ids = list(tokenizer.encode(text))
    windows = calibration_windows([text], tokenizer, max_tokens=4096, context_length=1024)
    assert windows.shape == (8, 512)
    starts = [next(i for i in range(len(ids)) if ids[i : i + 512] == window.tolist()) for window in windows]
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] == len(ids) - 512


def test_each_text_has_its_share(tokenizer: Tokenizer) -> None:
    windows = calibration_windows(["a" * 30_000, "zz" * 5_000], tokenizer, max_tokens=4096, context_length=512)
    (a,), z = tokenizer.encode("a"), set(tokenizer.encode("zz"))
    kinds = [bool(z & set(window.tolist())) for window in windows]
    assert 1 <= sum(kinds) < len(kinds) / 2
    assert any((window == a).all() for window in windows)


def test_many_short_texts_are_taken_together(tokenizer: Tokenizer) -> None:
    windows = calibration_windows(["the capital of France. "] * 200, tokenizer, context_length=512)
    assert windows.shape[1] == 512
    assert len(windows) >= 1


def texts_of(*lengths: int) -> list[str]:
    """A letter of its own, and a token for each letter."""
    return [letter * length for letter, length in zip("xyzwv", lengths, strict=False)]


def windows_with(letter: str, windows: np.ndarray, tokenizer: Tokenizer) -> int:
    (token,) = tokenizer.encode(letter)
    return sum(token in window for window in windows.tolist())


@pytest.mark.parametrize(
    ("lengths", "max_tokens", "wanted"),
    [
        ((5000, 500, 5000), 16_384, [11, 1, 9]),
        ((2000,) * 5, 4096, [2, 2, 2, 1, 1]),
        ((50_000, 600, 600), 2048, [2, 1, 1]),
        ((2000,) * 5, 1024, [1, 1, 1, 1, 1]),
        ((1024, 20), 1024, [2, 1]),
        ((600, 450), 4096, [2, 1]),
    ],
)
def test_every_text_has_a_window_and_a_short_one_is_filled_up(
    lengths: tuple[int, ...], max_tokens: int, wanted: list[int], tokenizer: Tokenizer
) -> None:
    windows = calibration_windows(texts_of(*lengths), tokenizer, max_tokens=max_tokens, context_length=512)
    assert windows.size >= FEWEST_TOKENS
    found = [windows_with(letter, windows, tokenizer) for letter in "xyzwv"[: len(lengths)]]
    assert found == wanted


def test_windows_are_no_longer_than_the_context(tokenizer: Tokenizer) -> None:
    windows = calibration_windows(["abc " * 4000], tokenizer, context_length=128)
    assert windows.shape[1] == 128
    assert windows.dtype == np.int32


@pytest.mark.parametrize("texts", [[""], ["a short one"], ["x" * (FEWEST_TOKENS - 10)], []])
def test_too_little_text_is_refused(texts: list[str], tokenizer: Tokenizer) -> None:
    with pytest.raises(UsageError, match="1024 are the least"):
        calibration_windows(texts, tokenizer, context_length=512)


@pytest.mark.parametrize("text", ["\0" * 5000, "a binary\0 file " * 300, "".join(map(chr, range(1, 32))) * 200])
def test_binary_data_that_is_valid_utf_8_is_refused(text: str, tokenizer: Tokenizer) -> None:
    with pytest.raises(FormatError, match="control characters as binary files do; give plain text"):
        calibration_windows([text], tokenizer, context_length=512)


def test_tabs_page_ends_and_colours_are_text(tokenizer: Tokenizer) -> None:
    text = "a table\twith\r\ncolumns\f and \x1b[1mbold\x1b[0m words\n" * 100
    assert calibration_windows([text], tokenizer, context_length=512).size >= FEWEST_TOKENS
