"""Random models straight in the tiled layout, and passes over them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pocketseek.formats import FORMATS as TENSOR_FORMATS
from pocketseek.formats import num_blocks, num_superblocks, num_tile_rows, tile_row_bytes
from pocketseek.kernels.contract import LAYER_MATRICES, ModelKernels, RowSpan, TensorData
from pocketseek.kernels.kv_memory import PAGE_TOKENS, KvFormat, KvMemory
from pocketseek.package.layer_tensors import expert_tensors, layer_tensors
from pocketseek.shapes import MlaShape
from pocketseek.types import ModelConfig, RopeScaling

FORMATS = tuple(TENSOR_FORMATS)
QUANT_BYTES = {"q4s": 256, "q4a": 256, "q4p": 256, "q6s": 384, "q8s": 512}


def config(**changes: object) -> ModelConfig:
    """A tiny model whose shapes are odd on purpose: 5 heads' worth of nothing divides 16 or 32 evenly."""
    values: dict[str, object] = {
        "family": "qwen3",
        "num_layers": 2,
        "hidden_size": 72,
        "intermediate_size": 100,
        "num_heads": 6,
        "num_kv_heads": 2,
        "head_dim": 24,
        "vocab_size": 53,
        "context_length": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "rope_scaling": RopeScaling(attention_factor=1.1),
        "qkv_bias": True,
        "qk_norm": True,
    }
    return ModelConfig(**{**values, **changes})  # type: ignore[arg-type]


def latent_config(mla: MlaShape, **changes: object) -> ModelConfig:
    """Likewise with latents, no experts, and three heads: a bundle is sixteen."""
    fixed = {"family": "deepseek_v2", "num_kv_heads": 1, "head_dim": mla.nope_dim + mla.rope_dim, "mla": mla}
    return config(**{"num_heads": 3, "qkv_bias": False, "qk_norm": False, **fixed, **changes})


