"""What is learnt of an example: of a conversation what the assistant says and the token that ends it, nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import CHAT_TEMPLATE
from tiny_tokenizer import BOS, EOS, tiny_tokenizer

from pocketseek.adapt.data_file import Example
from pocketseek.adapt.data_tokens import TokenSequence, encode_examples
from pocketseek.errors import FormatError
from pocketseek.runtime.prompt import encode_prompt
from pocketseek.text.chat_template import ChatTemplate
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import Message, TextSettings

IDS = {token: token_id for token_id, token in enumerate(tiny_tokenizer().tokens)}
SETTINGS = TextSettings(bos_id=IDS[BOS], eos_ids=(IDS[EOS],), add_bos=True, bos_token=BOS, eos_token=EOS)
TOKENIZER = Tokenizer.from_json(tiny_tokenizer().json, SETTINGS)
PLAIN = ChatTemplate(CHAT_TEMPLATE.replace("<|end|>", EOS), BOS, EOS)
# Leaves old reasoning out, and begins an answer with an opened tag, as DeepSeek-R1's does.
REASONING = ChatTemplate(
    "{% for m in messages %}{% if m['role'] == 'assistant' %}[A]{{ m['content'].split('</think>')[-1] if not loop.last"
    " else m['content'] }}" + EOS + "{% else %}[U]{{ m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[A]<think>\n{% endif %}",
    BOS,
    EOS,
)


# The middle of DeepSeek-R1's distilled models': the prompt opens the reasoning, and no answer shows any.
R1 = ChatTemplate(
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{% set content = m['content'] %}"
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}[A]{{ content }}"
    + EOS
    + "{% else %}[U]{{ m['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}[A]<think>\n{% endif %}",
    BOS,
    EOS,
)
# The same without the opened tag, as DeepSeek-R1-0528's.
R1_0528 = ChatTemplate(R1.source.replace("[A]<think>\n", "[A]"), BOS, EOS)


def one(*messages: Message, template: ChatTemplate = PLAIN, context: int = 512) -> TokenSequence:
    data = encode_examples([Example(messages=messages, line=3)], TOKENIZER, template, context=context)
    (sequence,) = data.sequences
    return sequence


def learnt(sequence: TokenSequence) -> str:
    return TOKENIZER.decode(sequence.ids[sequence.wanted].tolist(), skip_special=False)


def test_only_what_the_assistant_says_is_learnt() -> None:
    sequence = one(
        Message("system", "be kind"),
        Message("user", "one"),
        Message("assistant", "two three"),
        Message("user", "four"),
        Message("assistant", "five"),
    )
    assert learnt(sequence) == f"two three{EOS}five{EOS}"


def test_the_prompt_has_the_tokens_that_it_has_when_the_model_is_used() -> None:
    messages = (Message("user", "what is the thing?"), Message("assistant", " it is"))
    sequence = one(*messages)
    prompt = encode_prompt(messages[:1], TOKENIZER, PLAIN)
    assert sequence.ids[: len(prompt)].tolist() == list(prompt)
    assert not sequence.wanted[: len(prompt)].any()


def test_nothing_after_the_last_answer_is_kept() -> None:
    sequence = one(Message("user", "a"), Message("assistant", "b"), Message("user", "never read"))
    assert "never" not in TOKENIZER.decode(sequence.ids.tolist())


def test_special_tokens_in_a_message_stay_text() -> None:
    sequence = one(Message("user", f"end it {EOS} now"), Message("assistant", f"no {EOS} yes"))
    assert (sequence.ids == IDS[EOS]).sum() == 2  # one of each turn
    assert learnt(sequence).endswith(f" yes{EOS}")


def test_of_answers_that_the_template_shows_otherwise_later_only_the_last_is_learnt() -> None:
    sequence = one(
        Message("user", "a"),
        Message("assistant", "<think>hm</think>one"),
        Message("user", "b"),
        Message("assistant", "<think>\noh</think>two"),
        template=REASONING,
    )
    assert learnt(sequence) == f"oh</think>two{EOS}"
    assert "hm" not in TOKENIZER.decode(sequence.ids.tolist())


@pytest.mark.parametrize("template", [PLAIN, REASONING, R1, R1_0528])
@pytest.mark.parametrize("answer", ["five", "<think>\nsum it up\n</think>\n\nfive", "<b>five</b>"])
def test_whatever_the_template_shows_an_answer_is_learnt_behind_the_prompt_that_asks_for_it(
    template: ChatTemplate, answer: str
) -> None:
    before = (Message("user", "one"), Message("assistant", "two"), Message("user", "four"))
    sequence = one(*before, Message("assistant", answer), template=template)
    prompt = encode_prompt(before, TOKENIZER, template)
    assert sequence.ids[: len(prompt)].tolist() == list(prompt)
    words = TOKENIZER.decode(sequence.ids[len(prompt) :].tolist(), skip_special=False)
    assert sequence.wanted[len(prompt) :].all()
    opens = template in (REASONING, R1)
    thought = "</think>" in answer
    assert words == (answer if not opens else answer[8:] if thought else f"\n</think>\n\n{answer}") + EOS


def test_earlier_answers_that_were_written_in_other_words_are_there_to_be_read() -> None:
    talk = [Message(role, text) for role, text in zip(("user", "assistant") * 3, "abcdef", strict=True)]
    assert learnt(one(*talk, template=R1)) == f"\n</think>\n\nf{EOS}"
    assert learnt(one(*talk, template=R1_0528)) == f"b{EOS}d{EOS}f{EOS}"


def test_an_answer_to_nothing_is_not_learnt() -> None:
    greeted = one(Message("assistant", "hello"), Message("user", "a"), Message("assistant", "b"))
    assert learnt(greeted) == f"b{EOS}"
    with pytest.raises(FormatError, match="line 3: nothing comes before the answer"):
        one(Message("assistant", "hello"))


def test_a_conversation_that_is_too_long_loses_its_end_and_is_counted() -> None:
    example = Example(messages=(Message("user", "a"), Message("assistant", "word " * 100)), line=1)
    data = encode_examples([example], TOKENIZER, PLAIN, context=40)
    assert len(data.sequences[0].ids) == 40
    assert data.num_cut == 1


def test_an_answer_that_begins_behind_the_context_is_refused_with_its_line() -> None:
    with pytest.raises(FormatError, match="line 3: no answer begins within 16 tokens"):
        one(Message("user", "word " * 50), Message("assistant", "b"), context=16)


def test_a_template_that_hides_answers_is_refused() -> None:
    silent = ChatTemplate("{% for m in messages if m['role'] == 'user' %}x{% endfor %}", BOS, EOS)
    with pytest.raises(FormatError, match="line 3"):
        one(Message("user", "a"), Message("assistant", "b"), template=silent)


def test_windows_of_a_text_have_every_token_once_as_something_to_learn() -> None:
    text = "the quick brown fox " * 30
    data = encode_examples([Example(text=text)], TOKENIZER, PLAIN, context=16)
    ids = TOKENIZER.encode(text)
    assert max(len(sequence.ids) for sequence in data.sequences) == 16
    found = np.concatenate([sequence.ids[sequence.wanted] for sequence in data.sequences])
    assert found.tolist() == ids[1:]


def test_a_line_of_text_ends_as_a_document_does_and_a_file_does_not() -> None:
    line = encode_examples([Example(text="abc", line=1)], TOKENIZER, PLAIN, context=16)
    file = encode_examples([Example(text="abc")], TOKENIZER, PLAIN, context=16)
    assert line.sequences[0].ids.tolist() == [*file.sequences[0].ids.tolist(), IDS[EOS]]
