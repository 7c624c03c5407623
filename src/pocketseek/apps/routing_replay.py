"""What a routing trace would have cost elsewhere: in other memory, with other storage, with another expert policy.

Hits are counted as the runtime counts them, with its policies; where a layer never needs more experts than there are
slots they are exactly those of a run whose slots were filled before it began. *Optimum* drops whoever is used last
from then on (Belady), which nobody can know in advance: the bound of all policies.

Times are a model. A pass takes what it took to compute in the traced run, and for each layer the time of reading what
is missing, as far as that is longer than what is computed meanwhile: shared experts and the others of the layer. Both
are shared out by bytes, as is right where reading weights from memory limits the pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np

from pocketseek.apps.routing_optimum import OPTIMUM, Optimum, Steps
from pocketseek.errors import MemoryLimitError
from pocketseek.runtime.residency.expert_policies import POLICIES, ExpertPolicy, Key, make_policy
from pocketseek.runtime.residency.expert_slots import least_slots
from pocketseek.runtime.residency.routing_trace import TraceHeader, TracePass

BUSIEST_SHARE = 8  # an eighth of a layer's experts


@dataclass(frozen=True)
class RoutingStatistics:
    """How uneven routing is. busiest: share of all choices that go to the busiest eighth of a layer's experts (0.125 if
    all were alike). unused: experts that nobody chose. repeated: share of a row's experts that the row before it of the
    same sequence had chosen in that layer, in passes of one row; expected: that by chance."""

    num_passes: int
    num_rows: int
    busiest: float
    unused: int
    repeated: float | None
    expected: float


@dataclass(frozen=True)
class Replayed:
    """lookups: distinct experts of all layers and passes; of them, `hits` were in memory. read_bytes: for the others.
    tokens, seconds, token_bytes, tokens_per_s: of the passes that write (all of their rows are answered)."""

    policy: str
    lookups: int
    hits: int
    read_bytes: int
    tokens: int
    seconds: float
    token_bytes: float | None
    tokens_per_s: float | None


@dataclass(frozen=True)
class ReplayedSize:
    """bound_tokens_per_s: as fast as computing, or reading what the optimum reads, whichever is slower. The optimum is
    one for the whole trace, prompts included: where texts are short, another choice may read less while they are
    written."""

    memory_bytes: int
    num_slots: int
    replays: tuple[Replayed, ...]
    bound_tokens_per_s: float | None


def routing_statistics(header: TraceHeader, passes: Sequence[TracePass]) -> RoutingStatistics:
    counts = np.zeros((len(header.layers), header.num_experts), np.int64)
    for one in passes:
        for layer, chosen in enumerate(one.chosen):
            counts[layer] += np.bincount(chosen.ravel(), minlength=header.num_experts)
    num_busiest = max(1, header.num_experts // BUSIEST_SHARE)
    busiest = np.sort(counts, axis=1)[:, -num_busiest:].sum() / max(1, counts.sum())
    alone = [one.chosen[:, 0] for one in passes if one.num_rows == 1]
    common = [
        len(np.intersect1d(before, after, assume_unique=True))
        for first, second in pairwise(alone)
        for before, after in zip(first, second, strict=True)
    ]
    return RoutingStatistics(
        num_passes=len(passes),
        num_rows=sum(one.num_rows for one in passes),
        busiest=float(busiest),
        unused=int((counts == 0).sum()),
        repeated=sum(common) / len(common) / header.experts_per_token if common else None,
        expected=header.experts_per_token / header.num_experts,
    )


def slots_for(header: TraceHeader, memory_bytes: int) -> int:
    """Raises MemoryLimitError if the engine would not run in so much."""
    num_slots = (memory_bytes - header.beside_bytes) // header.slot_bytes
    least = least_slots(header.experts_per_token, header.num_keys)
    if num_slots < least:
        least_bytes = header.beside_bytes + least * header.slot_bytes
        raise MemoryLimitError(
            f"{memory_bytes // 1_000_000} MB do not hold what this model always needs; "
            f"allow at least {-(-least_bytes // 1_000_000)} MB"
        )
    return min(num_slots, header.num_keys)


def usual_sizes(header: TraceHeader) -> list[int]:
    """Memory for a tenth, a quarter, half, three quarters and all of the experts, as far as the engine runs in it."""
    least = least_slots(header.experts_per_token, header.num_keys)
    slots = sorted({max(least, round(share * header.num_keys)) for share in (0.1, 0.25, 0.5, 0.75, 1.0)})
    return [header.beside_bytes + number * header.slot_bytes for number in slots]


def replay_sizes(
    header: TraceHeader,
    passes: Sequence[TracePass],
    sizes: Sequence[int],
    *,
    storage_bytes_per_s: float,
    policies: Collection[str] = tuple(POLICIES),
    progress: Callable[[int, int], None] | None = None,
) -> list[ReplayedSize]:
    """Every policy, and the optimum, in each of these sizes of memory. Raises MemoryLimitError, UsageError."""
    slots = [slots_for(header, size) for size in sizes]
    steps = [list(one.distinct()) for one in passes]
    results: list[ReplayedSize] = []
    for size, num_slots in zip(sizes, slots, strict=True):
        replays: list[Replayed] = []
        for name in (*policies, OPTIMUM):
            missing = misses(header, steps, num_slots, name)
            replays.append(_replayed(name, header, passes, steps, missing, storage_bytes_per_s))
            if progress is not None:
                progress(len(results) * (len(policies) + 1) + len(replays), len(sizes) * (len(policies) + 1))
        results.append(
            ReplayedSize(size, num_slots, tuple(replays), _bound(header, passes, replays[-1], storage_bytes_per_s))
        )
    return results


def misses(header: TraceHeader, steps: Steps, num_slots: int, policy_name: str) -> list[list[int]]:
    """[passes][layers] how many experts were not in memory. policy_name: one of POLICIES, or OPTIMUM."""
    if policy_name == OPTIMUM:
        policy: ExpertPolicy = Optimum(header.layers, steps)
    else:
        policy = make_policy(policy_name, header.layers, header.num_experts)
    held = set(islice(policy.ranked(), num_slots))
    missing: list[list[int]] = []
    for one in steps:
        missing.append([])
        for layer, experts in zip(header.layers, one, strict=True):
            numbers = experts.tolist()
            policy.used(layer, numbers)
            missing[-1].append(_take_in(policy, held, num_slots, [(layer, number) for number in numbers]))
        policy.end_pass()
    return missing


def _take_in(policy: ExpertPolicy, held: set[Key], num_slots: int, keys: Sequence[Key]) -> int:
    """As ExpertStore does it, if reads arrive in order; see the top of the file for what that may change."""
    lacking = [key for key in keys if key not in held]
    if not lacking:
        return 0
    pinned = set(keys)
    for key in lacking:
        if len(held) >= num_slots:
            victim = policy.victim(held, pinned)
            if victim is None:  # more than fits: those that are computed make room
                pinned.difference_update(held)
                victim = policy.victim(held, pinned)
            if victim is None:
                raise AssertionError("every slot is pinned by an expert that is not there")
            held.discard(victim)
        held.add(key)
    return len(lacking)


def _replayed(
    name: str,
    header: TraceHeader,
    passes: Sequence[TracePass],
    steps: Steps,
    missing: Sequence[Sequence[int]],
    storage_bytes_per_s: float,
) -> Replayed:
    lookups = sum(len(experts) for one in steps for experts in one)
    num_missing = sum(map(sum, missing))
    tokens, seconds, written_bytes = 0, 0.0, 0
    for one, used, lacking in zip(passes, steps, missing, strict=True):
        if one.answered == one.num_rows:
            tokens += one.answered
            seconds += pass_s(header, one.compute_s, [len(experts) for experts in used], lacking, storage_bytes_per_s)
            written_bytes += sum(lacking) * header.slot_read_bytes
    return Replayed(
        policy=name,
        lookups=lookups,
        hits=lookups - num_missing,
        read_bytes=num_missing * header.slot_read_bytes,
        tokens=tokens,
        seconds=seconds,
        token_bytes=written_bytes / tokens if tokens else None,
        tokens_per_s=tokens / seconds if tokens and seconds else None,
    )


def pass_s(
    header: TraceHeader, compute_s: float, used: Sequence[int], missing: Sequence[int], storage_bytes_per_s: float
) -> float:
    """used, missing: experts of each layer. See the top of the file."""
    all_bytes = header.always_bytes + sum(used) * header.slot_read_bytes
    per_byte_s = compute_s / max(1, all_bytes)
    shared_bytes = header.shared_bytes / len(header.layers)
    waits_s = 0.0
    for number, lacking in zip(used, missing, strict=True):
        if lacking:
            meanwhile_s = per_byte_s * (shared_bytes + (number - 1) * header.slot_read_bytes)  # but for the last one
            waits_s += max(0.0, lacking * header.slot_read_bytes / storage_bytes_per_s - meanwhile_s)
    return compute_s + waits_s


def _bound(
    header: TraceHeader, passes: Sequence[TracePass], optimum: Replayed, storage_bytes_per_s: float
) -> float | None:
    compute_s = sum(one.compute_s for one in passes if one.answered == one.num_rows)
    if optimum.token_bytes is None:
        return None
    seconds = max(compute_s, optimum.tokens * optimum.token_bytes / storage_bytes_per_s)
    return optimum.tokens / seconds if seconds else None
