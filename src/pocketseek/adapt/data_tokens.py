"""Examples as token ids, and which of them are learnt: of a conversation what the assistant says, of a text all.

A conversation is rendered by the model's own chat template and cut where answers begin and end; pieces are encoded one
by one, as they are when the model is used: a prompt first, then what follows. What is learnt of an answer ends with the
token that ends it. Special tokens that stand in somebody's message stay text (runtime/prompt_guard.py).

Templates that leave something out of earlier turns (DeepSeek-R1's leaves out old reasoning) show an earlier answer in
other words later on; then only the last answer is learnt. A text longer than the context is cut into windows, each of
which begins with the last token of the one before; a conversation that is too long loses its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketseek.adapt.data_file import Example
from pocketseek.errors import FormatError
from pocketseek.runtime.prompt_guard import PromptGuard
from pocketseek.text.chat_template import ChatTemplate
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import Message


@dataclass(frozen=True)
class TokenSequence:
    """ids int32; wanted bool, of the same length: tokens that are learnt. The first never is."""

    ids: NDArray[np.int32]
    wanted: NDArray[np.bool_]

    @property
    def num_wanted(self) -> int:
        return int(self.wanted.sum())


@dataclass(frozen=True)
class TokenData:
    """num_cut: conversations that were longer than the context and lost their end."""

    sequences: tuple[TokenSequence, ...]
    num_cut: int

    @property
    def num_wanted(self) -> int:
        return sum(sequence.num_wanted for sequence in self.sequences)


def encode_examples(
    examples: Sequence[Example], tokenizer: Tokenizer, template: ChatTemplate, *, context: int, source: str = "the data"
) -> TokenData:
    """context: tokens of a sequence at most. source: begins messages about an example.

    Raises FormatError for an example that leaves nothing to learn, TemplateError.
    """
    sequences: list[TokenSequence] = []
    num_cut = 0
    for example in examples:
        where = f"{source}, line {example.line}" if example.line else source
        if example.messages:
            sequence = _conversation(example.messages, tokenizer, template, where)
            num_cut += len(sequence.ids) > context
            sequences.append(_cut(sequence, context, where))
        else:
            sequences += _windows(example, tokenizer, context, where)
    return TokenData(tuple(sequences), num_cut)


def _cut(sequence: TokenSequence, context: int, where: str) -> TokenSequence:
    cut = TokenSequence(sequence.ids[:context], sequence.wanted[:context])
    if not cut.num_wanted:
        raise FormatError(
            f"{where}: no answer begins within {context} tokens; give a larger --context or leave the line out"
        )
    return cut


def _windows(example: Example, tokenizer: Tokenizer, context: int, where: str) -> list[TokenSequence]:
    ids = tokenizer.encode(example.text)
    eos_ids = tokenizer.settings.eos_ids
    if example.line and eos_ids:  # a document; a text file goes on for ever
        ids.append(eos_ids[0])
    if len(ids) < 2:
        raise FormatError(f"{where}: the text has fewer than two tokens; give a longer one")
    windows = []
    for first in range(0, len(ids) - 1, context - 1):
        window = np.array(ids[first : first + context], np.int32)
        wanted = np.ones(len(window), np.bool_)
        wanted[0] = False
        windows.append(TokenSequence(window, wanted))
    return windows


def _conversation(
    messages: Sequence[Message], tokenizer: Tokenizer, template: ChatTemplate, where: str
) -> TokenSequence:
    guard = PromptGuard(messages, (), tokenizer)
    guarded = [guard.message(message) for message in messages]
    text = template.render(guarded, add_generation_prompt=False)
    answers = list(_answers(guarded, template, text))
    if not answers:
        raise FormatError(
            f"{where}: the model's chat template does not show the last answer as it is; end the conversation with it"
        )
    ids: list[int] = []
    wanted: list[bool] = []
    end = 0
    for answer_start, answer_end in answers:
        for start, stop, is_answer in ((end, answer_start, False), (answer_start, answer_end, True)):
            piece = _encode(text[start:stop], guard.mark, tokenizer)
            num_learnt = _up_to_end(piece, tokenizer.settings.eos_ids) if is_answer else 0
            ids += piece
            wanted += [True] * num_learnt + [False] * (len(piece) - num_learnt)
        end = answer_end
    if wanted and wanted[0]:
        wanted[0] = False
    return TokenSequence(np.array(ids, np.int32), np.array(wanted, np.bool_))


def _answers(messages: Sequence[Message], template: ChatTemplate, text: str) -> Iterator[tuple[int, int]]:
    """Where answers stand in the whole text, in order; only the last if an earlier one is shown in other words."""
    found = []
    for index, message in enumerate(messages):
        if message.role != "assistant":
            continue
        so_far = template.render(messages[: index + 1], add_generation_prompt=False)
        asked = template.render(messages[:index], add_generation_prompt=True) if index else ""
        start = _num_common(asked, so_far)
        is_last = index == len(messages) - 1 or all(one.role != "assistant" for one in messages[index + 1 :])
        if text.startswith(so_far) and start < len(so_far):
            found.append((start, len(so_far)))
        elif is_last:
            return
        else:
            found.clear()
    yield from found


def _num_common(one: str, other: str) -> int:
    """Characters that both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _encode(text: str, mark: str, tokenizer: Tokenizer) -> list[int]:
    return [id_ for piece in text.split(mark) if piece for id_ in tokenizer.encode(piece, add_special=False)]


def _up_to_end(ids: Sequence[int], eos_ids: Sequence[int]) -> int:
    """How many of an answer's tokens are learnt: up to the last that ends it, without line breaks after it."""
    ends = [place for place, id_ in enumerate(ids) if id_ in eos_ids]
    return ends[-1] + 1 if ends else len(ids)