def random_matrix(rng: np.random.Generator, format_name: str, rows: int, cols: int, num_parts: int = 1) -> TensorData:
    """Random quants and scales (or values) in tiles, cut into num_parts pieces between tile rows."""
    tiles, blocks = num_tile_rows(rows), num_blocks(cols)
    raw = np.zeros((tiles, tile_row_bytes(format_name, cols)), np.uint8)
    if format_name in QUANT_BYTES:
        split = blocks * QUANT_BYTES[format_name]
        raw[:, :split] = rng.integers(0, 256, (tiles, split))
        if format_name == "q4p":
            raw[:, split : split + blocks * 8] = rng.integers(0, 256, (tiles, blocks * 8))
            split += blocks * 8
        num_scales = num_superblocks(cols) if format_name == "q4p" else blocks
        scales = rng.normal(
            0,
            0.2 / np.sqrt(cols) / (5 if format_name == "q4p" else 8 if format_name == "q8s" else 1),
            (tiles, num_scales * 16),
        )
        raw[:, split : split + num_scales * 32] = scales.astype(np.float16).view(np.uint8)
        if format_name == "q4a":
            minima = rng.normal(0, 1 / np.sqrt(cols), (tiles, blocks * 16)).astype(np.float16)
            raw[:, split + blocks * 32 : split + blocks * 64] = minima.view(np.uint8)
    else:
        kind = np.float16 if format_name == "f16" else np.float32
        values = rng.normal(0, 1 / np.sqrt(cols), (tiles, blocks * 32 * 16)).astype(kind)
        raw[:, : values.nbytes // tiles] = values.view(np.uint8)
    cuts = np.unique(np.linspace(0, tiles, num_parts + 1).astype(int))
    parts = tuple((int(a), raw[a:b].reshape(-1)) for a, b in itertools.pairwise(cuts))
    return TensorData(format_name, (rows, cols), parts)


def random_vector(rng: np.random.Generator, size: int, mean: float = 1.0) -> TensorData:
    values = rng.normal(mean, 0.3, size).astype(np.float32)
    return TensorData("f32", (size,), ((0, values.view(np.uint8)),))


class RandomModel:
    """Tensors of a whole model; `format_name` for all matrices that `formats` does not name."""

    def __init__(
        self,
        format_name: str,
        model_config: ModelConfig | None = None,
        seed: int = 1,
        parts: int = 1,
        formats: Mapping[str, str] | None = None,
    ) -> None:
        rng = np.random.default_rng(seed)
        of = dict.fromkeys(LAYER_MATRICES, format_name) | dict(formats or {})
        self.config = c = model_config or config()
        q, kv = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
        shapes = {
            "q": (q, c.hidden_size),
            "k": (kv, c.hidden_size),
            "v": (kv, c.hidden_size),
            "o": (c.hidden_size, q),
            "gate": (c.intermediate_size, c.hidden_size),
            "up": (c.intermediate_size, c.hidden_size),
            "down": (c.hidden_size, c.intermediate_size),
        }
        self.inv_freq = (c.rope_theta ** -(np.arange(c.rope_dim // 2) / (c.rope_dim / 2))).astype(np.float32)
        self.embed = random_matrix(rng, format_name, c.vocab_size, c.hidden_size, parts)
        self.head = random_matrix(rng, format_name, c.vocab_size, c.hidden_size, parts)
        self.head_norm = random_vector(rng, c.hidden_size).vector()
        self.layers: list[dict[str, TensorData]] = []
        for index in range(c.num_layers):
            if c.is_sparse:
                self.layers.append(_sparse_layer(rng, c, index, dict(formats or {}), format_name, parts))
                continue
            layer = {name: random_matrix(rng, of[name], *shapes[name], parts) for name in LAYER_MATRICES}
            layer |= {name: random_vector(rng, c.hidden_size) for name in ("attn_norm", "mlp_norm")}
            if c.qkv_bias:
                layer |= {f"{n}_bias": random_vector(rng, s, 0) for n, s in (("q", q), ("k", kv), ("v", kv))}
            if c.qk_norm:
                layer |= {f"{n}_norm": random_vector(rng, c.head_dim) for n in ("q", "k")}
            self.layers.append(layer)


def _sparse_layer(
    rng: np.random.Generator, c: ModelConfig, index: int, formats: Mapping[str, str], format_name: str, parts: int
) -> dict[str, TensorData]:
    """With all its experts."""
    of = {"router": "f32", **formats}
    shapes = layer_tensors(c, index)
    if c.moe is not None and c.has_experts(index):
        experts = expert_tensors(c)
        shapes |= {f"{n}.{name}": shape for n in range(c.moe.num_experts) for name, shape in experts.items()}
    return {
        name: random_vector(rng, *shape, 0.0 if name == "router_bias" else 1.0)
        if len(shape) == 1
        else random_matrix(rng, of.get(name, format_name), *shape, parts)
        for name, shape in shapes.items()
    }


class Runner:
    """Runs passes of one model on one implementation, sequences laid out over scattered pages."""

    def __init__(
        self, model: RandomModel, kernels: ModelKernels, num_pages: int = 48, kv_format: KvFormat = "f16"
    ) -> None:
        self.model, self.kernels = model, kernels
        self.memory = KvMemory(model.config, num_pages, kv_format)
        for page_id in range(num_pages):
            self.memory.page(page_id)[:] = 0x7D  # 0x7D7D is a signalling NaN: what was never written must not matter
        self.embed, self.head = kernels.load_matrix(model.embed), kernels.load_matrix(model.head)
        self.layers = [kernels.load_layer(layer) for layer in model.layers]
        self._free = list(np.random.default_rng(0).permutation(num_pages))
        self._pages: dict[str, list[int]] = {}

    def run(self, *pieces: tuple[str, int, Sequence[int]]) -> dict[str, NDArray[np.float32]]:
        """pieces: (sequence, first position, token ids). Returns logits of every row by sequence."""
        spans = []
        for name, first, tokens in pieces:
            pages = self._pages.setdefault(name, [])
            while len(pages) * PAGE_TOKENS < first + len(tokens):
                pages.append(int(self._free.pop()))
            spans.append(RowSpan(first, len(tokens), tuple(pages)))
        rows = self.kernels.begin(spans, self.model.inv_freq, self.memory)
        token_ids = np.array([token for _, _, tokens in pieces for token in tokens], np.int32)
        hidden = np.empty((len(token_ids), self.model.config.hidden_size), np.float32)
        self.kernels.embed(self.embed, token_ids, hidden)
        self.kernels.layers(self.layers, 0, rows, hidden)
        chosen = np.arange(len(token_ids), dtype=np.int32)
        logits = np.empty((len(token_ids), self.model.config.vocab_size), np.float32)
        self.kernels.head(self.model.head_norm, self.head, hidden, chosen, logits)
        ends = np.cumsum([len(tokens) for _, _, tokens in pieces])[:-1]
        return dict(zip([name for name, _, _ in pieces], np.split(logits, ends), strict=True))


def tokens_of(model: RandomModel, count: int, seed: int = 7) -> list[int]:
    return [int(t) for t in np.random.default_rng(seed).integers(0, model.config.vocab_size, count)]


def relative_rms(actual: np.ndarray, expected: np.ndarray) -> float:
    """How far two implementations are apart: the error's root mean square over that of the values."""
    return float(np.sqrt(np.mean((actual - expected) ** 2) / np.mean(expected**2)))
