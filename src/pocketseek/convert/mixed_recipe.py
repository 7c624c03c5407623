"""Recipes: which format each matrix gets. Plain ones follow from `quant` (recipe.py); mixed ones from what is lost in
each group of matrices and a size that the package may not exceed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.checkpoint_weights import CheckpointWeights
from pocketseek.convert.families.base import ModelPlan, TensorPlan
from pocketseek.convert.ggml_import import EXACT_IMPORTS
from pocketseek.convert.mixed_formats import Choice, FormatGroup, choose_formats
from pocketseek.convert.recipe import Quant, choose_format
from pocketseek.convert.sensitivity import DEFAULT_TOKENS, FORMATS, group_names, measure_costs, weight_costs
from pocketseek.convert.sensitivity_state import KEEP_NOTHING, CostKeeper, Costs
from pocketseek.convert.sources.base import Source
from pocketseek.errors import UsageError
from pocketseek.formats import SEGMENT_BYTES, tensor_bytes
from pocketseek.package.layout import cut_bytes, stage_bytes
from pocketseek.package.manifest import JsonValue

Progress = Callable[[str, int, int], None]

_MEASURED_WINDOW = 128  # tokens: eight pieces of text instead of two
_LEAST_BITS, _MOST_BITS = 4.19, 8.5  # of q4p and q8s
_MANIFEST_BYTES, _TENSOR_ENTRY_BYTES, _HASH_BYTES = 16 << 10, 320, 68


class Recipe(Protocol):
    def format_of(self, name: str, stored_type: str) -> str:
        """Of a matrix."""
        ...

    def to_json(self) -> dict[str, JsonValue]:
        """For the manifest; the formats are in its tensors."""
        ...


@dataclass(frozen=True)
class PlainRecipe:
    quant: Quant

    def format_of(self, name: str, stored_type: str) -> str:
        return choose_format(self.quant, name, stored_type)

    def to_json(self) -> dict[str, JsonValue]:
        return {"quant": self.quant}


@dataclass(frozen=True)
class MixedTarget:
    """One of them. num_bytes: of the whole package; bits: of its tensors, for each weight."""

    num_bytes: int | None
    bits: float | None

    def package_bytes(self, plan: ModelPlan) -> int:
        """What is asked for; by bits without the files."""
        return self.num_bytes if self.num_bytes is not None else int((self.bits or 0.0) * _num_weights(plan) / 8)

    def refusal(self, least_bytes: int, plan: ModelPlan) -> UsageError:
        """Of what is too small, with what would not be."""
        if self.bits is not None:
            least = math.ceil(800 * least_bytes / _num_weights(plan)) / 100
            return UsageError(
                f"this model cannot be stored with {self.bits:g} bits for each weight; use --bits {least:g} or more"
            )
        wanted, least = (self.num_bytes or 0) / 1e6, math.ceil(least_bytes / 1e5) / 10
        return UsageError(
            f"the smallest package of this model has {least:.1f} MB, and {wanted:.1f} are wanted; "
            f"use --target-size {least:.1f}MB or more, or take a smaller model"
        )


def mixed_target(quant: str | None, target_bytes: int | None, bits: float | None) -> MixedTarget | None:
    """None if neither is asked for. Raises UsageError."""
    if target_bytes is None and bits is None:
        return None
    if (target_bytes is not None) + (bits is not None) + (quant is not None) > 1:
        raise UsageError("a target size, bits for each weight and --quant exclude each other; choose one of them")
    if bits is not None and not _LEAST_BITS <= bits <= _MOST_BITS:
        raise UsageError(f"{bits:g} bits for each weight cannot be; use {_LEAST_BITS:g} to {_MOST_BITS:g}")
    if target_bytes is not None and target_bytes <= 0:
        raise UsageError(f"a package cannot have {target_bytes} bytes; give a size like 1.0GB")
    return MixedTarget(target_bytes, bits)


class MixedRecipe:
    def __init__(self, formats: Mapping[str, str], target: MixedTarget, num_tokens: int) -> None:
        """formats: by name. num_tokens: of the text that was read to find them; 0: none."""
        self._formats = formats
        self._target = target
        self._num_tokens = num_tokens

    @classmethod
    def choose(
        cls,
        source: Source,
        plan: ModelPlan,
        target: MixedTarget,
        windows: NDArray[np.int32] | None,
        files: Mapping[str, bytes],
        progress: Progress,
        keeper: CostKeeper = KEEP_NOTHING,
    ) -> MixedRecipe:
        """windows: of calibration text. progress("sensitivity", done_layers, total_layers). Raises UsageError."""
        sizes = _Sizes(plan, files)
        wanted_bytes = sizes.wanted_bytes(target)
        stored = {tensor.name: source.tensors[tensor.source_name].type for tensor in plan.tensors}

        def is_exact(name: str, format_name: str) -> bool:
            return (stored[name], format_name) in EXACT_IMPORTS

        def tell(done: int, total: int) -> None:
            progress("sensitivity", done, total)

        weights = CheckpointWeights(source, plan)
        free = {names: dict.fromkeys(FORMATS, 0.0) for names in group_names(weights)}

        def refusal(least_bytes: int) -> UsageError:
            return target.refusal(least_bytes, plan)

        choose_formats(_groups(free, sizes), wanted_bytes, sizes.of, refusal)  # what is too small, before all the work
        if windows is None:
            costs, num_tokens = weight_costs(weights, is_exact, tell, keeper), 0
        else:
            some = windows_to_measure(windows)
            costs, num_tokens = measure_costs(weights, some, is_exact, tell, keeper), some.size
        formats = choose_formats(_groups(costs, sizes), wanted_bytes, sizes.of, refusal)
        return cls(formats, target, num_tokens)

    def format_of(self, name: str, stored_type: str) -> str:
        return self._formats[name]

    def to_json(self) -> dict[str, JsonValue]:
        asked: dict[str, JsonValue] = {"target_bytes": self._target.num_bytes, "bits": self._target.bits}
        recipe: dict[str, JsonValue] = {"quant": "mixed", "sensitivity_tokens": self._num_tokens}
        return recipe | {name: value for name, value in asked.items() if value is not None}


def windows_to_measure(windows: NDArray[np.int32]) -> NDArray[np.int32]:
    """Of calibration text: as many short pieces as DEFAULT_TOKENS are, spread evenly over all windows. These stand text
    after text, so that every kind of text has its share."""
    length = min(_MEASURED_WINDOW, windows.shape[1])
    pieces = windows[:, : windows.shape[1] // length * length].reshape(-1, length)
    places = np.linspace(0, len(pieces) - 1, min(len(pieces), DEFAULT_TOKENS // length))
    return np.ascontiguousarray(pieces[np.rint(places).astype(int)])


def _num_weights(plan: ModelPlan) -> int:
    return sum(math.prod(tensor.shape) for tensor in plan.tensors)


class _Sizes:
    """Of packages of one model, by the formats of its matrices."""

    def __init__(self, plan: ModelPlan, files: Mapping[str, bytes]) -> None:
        self.shapes = {tensor.name: tensor.shape for tensor in plan.tensors}
        self._plan = plan
        self._file_bytes = sum(map(len, files.values())) + 200 * len(files)
        self._with_files = True

    def wanted_bytes(self, target: MixedTarget) -> int:
        """To compare `of` with."""
        self._with_files = target.num_bytes is not None
        return target.package_bytes(self._plan)

    def of(self, formats: Mapping[str, str]) -> int:
        """For bits the tensors alone; else chunks as PackageWriter fills them, files, and a bound for the manifest."""
        if not self._with_files:
            return sum(_placed(tensor, formats.get(tensor.name, "f32"))[0] for tensor in self._plan.tensors)
        stages: dict[str, list[tuple[int, int]]] = {"embed": [(4 * len(self._plan.inv_freq),) * 2]}
        for tensor in self._plan.tensors:
            stages.setdefault(tensor.stage, []).append(_placed(tensor, formats.get(tensor.name, "f32")))
        chunk_bytes = sum(stage_bytes(sizes) for sizes in stages.values())
        hashes = chunk_bytes // SEGMENT_BYTES + 2 * len(stages) + chunk_bytes // (50 * SEGMENT_BYTES)
        entries = _TENSOR_ENTRY_BYTES * len(self.shapes)
        return chunk_bytes + self._file_bytes + entries + _HASH_BYTES * hashes + _MANIFEST_BYTES


def _placed(tensor: TensorPlan, format_name: str) -> tuple[int, int]:
    return tensor_bytes(format_name, tensor.shape), cut_bytes(format_name, tensor.shape)


def _groups(costs: Costs, sizes: _Sizes) -> list[FormatGroup]:
    return [
        FormatGroup(
            names,
            tuple(
                Choice(name, sum(tensor_bytes(name, sizes.shapes[one]) for one in names), cost)
                for name, cost in by_format.items()
            ),
        )
        for names, by_format in costs.items()
    ]
