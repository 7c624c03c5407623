"""Run a worker process, watch its memory, and return what it printed.

Linux keeps the peak of the whole resident set (VmHWM) but none of its anonymous part, so a thread samples RssAnon of
/proc/PID/status every 20 ms. That costs well under 1 % of one core, and costs every engine the same.

Figures are only worth something on an idle machine, so the cores that others used meanwhile are counted too: other
processes, and what the hypervisor gave to other machines (steal).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workload import parse_status

SAMPLE_INTERVAL_S = 0.02


@dataclass(frozen=True)
class Outcome:
    """The JSON object that the worker printed last, and what was seen from outside.

    other_cores: mean number of cores that were busy with something else, or stolen, while the worker ran.
    """

    result: dict[str, Any]
    start_to_first_token_s: float
    peak_anonymous_bytes: int
    peak_rss_bytes: int
    other_cores: float


class MemorySampler:
    """Samples one process from its own thread between `with` and its end; results are valid after that."""

    def __init__(self, pid: int) -> None:
        self.peak_anonymous_bytes = 0
        self.peak_rss_bytes = 0
        self._status = Path(f"/proc/{pid}/status")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_stopped, daemon=True)

    def __enter__(self) -> MemorySampler:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample_until_stopped(self) -> None:
        while not self._stop.wait(SAMPLE_INTERVAL_S):
            try:
                memory = parse_status(self._status.read_text())
            except (FileNotFoundError, ProcessLookupError):
                return
            self.peak_anonymous_bytes = max(self.peak_anonymous_bytes, memory.get("RssAnon", 0))
            self.peak_rss_bytes = max(self.peak_rss_bytes, memory.get("VmHWM", 0))


class WorkerError(Exception):
    """A worker ended without a result; the message is its own."""


def run_worker(command: list[str], environment: dict[str, str]) -> Outcome:
    """Start the worker, wait for it, and read its result. Raises WorkerError if it fails or crashes."""
    started_s, busy_s, own_s = time.monotonic(), machine_busy_s(), children_cpu_s()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    with process, MemorySampler(process.pid) as sampler:
        output, errors = process.communicate()
    if process.returncode != 0:
        raise WorkerError(f"{' '.join(command[:2])} failed with code {process.returncode}:\n{errors.strip()}")
    elapsed_s = time.monotonic() - started_s
    other_s = (machine_busy_s() - busy_s) - (children_cpu_s() - own_s)
    result = json.loads(output.splitlines()[-1])
    return Outcome(
        result=result,
        start_to_first_token_s=result["first_token_monotonic_s"] - started_s,
        peak_anonymous_bytes=sampler.peak_anonymous_bytes,
        peak_rss_bytes=max(sampler.peak_rss_bytes, result["peak_rss_bytes"]),
        other_cores=max(0.0, other_s / elapsed_s),
    )


def machine_busy_s() -> float:
    """Processor time since boot that was not idle, over all cores, stolen time included."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    user, nice, system, _idle, _io_wait, irq, soft_irq, steal = map(int, fields[1:9])
    return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")


def children_cpu_s() -> float:
    """Processor time of the workers that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
