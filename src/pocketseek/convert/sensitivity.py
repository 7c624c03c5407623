"""How much each group of matrices matters: the KL divergence that rounding it is expected to cost at the end.

Three things are measured while a text goes through the model once, layer by layer, in float32:

    e(l, g, f)   how far the output of layer l moves, relative to its size, if group g alone is rounded to format f
    K(l)         the KL divergence at the end if the output of layer l is off by what rounding all of it to q4p does:
                 that disturbed stream is carried along through the layers behind
    cost         K(l) * e(l, g, f) / sum over g of e(l, g, q4p)

The embedding's and the head's costs are measured outright, for each format. Rounding is plain here; with calibration
less is lost (compensate.py), by much the same factor everywhere. Groups are matrices with one input: q, k, v; o; gate,
up; down. Memory: a layer twice in float32, the text's hidden states once for each layer, and of the head, whatever its
height, what head_costs.py takes for a slab.

Without a text the squared error of the weights, relative to their size, stands for the cost. Memory: a slab or two.

After each layer a CostKeeper gets what the rest needs, so that an interrupted measurement can be gone on with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pocketseek.convert.head_costs import head_divergences
from pocketseek.convert.layer_math import Attention, Floats
from pocketseek.convert.layer_walk import Layer
from pocketseek.convert.rounded import matrix_slabs, rounded
from pocketseek.convert.sensitivity_state import KEEP_NOTHING, CostKeeper, Costs, Measured, Moved
from pocketseek.convert.static_walk import FloatWeights, table_name
from pocketseek.kernels.reference import rms_norm

FORMATS = ("q4p", "q4s", "q4a", "q6s", "q8s")
GROUPS: Mapping[str, tuple[str, ...]] = {
    "qkv": ("q", "k", "v"),
    "o": ("o",),
    "gate_up": ("gate", "up"),
    "down": ("down",),
}
DEFAULT_TOKENS = 1024
_PROBE_FORMAT = "q4p"

Progress = Callable[[int, int], None]


def measure_costs(
    weights: FloatWeights,
    windows: NDArray[np.int32],
    is_exact: Callable[[str, str], bool],
    progress: Progress | None = None,
    keeper: CostKeeper = KEEP_NOTHING,
) -> Costs:
    """windows: token ids (number, length). is_exact(matrix, format): it holds the stored values, so nothing is lost.
    progress(done_layers, total_layers)."""
    found = keeper.found_costs(windows.size)
    if found is not None and found.costs is not None:
        return found.costs
    costs = _Walk(weights, windows, is_exact, keeper, found).costs(progress)
    keeper.keep_costs(Measured(weights.model.num_layers, costs=costs))
    return costs


def weight_costs(
    weights: FloatWeights,
    is_exact: Callable[[str, str], bool],
    progress: Progress | None = None,
    keeper: CostKeeper = KEEP_NOTHING,
) -> Costs:
    """Without a text: a group's share of all weights times the relative squared error."""
    groups = group_names(weights)
    found = keeper.found_costs(0)
    costs: Costs = dict(found.costs) if found is not None and found.costs is not None else {}
    total = weights.model.num_layers
    for count, names in enumerate(groups):
        if names in costs:
            continue
        done = count * total // len(groups)
        costs[names] = _weight_costs(weights, names, is_exact)
        keeper.keep_costs(Measured(done, costs=costs))
        if progress is not None:
            progress(done, total)
    return costs


def group_names(weights: FloatWeights) -> list[tuple[str, ...]]:
    """All groups, in the order of the pass."""
    layers = range(weights.model.num_layers)
    inside = [tuple(f"layer.{layer}.{name}" for name in names) for layer in layers for names in GROUPS.values()]
    table = table_name(weights)
    return [*([(table,)] if table != "head.weight" else []), *inside, ("head.weight",)]


def _weight_costs(
    weights: FloatWeights, names: Sequence[str], is_exact: Callable[[str, str], bool]
) -> dict[str, float]:
    """Of a group, by format."""
    costs = dict.fromkeys(FORMATS, 0.0)
    for name in names:
        lossy = [format_name for format_name in FORMATS if not is_exact(name, format_name)]
        squares, errors = 0.0, dict.fromkeys(lossy, 0.0)
        for slab in matrix_slabs(weights, name):
            squares += float(np.vdot(slab, slab))
            for format_name in lossy:
                error = slab - rounded(format_name, slab)
                errors[format_name] += float(np.vdot(error, error))
        for format_name in lossy:
            costs[format_name] += math.prod(weights.shape(name)) * errors[format_name] / max(1e-30, squares)
    return costs


