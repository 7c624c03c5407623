"""How long chunks, notes and summary may be, so that every prompt fits the model's context with its answer."""

from __future__ import annotations

from dataclasses import dataclass

from pocketseek.apps.doc.background import MAX_REASONING_TOKENS, TaskEngine
from pocketseek.apps.doc.summary_events import SummaryOptions
from pocketseek.types import Message

NOTE_TOKENS = 320
MERGED_TOKENS = 4096  # of a prompt with notes; models lose sight of what is in longer ones

_TOKENS_PER_WORD = 2.5  # more than nearly every text has, Chinese ones counted by what they say
_ENDING_TOKENS = 64


@dataclass(frozen=True)
class SummarySizes:
    """In tokens, but for note_words. chunk, merged, summarised: prompts that show a chunk, notes to be merged, notes to
    be summarised. note, summary: answers."""

    chunk: int
    note: int
    note_words: int
    merged: int
    summary: int
    summarised: int


def sizes_for(engine: TaskEngine, options: SummaryOptions) -> SummarySizes:
    context = engine.context_length
    note = min(NOTE_TOKENS, context // 6)
    summary = min(round(options.num_words * _TOKENS_PER_WORD) + _ENDING_TOKENS, context // 3)
    room = context - _room_for_reasoning(engine)
    return SummarySizes(
        chunk=min(options.chunk_tokens, room - note),
        note=note,
        note_words=int(note / _TOKENS_PER_WORD),
        merged=min(MERGED_TOKENS, room - note),
        summary=summary,
        summarised=min(MERGED_TOKENS, room - summary),
    )


def _room_for_reasoning(engine: TaskEngine) -> int:
    """What a model that always reasons needs besides its answer."""
    probe = engine.encode((Message("user", "?"),))
    return min(MAX_REASONING_TOKENS, engine.context_length // 4) if probe.starts_in_reasoning else 0
