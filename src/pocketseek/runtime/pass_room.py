"""How the tokens of one pass are shared out: who comes first, and how much each may take.

    answers of the first class | the guaranteed chunk | their prompts | background answers | background prompts

- When answers alone would fill the pass, those served longest ago go first and a quarter is kept for prompts that are
  read in the same class.
- `prompt_room` bounds all prompt tokens together, `background_room` those of background; neither ever cuts below
  MIN_CHUNK tokens, so that prompts progress, unless background is to wait (0).
- The guaranteed chunk belongs to the background request that was passed over for too long (policy.py), if it still
  reads: what background may have, and at least MIN_CHUNK tokens, in every pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pocketseek.runtime.sequence import SequenceState

MIN_CHUNK = 16


@dataclass(frozen=True)
class Groups:
    """The running sequences, each group in the order in which it is served."""

    writing: list[SequenceState]
    guaranteed: list[SequenceState]
    reading: list[SequenceState]
    background_writing: list[SequenceState]
    background_reading: list[SequenceState]

    @property
    def num_writing(self) -> int:
        return len(self.writing) + len(self.background_writing)

    @property
    def num_reading(self) -> int:
        return len(self.guaranteed) + len(self.reading) + len(self.background_reading)


class PassRoom:
    """`order` is who to serve; ask `most` and tell `take` for one after the other.

    writing: those of them who decode. for_drafts: how many tokens may be added to those. num_tokens: about how many the
    pass has without that.
    """

    def __init__(self, groups: Groups, room: int, prompt_room: int, background_room: int) -> None:
        self._left = room
        self._prompts_left = max(MIN_CHUNK, prompt_room)
        self._background_left = max(MIN_CHUNK, background_room) if background_room else 0
        self._guaranteed = {sequence.request_id for sequence in groups.guaranteed}
        self._background = {sequence.request_id for sequence in groups.background_reading}
        writing = _turns(groups.writing, room, keep=bool(groups.guaranteed or groups.reading))
        left = room - len(writing)
        background = _turns(groups.background_writing, left, keep=bool(groups.background_reading))
        self.writing = [*writing, *background]
        reading = [*groups.guaranteed, *groups.reading, *groups.background_reading]
        kept = max(1, room // 4) if reading else 0
        self.for_drafts = max(0, room - kept - len(self.writing))
        self.num_tokens = min(
            room, len(self.writing) + min(self._prompts_left, sum(one.num_pending for one in reading))
        )
        self.order = [*writing, *groups.guaranteed, *groups.reading, *background, *groups.background_reading]

    def most(self, sequence: SequenceState) -> int:
        """Tokens that the sequence may have in this pass."""
        if sequence.is_decoding:
            return self._left
        if sequence.request_id in self._guaranteed:
            return min(self._left, max(MIN_CHUNK, min(self._prompts_left, self._background_left)))
        if sequence.request_id in self._background:
            return min(self._left, self._prompts_left, self._background_left)
        return min(self._left, self._prompts_left)

    def take(self, sequence: SequenceState, num_tokens: int) -> None:
        self._left -= num_tokens
        if not sequence.is_decoding:
            self._prompts_left = max(0, self._prompts_left - num_tokens)
            if sequence.request_id in self._background or sequence.request_id in self._guaranteed:
                self._background_left = max(0, self._background_left - num_tokens)


def _turns(sequences: Sequence[SequenceState], room: int, *, keep: bool) -> list[SequenceState]:
    """Those served longest ago, as many as fit; at room 1 the answers go first, which end, and until then no prompt can
    add to them. The sort is stable, so equals keep their order."""
    count = max(min(1, room), room - max(1, room // 4)) if keep else room
    if len(sequences) <= count:
        return list(sequences)
    return sorted(sequences, key=lambda sequence: sequence.last_pass)[:count]
