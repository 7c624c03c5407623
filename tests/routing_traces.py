"""Made-up routing: traces of a few layers, uneven and correlated in time, from a seed."""

from __future__ import annotations

import numpy as np

from pocketseek.runtime.residency.routing_trace import TraceHeader, TracePass

LAYERS, NUM_EXPERTS, PER_TOKEN = (1, 2, 4), 16, 3


def header(**changes: object) -> TraceHeader:
    fields: dict[str, object] = {
        "model": "made up",
        "manifest_sha256": "0" * 64,
        "layers": LAYERS,
        "num_experts": NUM_EXPERTS,
        "experts_per_token": PER_TOKEN,
        "slot_bytes": 1000,
        "slot_read_bytes": 900,
        "shared_bytes": 600,
        "always_bytes": 5000,
        "beside_bytes": 20000,
    }
    return TraceHeader(**(fields | changes))  # type: ignore[arg-type]


def passes(count: int, *, rows: int = 1, seed: int = 0, stay: float = 0.5) -> list[TracePass]:
    """stay: how much of what a token chooses by is that of the token before."""
    rng = np.random.default_rng(seed)
    often = rng.standard_normal((len(LAYERS), NUM_EXPERTS))
    mood = rng.standard_normal((rows, len(LAYERS), NUM_EXPERTS))
    found = []
    for _ in range(count):
        mood = stay * mood + (1 - stay) * rng.standard_normal(mood.shape)
        chosen = np.sort(np.argsort(often + mood, axis=2)[:, :, -PER_TOKEN:], axis=2).swapaxes(0, 1)
        found.append(TracePass(chosen.astype(np.int32), rows, 0, 0.01, 0.0))
    return found
