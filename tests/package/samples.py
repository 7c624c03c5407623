"""Tiny packages with seeded random bytes in every tensor that the model config asks for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np

from pocketseek.formats import tensor_bytes
from pocketseek.package.layer_tensors import EXPERT_MATRICES
from pocketseek.package.layout import cut_bytes
from pocketseek.package.manifest import read_manifest
from pocketseek.package.model_fields import expected_tensors, stage_of_tensor
from pocketseek.package.reader import Package
from pocketseek.package.writer import PackageWriter
from pocketseek.shapes import MlaShape, MoeShape
from pocketseek.types import ModelConfig

TINY = ModelConfig(
    family="llama",
    num_layers=2,
    hidden_size=48,
    intermediate_size=80,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    vocab_size=700,
    context_length=256,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
)
SPARSE = replace(
    TINY,
    family="deepseek_v3",
    num_layers=3,
    num_kv_heads=1,
    head_dim=24,
    moe=MoeShape(
        num_experts=8,
        experts_per_token=3,
        expert_size=32,
        shared_size=40,
        dense_layers=(0,),
        score="sigmoid",
        score_bias=True,
        num_groups=4,
        groups_per_token=2,
        group_score="best_two",
        normalised=True,
        weight_factor=2.5,
    ),
    mla=MlaShape(rank=32, nope_dim=16, rope_dim=8, value_dim=16, q_rank=24, score_factor=1.5),
)
SMALL_CHUNK_BYTES = 40_000  # the tiny layers then need several chunks and the embedding is cut
MEMORY_DISK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # None: the usual temporary directory
FILES = {"tokenizer.json": b'{"model":{}}', "LICENSE": b"do what you like\n"}


@lru_cache
def sample_tensors(model: ModelConfig, seed: int, matrix_format: str) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Name -> (format, shape, bytes) in the order of the stages. The embed stage is the same for every seed."""
    table = expected_tensors(model)
    assert table is not None
    tensors = {}
    for name, shape in table.items():
        format_name = "f32" if len(shape) == 1 else matrix_format
        rng = np.random.default_rng([0 if stage_of_tensor(name) == "embed" else seed, len(tensors)])
        tensors[name] = (format_name, shape, rng.bytes(tensor_bytes(format_name, shape)))
    return tensors


def pieces_of(data: bytes, row_bytes: int, rows_per_piece: int) -> Iterator[bytes]:
    step = row_bytes * rows_per_piece
    for start in range(0, len(data), step):
        yield data[start : start + step]


def fill(
    writer: PackageWriter,
    model: ModelConfig = TINY,
    *,
    seed: int = 1,
    matrix_format: str = "q8s",
    rows_per_piece: int = 2,
    files: Mapping[str, bytes] = FILES,
) -> None:
    """Everything but the commit."""
    tensors = sample_tensors(model, seed, matrix_format)
    for stage, names in groupby(tensors, key=stage_of_tensor):
        writer.begin_stage(stage)
        for name in names:
            format_name, shape, data = tensors[name]
            if stage.startswith("experts.") and name.endswith(".gate"):
                expert = name.removesuffix("gate")
                writer.keep_together([tensors[expert + part][:2] for part in EXPERT_MATRICES])
            pieces = pieces_of(data, cut_bytes(format_name, shape), rows_per_piece if len(shape) == 2 else 1)
            writer.add_tensor(name, format_name, shape, pieces)
    for name, data in files.items():
        writer.add_file(name, data)


def write_sample(
    destination: Path,
    model: ModelConfig = TINY,
    *,
    seed: int = 1,
    matrix_format: str = "q8s",
    max_chunk_bytes: int = SMALL_CHUNK_BYTES,
    rows_per_piece: int = 2,
    files: Mapping[str, bytes] = FILES,
) -> Path:
    with PackageWriter(destination, max_chunk_bytes=max_chunk_bytes) as writer:
        fill(writer, model, seed=seed, matrix_format=matrix_format, rows_per_piece=rows_per_piece, files=files)
        writer.commit(name="tiny", model=model, recipe={"seed": seed}, quality={}, provenance={})
    return destination


def stored_bytes(package: Package, name: str) -> bytes:
    return b"".join(part.data.tobytes() for part in package.tensor(name).parts)


def seed_on_disk(package_dir: Path, model: ModelConfig = TINY, matrix_format: str = "q8s") -> int:
    """Which sample lies there, after checking every byte of it."""
    with Package.open(package_dir, verify="full") as package:
        seed = package.manifest.recipe["seed"]
        assert isinstance(seed, int)
        for name, (_, _, data) in sample_tensors(model, seed, matrix_format).items():
            assert stored_bytes(package, name) == data
        for name, data in FILES.items():
            assert package.file(name) == data
    return seed


def names_below(path: Path) -> set[str]:
    return {str(entry.relative_to(path)) for entry in path.rglob("*")}


def expected_names(package_dir: Path) -> set[str]:
    """What may lie in a package directory: what its manifest names, the marker, and when chunks were checked."""
    with Package.open(package_dir, verify="quick") as package:
        manifest = package.manifest
    chunks = {f"chunks/{entry.sha256}" for entry in manifest.chunks}
    files = {f"files/{entry.sha256}" for entry in manifest.files.values()}
    checked = {"checked.json"} if (package_dir / "checked.json").exists() else set()
    return chunks | files | checked | {"manifest.json", "verified.json", "chunks", "files"}


def with_layers(num_layers: int) -> ModelConfig:
    return replace(TINY, num_layers=num_layers)


def flip_bit(path: Path, offset: int = 0, *, keep_times: bool = False) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))
    if keep_times:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def some_chunk(path: Path) -> Path:
    return path / "chunks" / read_manifest(path).chunks[-1].sha256
