from __future__ import annotations

import pytest

from pocketseek.convert.recipe import choose_format, resolve_quant
from pocketseek.errors import UsageError


def test_gguf_is_kept_unless_asked_otherwise() -> None:
    assert resolve_quant(None, "gguf") == "keep"
    assert resolve_quant("q8", "gguf") == "q8"


def test_safetensors_become_q4_unless_asked_otherwise() -> None:
    assert resolve_quant(None, "safetensors") == "q4"
    assert resolve_quant("keep", "safetensors") == "keep"


def test_an_unknown_quant_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(UsageError, match="q4, q4-pure, q8, keep"):
        resolve_quant("q5", "gguf")


@pytest.mark.parametrize("name", ["embed.weight", "head.weight"])
def test_q4_gives_embedding_and_head_six_bits(name: str) -> None:
    assert choose_format("q4", name, "BF16") == "q6s"
    assert choose_format("q4", "layer.3.q", "BF16") == "q4p"


@pytest.mark.parametrize("name", ["embed.weight", "head.weight", "layer.3.q"])
def test_q4_pure_gives_every_matrix_four_bits(name: str) -> None:
    assert choose_format("q4-pure", name, "BF16") == "q4p"
    assert choose_format("q4-pure", name, "Q4_0") == "q4s"


def test_q4_keeps_what_has_four_bits_exactly() -> None:
    assert {choose_format("q4", name, "Q4_0") for name in ("head.weight", "layer.0.down")} == {"q4s"}


def test_q8_means_every_matrix() -> None:
    assert {choose_format("q8", name, "Q4_K") for name in ("embed.weight", "layer.0.down")} == {"q8s"}


@pytest.mark.parametrize(
    ("stored_type", "format_name"),
    [("Q4_0", "q4s"), ("Q4_K", "q4a"), ("Q5_0", "q6s"), ("Q6_K", "q8s"), ("BF16", "f16"), ("F32", "f32")],
)
def test_keep_follows_the_stored_type(stored_type: str, format_name: str) -> None:
    assert choose_format("keep", "head.weight", stored_type) == format_name
