"""A checkpoint in, a folder of int8-static ONNX graphs out: `export_static`. docs/onnx.md has the folder's format.

Stage by stage: layers are walked through with the calibration text (static_walk.py), made a graph
(onnx/static_stages.py) and written, and only then the next ones are. Until the last step nothing is visible at the
destination.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx

from pocketseek.convert.activation_ranges import DEFAULT_PERCENTILE, RangeMethod
from pocketseek.convert.calibration_text import calibration_windows
from pocketseek.convert.checkpoint_weights import CheckpointWeights
from pocketseek.convert.dense_only import require_dense
from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.onnx.folder import ExportFolder
from pocketseek.convert.onnx.static_stages import LayersStage, Shapes, embed_stage, head_stage, layers_stage
from pocketseek.convert.onnx_export import save_as_ort
from pocketseek.convert.package_files import SETTINGS_NAME, TOKENIZER_NAME, collect_files
from pocketseek.convert.package_weights import PackageWeights
from pocketseek.convert.provenance import default_name
from pocketseek.convert.sources.open import open_source
from pocketseek.convert.static_rule import Bits, StaticRule
from pocketseek.convert.static_walk import DEFAULT_SHARE, FloatWeights, StaticLayer, StaticWalk
from pocketseek.errors import UsageError
from pocketseek.package.install import is_package_dir
from pocketseek.package.manifest import JsonValue
from pocketseek.package.model_fields import render_model
from pocketseek.package.reader import Package
from pocketseek.text.settings_file import parse_text_settings
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import ModelConfig

Progress = Callable[[str, int, int], None]
GraphFormat = Literal["onnx", "ort"]

DEFAULT_TOKENS = 4096
OPSETS = range(21, 24)  # 16-bit quantisation came with 21

_STAGE_BYTES = 480_000_000  # of weights; a `.ort` file must stay below 2 GB
_MARGIN_BYTES = 64 << 20


@dataclass(frozen=True)
class StaticOptions:
    """bits: of activations, 8 or 16. share: of what is hard that moves into weights (smooth.py); 0: nothing does; None:
    half of it for 8 bits and nothing for 16, which have room enough.

    tokens, context: fixed shapes, both or none. layers_per_stage: as many as make a file of half a gigabyte, if None.
    """

    bits: Bits = 8
    method: RangeMethod = "minmax"
    percentile: float = DEFAULT_PERCENTILE
    share: float | None = None
    calibration_tokens: int = DEFAULT_TOKENS
    tokens: int | None = None
    context: int | None = None
    layers_per_stage: int | None = None
    opset: int = 21

    def check(self, model: ModelConfig) -> None:
        """Raises UsageError, and UnsupportedError for what is no dense model."""
        require_dense(model, "export", "run it as it is, without --engine onnx, or export a dense model")
        if self.opset not in OPSETS:
            raise UsageError(
                f"int8-static needs an opset from {OPSETS[0]} to {OPSETS[-1]}, not {self.opset}: "
                "16-bit quantisation came with 21; leave --opset out"
            )
        if not 50 < self.percentile <= 100:
            raise UsageError(f"a percentile of {self.percentile:g} is not between 50 and 100; leave it out for 99.99")
        if (self.tokens is None) != (self.context is None):
            raise UsageError("fixed shapes need both --tokens and --context; give both or none")
        if self.tokens is None or self.context is None:
            return
        if not 0 < self.tokens < self.context <= model.context_length:
            raise UsageError(
                f"{self.tokens} tokens in a context of {self.context} do not go; give at least one token, more "
                f"context than that, and at most the model's {model.context_length}"
            )

    @property
    def moved_share(self) -> float | None:
        share = (DEFAULT_SHARE if self.bits == 8 else 0) if self.share is None else self.share
        return share or None

    @property
    def shapes(self) -> Shapes:
        if self.tokens is None or self.context is None:
            return Shapes()
        return Shapes(self.tokens, self.context)

    @property
    def rule(self) -> StaticRule:
        return StaticRule(self.bits, self.method, self.percentile)


def export_static(
    source: str | Path,
    destination: str | Path,
    *,
    calibration: Sequence[str],
    options: StaticOptions | None = None,
    format: GraphFormat = "onnx",
    name: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Export a GGUF or safetensors checkpoint, or the package in a directory, and return the folder.

    calibration: texts of the kinds that the model will read. progress(stage, done_stages, total_stages).
    Raises NotFoundError, UsageError, FormatError, UnsupportedError, StorageError, BusyError; nothing is left behind.
    """
    options = options or StaticOptions()
    target = Path(destination)
    with _opened(Path(source)) as model:
        config = model.weights.model
        options.check(config)
        tokenizer = Tokenizer.from_json(model.files[TOKENIZER_NAME], parse_text_settings(model.files[SETTINGS_NAME]))
        windows = calibration_windows(
            calibration, tokenizer, max_tokens=options.calibration_tokens, context_length=config.context_length
        )
        with ExportFolder(target, expected_bytes=_expected_bytes(config)) as folder:
            walk = StaticWalk(model.weights, windows, share=options.moved_share)
            stages, bits = _Export(model.weights, walk, folder, options, format).write(progress or _silent)
            for file_name, data in model.files.items():
                folder.add_file(file_name, data)
            folder.commit(
                {
                    "name": name or model.name,
                    "quant": "int8-static",
                    "opset": options.opset,
                    "model": render_model(config),
                    "stages": stages,
                    "kv": _KV | {"present_tokens": "new" if options.shapes.is_fixed else "all"},
                    "run": _run(options),
                    "static": _described(options, windows.size, bits),
                }
            )
    return target


