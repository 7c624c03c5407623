"""benchmarks/openvino_constants.py: packed codes and names of constants."""

from __future__ import annotations

import numpy as np
import openvino_constants
import pytest


def test_four_bits_are_unpacked_low_half_first() -> None:
    assert openvino_constants.unpacked(np.array([0x21, 0x8F], np.uint8), is_signed=False).tolist() == [1, 2, 15, 8]


def test_signed_codes_are_two_s_complement() -> None:
    assert openvino_constants.unpacked(np.array([0x70, 0x8F], np.uint8), is_signed=True).tolist() == [0, 7, -1, -8]


@pytest.mark.parametrize("end", ["._openvino_orig_weight", ".weight"])
def test_constants_have_the_checkpoint_s_names(end: str) -> None:
    name = openvino_constants.checkpoint_name(f"self.model.layers.3.mlp.up_proj{end}")
    assert name == "model.layers.3.mlp.up_proj.weight"
