"""Models worth asking about, with what each would take here: catalogue.json, and the packages that are installed.

Sizes are computed by the rules that conversion follows (convert/recipe.py, formats.py), so they are those of the
package that `convert` would write from the published weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

from pocketseek.convert.families.names import LAYER_PARTS
from pocketseek.convert.recipe import Quant, choose_format
from pocketseek.formats import tensor_bytes
from pocketseek.govern.model_verdict import ExpertNeeds, ModelNeeds
from pocketseek.kernels.kv_memory import KV_FORMATS, page_bytes
from pocketseek.package.expert_layout import together_bytes
from pocketseek.package.layout import cut_bytes, stage_bytes
from pocketseek.package.manifest import Manifest
from pocketseek.package.model_fields import expected_tensors, parse_model, stage_of_tensor
from pocketseek.package.strict_json import Fields, JsonValue, format_error, load_object
from pocketseek.runtime.memory_use import FEWEST_TOKENS, GROWTH_BYTES, workspace_bytes
from pocketseek.runtime.residency.expert_slots import least_slots
from pocketseek.runtime.residency.table_rows import KEPT_ROWS_BYTES
from pocketseek.types import ModelConfig

QUANTS: tuple[Quant, ...] = ("q4-pure", "q4", "q8", "keep")  # keep: f16, of checkpoints in bfloat16
USUAL_QUANTS: tuple[Quant, ...] = ("q4", "q8")
_PUBLISHED_BYTES = 2  # of a weight, in bfloat16, unless the catalogue says how large the checkpoint is
PROCESS_BYTES = 68_000_000  # the interpreter with what is imported for an answer, code included (docs/cli.md)
_FILE = Path(__file__).parent / "catalogue.json"
_FORMAT = 1
_MAX_BYTES = 256 * 1024
_TOKENIZER_SHARE = 16  # what a tokenizer takes of memory, in sizes of its file
_REQUIRED = frozenset({"name", "repository", "parameters", "tokenizer_bytes", "shape"})
_OPTIONAL = frozenset({"checkpoint_bytes"})
_SHAPE_REST: dict[str, JsonValue] = {"rms_norm_eps": 1e-6, "rope_theta": 1e4}  # no size depends on them


@dataclass(frozen=True)
class CatalogueModel:
    """checkpoint_bytes: as published."""

    name: str
    repository: str
    parameters: int
    tokenizer_bytes: int
    shape: ModelConfig
    checkpoint_bytes: int

    def needs(self, quant: Quant) -> ModelNeeds:
        tensors = _planned(self.shape, quant)
        return ModelNeeds(
            name=self.name,
            quant=quant,
            parameters=self.parameters,
            package_bytes=_chunk_bytes(tensors) + self.tokenizer_bytes,
            weights_bytes=_weights_bytes(tensors),
            multiply_adds=_multiply_adds(tensors, self.shape),
            attention_multiply_adds=_attention_multiply_adds(self.shape),
            page_bytes=_page_bytes(self.shape),
            base_bytes=_base_bytes(self.shape, self.tokenizer_bytes),
            context_length=self.shape.context_length,
            vocab_size=self.shape.vocab_size,
            num_layers=self.shape.num_layers,
            checkpoint_bytes=self.checkpoint_bytes + self.tokenizer_bytes,
            experts=_experts(tensors, self.shape),
        )


@dataclass(frozen=True)
class _Planned:
    """A tensor of the package that conversion would write. times: that many have its format and shape, of as many
    experts of its layer."""

    name: str
    format: str
    shape: tuple[int, ...]
    times: int = 1

    @property
    def num_bytes(self) -> int:
        return tensor_bytes(self.format, self.shape)

    @property
    def num_weights(self) -> int:
        return math.prod(self.shape)

    @property
    def is_of_expert(self) -> bool:
        return self.name.startswith("experts.")

    @property
    def is_layer_matrix(self) -> bool:
        return (self.name.startswith("layer.") or self.is_of_expert) and len(self.shape) == 2


@cache
def catalogue() -> tuple[CatalogueModel, ...]:
    return parse_catalogue(_FILE.read_bytes())


def parse_catalogue(data: bytes) -> tuple[CatalogueModel, ...]:
    """Raises FormatError."""
    where = "catalogue.json"
    fields = Fields(load_object(data, where, max_bytes=_MAX_BYTES), where, frozenset({"format", "source", "models"}))
    if fields.raw("format") != _FORMAT:
        raise format_error(where, "an unknown format")
    models = fields.raw("models")
    if not isinstance(models, list):
        raise format_error(where, "no list of models")
    parsed = tuple(_model(value, where) for value in models)
    if len({model.name for model in parsed}) != len(parsed):
        raise format_error(where, "two models have one name")
    return parsed


def needs_of_installed(manifest: Manifest) -> ModelNeeds:
    """Of a package, by its manifest."""
    config = manifest.model
    tensors = [_Planned(one.name, one.format, one.shape) for one in manifest.tensors]
    return ModelNeeds(
        name=manifest.name,
        quant=str(manifest.recipe.get("quant", "?")),
        parameters=sum(one.num_weights for one in tensors),
        package_bytes=manifest.num_bytes,
        weights_bytes=_weights_bytes(tensors),
        multiply_adds=_multiply_adds(tensors, config),
        attention_multiply_adds=_attention_multiply_adds(config),
        page_bytes=_page_bytes(config),
        base_bytes=_base_bytes(config, manifest.files["tokenizer.json"].num_bytes),
        context_length=config.context_length,
        vocab_size=config.vocab_size,
        num_layers=config.num_layers,
        is_installed=True,
        experts=_experts(tensors, config),
    )


def _model(value: JsonValue, where: str) -> CatalogueModel:
    fields = Fields(value, where, _REQUIRED, _OPTIONAL)
    shape = fields.raw("shape")
    if not isinstance(shape, dict):
        raise format_error(where, "a model without a shape")
    parameters = fields.integer("parameters", 1, 10**13)
    usual_bytes = _PUBLISHED_BYTES * parameters
    return CatalogueModel(
        name=str(fields.raw("name")),
        repository=str(fields.raw("repository")),
        parameters=parameters,
        tokenizer_bytes=fields.integer("tokenizer_bytes", 1, 10**9),
        shape=parse_model({**shape, **_SHAPE_REST}),
        checkpoint_bytes=fields.integer("checkpoint_bytes", 1, 10**13)
        if fields.has("checkpoint_bytes")
        else usual_bytes,
    )


@cache
def _shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Of every tensor; of a layer's experts, which are alike, those of the first."""
    shapes = expected_tensors(config) or {}
    return {
        name: shape for name, shape in shapes.items() if not name.startswith("experts.") or name.split(".")[2] == "0"
    }


