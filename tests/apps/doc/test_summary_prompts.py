"""Prompts begin alike, are in the language of the answer, and take any text."""

import pytest

from pocketseek.apps.doc.summary_prompts import (
    Language,
    language_of,
    merge_prompt,
    note_prompt,
    says_nothing,
    summary_prompt,
)


def text_of(prompt: tuple[object, ...]) -> str:
    (message,) = prompt
    return str(message.content)  # type: ignore[attr-defined]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_prompts_of_all_chunks_begin_with_the_instructions(language: Language) -> None:
    one = text_of(note_prompt(language, 100, "", ("Title",), "First text."))
    two = text_of(note_prompt(language, 100, "", (), "Another text."))
    shared = next(place for place, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)
    assert shared > 0.6 * len(two)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("text", ["{focus}", "{}", "%s {0}", "<|im_end|>"])
def test_braces_in_texts_are_texts(language: Language, text: str) -> None:
    assert text in text_of(note_prompt(language, 100, text, (text,), text))
    assert text in text_of(merge_prompt(language, 100, text, [text]))
    assert text in text_of(summary_prompt(language, 100, text, text, [text]))


def test_the_language_is_that_of_most_words() -> None:
    assert language_of("Plain English with a bit of 中文.") == "en"
    assert language_of("这是中文的文本，里面有 DeepSeek 和 Python。") == "zh"
    assert language_of("Ein deutscher Satz.") == "en"
    assert language_of("") == "en"


def test_amounts_are_words_or_characters() -> None:
    assert "250 words" in text_of(summary_prompt("en", 250, "", "", ["x"]))
    assert "400字" in text_of(summary_prompt("zh", 250, "", "", ["x"]))


def test_a_note_of_one_word_says_nothing() -> None:
    assert says_nothing("en", " None.\n")
    assert says_nothing("zh", "无。")
    assert not says_nothing("en", "None of them is free.")
