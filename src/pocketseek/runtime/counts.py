"""What scheduler and engine tell: the events of a pass, and how much they have done and have to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pocketseek.errors import PocketseekError
from pocketseek.govern.thermal_governor import ThermalStatus
from pocketseek.types import TokenEvent


@dataclass(frozen=True)
class SequenceEvent:
    """What happened to one request in a pass. error: what ended it, when the finish_reason is "error"."""

    request_id: int
    token: TokenEvent
    error: PocketseekError | None = None


@dataclass
class Totals:
    """Since the start. Prompt tokens computed again after a pre-emption count again.

    num_cached_prompt_tokens: those that need not be computed at all. num_drafted: tokens of drafts that went through a
    pass; num_accepted: those that are in the answers. num_peak_pages: the most that sequences held in a pass.
    """

    num_passes: int = 0
    num_tokens: int = 0
    num_prompt_tokens: int = 0
    num_cached_prompt_tokens: int = 0
    num_drafted: int = 0
    num_accepted: int = 0
    num_peak_pages: int = 0


@dataclass
class SchedulerCounts(Totals):
    """A copy of the totals, and the present load.

    num_swapped_out: pre-emptions whose pages went to disk.
    num_free_pages: free, or idle in the prefix cache; num_cached_pages: all that the cache knows, idle or in use.
    """

    num_preemptions: int = 0
    num_swapped_out: int = 0
    num_running: int = 0
    num_waiting: int = 0
    num_pages: int = 0
    num_free_pages: int = 0
    num_cached_pages: int = 0


@dataclass(frozen=True)
class EngineStatistics:
    """Since the engine was opened. executor_s: time inside passes; outside_s: planning, sampling, accounting.

    rested_s: pauses between passes, for heat or battery. thermal: None if nobody watches the heat.
    num_wakeups: how often it began to compute after it had slept.
    num_retried_passes: passes that were run again because storage failed; num_failed_passes: those that ended the
    requests in them.
    num_store_failures, num_swap_failures: times that the disk refused to keep or give pages of the prefix cache, or of
    requests that had to give way.
    """

    load: SchedulerCounts
    executor_s: float
    outside_s: float
    num_wakeups: int = 0
    num_retried_passes: int = 0
    num_failed_passes: int = 0
    num_store_failures: int = 0
    num_swap_failures: int = 0
    rested_s: float = 0.0
    thermal: ThermalStatus | None = None


class PageDemand(NamedTuple):
    """What requests ask of memory, for whoever decides how much there is.

    pages_in_use: held by sequences. pages_wanted: those, and what it takes to let all go on who may: whole prompts, and
    a page more for those who need one soon. It may be above what there can be. idle_pages: kept by the prefix cache
    alone.
    least_pages: what one of them, who is to be finished in any case, needs now.
    tokens_wanted: those that are still to be computed, of all who run or wait.
    """

    pages_in_use: int
    pages_wanted: int
    idle_pages: int
    least_pages: int = 0
    tokens_wanted: int = 0
