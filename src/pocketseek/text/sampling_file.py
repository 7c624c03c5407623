"""The sampling that a model's makers recommend, as the package file `sampling.json`: part of SamplingParams, no seed.

Only what was recommended is in the file; the rest stays at pocketseek's own defaults. A checkpoint's recommendations
come from Hugging Face's generation_config.json or GGUF's `general.sampling.*` keys; those out of range are left out,
since they are advice, not part of the model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from pocketseek.errors import FormatError
from pocketseek.types import SamplingParams

Recommended = Mapping[str, float]

_MAX_BYTES = 4096
# name in SamplingParams: (lowest, highest)
_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0.0, 2.0),
    "top_k": (0, 1_000_000),
    "top_p": (1e-6, 1.0),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.1, 10.0),
}
_GGUF_NAMES = {"temp": "temperature", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p"}


def recommended_from_hf(generation_config: Mapping[str, object] | None) -> Recommended:
    """What generation_config.json recommends. do_sample false means greedy: temperature 0."""
    config = generation_config or {}
    found = {name: value for name in _RANGES if (value := _in_range(name, config.get(name))) is not None}
    return {"temperature": 0.0} if config.get("do_sample") is False else found


def recommended_from_gguf(metadata: Mapping[str, object]) -> Recommended:
    """What the `general.sampling.*` keys of a GGUF file recommend."""
    pairs = ((name, metadata.get(f"general.sampling.{key}")) for key, name in _GGUF_NAMES.items())
    return {name: checked for name, value in pairs if (checked := _in_range(name, value)) is not None}


def render_recommended(recommended: Recommended) -> bytes:
    """The bytes of sampling.json."""
    return (json.dumps(dict(recommended), sort_keys=True, separators=(",", ":")) + "\n").encode("ascii")


def parse_recommended(data: bytes) -> SamplingParams:
    """Read sampling.json into parameters. Raises FormatError."""
    try:
        values = json.loads(data[: _MAX_BYTES + 1].decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise _wrong("it is not valid JSON") from error
    if not isinstance(values, dict):
        raise _wrong("it is not an object")
    for name, value in values.items():
        if name not in _RANGES or _in_range(name, value) is None:
            raise _wrong(f"{name[:40]!r} is unknown or out of range")
    default = SamplingParams()
    return SamplingParams(
        temperature=values.get("temperature", default.temperature),
        top_k=int(values.get("top_k", default.top_k)),
        top_p=values.get("top_p", default.top_p),
        min_p=values.get("min_p", default.min_p),
        repetition_penalty=values.get("repetition_penalty", default.repetition_penalty),
    )


def _in_range(name: str, value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    lowest, highest = _RANGES[name]
    if not lowest <= value <= highest or (name == "top_k" and value != int(value)):
        return None
    return value


def _wrong(problem: str) -> FormatError:
    return FormatError(f"sampling.json is not valid: {problem}; convert or download the model again")
