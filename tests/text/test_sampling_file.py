"""Recommended sampling: read from checkpoints leniently, from a package strictly."""

from __future__ import annotations

import pytest

from pocketseek.errors import FormatError
from pocketseek.text.sampling_file import (
    parse_recommended,
    recommended_from_gguf,
    recommended_from_hf,
    render_recommended,
)
from pocketseek.types import SamplingParams


def test_what_is_recommended_comes_back_and_the_rest_stays_default() -> None:
    data = render_recommended({"temperature": 0.6, "top_p": 0.9, "top_k": 40})
    assert parse_recommended(data) == SamplingParams(temperature=0.6, top_p=0.9, top_k=40)


def test_hugging_face_recommendations_are_taken_over() -> None:
    config = {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "eos_token_id": 5, "top_k": True}
    assert recommended_from_hf(config) == {"temperature": 0.6, "top_p": 0.95}


def test_a_greedy_recommendation_is_temperature_zero() -> None:
    assert recommended_from_hf({"do_sample": False, "temperature": 1.0}) == {"temperature": 0.0}


@pytest.mark.parametrize("value", [-1, 99, float("nan"), "hot", None, True])
def test_impossible_advice_is_left_out(value: object) -> None:
    assert recommended_from_hf({"temperature": value}) == {}
    assert recommended_from_gguf({"general.sampling.temp": value}) == {}


def test_gguf_recommendations_are_taken_over() -> None:
    metadata = {"general.sampling.temp": 0.5, "general.sampling.top_k": 20, "general.name": "x"}
    assert recommended_from_gguf(metadata) == {"temperature": 0.5, "top_k": 20}


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"seed":1}', b'{"temperature":9}', b'{"top_k":1.5}', b"[" * 4000, b"\xff", b'{"a":' * 900]
)
def test_a_damaged_file_is_a_format_error(data: bytes) -> None:
    with pytest.raises(FormatError, match=r"sampling\.json is not valid"):
        parse_recommended(data)
