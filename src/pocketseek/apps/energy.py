"""What a token costs in energy on a phone, estimated from what was moved and multiplied. Nothing here was measured.

    E = storage_bytes * STORAGE_J_PER_BYTE
      + (weight_bytes + storage_bytes) * DRAM_J_PER_BYTE        what storage delivers is written to memory first
      + multiply_adds * MULTIPLY_ADD_J

Not covered: the screen, the radio, what a chip takes while it is awake, keys and values, attention, copies made by
the system. So it is a lower end, good for comparing ways to run a model. docs/benchmarks.md derives the constants.
"""

from __future__ import annotations

from dataclasses import dataclass

from pocketseek.package.entries import Manifest, TensorEntry

# Samsung says 6.0 MB/s per mA for reading UFS 4.0, 46 % better than UFS 3.1 (newsroom, May 2022): at 2.5 V 0.42 nJ and
# 0.61 nJ for a byte. We take UFS 3.1.
STORAGE_J_PER_BYTE = 0.6e-9
# Micron LPDDR4-3200 reading all the time (currents as in DRAMPower's memspecs): 471 mW for 51.2 Gbit/s, 9.2 pJ a bit;
# 0.6 V for the data lines (LPDDR4X) makes it 7.7, and Samsung says 30 % less for LPDDR5: 5.4. With the chip's side: 6.
DRAM_J_PER_BYTE = 48e-12
# An assumption: 1 W for a Cortex-A76-like core at 2.4 GHz with two 128-bit dot product units (32 multiply-adds a cycle)
# used for two thirds. The multiplier itself takes a hundredth of that (Horowitz, ISSCC 2014: 0.2 pJ in 45 nm).
MULTIPLY_ADD_J = 20e-12


@dataclass(frozen=True)
class ModelWork:
    """weight_bytes: read by every pass, however many tokens are in it. multiply_adds: for each token, matrices only."""

    weight_bytes: int
    multiply_adds: int


def model_work(manifest: Manifest) -> ModelWork:
    """Of the embedding a pass reads a row for each token: not counted, unless it is the head as well. Of experts those
    that one token chooses are: a pass with more tokens reads more of them."""
    read = [(tensor, _share(manifest, tensor)) for tensor in manifest.tensors if tensor.stage != "embed"]
    matrices = [(tensor.shape, share) for tensor, share in read if len(tensor.shape) == 2]
    return ModelWork(
        weight_bytes=round(sum(extent.num_bytes * share for tensor, share in read for extent in tensor.extents)),
        multiply_adds=round(sum(shape[0] * shape[1] * share for shape, share in matrices)),
    )


def _share(manifest: Manifest, tensor: TensorEntry) -> float:
    """Of the tensors like this one, how many a token uses."""
    moe = manifest.model.moe
    return moe.experts_per_token / moe.num_experts if moe is not None and tensor.stage.startswith("experts.") else 1


def joules(storage_bytes: float, weight_bytes: float, multiply_adds: float) -> float:
    """Estimate, unmeasured on a device; see the top of this module."""
    return (
        storage_bytes * STORAGE_J_PER_BYTE
        + (weight_bytes + storage_bytes) * DRAM_J_PER_BYTE
        + multiply_adds * MULTIPLY_ADD_J
    )