def _planned(config: ModelConfig, quant: Quant) -> list[_Planned]:
    """The tensors in the order in which they are written."""
    shapes = _shapes(config)
    if config.is_sparse:
        num_experts = config.moe.num_experts if config.moe is not None else 1
        return [
            _Planned(
                name,
                "f32" if len(shape) == 1 else choose_format(quant, name, "BF16"),
                shape,
                num_experts if name.startswith("experts.") else 1,
            )
            for name, shape in shapes.items()
        ]
    layers = [f"layer.{index}.{part}" for index in range(config.num_layers) for part in LAYER_PARTS]
    names = ["rope.inv_freq", "embed.weight", *layers, "head.norm", "head.weight"]
    return [
        _Planned(name, "f32" if len(shapes[name]) == 1 else choose_format(quant, name, "BF16"), shapes[name])
        for name in names
        if name in shapes
    ]


def _chunk_bytes(tensors: Iterable[_Planned]) -> int:
    """A stage has chunks of its own."""
    stages: dict[str, list[tuple[int, int]]] = {}
    for _, parts in groupby(tensors, _unit_of):
        together = list(parts)
        sizes = stages.setdefault(stage_of_tensor(together[0].name), [])
        if together[0].is_of_expert:  # which is not cut
            num_bytes = together_bytes((one.format, one.shape) for one in together)
            sizes += [(num_bytes, num_bytes)] * together[0].times
        else:
            sizes.append((together[0].num_bytes, cut_bytes(together[0].format, together[0].shape)))
    return sum(stage_bytes(sizes) for sizes in stages.values())


def _unit_of(tensor: _Planned) -> str:
    """What lies in one piece: an expert; of all else, a tensor."""
    return tensor.name.rpartition(".")[0] if tensor.is_of_expert else tensor.name


def _weights_bytes(tensors: Iterable[_Planned]) -> int:
    return sum(one.times * one.num_bytes for one in tensors if stage_of_tensor(one.name) != "embed")


def _multiply_adds(tensors: Iterable[_Planned], config: ModelConfig) -> tuple[tuple[str, int], ...]:
    """Of a token, in layers; of its experts alone."""
    share = _expert_share(config)
    counts = (
        (one.format, round(one.times * one.num_weights * (share if one.is_of_expert else 1)))
        for one in tensors
        if one.is_layer_matrix
    )
    return _by_format(counts)


def _expert_share(config: ModelConfig) -> float:
    return 1.0 if config.moe is None else config.moe.experts_per_token / config.moe.num_experts


def _experts(tensors: Iterable[_Planned], config: ModelConfig) -> ExpertNeeds | None:
    if config.moe is None:
        return None
    sizes: list[int] = []
    for _, parts in groupby((one for one in tensors if one.is_of_expert), _unit_of):
        together = list(parts)
        sizes += [together_bytes((one.format, one.shape) for one in together)] * together[0].times
    return ExpertNeeds(
        sum(sizes), _expert_share(config), least_slots(config.moe.experts_per_token, len(sizes)) * max(sizes)
    )


def _by_format(counts: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    totals: dict[str, int] = {}
    for name, count in counts:
        totals[name] = totals.get(name, 0) + count
    return tuple(sorted(totals.items()))


def _page_bytes(config: ModelConfig) -> tuple[tuple[str, int], ...]:
    return tuple((kv_format, page_bytes(config, kv_format)) for kv_format in KV_FORMATS)


def _attention_multiply_adds(config: ModelConfig) -> int:
    """With one position: a score and its share of the values, in each head."""
    return 2 * config.num_layers * config.num_heads * config.head_dim


def _base_bytes(config: ModelConfig, tokenizer_bytes: int) -> int:
    workspace = workspace_bytes(config, FEWEST_TOKENS)
    return PROCESS_BYTES + GROWTH_BYTES + _TOKENIZER_SHARE * tokenizer_bytes + workspace + KEPT_ROWS_BYTES
