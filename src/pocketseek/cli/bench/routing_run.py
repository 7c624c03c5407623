"""`pocketseek bench --trace F` and `bench --replay F`: a routing trace is recorded, or replayed elsewhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli.bench import routing_messages as messages
from pocketseek.cli.console import format_bytes, note, print_json, print_table, print_text, progress_bar
from pocketseek.cli.messages import NONE, Words
from pocketseek.cli.text_input import read_text_file
from pocketseek.errors import UsageError

if TYPE_CHECKING:
    from pocketseek.apps.routing_replay import ReplayedSize, RoutingStatistics
    from pocketseek.runtime.residency.routing_trace import TraceHeader

USUAL_STORAGE_BYTES_PER_S = 1_000_000_000


class Recording:
    """Of one run of `bench`: hand `log` to `load` and `make_request` to what runs, then `write`."""

    def __init__(self, path: Path, text: Path | None) -> None:
        """Raises UsageError for a path that cannot be, before anything is measured, and what reading the text does."""
        from pocketseek.apps.bench_runs import sampled_requests
        from pocketseek.runtime.routing_log import RoutingLog

        if path.is_dir() or not path.parent.is_dir():
            raise UsageError(f"{path} cannot be written; name a file in a folder that is there")
        self._path = path
        self.log = RoutingLog()
        self.make_request = sampled_requests(None if text is None else read_text_file(text))

    def write(self, words: Words) -> None:
        """Raises StorageError."""
        from pocketseek.runtime.residency.routing_trace import write_trace

        write_trace(self._path, self.log.header(), self.log.passes)
        note(words(messages.TRACE_WRITTEN, passes=len(self.log.passes), path=self._path))


def run_replay(
    path: Path, words: Words, *, memory_bytes: int | None, storage_bytes_per_s: int | None, as_json: bool
) -> None:
    """memory_bytes: None for a few sizes. Raises what `read_trace` and `replay_sizes` do."""
    from pocketseek.apps.routing_replay import replay_sizes, routing_statistics, usual_sizes
    from pocketseek.runtime.residency.routing_trace import read_trace

    header, passes = read_trace(path)
    if not passes:
        raise UsageError(f"{path} holds no pass; record one of a run that answers")
    bytes_per_s = storage_bytes_per_s or USUAL_STORAGE_BYTES_PER_S
    with progress_bar(unit="runs") as show:
        label = words(messages.REPLAYING)
        sizes = replay_sizes(
            header,
            passes,
            usual_sizes(header) if memory_bytes is None else [memory_bytes],
            storage_bytes_per_s=bytes_per_s,
            progress=lambda done, total: show(label, done, total),
        )
    statistics = routing_statistics(header, passes)
    if as_json:
        facts = {"model": header.model, "manifest_sha256": header.manifest_sha256}
        rest = {"storage_bytes_per_s": bytes_per_s, "sizes": [dataclasses.asdict(size) for size in sizes]}
        print_json({**facts, "statistics": dataclasses.asdict(statistics), **rest})
        return
    print_table((header.model, ""), _statistics_rows(header, statistics, words))
    print_table(
        _headings(words), [row for size in sizes for row in _size_rows(header, size, words)], essential=(0, 2, 3)
    )
    print_text(words(messages.MODELLED, rate=f"{format_bytes(bytes_per_s)}/s"))


def _statistics_rows(header: TraceHeader, found: RoutingStatistics, words: Words) -> list[tuple[str, str]]:
    repeated = words(NONE) if found.repeated is None else f"{found.repeated:.1%}"
    return [
        (words(messages.TRACED_MODEL), header.model),
        (words(messages.TRACED_PASSES), f"{found.num_passes}, {found.num_rows}"),
        (words(messages.TRACED_BUSIEST), f"{found.busiest:.1%}"),
        (words(messages.TRACED_UNUSED), f"{found.unused} / {header.num_keys}"),
        (words(messages.TRACED_REPEATED), f"{repeated} ({found.expected:.1%})"),
    ]


def _headings(words: Words) -> tuple[str, ...]:
    columns = (
        messages.COLUMN_MEMORY,
        messages.COLUMN_KEPT,
        messages.COLUMN_POLICY,
        messages.COLUMN_HITS,
        messages.COLUMN_READ,
        messages.COLUMN_RATE,
        messages.COLUMN_BOUND,
    )
    return tuple(words(column) for column in columns)


def _size_rows(header: TraceHeader, size: ReplayedSize, words: Words) -> list[tuple[str, ...]]:
    from pocketseek.apps.routing_optimum import OPTIMUM
    from pocketseek.runtime.residency.expert_policies import DEFAULT_POLICY

    def rate(value: float | None) -> str:
        return words(NONE) if value is None else words(messages.RATE, rate=value)

    def name(policy: str) -> str:
        if policy == OPTIMUM:
            return words(messages.OPTIMUM_NAME)
        return words(messages.USED_POLICY, policy=policy) if policy == DEFAULT_POLICY else policy

    return [
        (
            format_bytes(size.memory_bytes),
            f"{size.num_slots} / {header.num_keys}",
            name(one.policy),
            f"{one.hits / one.lookups:.1%}",
            format_bytes(None if one.token_bytes is None else round(one.token_bytes)),
            rate(one.tokens_per_s),
            rate(size.bound_tokens_per_s),
        )
        for one in size.replays
    ]
