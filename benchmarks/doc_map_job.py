"""What one process of `doc_map.py` does: the same prompts, the same number of new tokens for each, timed as a whole.

Runs under the project's interpreter and under the peer's, so it imports the standard library only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class MapJob:
    """shared_tokens: what all prompts begin with in common. at_once: prompts that are worked on side by side."""

    model: str
    prompts: tuple[tuple[int, ...], ...]
    shared_tokens: int
    new_tokens: int
    at_once: int
    threads: int = 2
    speculation: bool = True

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class MapResult:
    """computed_prompt_tokens: the shared ones count as often as they were computed. answers: token ids."""

    engine: str
    seconds: float
    computed_prompt_tokens: int
    answers: tuple[tuple[int, ...], ...]


def main(run: Callable[[MapJob], MapResult]) -> None:
    """The job comes as JSON on standard input, the result goes as the last line of standard output."""
    value = json.load(sys.stdin)
    prompts = tuple(tuple(prompt) for prompt in value.pop("prompts"))
    print(json.dumps(asdict(run(MapJob(prompts=prompts, **value)))), flush=True)
