"""Figures in Prometheus' text form: counted here for requests, read from the engines for the rest.

Names of models and of token holders are labels; texts never are.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pocketseek.runtime.counts import EngineStatistics
from pocketseek.runtime.engine import Engine

Labels = tuple[tuple[str, str], ...]
_PREFIX = "pocketseek_"


@dataclass(frozen=True)
class Figure:
    """One metric with all its values. kind: "counter" or "gauge"."""

    name: str
    kind: str
    help: str
    values: Mapping[Labels, float]


class Metrics:
    """Used by the event loop alone."""

    def __init__(self) -> None:
        self.num_responses: Counter[tuple[str, int]] = Counter()
        self.num_answers: Counter[str] = Counter()
        self.num_embeddings: Counter[str] = Counter()
        self._start_s = time.time()

    def count_response(self, path: str, status: int) -> None:
        """path: of a route, not what somebody typed, of which there may be any number."""
        self.num_responses[path, status] += 1

    def count_answers(self, model: str, count: int) -> None:
        self.num_answers[model] += count

    def count_embeddings(self, model: str, count: int) -> None:
        self.num_embeddings[model] += count

    def figures(self, engines: Mapping[str, Engine], num_requests: int) -> list[Figure]:
        responses: dict[Labels, float] = {
            (("path", path), ("status", str(status))): count for (path, status), count in self.num_responses.items()
        }
        return [
            Figure("start_time_seconds", "gauge", "When the server started.", {(): self._start_s}),
            Figure("requests", "gauge", "Requests that run or wait.", {(): num_requests}),
            Figure("http_responses_total", "counter", "Responses by route and status.", responses),
            Figure("answers_total", "counter", "Answers begun.", _by_model(self.num_answers)),
            Figure("embeddings_total", "counter", "Texts embedded.", _by_model(self.num_embeddings)),
            *_engine_figures({name: engine.statistics() for name, engine in engines.items()}),
        ]


def _by_model(counts: Counter[str]) -> dict[Labels, float]:
    return {(("model", model),): count for model, count in counts.items()}


def _engine_figures(engines: Mapping[str, EngineStatistics]) -> list[Figure]:
    def figure(name: str, kind: str, help_text: str, value: Callable[[EngineStatistics], float]) -> Figure:
        return Figure(name, kind, help_text, {(("model", model),): value(of) for model, of in engines.items()})

    return [
        figure("tokens_total", "counter", "Tokens written.", lambda of: of.load.num_tokens),
        figure("passes_total", "counter", "Passes over the weights.", lambda of: of.load.num_passes),
        figure("prompt_tokens_total", "counter", "Prompt tokens computed.", lambda of: of.load.num_prompt_tokens),
        figure(
            "cached_prompt_tokens_total",
            "counter",
            "Prompt tokens found in the prefix cache.",
            lambda of: of.load.num_cached_prompt_tokens,
        ),
        figure("executor_seconds_total", "counter", "Seconds inside passes.", lambda of: of.executor_s),
        figure(
            "rested_seconds_total", "counter", "Pauses between passes, for heat or battery.", lambda of: of.rested_s
        ),
        figure("heat_share", "gauge", "Share of full speed's heat that is allowed.", _heat_share),
        figure("failed_passes_total", "counter", "Passes given up.", lambda of: of.num_failed_passes),
        figure("running", "gauge", "Answers being written.", lambda of: of.load.num_running),
        figure("waiting", "gauge", "Answers that wait.", lambda of: of.load.num_waiting),
        figure("kv_pages", "gauge", "Pages of KV memory.", lambda of: of.load.num_pages),
        figure("free_kv_pages", "gauge", "Of these free.", lambda of: of.load.num_free_pages),
    ]


def render_figures(figures: Iterable[Figure]) -> str:
    lines = []
    for figure in figures:
        name = _PREFIX + figure.name
        lines += [f"# HELP {name} {figure.help}", f"# TYPE {name} {figure.kind}"]
        lines += [f"{name}{_labels(labels)} {value:.17g}" for labels, value in figure.values.items()]
    return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{inside}}}" if inside else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _heat_share(of: EngineStatistics) -> float:
    """1 where nobody watches, too."""
    return 1.0 if of.thermal is None else of.thermal.share