@dataclass(frozen=True)
class _Model:
    name: str
    weights: FloatWeights
    files: dict[str, bytes]


@contextmanager
def _opened(path: Path) -> Iterator[_Model]:
    if is_package_dir(path):
        with Package.open(path) as package:
            files = {file_name: package.file(file_name) for file_name in package.manifest.files}
            yield _Model(package.manifest.name, PackageWeights(package), files)
        return
    with closing(open_source(path)) as source:
        plan = choose_planner(source)(source)
        files = collect_files(source, plan.model.vocab_size)
        yield _Model(default_name(source), CheckpointWeights(source, plan), files)


_KV: dict[str, JsonValue] = {
    "dtype": "float32",
    "past": "past_key_values.{layer}.{key|value}",
    "present": "present.{layer}.{key|value}",
    "layout": "batch, kv heads, tokens, head dim",
}


class _Export:
    def __init__(
        self, weights: FloatWeights, walk: StaticWalk, folder: ExportFolder, options: StaticOptions, format: GraphFormat
    ) -> None:
        self._weights = weights
        self._walk = walk
        self._folder = folder
        self._options = options
        self._format = format
        self._stages: list[JsonValue] = []

    def write(self, progress: Progress) -> tuple[list[JsonValue], list[JsonValue]]:
        """model.json's stages, and the bits of attention and MLP by layer."""
        options, model = self._options, self._weights.model
        total = model.num_layers + 2
        progress("embed", 0, total)
        self._add("embed", "embed", (), embed_stage(self._weights, options.shapes, options.opset))
        bits: list[JsonValue] = []
        for first, last in self._layer_ranges():
            stage = self._layers(first, last, lambda layer: progress(f"layer {layer}", layer + 1, total))
            bits += [[attention, mlp] for attention, mlp in stage.bits]
            self._add(f"layers-{first:03d}-{last - 1:03d}", "layers", (first, last), stage.model)
        progress("head", total - 1, total)
        head = head_stage(self._weights, self._walk.head(), options.rule, options.shapes, options.opset)
        self._add("head", "head", (), head)
        progress("head", total, total)
        return self._stages, bits

    def _layers(self, first: int, last: int, report: Callable[[int], None]) -> LayersStage:
        def walked() -> Iterator[StaticLayer]:
            for layer in range(first, last):
                report(layer)
                yield self._walk.layer(layer)

        options = self._options
        return layers_stage(self._weights.model, first, walked(), options.rule, options.shapes, options.opset)

    def _layer_ranges(self) -> Iterator[tuple[int, int]]:
        model = self._weights.model
        step = self._options.layers_per_stage or max(1, _STAGE_BYTES // _layer_bytes(model))
        for first in range(0, model.num_layers, step):
            yield first, min(first + step, model.num_layers)

    def _add(self, name: str, kind: str, layers: tuple[int, ...], model: onnx.ModelProto) -> None:
        inputs: list[JsonValue] = [value.name for value in model.graph.input]
        outputs: list[JsonValue] = [value.name for value in model.graph.output]
        written = self._folder.add_graph(f"{name}.onnx", model)
        file_name = f"{name}.{self._format}"
        if self._format == "ort":
            save_as_ort(
                self._folder.path / written[0],
                self._folder.path / file_name,
                keep_pairs=self._options.shapes.is_fixed,
            )
            self._folder.remove(written)
        self._stages.append(
            {"file": file_name, "kind": kind, "layers": list(layers), "inputs": inputs, "outputs": outputs}
        )


def _described(options: StaticOptions, num_tokens: int, bits: list[JsonValue]) -> dict[str, JsonValue]:
    return {
        "activation_bits": options.bits,
        "layer_bits": bits,
        "calibration_tokens": num_tokens,
        "calibration_method": options.method,
        "percentile": options.percentile,
        "share": options.moved_share or 0,
        "tokens": options.tokens,
        "context": options.context,
    }


def _run(options: StaticOptions) -> dict[str, JsonValue]:
    """What the stages are meant for: NPUs compile fixed shapes only, and the CPU looks tokens up."""
    npus: list[JsonValue] = ["QNNExecutionProvider", "NnapiExecutionProvider"]
    return {
        "onnxruntime": ">=1.18",
        "batch": 1,
        "providers": [*(npus if options.shapes.is_fixed else []), "CPUExecutionProvider"],
        "cpu_stages": ["embed"],
    }


def _layer_bytes(model: ModelConfig) -> int:
    heads = (2 * model.num_heads + 2 * model.num_kv_heads) * model.head_dim
    return model.hidden_size * (heads + 3 * model.intermediate_size)


def _expected_bytes(model: ModelConfig) -> int:
    """All stages, and one twice: a graph and the `.ort` file made of it."""
    tables = 2 * model.vocab_size * model.hidden_size
    return model.num_layers * _layer_bytes(model) + tables + max(tables // 2, 2 * _STAGE_BYTES) + _MARGIN_BYTES


def _silent(_stage: str, _done: int, _total: int) -> None:
    pass
