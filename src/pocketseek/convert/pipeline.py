"""A checkpoint in, an installed package out: `convert_checkpoint`.

Plan everything, refuse what cannot be done, then stream: stage by stage, tensor by tensor, slab by slab. Until the last
step nothing is visible at the destination; an error, Ctrl-C or a kill leaves what was there before (see PackageWriter).
The same checkpoint, options and day give the same package, byte for byte.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.calibrated_layers import CALIBRATED_FORMATS, CalibratedLayers
from pocketseek.convert.calibration_text import DEFAULT_TOKENS, calibration_windows
from pocketseek.convert.checkpoint_weights import CheckpointWeights
from pocketseek.convert.encode import Loss
from pocketseek.convert.families.base import ModelPlan, TensorPlan
from pocketseek.convert.families.choose import choose_planner
from pocketseek.convert.ggml_import import EXACT_IMPORTS, ROUNDED_IMPORTS
from pocketseek.convert.held_out import DEFAULT_TOKENS as CHECK_TOKENS
from pocketseek.convert.held_out import HeldOutText, check_unseen, held_out_texts, measure_held_out
from pocketseek.convert.mixed_recipe import MixedRecipe, PlainRecipe, Recipe, mixed_target
from pocketseek.convert.package_files import SETTINGS_NAME, TOKENIZER_NAME, collect_files
from pocketseek.convert.package_weights import PackageWeights
from pocketseek.convert.provenance import default_name, describe_provenance, sanitised
from pocketseek.convert.quality import QualityReport
from pocketseek.convert.recipe import Quant, resolve_quant
from pocketseek.convert.slabs import encode_matrix, matrix_fits_f16, read_vector
from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.ggml_types import TYPES_BY_NAME
from pocketseek.convert.sources.open import open_source
from pocketseek.formats import TENSOR_ALIGNMENT_BYTES, tensor_bytes
from pocketseek.package.manifest import JsonValue
from pocketseek.package.paths import check_model_name
from pocketseek.package.reader import Package
from pocketseek.package.store import ModelStore
from pocketseek.package.writer import PackageWriter
from pocketseek.settings import read_settings
from pocketseek.text.sampling_file import Recommended
from pocketseek.text.settings_file import parse_text_settings
from pocketseek.text.tokenizer import Tokenizer

Progress = Callable[[str, int, int], None]

_MAX_WORKERS = 4
_MANIFEST_MARGIN_BYTES = 1 << 20  # the manifest and what rounding up to file system blocks costs


def convert_checkpoint(
    source: str | Path,
    destination: str | Path | None = None,
    *,
    quant: Quant | None = None,
    name: str | None = None,
    models_dir: Path | None = None,
    calibration: Sequence[str] = (),
    calibration_tokens: int = DEFAULT_TOKENS,
    target_bytes: int | None = None,
    bits: float | None = None,
    checks: Mapping[str, str] | None = None,
    check_tokens: int = CHECK_TOKENS,
    progress: Progress | None = None,
    converted_on: date | None = None,
    recommended: Recommended | None = None,
) -> Path:
    """Convert a GGUF or safetensors checkpoint (a file, or a directory with one) and return the package's directory.

    destination: the directory to create, or to replace if it is a package; default: the model's name in models_dir
    (default: where installed models live).
    quant: "q4", "q4-pure", "q8" or "keep", see `recipe`. name: what the package is called; default: as the checkpoint.
    calibration: texts of the kinds that the model will read; matrices of four bits are then quantised so that what
    comes out of them on calibration_tokens tokens of these changes least, see docs/convert.md. Takes longer; other
    machines may round other weights up.
    target_bytes, bits: the package takes so many bytes at most, or its tensors so many bits for each weight: each group
    of matrices then has a format of its own, by how much it matters on the calibration texts, or without them by the
    error of its weights (sensitivity.py, mixed_formats.py). In place of quant.
    checks: texts by kind ("en", "code" ...) that are not in calibration: what is lost on check_tokens tokens of each is
    measured and kept in the manifest's quality report (held_out.py), which takes twice a pass over them.
    progress(stage, done_bytes, total_bytes) counts bytes of the checkpoint. converted_on: default today (UTC).
    recommended: sampling that the package recommends; default: what the checkpoint does.

    Raises NotFoundError, UsageError, FormatError, UnsupportedError, StorageError, BusyError; nothing is left behind.
    """
    with closing(open_source(source)) as opened:
        mixed = mixed_target(quant, target_bytes, bits)
        called = _choose_name(opened, name, destination)
        store = ModelStore(models_dir or read_settings().models_dir)
        target = store.path_for_new(called) if destination is None else Path(destination)
        plan = choose_planner(opened)(opened)
        files = collect_files(opened, plan.model.vocab_size, recommended)
        provenance = describe_provenance(opened, converted_on or datetime.now(UTC).date())
        windows = _windows(calibration, calibration_tokens, files, plan) if calibration else None
        held_out = _held_out(checks, calibration, check_tokens, files, plan) if checks else None
        tell: Progress = progress or _silent
        recipe: Recipe = PlainRecipe(resolve_quant(quant, opened.kind))
        if mixed is not None:
            recipe = MixedRecipe.choose(opened, plan, mixed, windows, files, tell)
        conversion = _Conversion(opened, plan, recipe, tell, windows)
        with PackageWriter(target, expected_bytes=conversion.expected_bytes(files)) as writer:
            conversion.write_tensors(writer)
            for file_name, data in files.items():
                writer.add_file(file_name, data)
            quality = conversion.quality_report()
            if held_out is not None:
                with writer.preview(name=called, model=plan.model) as package:
                    quality |= {"held_out": conversion.held_out_report(package, held_out)}
            writer.commit(
                name=called,
                model=plan.model,
                recipe=recipe.to_json(),
                quality=quality,
                provenance=provenance,
            )
    return target


class _Conversion:
    """One run: what is converted, how, and how far it is."""

    def __init__(
        self,
        source: Source,
        plan: ModelPlan,
        recipe: Recipe,
        progress: Progress,
        windows: NDArray[np.int32] | None = None,
    ) -> None:
        """windows: of calibration text."""
        self.quality = QualityReport()
        self._source = source
        self._plan = plan
        self._recipe = recipe
        self._progress = progress
        self._done_bytes = 0
        self._total_bytes = sum(self._stored_bytes(tensor) for tensor in plan.tensors)
        self._num_workers = min(_MAX_WORKERS, os.cpu_count() or 1)
        self._calibrated = None if windows is None else self._calibrated_layers(windows)

    def quality_report(self) -> dict[str, JsonValue]:
        report = self.quality.to_json()
        return report | {"calibration": self._calibrated.report()} if self._calibrated is not None else report

    def held_out_report(self, package: Package, texts: Sequence[HeldOutText]) -> dict[str, JsonValue]:
        source = CheckpointWeights(self._source, self._plan)
        stored = sorted({self._stored_type(tensor) for tensor in self._plan.tensors if len(tensor.shape) == 2})
        report = measure_held_out(
            source, PackageWeights(package), texts, lambda done, total: self._progress("check", done, total)
        )
        return {"source_types": list[JsonValue](stored)} | report

    def expected_bytes(self, files: dict[str, bytes]) -> int:
        tensors = sum(
            tensor_bytes(self._planned_format(tensor), tensor.shape) + TENSOR_ALIGNMENT_BYTES
            for tensor in self._plan.tensors
        )
        return tensors + sum(map(len, files.values())) + _MANIFEST_MARGIN_BYTES

    def write_tensors(self, writer: PackageWriter) -> None:
        with ThreadPoolExecutor(self._num_workers, thread_name_prefix="convert") as pool:
            writer.begin_stage("embed")
            inv_freq = self._plan.inv_freq
            writer.add_tensor("rope.inv_freq", "f32", inv_freq.shape, [_vector_bytes(inv_freq)])
            stage = "embed"
            for tensor in self._plan.tensors:
                if tensor.stage != stage:
                    stage = tensor.stage
                    writer.begin_stage(stage)
                self._progress(stage, self._done_bytes, self._total_bytes)
                self._write_tensor(writer, tensor, pool)
        self._progress(stage, self._total_bytes, self._total_bytes)

    def _write_tensor(self, writer: PackageWriter, tensor: TensorPlan, pool: ThreadPoolExecutor) -> None:
        if len(tensor.shape) == 1:
            values = read_vector(self._source, tensor)
            writer.add_tensor(tensor.name, "f32", tensor.shape, [_vector_bytes(values)])
            self._done_bytes += self._stored_bytes(tensor)
            return
        format_name = self._planned_format(tensor)
        if self._calibrated is not None and (matrix := self._calibrated.matrix(tensor)) is not None:
            writer.add_tensor(tensor.name, format_name, tensor.shape, [matrix.packed.reshape(-1)])
            self.quality.add(tensor.name, format_name, matrix.loss)
            return
        if self._stored_type(tensor) == "BF16" and format_name == "f16" and not matrix_fits_f16(self._source, tensor):
            format_name = "f32"
        losses: list[Loss] = []
        with closing(self._pieces(tensor, format_name, pool, losses)) as pieces:
            writer.add_tensor(tensor.name, format_name, tensor.shape, pieces)
        self.quality.add(tensor.name, format_name, sum(losses, Loss()))

    def _pieces(
        self, tensor: TensorPlan, format_name: str, pool: ThreadPoolExecutor, losses: list[Loss]
    ) -> Generator[NDArray[np.uint8], None, None]:
        with closing(encode_matrix(self._source, tensor, format_name, pool, self._num_workers)) as slabs:
            for slab in slabs:
                losses.append(slab.rows.loss)
                yield slab.rows.packed.reshape(-1)
                self._done_bytes += slab.source_bytes
                self._progress(tensor.stage, self._done_bytes, self._total_bytes)

    def _calibrated_layers(self, windows: NDArray[np.int32]) -> CalibratedLayers:
        def format_of(tensor: TensorPlan) -> str | None:
            """Of what is rounded to four or six bits here, and not copied from a checkpoint that was before."""
            format_name = self._planned_format(tensor)
            stored = self._stored_type(tensor)
            is_copied = (stored, format_name) in EXACT_IMPORTS | ROUNDED_IMPORTS
            is_multiplied = tensor.name != "embed.weight"
            return format_name if format_name in CALIBRATED_FORMATS and is_multiplied and not is_copied else None

        def done(tensor: TensorPlan) -> None:
            self._done_bytes += self._stored_bytes(tensor)
            self._progress(tensor.stage, self._done_bytes, self._total_bytes)

        embed = next((self._planned_format(one) for one in self._plan.tensors if one.name == "embed.weight"), "f32")
        return CalibratedLayers(self._source, self._plan, windows, format_of, done, embed_format=embed)

    def _planned_format(self, tensor: TensorPlan) -> str:
        if len(tensor.shape) == 1:
            return "f32"
        return self._recipe.format_of(tensor.name, self._stored_type(tensor))

    def _stored_type(self, tensor: TensorPlan) -> str:
        return self._source.tensors[tensor.source_name].type

    def _stored_bytes(self, tensor: TensorPlan) -> int:
        stored = self._source.tensors[tensor.source_name]
        return stored.num_rows * TYPES_BY_NAME[stored.type].row_bytes(stored.num_cols)


def _choose_name(source: Source, name: str | None, destination: str | Path | None) -> str:
    if name is not None:
        return check_model_name(name)
    if destination is not None and (called := sanitised(Path(destination).resolve().name)):
        return called
    return default_name(source)


def _windows(texts: Sequence[str], max_tokens: int, files: Mapping[str, bytes], plan: ModelPlan) -> NDArray[np.int32]:
    return calibration_windows(
        texts, _tokenizer(files), max_tokens=max_tokens, context_length=plan.model.context_length
    )


def _held_out(
    checks: Mapping[str, str], calibration: Sequence[str], max_tokens: int, files: Mapping[str, bytes], plan: ModelPlan
) -> list[HeldOutText]:
    check_unseen(checks, calibration)
    tokenizer = _tokenizer(files)
    return held_out_texts(checks, tokenizer, context_length=plan.model.context_length, max_tokens=max_tokens)


def _tokenizer(files: Mapping[str, bytes]) -> Tokenizer:
    return Tokenizer.from_json(files[TOKENIZER_NAME], parse_text_settings(files[SETTINGS_NAME]))


def _vector_bytes(values: NDArray[np.float32]) -> bytes:
    return values.astype("<f4").tobytes()


def _silent(_stage: str, _done_bytes: int, _total_bytes: int) -> None:
    pass
