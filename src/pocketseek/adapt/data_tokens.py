"""Examples as token ids, and which of them are learnt: of a conversation what the assistant says, of a text all.

A conversation is rendered by the model's own chat template and cut where answers begin and end; pieces are encoded one
by one, as they are when the model is used: a prompt first, then what follows. What is learnt of an answer ends with the
token that ends it. Special tokens that stand in somebody's message stay text (runtime/prompt_guard.py).

A template may show an answer in other words than the model writes after the prompt: DeepSeek-R1's opens the reasoning
in the prompt and leaves it out of every answer, the last one too. Then earlier answers are there to be read, and the
last is learnt in the words of the data, behind the prompt that asks for it: with its reasoning, or behind an empty one.

A text longer than the context is cut into windows, each of which begins with the last token of the one before; a
conversation that is too long loses its end.
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
from pocketseek.text.text_stream import opens_reasoning
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
    last = max((index for index, one in enumerate(messages) if one.role == "assistant"), default=0)
    if not last:
        raise FormatError(f"{where}: nothing comes before the answer; begin with what it answers")
    asked = template.render(guarded[:last], add_generation_prompt=True)
    ids: list[int] = []
    wanted: list[bool] = []
    for text, is_answer in _cut_at_answers(asked, guarded[:last], template):
        piece = _encode(text, guard.mark, tokenizer)
        num_learnt = _up_to_end(piece, tokenizer.settings.eos_ids) if is_answer else 0
        ids += piece
        wanted += [True] * num_learnt + [False] * (len(piece) - num_learnt)
    answer = _last_answer(asked, guarded[: last + 1], template, guard.mark, tokenizer)
    if not answer:
        raise FormatError(
            f"{where}: the model's chat template does not show the last answer; give a model whose template does"
        )
    ids += answer
    wanted += [True] * len(answer)
    wanted[0] = False
    return TokenSequence(np.array(ids, np.int32), np.array(wanted, np.bool_))


def _cut_at_answers(asked: str, messages: Sequence[Message], template: ChatTemplate) -> Iterator[tuple[str, bool]]:
    """The prompt of the last answer in pieces, and which of them are earlier answers as they were once written."""
    end = 0
    for index, message in enumerate(messages):
        if message.role == "assistant" and index:
            so_far = template.render(messages[: index + 1], add_generation_prompt=False)
            before = template.render(messages[:index], add_generation_prompt=True)
            if asked.startswith(so_far) and _is_shown(message, before, so_far):
                yield asked[end : len(before)], False
                yield so_far[len(before) :], True
                end = len(so_far)
    yield asked[end:], False


def _last_answer(
    asked: str, messages: Sequence[Message], template: ChatTemplate, mark: str, tokenizer: Tokenizer
) -> list[int]:
    """With the token that ends it; nothing if the template leaves it out."""
    shown = template.render(messages, add_generation_prompt=False)
    if shown == template.render(messages[:-1], add_generation_prompt=False):
        return []
    eos_ids = tokenizer.settings.eos_ids
    if _is_shown(messages[-1], asked, shown):
        answer = _encode(shown[len(asked) :], mark, tokenizer)
        return answer[: _up_to_end(answer, eos_ids)]
    ends = [id_ for id_ in _encode(shown, mark, tokenizer) if id_ in eos_ids] or list(eos_ids)
    return _encode(_own_words(messages[-1].content, asked, tokenizer), mark, tokenizer) + ends[-1:]


def _is_shown(answer: Message, asked: str, shown: str) -> bool:
    """Whether the conversation goes on from the prompt with all that the answer says."""
    return shown.startswith(asked) and answer.content.strip() in shown[len(asked) :]


def _own_words(answer: str, asked: str, tokenizer: Tokenizer) -> str:
    """What the model writes behind the prompt to say this."""
    opening, closing = tokenizer.settings.reasoning_start, tokenizer.settings.reasoning_end
    if not opens_reasoning(asked, opening):
        return answer
    if closing not in answer:
        return f"\n{closing}\n\n{answer}"  # it thinks of nothing
    return answer.lstrip().removeprefix(opening).lstrip("\n")


def _encode(text: str, mark: str, tokenizer: Tokenizer) -> list[int]:
    return [id_ for piece in text.split(mark) if piece for id_ in tokenizer.encode(piece, add_special=False)]


def _up_to_end(ids: Sequence[int], eos_ids: Sequence[int]) -> int:
    """How many of an answer's tokens are learnt: up to the last that ends it, without line breaks after it."""
    ends = [place for place, id_ in enumerate(ids) if id_ in eos_ids]
    return ends[-1] + 1 if ends else len(ids)
