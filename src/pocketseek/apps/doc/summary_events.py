"""What a summary is asked for with, and what happens on the way to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pocketseek.apps.doc.chunk import DEFAULT_CHUNK_TOKENS, DEFAULT_OVERLAP_TOKENS
from pocketseek.apps.doc.coverage import Coverage
from pocketseek.apps.doc.formats.outline import Chapter
from pocketseek.apps.doc.summary_prompts import Language

MEDIUM_WORDS = 250
LENGTHS = {"short": 80, "medium": MEDIUM_WORDS, "long": 600}
"""Words of a summary."""
LEAST_WORDS, MOST_WORDS = 10, 3000

Phase = Literal["notes", "merge", "summary"]


@dataclass(frozen=True)
class SummaryOptions:
    """focus: a question that the summary is to answer. language None: the document's. num_words: of the summary, about.

    chunk_tokens: the most that a prompt with a chunk has; less if the model's context is too short for that. outline:
    notes are made even where the document fits one chunk.
    """

    focus: str = ""
    num_words: int = MEDIUM_WORDS
    language: Language | None = None
    chunk_tokens: int = DEFAULT_CHUNK_TOKENS
    overlap_tokens: int = DEFAULT_OVERLAP_TOKENS
    outline: bool = False


@dataclass(frozen=True)
class Planned:
    """Before anything is computed. num_kept: chunks whose notes are there from an earlier run."""

    num_chunks: int
    num_kept: int
    num_tokens: int


@dataclass(frozen=True)
class Progress:
    """done of total notes, or merges of a level. share: of the work of this run, 0 to 1."""

    phase: Phase
    done: int
    total: int
    share: float


_LEAST_SHARE = 0.02  # below this nothing can be said of the time left


def seconds_left(share: float, elapsed_s: float) -> float | None:
    """Work goes on as fast as so far; None: too early to say."""
    return elapsed_s * (1 - share) / share if share >= _LEAST_SHARE else None


@dataclass(frozen=True)
class SummaryText:
    """The next piece of the summary."""

    text: str


@dataclass(frozen=True)
class Summary:
    """The last event: everything. chapters: only if an outline was asked for. num_computed: answers of this run."""

    text: str
    language: Language
    coverage: Coverage
    chapters: tuple[Chapter, ...] = ()
    num_computed: int = 0


SummaryEvent = Planned | Progress | SummaryText | Summary
