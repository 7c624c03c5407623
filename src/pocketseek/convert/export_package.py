"""A package in, a folder of ONNX graphs with the same weights out: `export_package`. docs/onnx.md has the format.

"onnx": one graph, its weights in files of at most 100 MB beside it. "ort": a row of graphs in ONNX Runtime's own
format, each with some layers, none near the 2 GB that the format ends at. Weights are read, converted and written one
matrix at a time; for "ort" ONNX Runtime holds one graph. Until the last step nothing is visible at the destination.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pocketseek.convert.dense_only import require_dense
from pocketseek.errors import UsageError
from pocketseek.libraries import check_onnxruntime, load_onnx, load_onnxruntime
from pocketseek.package.adapter_layout import refuse_adapter
from pocketseek.package.manifest import JsonValue, Manifest
from pocketseek.package.model_fields import render_model, stage_names
from pocketseek.package.reader import Package
from pocketseek.package.storage import storage_errors

if TYPE_CHECKING:
    from pocketseek.convert.onnx.folder import ExportFolder
    from pocketseek.convert.onnx.stored_blocks import Quant

Progress = Callable[[str, int, int], None]
GraphFormat = Literal["onnx", "ort"]

DEFAULT_OPSET = 21
MOST_CONTEXT = 32768  # angles of so many positions are in the whole graph: 2 x 8 MB for heads of 128
_STAGE_BYTES = 480_000_000
_MARGIN_BYTES = 64 << 20
_LEAST_RUNTIME, _LEAST_WITH_8_BITS = "1.17", "1.22"  # versions of ONNX Runtime; the latter's MatMulNBits has 8 bits


def export_package(
    package_path: Path,
    destination: Path,
    *,
    quant: Quant = "int4",
    format: GraphFormat = "onnx",
    opset: int = DEFAULT_OPSET,
    context: int | None = None,
    layers_per_stage: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Export an installed package and return the folder.

    quant: "int4" keeps what is stored, in 4 and 8 bits; "int8" makes everything 8 bits (of q4a anew, else the same
    values); "f16" the values in float16. context: the positions that a whole graph can have (default: the model's, at
    most MOST_CONTEXT). layers_per_stage: of "ort". progress(stage, done_layers, total_layers).
    Raises NotFoundError, UsageError, FormatError, UnsupportedError, IntegrityError, StorageError, BusyError; nothing is
    left behind.
    """
    version = require_libraries()
    from pocketseek.convert.onnx.folder import ExportFolder

    _check_opset(opset)
    with Package.open(package_path) as package:
        model = package.manifest.model
        refuse_adapter(package.manifest, str(package_path), "merge it into that model and export the result")
        require_dense(model, "export", "run it as it is, without --engine onnx, or export a dense model")
        needs = _least_runtime(package.manifest, quant)
        if format == "ort":  # ONNX Runtime must run a graph to convert it
            check_onnxruntime(version, needs, f"{quant} as .ort")
        positions = _positions(context, model.context_length)
        sizes = _Sizes(package.manifest, quant)
        expected_bytes = sizes.expected_bytes(positions, format)
        with (
            ExportFolder(destination, expected_bytes=expected_bytes) as folder,
            storage_errors(destination, needed_bytes=expected_bytes),
        ):
            export = _Export(package, folder, quant, opset, positions, progress or _silent)
            step = layers_per_stage or sizes.layers_per_stage()
            stages = export.whole() if format == "onnx" else export.stages(step)
            for name in package.manifest.files:
                folder.add_file(name, package.file(name))
            folder.commit(
                {
                    "name": package.manifest.name,
                    "quant": quant,
                    "opset": opset,
                    "model": render_model(dataclasses.replace(model, context_length=positions)),
                    "stages": stages,
                    "kv": dict(_KV),
                    "run": {"onnxruntime": f">={needs}", "batch": 1, "providers": ["CPUExecutionProvider"]},
                }
            )
    return destination


_KV: dict[str, JsonValue] = {
    "dtype": "float32",
    "past": "past_key_values.{layer}.{key|value}",
    "present": "present.{layer}.{key|value}",
    "layout": "batch, kv heads, tokens, head dim",
    "present_tokens": "all",
    "shares_buffer": True,
}


def require_libraries(needed_for: str = "exporting a model for ONNX Runtime") -> str:
    """ONNX Runtime's version. Raises UnsupportedError if it, or onnx, cannot be loaded, though it may be installed."""
    load_onnx(needed_for=needed_for)
    return str(load_onnxruntime(needed_for=needed_for).__version__)


