"""One conversion: the tensors of a checkpoint, stage by stage, into a package writer.

After each stage of a conversion that is worth it (unfinished.py) what is needed to go on is kept; what was kept before
is not done again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.calibrated_layers import CALIBRATED_FORMATS, CalibratedLayers
from pocketseek.convert.checkpoint_weights import CheckpointWeights
from pocketseek.convert.encode import Loss
from pocketseek.convert.families.base import ModelPlan, TensorPlan
from pocketseek.convert.ggml_import import EXACT_IMPORTS, ROUNDED_IMPORTS
from pocketseek.convert.held_out import HeldOutText, measure_held_out
from pocketseek.convert.mixed_recipe import Recipe
from pocketseek.convert.package_weights import PackageWeights
from pocketseek.convert.quality import QualityReport
from pocketseek.convert.slabs import encode_matrix, matrix_fits_f16, read_vector
from pocketseek.convert.sources.base import Source
from pocketseek.convert.sources.ggml_types import TYPES_BY_NAME
from pocketseek.convert.unfinished import StagesDone, Unfinished
from pocketseek.formats import TENSOR_ALIGNMENT_BYTES, tensor_bytes
from pocketseek.package.layer_tensors import EXPERT_MATRICES
from pocketseek.package.manifest import JsonValue
from pocketseek.package.reader import Package
from pocketseek.package.writer import PackageWriter

Progress = Callable[[str, int, int], None]

WIDER_THAN_F16 = frozenset({"BF16", "F8_E4M3"})
_MAX_WORKERS = 4
_MANIFEST_MARGIN_BYTES = 1 << 20  # the manifest and what rounding up to file system blocks costs


class Conversion:
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
        self._losses: list[tuple[str, str, Loss]] = []
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

    def write_tensors(self, writer: PackageWriter, unfinished: Unfinished) -> None:
        done = unfinished.found_stages(self._calibrated)
        for name, format_name, loss in done.losses:
            self._count(name, format_name, loss)
        self._done_bytes = sum(self._stored_bytes(one) for one in self._plan.tensors if one.stage in done.stages)
        stages: dict[str, list[TensorPlan]] = {"embed": []}
        for tensor in self._plan.tensors:
            stages.setdefault(tensor.stage, []).append(tensor)
        with ThreadPoolExecutor(self._num_workers, thread_name_prefix="convert") as pool:
            for stage, tensors in stages.items():
                if stage not in done.stages:
                    self._write_stage(writer, stage, tensors, pool)
                    done = StagesDone((*done.stages, stage), tuple(self._losses))
                    unfinished.keep_stages(done, self._calibrated)
        self._progress(stage, self._total_bytes, self._total_bytes)

    def _write_stage(
        self, writer: PackageWriter, stage: str, tensors: Sequence[TensorPlan], pool: ThreadPoolExecutor
    ) -> None:
        writer.begin_stage(stage)
        if stage == "embed":
            inv_freq = self._plan.inv_freq
            writer.add_tensor("rope.inv_freq", "f32", inv_freq.shape, [_vector_bytes(inv_freq)])
        step = len(EXPERT_MATRICES) if stage.startswith("experts.") else 1
        for first in range(0, len(tensors), step):
            group = [(tensor, self._format_of(tensor)) for tensor in tensors[first : first + step]]
            if step > 1:
                writer.keep_together([(format_name, tensor.shape) for tensor, format_name in group])
            for tensor, format_name in group:
                self._progress(stage, self._done_bytes, self._total_bytes)
                self._write_tensor(writer, tensor, format_name, pool)

    def _count(self, name: str, format_name: str, loss: Loss) -> None:
        self._losses.append((name, format_name, loss))
        self.quality.add(name, format_name, loss)

    def _write_tensor(
        self, writer: PackageWriter, tensor: TensorPlan, format_name: str, pool: ThreadPoolExecutor
    ) -> None:
        if len(tensor.shape) == 1:
            values = read_vector(self._source, tensor)
            writer.add_tensor(tensor.name, "f32", tensor.shape, [_vector_bytes(values)])
            self._done_bytes += self._stored_bytes(tensor)
            return
        if self._calibrated is not None and (matrix := self._calibrated.matrix(tensor)) is not None:
            writer.add_tensor(tensor.name, format_name, tensor.shape, [matrix.packed.reshape(-1)])
            self._count(tensor.name, format_name, matrix.loss)
            return
        losses: list[Loss] = []
        with closing(self._pieces(tensor, format_name, pool, losses)) as pieces:
            writer.add_tensor(tensor.name, format_name, tensor.shape, pieces)
        self._count(tensor.name, format_name, sum(losses, Loss()))

    def _pieces(
        self, tensor: TensorPlan, format_name: str, pool: ThreadPoolExecutor, losses: list[Loss]
    ) -> Generator[NDArray[np.uint8], None, None]:
        with closing(encode_matrix(self._source, tensor, format_name, pool, self._num_workers)) as slabs:
            for slab in slabs:
                losses.append(slab.rows.loss)
                yield slab.rows.packed.reshape(-1)
                self._done_bytes += self._stored_bytes(tensor) * slab.num_rows // tensor.shape[0]
                self._progress(tensor.stage, self._done_bytes, self._total_bytes)

    def _calibrated_layers(self, windows: NDArray[np.int32]) -> CalibratedLayers:
        def format_of(tensor: TensorPlan) -> str | None:
            return calibrated_format(self._recipe, tensor, self._stored_type(tensor))

        def done(tensor: TensorPlan) -> None:
            self._done_bytes += self._stored_bytes(tensor)
            self._progress(tensor.stage, self._done_bytes, self._total_bytes)

        embed = next((self._planned_format(one) for one in self._plan.tensors if one.name == "embed.weight"), "f32")
        return CalibratedLayers(self._source, self._plan, windows, format_of, done, embed_format=embed)

    def _planned_format(self, tensor: TensorPlan) -> str:
        if len(tensor.shape) == 1:
            return "f32"
        return self._recipe.format_of(tensor.name, self._stored_type(tensor))

    def _format_of(self, tensor: TensorPlan) -> str:
        """As planned, but where values do not fit in float16, which takes looking at them."""
        planned = self._planned_format(tensor)
        if planned != "f16" or self._stored_type(tensor) not in WIDER_THAN_F16:
            return planned
        return planned if matrix_fits_f16(self._source, tensor) else "f32"

    def _stored_type(self, tensor: TensorPlan) -> str:
        return self._source.tensors[tensor.source_name].type

    def _stored_bytes(self, tensor: TensorPlan) -> int:
        return TYPES_BY_NAME[self._stored_type(tensor)].row_bytes(math.prod(tensor.shape))


def calibrated_format(recipe: Recipe, tensor: TensorPlan, stored_type: str) -> str | None:
    """Of what is multiplied and rounded to four or six bits here, and not copied from a checkpoint that was before."""
    if len(tensor.shape) == 1 or tensor.name == "embed.weight":
        return None
    format_name = recipe.format_of(tensor.name, stored_type)
    is_copied = (stored_type, format_name) in EXACT_IMPORTS | ROUNDED_IMPORTS
    return format_name if format_name in CALIBRATED_FORMATS and not is_copied else None


def _vector_bytes(values: NDArray[np.float32]) -> bytes:
    return values.astype("<f4").tobytes()
