"""How fast the engines write and how much memory the server has, for the gauge of the page."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

from pocketseek.device.memory import process_memory
from pocketseek.runtime.engine import Engine

_WINDOW_S = 3.0
_LEAST_S = 0.3  # between two readings that count


class SpeedGauge:
    """Tokens per second over the last seconds, from totals that are read when somebody asks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._readings: deque[tuple[float, int]] = deque()

    def read(self, num_tokens: int) -> float:
        """num_tokens: written so far. 0.0 until there are two readings."""
        now_s = self._clock()
        while self._readings and (now_s - self._readings[0][0] > _WINDOW_S or num_tokens < self._readings[0][1]):
            self._readings.popleft()
        if not self._readings or now_s - self._readings[-1][0] >= _LEAST_S:
            self._readings.append((now_s, num_tokens))
        first_s, first_tokens = self._readings[0]
        return (num_tokens - first_tokens) / (now_s - first_s) if now_s - first_s >= _LEAST_S else 0.0


def status_value(gauge: SpeedGauge, engines: Mapping[str, Engine]) -> dict[str, object]:
    """What /api/status answers. memory_bytes: of the process, with what it has mapped; None where unknown."""
    loads = {name: engine.statistics().load for name, engine in engines.items()}
    return {
        "tokens_per_s": round(gauge.read(sum(load.num_tokens for load in loads.values())), 2),
        "memory_bytes": process_memory().rss_bytes,
        "num_running": sum(load.num_running for load in loads.values()),
        "num_waiting": sum(load.num_waiting for load in loads.values()),
        "loaded": sorted(loads),
    }
