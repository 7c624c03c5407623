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
_PAGE_TOKENS = 64
_REQUIRED = frozenset({"name", "repository", "parameters", "tokenizer_bytes", "shape"})
_OPTIONAL = frozenset({"active_parameters", "kv_bytes_per_token", "context_length", "checkpoint_bytes"})
_BITS: dict[Quant, float] = {
    "q4-pure": 4.19,
    "q4": 4.25,
    "q8": 8.5,
    "keep": 16.0,
}  # of a weight, where nothing is laid out
_SHAPE_REST: dict[str, JsonValue] = {"rms_norm_eps": 1e-6, "rope_theta": 1e4}  # no size depends on them


@dataclass(frozen=True)
class CatalogueModel:
    """shape: None for kinds that the engine does not know yet. checkpoint_bytes: as published."""

    name: str
    repository: str
    parameters: int
    tokenizer_bytes: int
    shape: ModelConfig | None
    active_parameters: int
    kv_bytes_per_token: int
    context_length: int
    checkpoint_bytes: int

    def needs(self, quant: Quant) -> ModelNeeds:
        if self.shape is None:
            return self._roughly(quant)
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
            context_length=self.context_length,
            vocab_size=self.shape.vocab_size,
            num_layers=self.shape.num_layers,
            checkpoint_bytes=self.checkpoint_bytes + self.tokenizer_bytes,
            experts=_experts(tensors, self.shape),
        )

    def _roughly(self, quant: Quant) -> ModelNeeds:
        """By the number of weights: nothing of it is laid out yet."""
        num_bytes = round(self.parameters * _BITS[quant] / 8)
        return ModelNeeds(
            name=self.name,
            quant=quant,
            parameters=self.parameters,
            package_bytes=num_bytes + self.tokenizer_bytes,
            weights_bytes=num_bytes,
            multiply_adds=(),
            attention_multiply_adds=0,
            page_bytes=tuple((kv_format, self.kv_bytes_per_token * _PAGE_TOKENS) for kv_format in KV_FORMATS),
            base_bytes=PROCESS_BYTES + GROWTH_BYTES + _TOKENIZER_SHARE * self.tokenizer_bytes,
            context_length=self.context_length,
            vocab_size=1,
            num_layers=1,
            can_run=False,
        )


@dataclass(frozen=True)
class _Planned:
    """A tensor of the package that conversion would write."""

    name: str
    format: str
    shape: tuple[int, ...]

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
    config = parse_model({**shape, **_SHAPE_REST}) if isinstance(shape, dict) else None
    parameters = fields.integer("parameters", 1, 10**13)

    def number(name: str, otherwise: int) -> int:
        return fields.integer(name, 1, 10**13) if fields.has(name) else otherwise

    return CatalogueModel(
        name=str(fields.raw("name")),
        repository=str(fields.raw("repository")),
        parameters=parameters,
        tokenizer_bytes=fields.integer("tokenizer_bytes", 1, 10**9),
        shape=config,
        active_parameters=number("active_parameters", parameters),
        kv_bytes_per_token=number("kv_bytes_per_token", 1),
        context_length=config.context_length if config else number("context_length", 1),
        checkpoint_bytes=number("checkpoint_bytes", _PUBLISHED_BYTES * parameters),
    )


def _planned(config: ModelConfig, quant: Quant) -> list[_Planned]:
    """The tensors in the order in which they are written."""
    shapes = expected_tensors(config) or {}
    if config.is_sparse:
        return [
            _Planned(name, "f32" if len(shape) == 1 else choose_format(quant, name, "BF16"), shape)
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
            sizes.append((num_bytes, num_bytes))
        else:
            sizes.append((together[0].num_bytes, cut_bytes(together[0].format, together[0].shape)))
    return sum(stage_bytes(sizes) for sizes in stages.values())


def _unit_of(tensor: _Planned) -> str:
    """What lies in one piece: an expert; of all else, a tensor."""
    return tensor.name.rpartition(".")[0] if tensor.is_of_expert else tensor.name


def _weights_bytes(tensors: Iterable[_Planned]) -> int:
    return sum(one.num_bytes for one in tensors if stage_of_tensor(one.name) != "embed")


def _multiply_adds(tensors: Iterable[_Planned], config: ModelConfig) -> tuple[tuple[str, int], ...]:
    """Of a token, in layers; of its experts alone."""
    share = _expert_share(config)
    counts = (
        (one.format, round(one.num_weights * (share if one.is_of_expert else 1)))
        for one in tensors
        if one.is_layer_matrix
    )
    return _by_format(counts)


def _expert_share(config: ModelConfig) -> float:
    return 1.0 if config.moe is None else config.moe.experts_per_token / config.moe.num_experts


def _experts(tensors: Iterable[_Planned], config: ModelConfig) -> ExpertNeeds | None:
    if config.moe is None:
        return None
    units = groupby((one for one in tensors if one.is_of_expert), _unit_of)
    sizes = [together_bytes((one.format, one.shape) for one in parts) for _, parts in units]
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
