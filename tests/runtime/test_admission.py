"""Requests that cannot run are refused before anything runs."""

import pytest

from pocketseek.errors import ContextLengthError, UsageError
from pocketseek.runtime.admission import Capacity, check_request
from pocketseek.types import Request, SamplingParams

CAPACITY = Capacity(vocab_size=10, model_context=100, num_pages=2)


@pytest.mark.parametrize(("num_prompt", "max_tokens", "allowed"), [(1, 5, 5), (98, 5, 2), (99, 1, 1), (100, 0, 0)])
def test_max_tokens_is_clipped_to_the_context(num_prompt: int, max_tokens: int, allowed: int) -> None:
    request = Request((1,) * num_prompt, max_tokens=max_tokens)
    assert check_request(request, CAPACITY).max_tokens == allowed


@pytest.mark.parametrize(("num_prompt", "max_tokens"), [(100, 1), (101, 0), (5000, 7)])
def test_prompt_beyond_the_context_is_refused(num_prompt: int, max_tokens: int) -> None:
    with pytest.raises(ContextLengthError, match="the model's context is 100"):
        check_request(Request((1,) * num_prompt, max_tokens=max_tokens), CAPACITY)


def test_prompt_beyond_the_kv_memory_is_refused() -> None:
    with pytest.raises(ContextLengthError, match="the memory allowed holds 64"):
        check_request(Request((1,) * 65), Capacity(vocab_size=10, model_context=100, num_pages=1))


def test_empty_prompt_is_refused() -> None:
    with pytest.raises(UsageError, match="empty"):
        check_request(Request(()), CAPACITY)


@pytest.mark.parametrize("token_id", [-1, 10, 1.0, True, None, "1", 10**30])
def test_what_is_no_token_of_the_model_is_refused(token_id: object) -> None:
    with pytest.raises(UsageError, match="from 0 to 9"):
        check_request(Request((1, token_id)), CAPACITY)  # type: ignore[arg-type]


@pytest.mark.parametrize("max_tokens", [-1, 1.0, True, None, "7"])
def test_invalid_max_tokens_is_refused(max_tokens: object) -> None:
    with pytest.raises(UsageError, match="max_tokens"):
        check_request(Request((1,), max_tokens=max_tokens), CAPACITY)  # type: ignore[arg-type]


def test_invalid_sampling_is_refused() -> None:
    with pytest.raises(UsageError, match="top_p"):
        check_request(Request((1,), sampling=SamplingParams(top_p=2.0)), CAPACITY)
