"""Conversion streams: its memory does not follow the size of a tensor or of the model."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from tiny_models import tiny_model, write_hf

from pocketseek.convert.pipeline import convert_checkpoint

MEGABYTE = 1 << 20


def write_sparse(directory: Path, *, hidden: int, intermediate: int, num_layers: int, vocab: int) -> Path:
    """A BF16 checkpoint of zeros that takes no room on the disk."""
    tiny = tiny_model(hidden=64, num_layers=1)
    write_hf(directory, tiny)
    config = tiny.config | {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": num_layers,
        "vocab_size": vocab,
        "head_dim": hidden // 4,
    }
    (directory / "config.json").write_text(json.dumps(config))
    shapes: dict[str, tuple[int, ...]] = {"model.norm.weight": (hidden,)}
    shapes |= dict.fromkeys(("model.embed_tokens.weight", "lm_head.weight"), (vocab, hidden))
    sizes = {64: hidden, 96: intermediate, 32: hidden // 2}
    for name, array in tiny.weights.items():
        if ".layers.0." in name:
            shape = tuple(sizes[size] for size in array.shape)
            shapes |= {name.replace(".0.", f".{layer}."): shape for layer in range(num_layers)}
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with open(directory / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return directory


@pytest.mark.parametrize("quant", ["q4", "q8", "keep"])
def test_memory_stays_far_below_the_largest_tensor(quant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write_sparse(tmp_path / "hf", hidden=512, intermediate=512, num_layers=1, vocab=24_000)
    monkeypatch.setattr("pocketseek.convert.slabs._SLAB_VALUES", 1 << 16)
    tracemalloc.start()
    try:
        convert_checkpoint(directory, models_dir=tmp_path, name="m", quant=quant)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 * MEGABYTE  # the embedding alone has 24 MB as stored, 49 MB as float32


@pytest.mark.slow
def test_a_checkpoint_of_4_gb_is_converted_within_600_mb(tmp_path: Path) -> None:
    directory = write_sparse(tmp_path / "hf", hidden=2048, intermediate=8192, num_layers=27, vocab=128_256)
    assert (directory / "model.safetensors").stat().st_size > 4e9
    script = (
        "import resource, sys; from pathlib import Path; from pocketseek.convert.pipeline import convert_checkpoint\n"
        "convert_checkpoint(sys.argv[1], models_dir=Path(sys.argv[2]), name='m', quant='q4')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, directory, tmp_path], check=True, capture_output=True, text=True
    )
    assert int(run.stdout) < 600