class _Export:
    def __init__(
        self,
        package: Package,
        folder: ExportFolder,
        quant: Quant,
        opset: int,
        context: int,
        progress: Progress,
    ) -> None:
        from pocketseek.convert.onnx.decoder import DecoderGraphs

        self._graphs = DecoderGraphs(package, quant, context=context)
        self._model = package.manifest.model
        self._folder = folder
        self._opset = opset
        self._progress = progress
        self._stages: list[JsonValue] = []

    def whole(self) -> list[JsonValue]:
        with self._stage("model", "all", ()) as graph:
            self._graphs.whole(graph.graph, self._told(0, self._model.num_layers))
        return self._stages

    def stages(self, step: int) -> list[JsonValue]:
        """step: layers of a stage."""
        with self._stage("embed", "embed", ()) as opened:
            self._graphs.embed(opened.graph)
        num_layers = self._model.num_layers
        for first in range(0, num_layers, step):
            last = min(first + step, num_layers)
            with self._stage(f"layers-{first:03d}-{last - 1:03d}", "layers", (first, last)) as opened:
                self._graphs.layers(opened.graph, first, self._told(first, last))
        with self._stage("head", "head", ()) as opened:
            self._graphs.head(opened.graph)
        return self._stages

    def _told(self, first: int, last: int) -> Iterator[int]:
        for layer in range(first, last):
            self._progress(f"layer {layer}", layer, self._model.num_layers)
            yield layer
        self._progress(f"layer {last - 1}", last, self._model.num_layers)

    def _stage(self, name: str, kind: str, layers: tuple[int, ...]) -> _Stage:
        return _Stage(self._folder, name, kind, layers, self._opset, self._stages)


class _Stage:
    """A graph that is being made; written, and listed, when the `with` ends well."""

    def __init__(
        self,
        folder: ExportFolder,
        name: str,
        kind: str,
        layers: tuple[int, ...],
        opset: int,
        listed: list[JsonValue],
    ) -> None:
        from pocketseek.convert.onnx.block_graph import BlockGraph
        from pocketseek.convert.onnx.data_files import DataFiles

        self._folder, self._name, self._kind, self._layers, self._listed = folder, name, kind, layers, listed
        self._data = DataFiles(folder.path, f"{name}.onnx")
        self.graph = BlockGraph(name, opset, self._data)
        self._is_staged = kind != "all"

    def __enter__(self) -> _Stage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._data.close()
        if kind is None:
            self._write()

    def _write(self) -> None:
        from pocketseek.convert.onnx_export import save_as_ort

        model = self.graph.model()
        inputs: list[JsonValue] = [value.name for value in model.graph.input]
        outputs: list[JsonValue] = [value.name for value in model.graph.output]
        written = [*self._folder.add_graph(f"{self._name}.onnx", model), *self._data.names]
        file_name = written[0]
        if self._is_staged:
            file_name = f"{self._name}.ort"
            save_as_ort(self._folder.path / written[0], self._folder.path / file_name, keep_pairs=False)
            self._folder.remove(written)
        self._listed.append(
            {"file": file_name, "kind": self._kind, "layers": list(self._layers), "inputs": inputs, "outputs": outputs}
        )


def _least_runtime(manifest: Manifest, quant: Quant) -> str:
    """Embedding and head of an int4 export have 8 bits mostly, as the package has them."""
    from pocketseek.convert.onnx.stored_blocks import has_8_bits

    is_wide = any(len(tensor.shape) == 2 and has_8_bits(tensor.format, quant) for tensor in manifest.tensors)
    return _LEAST_WITH_8_BITS if is_wide else _LEAST_RUNTIME


def _check_opset(opset: int) -> None:
    from pocketseek.convert.onnx.block_graph import LAST_OPSET, LEAST_OPSET

    if not LEAST_OPSET <= opset <= LAST_OPSET:
        raise UsageError(
            f"opset {opset} cannot be written; use {LEAST_OPSET} to {LAST_OPSET} ({DEFAULT_OPSET} is usual)"
        )


def _positions(context: int | None, most: int) -> int:
    if context is not None and not 1 <= context <= most:
        raise UsageError(f"the model has a context of {most} tokens; --context may be 1 to {most}")
    return context or min(most, MOST_CONTEXT)


class _Sizes:
    """What a package's tensors take in an export, by stage."""

    def __init__(self, manifest: Manifest, quant: Quant) -> None:
        from pocketseek.convert.onnx.stored_blocks import exported_bytes

        self._model = manifest.model
        self._file_bytes = sum(entry.num_bytes for entry in manifest.files.values())
        self._stages: dict[str, int] = dict.fromkeys(stage_names(manifest.model), 0)
        for tensor in manifest.tensors:
            self._stages[tensor.stage] += exported_bytes(tensor.format, tensor.shape, quant)

    def layers_per_stage(self) -> int:
        return max(1, _STAGE_BYTES // self._largest_layer())

    def expected_bytes(self, positions: int, format: GraphFormat) -> int:
        total = sum(self._stages.values()) + self._file_bytes + _MARGIN_BYTES
        if format == "onnx":
            return total + 4 * positions * self._model.head_dim
        copied = self._stages["head"] if self._model.tied_embeddings else 0  # the embedding has a graph of its own
        return total + copied + max(self._stages["head"], _STAGE_BYTES, self._largest_layer())  # made beside its source

    def _largest_layer(self) -> int:
        return max(num_bytes for name, num_bytes in self._stages.items() if name.startswith("layer."))


def _silent(_stage: str, _done: int, _total: int) -> None:
    pass
