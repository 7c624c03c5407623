"""What the scheduler decides by: who is admitted next, who gives way, what fills a pass, when background may start.

Classes. `interactive` requests are admitted before `background` ones and have a pass's room before them; if they lack
pages or a place, background gives way, the youngest first, and is computed again later. Within a class clients get
equal shares by tokens served (client_shares.py), and requests of one client are served in order of arrival.

No starvation. If background waits or runs and none of it gets any further for STARVED_PASSES passes, the oldest of it
becomes the guaranteed one until it ends: admitted first, never asked to give way for an arrival, and with a row or a
small chunk in every pass. As long as it does not fit others overtake it, for PATIENT_PASSES passes at most; then pages
are left to it as they become free. And if for STARVED_PASSES passes nobody was admitted who had waited longest in his
class, the next place goes to him, whatever the shares say.

Heat. While limits.background_waits is set, background is not computed while an interactive request runs, but for the
guaranteed one.

Latency. While interactive answers are written, all prompt chunks together keep a pass within limits.max_pass_s by the
learnt costs, and so do the chunks of background prompts always. Those rest while an interactive prompt is read, and
while interactive requests are about (one is here, or was RECENT_S ago) they are so short that somebody who arrives
waits half as long as reading a typical prompt takes, or UNNOTICED_S. Nothing is cut below what a pass takes anyway:
every bound is at least NEARLY_FREE times the cheapest pass.

Coalescing. As long as no interactive request is here, fresh background waits until limits.coalesce_s after the first of
those who wait, or until there is enough for ENOUGH_PASSES or all places: groups that start together share their passes,
where requests that join one by one stretch the time in which passes are thin. Nobody waits so for more than a tenth of
the time that his deadline leaves, and nobody beside one that does not gather.

Storage. When weights come from storage in every pass and that takes longer than computing, tokens cost nothing up to
where computing catches up: drafts are longer, background prompts take what an interactive one leaves of that, fresh
background joins what runs at once, and otherwise waits for others up to COALESCED_PASSES passes.

Time comes from `clock`, in seconds. Nothing here changes a text: only when its tokens are computed.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from pocketseek.runtime.client_shares import Client, ClientShares, client_of
from pocketseek.runtime.cost_model import PassCosts
from pocketseek.runtime.pass_room import Groups, PassRoom
from pocketseek.runtime.sequence import SequenceState
from pocketseek.runtime.speculate import LONG_DRAFT_TOKENS, MAX_DRAFT_TOKENS, PassCost, typical_pass_cost
from pocketseek.runtime.work import Slice
from pocketseek.types import Limits

STARVED_PASSES = 64
PATIENT_PASSES = 256
RECENT_S = 600.0
UNNOTICED_S = 0.05
ENOUGH_PASSES = 4
NEARLY_FREE = 1.25
COALESCED_PASSES = 4
_PROMPT_WEIGHT = 0.25  # of the newest interactive prompt in their typical length


class Policy:
    """Told by the scheduler what happens; owned by the same thread, but `clock` may be called from any."""

    def __init__(self, costs: PassCosts | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.costs = costs or PassCosts()
        self.clock = clock
        self._shares = ClientShares()
        self._num_arrivals = 0
        self._num_interactive = 0
        self._interactive_until_s = float("-inf")  # when the last one left
        self._typical_prompt = 0.0
        self._background: dict[int, SequenceState] = {}  # by id, in order of arrival
        self._guaranteed: SequenceState | None = None
        self._num_starved_passes = 0
        self._num_overtaken_passes = 0  # since the guaranteed one became that, while it waits
        self._num_unfair_passes = 0  # since somebody was admitted who had waited longest in his class

    # -- what happens -----------------------------------------------------------------------------------------------

    def arrived(self, sequence: SequenceState) -> None:
        self._num_arrivals += 1
        sequence.arrival = self._num_arrivals
        self._shares.arrive(sequence)
        if _is_background(sequence):
            self._background[sequence.request_id] = sequence
        else:
            self._num_interactive += 1

    def left(self, sequence: SequenceState) -> None:
        self._shares.leave(sequence)
        if _is_background(sequence):
            del self._background[sequence.request_id]
        else:
            self._num_interactive -= 1
            self._interactive_until_s = self.clock()
        if sequence is self._guaranteed:
            self._guaranteed = None
            self._num_overtaken_passes = 0

    def admitted(self, sequence: SequenceState, waiting: Iterable[SequenceState]) -> None:
        """It runs now; `waiting` are those who do not."""
        if sequence is self._guaranteed:
            self._num_overtaken_passes = 0
        same_class = (one.arrival for one in waiting if _is_background(one) == _is_background(sequence))
        if sequence.arrival < min(same_class, default=sequence.arrival + 1):
            self._num_unfair_passes = 0

    def served(self, sequence: SequenceState, part: Slice) -> None:
        """The part went through a pass. What is computed again after a pre-emption is charged to nobody."""
        if sequence.num_served == 0 and not _is_background(sequence):
            self._note_prompt(sequence.num_prompt - part.first_position)
        num_tokens = part.end_position - max(part.first_position, sequence.num_served)
        if num_tokens <= 0:
            return
        sequence.num_served = part.end_position
        self._shares.charge(sequence, num_tokens)
        if _is_background(sequence):
            self._num_starved_passes = -1  # `passed` follows

    def passed(self) -> None:
        """A pass was accounted for."""
        self._num_starved_passes += 1 if self._background else -self._num_starved_passes
        if self._num_starved_passes >= STARVED_PASSES and self._guaranteed is None:
            self._guaranteed = next(iter(self._background.values()))
        self._num_overtaken_passes += self._guaranteed is not None
        self._num_unfair_passes += 1

    def _note_prompt(self, num_tokens: int) -> None:
        weight = _PROMPT_WEIGHT if self._typical_prompt else 1.0
        self._typical_prompt += weight * (num_tokens - self._typical_prompt)

    @property
    def has_interactive(self) -> bool:
        """Somebody waits for an answer."""
        return self._num_interactive > 0

    # -- who --------------------------------------------------------------------------------------------------------

    def rank(self, sequence: SequenceState) -> tuple[bool, int]:
        """Sorts running sequences: the last of them is the first to give up its pages."""
        return self._gives_way(sequence), sequence.arrival

    def next_in(self, waiting: Iterable[SequenceState], running: Iterable[SequenceState]) -> SequenceState | None:
        """Whom to admit next; nobody overtakes it but as `may_be_overtaken` says."""
        admitted: Counter[Client] = Counter()  # counts as served before it is computed
        for sequence in running:
            admitted[client_of(sequence)] += sequence.num_pending

        def order(sequence: SequenceState) -> tuple[bool, bool, int, int]:
            share = 0 if by_age else self._shares.served(sequence) + admitted[client_of(sequence)]
            return sequence is not self._guaranteed, _is_background(sequence), share, sequence.arrival

        by_age = self._num_unfair_passes >= STARVED_PASSES
        return min(waiting, key=order, default=None)

    def may_be_overtaken(self, sequence: SequenceState) -> bool:
        """Whether somebody else may be admitted because this one, the next, does not fit."""
        return sequence is self._guaranteed and self._num_overtaken_passes < PATIENT_PASSES

    def victims(self, newcomer: SequenceState, running: Sequence[SequenceState]) -> list[SequenceState]:
        """Who may be asked to give way to it, in this order."""
        if _is_background(newcomer):
            return []
        return sorted(filter(self._gives_way, running), key=self.rank, reverse=True)

    def _gives_way(self, sequence: SequenceState) -> bool:
        return _is_background(sequence) and sequence is not self._guaranteed

    # -- how much ---------------------------------------------------------------------------------------------------

    def room(self, running: Iterable[SequenceState], limits: Limits) -> PassRoom:
        """Shares out the next pass."""
        groups = self._groups(running)
        if limits.background_waits and (groups.writing or groups.reading):
            groups = replace(groups, background_writing=[], background_reading=[])
        room = max(1, limits.max_tokens_per_pass)
        prompt_room = room
        if groups.writing and groups.num_reading and limits.max_pass_s is not None:
            prompt_room = self._tokens_within(self.longest_pass_s(limits), limits) - groups.num_writing
        return PassRoom(groups, room, prompt_room, self._background_room(groups, room, limits))

    def longest_pass_s(self, limits: Limits) -> float:
        """What a pass may take while somebody waits for it."""
        if limits.max_pass_s is None:
            return math.inf
        return max(limits.max_pass_s, NEARLY_FREE * self.costs.of(limits).cheapest_s)

    def pass_cost(self, limits: Limits) -> PassCost:
        """Relative time of a pass with so many tokens: as learnt here, or what is typical until enough is known."""
        times = self.costs.of(limits)
        if times.tells_sizes_apart:
            return times.seconds
        if not times.storage_s:
            return typical_pass_cost
        one_token_s = times.computing.seconds(1)
        return lambda num_tokens: max(times.storage_s, one_token_s * typical_pass_cost(num_tokens))

    def most_draft_tokens(self, limits: Limits) -> int:
        """Of one sequence in one pass."""
        return LONG_DRAFT_TOKENS if self.costs.of(limits).paced_by_storage else MAX_DRAFT_TOKENS

    def reading_s(self, num_tokens: int, limits: Limits) -> float:
        """How long it takes to compute so many tokens in full passes; 0.0 while nothing is known."""
        chunk = max(1, min(num_tokens, limits.max_tokens_per_pass))
        return self.costs.of(limits).seconds(chunk) * num_tokens / chunk

    def _groups(self, running: Iterable[SequenceState]) -> Groups:
        groups = Groups([], [], [], [], [])
        for sequence in running:
            first = not self._gives_way(sequence)
            if sequence.is_decoding:
                (groups.writing if first else groups.background_writing).append(sequence)
            elif sequence is self._guaranteed:
                groups.guaranteed.append(sequence)
            else:
                (groups.reading if first else groups.background_reading).append(sequence)
        for reading in (groups.reading, groups.background_reading):
            if len(reading) > 1:
                reading.sort(key=lambda sequence: (self._shares.served(sequence), sequence.arrival))
        return groups

    def _background_room(self, groups: Groups, room: int, limits: Limits) -> int:
        if not (groups.guaranteed or groups.background_reading):
            return 0
        if groups.reading:
            return self._room_beside(groups, limits)
        longest_s = self.longest_pass_s(limits)
        if self._num_interactive or self.clock() - self._interactive_until_s <= RECENT_S:
            times = self.costs.of(limits)
            half_s = 0.5 * times.seconds(max(1, round(self._typical_prompt)))
            longest_s = min(longest_s, max(UNNOTICED_S, half_s, NEARLY_FREE * times.cheapest_s))
        return room if longest_s == math.inf else max(1, self._tokens_within(longest_s, limits) - groups.num_writing)

    def _room_beside(self, groups: Groups, limits: Limits) -> int:
        """What the prompts of the first class leave of that which costs nothing."""
        times = self.costs.of(limits)
        if not (times.paced_by_storage and times.tells_sizes_apart):
            return 0
        num_first = groups.num_writing + sum(sequence.num_pending for sequence in groups.reading)
        return max(0, times.num_free - num_first)

    def _tokens_within(self, seconds: float, limits: Limits) -> int:
        return self.costs.of(limits).tokens_within(seconds)

    # -- when -------------------------------------------------------------------------------------------------------

    def coalesces_until_s(
        self, running: Sequence[SequenceState], waiting: Sequence[SequenceState], limits: Limits
    ) -> float | None:
        """When those who wait should start, by the clock; None: now."""
        if not waiting or limits.coalesce_s <= 0 or self._num_interactive:
            return None
        times = self.costs.of(limits)
        if running and times.paced_by_storage:
            return None
        if any(sequence.num_served or not sequence.request.gathers for sequence in waiting):
            return None
        if len(waiting) + len(running) >= limits.max_sequences:
            return None
        if sum(sequence.num_pending for sequence in waiting) >= ENOUGH_PASSES * limits.max_tokens_per_pass:
            return None
        longest_s = max(limits.coalesce_s, COALESCED_PASSES * times.storage_s)
        due_s = min(sequence.arrival_s + min(longest_s, _patience_s(sequence)) for sequence in waiting)
        return due_s if due_s > self.clock() else None


def _patience_s(sequence: SequenceState) -> float:
    """A tenth of its time: the rest is for computing."""
    deadline_s = sequence.request.deadline_s
    return math.inf if deadline_s is None else deadline_s / 10


def _is_background(sequence: SequenceState) -> bool:
    return sequence.request.priority == "background"
