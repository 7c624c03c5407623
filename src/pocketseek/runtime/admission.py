"""What a request must satisfy before it may wait for a pass. Pure checks, made on the caller's thread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from pocketseek.errors import ContextLengthError, UsageError
from pocketseek.runtime.kv_pool import PAGE_TOKENS
from pocketseek.runtime.sampling import validate_sampling
from pocketseek.types import Priority, Request


@dataclass(frozen=True)
class Capacity:
    """What the model and the KV memory can hold for one sequence. Prompt and answer share the context."""

    vocab_size: int
    model_context: int
    num_pages: int

    @property
    def context_length(self) -> int:
        """Tokens that one sequence may have if it is alone."""
        return min(self.model_context, self.num_pages * PAGE_TOKENS)


def check_request(request: Request, capacity: Capacity) -> Request:
    """The request with max_tokens clipped to the room that is left. Raises UsageError or ContextLengthError."""
    validate_sampling(request.sampling)
    check_prompt(request.prompt_ids, capacity.vocab_size)
    _check_max_tokens(request.max_tokens)
    _check_service(request)
    room = capacity.context_length - len(request.prompt_ids)
    if room < 0 or (room == 0 and request.max_tokens > 0):
        raise ContextLengthError(_too_long(len(request.prompt_ids), capacity))
    return replace(request, max_tokens=min(request.max_tokens, room))


def check_prompt(prompt_ids: Sequence[int], vocab_size: int) -> None:
    if not prompt_ids:
        raise UsageError("the prompt is empty; give at least one token of text")
    for token_id in prompt_ids:
        if not isinstance(token_id, int) or isinstance(token_id, bool) or not 0 <= token_id < vocab_size:
            raise UsageError(
                f"{token_id!r:.40} is no token of this model; use whole numbers from 0 to {vocab_size - 1}"
            )


def _check_max_tokens(max_tokens: int) -> None:
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool) or max_tokens < 0:
        raise UsageError(f"max_tokens is {max_tokens!r:.40}; use a whole number, 0 or more")


def _check_service(request: Request) -> None:
    if request.priority not in get_args(Priority):
        raise UsageError(f"the priority is {request.priority!r:.40}; use one of {', '.join(get_args(Priority))}")
    if not isinstance(request.client, str):
        raise UsageError(f"the client is {request.client!r:.40}; use a text")
    deadline_s = request.deadline_s
    if deadline_s is None:
        return
    if isinstance(deadline_s, bool) or not isinstance(deadline_s, int | float) or not 0 < deadline_s < math.inf:
        raise UsageError(f"deadline_s is {deadline_s!r:.40}; use a number of seconds above 0, or none")


def _too_long(num_prompt: int, capacity: Capacity) -> str:
    if capacity.context_length < capacity.model_context:
        limit, remedy = "the memory allowed holds", "shorten the prompt or allow more memory (--memory)"
    else:
        limit, remedy = "the model's context is", "shorten the prompt or split it"
    return f"the prompt has {num_prompt} tokens and {limit} {capacity.context_length}, answer included; {remedy}"