class _Walk:
    """streams: hidden states that were disturbed on the way, by the layer, or the table's format, that did it."""

    def __init__(
        self,
        weights: FloatWeights,
        windows: NDArray[np.int32],
        is_exact: Callable[[str, str], bool],
        keeper: CostKeeper,
        found: Measured | None,
    ) -> None:
        self._weights = weights
        self._windows = windows
        self._is_exact = is_exact
        self._keeper = keeper
        self._found = found
        self._attention = Attention(weights.model, weights.inv_freq, windows.shape[1])
        self._streams: dict[int | str, Floats] = dict(found.streams) if found is not None else {}
        self._moved: dict[int, Moved] = dict(found.moved) if found is not None else {}

    def costs(self, progress: Progress | None) -> Costs:
        num_layers = self._weights.model.num_layers
        found = self._found
        first, hidden = (0, self._embedded()) if found is None else (found.num_layers, found.hidden)
        for layer in range(first, num_layers):
            if progress is not None:
                progress(layer, num_layers)
            hidden = self._layer(layer, hidden)
            self._keeper.keep_costs(Measured(layer + 1, hidden=hidden, streams=self._streams, moved=self._moved))
        costs = self._at_the_end(hidden)
        if progress is not None:
            progress(num_layers, num_layers)
        return costs

    def _embedded(self) -> Floats:
        name, ids = table_name(self._weights), self._windows.reshape(-1)
        hidden = self._weights.rows(name, ids)
        if name != "head.weight":  # a tied table is the head, and the head's errors count more
            for format_name in FORMATS:
                if not self._is_exact(name, format_name):
                    self._streams[format_name] = rounded(format_name, hidden)
        return hidden

    def _layer(self, index: int, hidden: Floats) -> Floats:
        """The clean output; what was found on the way is kept."""
        layer = Layer.of(self._weights, index, self._attention)
        length = self._windows.shape[1]
        for stream in self._streams.values():
            layer.run(stream, length)
        clean = layer.run(hidden.copy(), length)
        size = float(np.vdot(clean, clean))
        moved: Moved = {}
        probe = np.zeros_like(clean)
        for group, names in GROUPS.items():
            moved[group] = {}
            for format_name in FORMATS:
                replaced = {
                    name: rounded(format_name, layer.matrices[name])
                    for name in names
                    if not self._is_exact(f"layer.{index}.{name}", format_name)
                }
                change = layer.with_matrices(replaced).run(hidden.copy(), length) - clean if replaced else None
                moved[group][format_name] = 0.0 if change is None else float(np.vdot(change, change)) / size
                if change is not None and format_name == _PROBE_FORMAT:
                    probe += change
        self._moved[index] = moved
        self._streams[index] = clean + probe
        return clean

    def _at_the_end(self, hidden: Floats) -> Costs:
        found = self._divergences(hidden)
        costs: Costs = {}
        table = table_name(self._weights)
        if table != "head.weight":
            costs[(table,)] = {name: found.get(name, 0.0) for name in FORMATS}
        for index, moved in self._moved.items():
            total = sum(by_format[_PROBE_FORMAT] for by_format in moved.values())
            gain = found[index] / total if total > 0 else 0.0
            for group, by_format in moved.items():
                names = tuple(f"layer.{index}.{name}" for name in GROUPS[group])
                costs[names] = {name: gain * value for name, value in by_format.items()}
        costs[("head.weight",)] = {name: found.get(f"head {name}", 0.0) for name in FORMATS}
        return costs

    def _divergences(self, hidden: Floats) -> dict[int | str, float]:
        """Of the disturbed streams, and of the clean one through a rounded head ("head q4p")."""
        formats = [name for name in FORMATS if not self._is_exact("head.weight", name)]
        for name in self._streams:
            self._streams[name] = self._normed(self._streams[name])  # one at a time: they are not needed as they were
        return head_divergences(self._weights, self._normed(hidden), self._streams, formats)

    def _normed(self, hidden: Floats) -> Floats:
        return rms_norm(hidden, self._weights.vector("head.norm"), self._weights.model.rms_norm_eps)
