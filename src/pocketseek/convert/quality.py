"""What a conversion lost, as the manifest reports it.

For each format: how many matrices and how many of them hold exactly the stored values; over the others, the relative
RMS error (root of summed squared error over summed squared values) of all together and of the worst one. "exact" at
the top: every matrix is. Figures have four digits, so that repeating a conversion gives the same text. Vectors are not
listed: they are float32 and exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pocketseek.convert.encode import Loss
from pocketseek.package.manifest import JsonValue


@dataclass
class _FormatQuality:
    num_matrices: int = 0
    num_exact: int = 0
    lossy: Loss = field(default_factory=Loss)
    worst_error: float = 0.0
    worst_name: str | None = None


class QualityReport:
    """Collects one matrix after another."""

    def __init__(self) -> None:
        self._formats: dict[str, _FormatQuality] = {}

    def add(self, name: str, format_name: str, loss: Loss) -> None:
        entry = self._formats.setdefault(format_name, _FormatQuality())
        entry.num_matrices += 1
        if loss.is_exact:
            entry.num_exact += 1
            return
        entry.lossy += loss
        error = relative_rms_error(loss)
        if entry.worst_name is None or error > entry.worst_error:
            entry.worst_error, entry.worst_name = error, name

    def to_json(self) -> dict[str, JsonValue]:
        return {
            "exact": all(entry.num_exact == entry.num_matrices for entry in self._formats.values()),
            "formats": {name: _render(entry) for name, entry in sorted(self._formats.items())},
        }


def relative_rms_error(loss: Loss) -> float:
    return math.sqrt(loss.squared_error / loss.squared_values) if loss.squared_values > 0 else 0.0


def _render(entry: _FormatQuality) -> dict[str, JsonValue]:
    rendered: dict[str, JsonValue] = {"matrices": entry.num_matrices, "exact_matrices": entry.num_exact}
    if entry.worst_name is not None:
        rendered["relative_rms_error"] = _four_digits(relative_rms_error(entry.lossy))
        rendered["worst_tensor"] = entry.worst_name
        rendered["worst_relative_rms_error"] = _four_digits(entry.worst_error)
    return rendered


def _four_digits(value: float) -> float:
    return float(f"{value:.4g}")
