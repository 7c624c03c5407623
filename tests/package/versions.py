"""Two versions of a tiny package: one layer trained a little, another replaced, a text changed, the rest the same."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

import numpy as np
from package.samples import FILES, SMALL_CHUNK_BYTES, TINY, pieces_of, sample_tensors

from pocketseek.package.layout import cut_bytes
from pocketseek.package.model_fields import stage_of_tensor
from pocketseek.package.writer import PackageWriter

OLD_FILES = FILES | {"chat_template.jinja": b"{{ messages }} and so on, at some length " * 20}
NEW_FILES = FILES | {"chat_template.jinja": b"{{ messages }} and so on, at some length " * 20 + b"{{ bos }}"}


def write_old(destination: Path, matrix_format: str = "q8s") -> Path:
    return _write(destination, tensors_of("old", matrix_format), OLD_FILES, "old")


def write_new(destination: Path, matrix_format: str = "q8s") -> Path:
    return _write(destination, tensors_of("new", matrix_format), NEW_FILES, "new")


def tensors_of(version: str, matrix_format: str) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Of the new one, layer.0 differs in one byte of a hundred, layer.1 in all."""
    tensors = dict(sample_tensors(TINY, 1, matrix_format))
    if version == "old":
        return tensors
    others = sample_tensors(TINY, 2, matrix_format)
    for name, (format_name, shape, data) in list(tensors.items()):
        if name.startswith("layer.0."):
            tensors[name] = (format_name, shape, nearly(data))
        elif name.startswith("layer.1."):
            tensors[name] = others[name]
    return tensors


def nearly(data: bytes, share: float = 0.01, seed: int = 5) -> bytes:
    """The lowest bit of some bytes turned."""
    values = np.frombuffer(data, np.uint8).copy()
    draw = np.random.default_rng(seed)
    values[draw.random(len(values)) < share] ^= 1
    return values.tobytes()


def _write(
    destination: Path, tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]], files: Mapping[str, bytes], name: str
) -> Path:
    with PackageWriter(destination, max_chunk_bytes=SMALL_CHUNK_BYTES) as writer:
        for stage, names in groupby(tensors, key=stage_of_tensor):
            writer.begin_stage(stage)
            for tensor in names:
                format_name, shape, data = tensors[tensor]
                writer.add_tensor(tensor, format_name, shape, pieces_of(data, cut_bytes(format_name, shape), 1))
        for file_name, data in files.items():
            writer.add_file(file_name, data)
        writer.commit(name="tiny", model=TINY, recipe={"version": name}, quality={}, provenance={})
    return destination
