import pytest

from pocketseek.text.special_tokens import END_OF_TURN_TOKENS, looks_special, reasoning_tags


@pytest.mark.parametrize("token", ["<|im_end|>", "<｜User｜>", "<｜end▁of▁sentence｜>", "<|EOT|>", "<end_of_turn>"])
def test_role_markers_look_special(token: str) -> None:
    assert looks_special(token)


@pytest.mark.parametrize("token", ["<think>", "<|>", "<||>", "<| x |>", "|>", "<b>", "x<|im_end|>", "", "<tool_call>"])
def test_words_and_tags_do_not_look_special(token: str) -> None:
    assert not looks_special(token)


def test_every_end_of_turn_token_looks_special() -> None:
    assert all(map(looks_special, END_OF_TURN_TOKENS))


def test_a_model_has_reasoning_tags_if_both_are_tokens_or_its_template_cuts_at_the_end_tag() -> None:
    tags = ("<think>", "</think>")
    assert reasoning_tags(set(tags).__contains__, None) == tags
    assert reasoning_tags(set().__contains__, "{{ content.split('</think>')[-1] }}") == tags
    assert reasoning_tags({"<think>"}.__contains__, "{{ content }}") == ("", "")
