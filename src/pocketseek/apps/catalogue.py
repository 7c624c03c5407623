"""Models worth asking about, with what each would take here: catalogue.json, and the packages that are installed.

Sizes are computed by the rules that conversion follows (convert/recipe.py, formats.py), so they are those of the
package that `convert` would write from the published weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pocketseek.apps.energy import model_work
from pocketseek.convert.families.names import LAYER_PARTS
from pocketseek.convert.recipe import Quant, choose_format
from pocketseek.formats import TENSOR_ALIGNMENT_BYTES, tensor_bytes
from pocketseek.govern.model_verdict import ModelNeeds
from pocketseek.kernels.kv_memory import page_bytes
from pocketseek.package.manifest import Manifest
from pocketseek.package.model_fields import expected_tensors, parse_model, stage_of_tensor
from pocketseek.package.strict_json import Fields, JsonValue, format_error, load_object
from pocketseek.runtime.memory_use import FEWEST_TOKENS, GROWTH_BYTES, workspace_bytes
from pocketseek.runtime.residency.table_rows import KEPT_ROWS_BYTES
from pocketseek.types import ModelConfig

QUANTS: tuple[Quant, ...] = ("q4", "q8")
PROCESS_BYTES = 68_000_000  # the interpreter with what is imported for an answer, code included (docs/cli.md)
_FILE = Path(__file__).parent / "catalogue.json"
_FORMAT = 1
_MAX_BYTES = 256 * 1024
_TOKENIZER_SHARE = 16  # what a tokenizer takes of memory, in sizes of its file
_PAGE_TOKENS = 64
_REQUIRED = frozenset({"name", "repository", "parameters", "tokenizer_bytes", "shape"})
_OPTIONAL = frozenset({"active_parameters", "kv_bytes_per_token", "context_length"})
_SHAPE_REST: dict[str, JsonValue] = {"rms_norm_eps": 1e-6, "rope_theta": 1e4}  # no size depends on them


@dataclass(frozen=True)
class CatalogueModel:
    """shape: None for kinds that the engine does not know yet (mixture of experts)."""

    name: str
    repository: str
    parameters: int
    tokenizer_bytes: int
    shape: ModelConfig | None
    active_parameters: int
    kv_bytes_per_token: int
    context_length: int

    def needs(self, quant: Quant) -> ModelNeeds:
        if self.shape is None:
            return self._roughly(quant)
        sizes = _tensor_sizes(self.shape, quant)
        return ModelNeeds(
            name=self.name,
            quant=quant,
            parameters=self.parameters,
            package_bytes=_with_padding(sizes) + self.tokenizer_bytes,
            weights_bytes=sum(size for name, size in sizes.items() if stage_of_tensor(name) != "embed"),
            multiply_adds=_layer_multiply_adds(self.shape),
            attention_multiply_adds=_attention_multiply_adds(self.shape),
            page_bytes=page_bytes(self.shape, "f16"),
            base_bytes=_base_bytes(self.shape, self.tokenizer_bytes),
            context_length=self.context_length,
        )

    def _roughly(self, quant: Quant) -> ModelNeeds:
        """By the number of weights: nothing of it is laid out yet."""
        num_bytes = round(self.parameters * (4.3 if quant == "q4" else 8.5) / 8)
        return ModelNeeds(
            name=self.name,
            quant=quant,
            parameters=self.parameters,
            package_bytes=num_bytes + self.tokenizer_bytes,
            weights_bytes=num_bytes,
            multiply_adds=self.active_parameters,
            attention_multiply_adds=0,
            page_bytes=self.kv_bytes_per_token * _PAGE_TOKENS,
            base_bytes=PROCESS_BYTES + GROWTH_BYTES + _TOKENIZER_SHARE * self.tokenizer_bytes,
            context_length=self.context_length,
            can_run=False,
        )


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
    work = model_work(manifest)
    config = manifest.model
    head = config.vocab_size * config.hidden_size
    return ModelNeeds(
        name=manifest.name,
        quant=str(manifest.recipe.get("quant", "?")),
        parameters=sum(
            tensor.shape[0] * (tensor.shape[1] if len(tensor.shape) == 2 else 1) for tensor in manifest.tensors
        ),
        package_bytes=manifest.num_bytes,
        weights_bytes=work.weight_bytes,
        multiply_adds=max(1, work.multiply_adds - head),
        attention_multiply_adds=_attention_multiply_adds(config),
        page_bytes=page_bytes(config, "f16"),
        base_bytes=_base_bytes(config, manifest.files["tokenizer.json"].num_bytes),
        context_length=config.context_length,
        is_installed=True,
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
    )


def _tensor_sizes(config: ModelConfig, quant: Quant) -> dict[str, int]:
    """In the order in which they are written."""
    shapes = expected_tensors(config) or {}
    layers = [f"layer.{index}.{part}" for index in range(config.num_layers) for part in LAYER_PARTS]
    names = ["rope.inv_freq", "embed.weight", *layers, "head.norm", "head.weight"]
    return {
        name: tensor_bytes("f32" if len(shapes[name]) == 1 else choose_format(quant, name, "BF16"), shapes[name])
        for name in names
        if name in shapes
    }


def _with_padding(sizes: Mapping[str, int]) -> int:
    """Tensors of a stage follow each other, each at an aligned place; stages are chunks of their own."""
    ends: dict[str, int] = {}
    for name, num_bytes in sizes.items():
        stage = stage_of_tensor(name)
        ends[stage] = -(-ends.get(stage, 0) // TENSOR_ALIGNMENT_BYTES) * TENSOR_ALIGNMENT_BYTES + num_bytes
    return sum(ends.values())


def _layer_multiply_adds(config: ModelConfig) -> int:
    shapes = (expected_tensors(config) or {}).items()
    return sum(shape[0] * shape[1] for name, shape in shapes if name.startswith("layer.") and len(shape) == 2)


def _attention_multiply_adds(config: ModelConfig) -> int:
    """With one position: a score and its share of the values, in each head."""
    return 2 * config.num_layers * config.num_heads * config.head_dim


def _base_bytes(config: ModelConfig, tokenizer_bytes: int) -> int:
    workspace = workspace_bytes(config, FEWEST_TOKENS)
    return PROCESS_BYTES + GROWTH_BYTES + _TOKENIZER_SHARE * tokenizer_bytes + workspace + KEPT_ROWS_BYTES
