"""An answer while it is being written, for whoever looks: the page that asked, the same page after it was reloaded.

The answer does not depend on anybody looking. Each watcher gets the HTML of the blocks that changed since its last
update; nothing is rendered while nobody watches, and rendering takes a tenth of the time at most. Used by the event
loop alone; only rendering itself happens in a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

import msgspec

from pocketseek.apps.conversation import Turn
from pocketseek.apps.serve.markdown import LiveMarkdown, render_blocks
from pocketseek.types import TextEvent

Phase = Literal["waiting", "loading", "reading", "notes", "merge", "summary", "writing"]
"""notes, merge, summary: of a document that is read as a whole."""
Value = Mapping[str, object]

_PAUSE_S = 0.04  # between two updates, at least
_PAUSE_PER_RENDERING = 9.0


@dataclass(frozen=True)
class _Html:
    reasoning: list[str]
    answer: list[str]


class RunningAnswer:
    """See the module. `updates` ends with {"turn": ..., "title": ...} or {"error": ...}."""

    def __init__(self) -> None:
        self.phase: Phase = "waiting"
        self._progress: Value | None = None
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._end: Value | None = None
        self._version = 0
        self._watchers: set[asyncio.Event] = set()
        self._rendering = asyncio.Lock()
        self._rendered_version = -1
        self._rendering_s = 0.0
        self._html = _Html([], [])
        self._live_text, self._live_reasoning = LiveMarkdown(), LiveMarkdown()

    @property
    def has_ended(self) -> bool:
        return self._end is not None

    def enter(self, phase: Phase, progress: Value | None = None) -> None:
        """progress: how far the phase is, for the page."""
        self.phase = phase
        self._progress = progress
        self._wake()

    def see(self, event: TextEvent) -> None:
        self.phase, self._progress = "writing", None
        self._text.append(event.text)
        self._reasoning.append(event.reasoning)
        self._wake()

    def end(self, value: Value) -> None:
        """Once; what comes later does not count."""
        self._end = self._end or value
        self._wake()

    async def updates(self) -> AsyncIterator[Value]:
        """What a page has to show, from the beginning, until the end."""
        woken = asyncio.Event()
        woken.set()
        self._watchers.add(woken)
        sent = _Html([], [])
        try:
            while self._end is None:
                await woken.wait()
                woken.clear()
                if self._end is None:
                    html = await self._render()
                    yield _difference(self.phase, self._progress, sent, html)
                    sent = html
                    await asyncio.sleep(max(_PAUSE_S, self._rendering_s * _PAUSE_PER_RENDERING))
            yield self._end
        finally:
            self._watchers.discard(woken)

    def _wake(self) -> None:
        self._version += 1
        for watcher in self._watchers:
            watcher.set()

    async def _render(self) -> _Html:
        async with self._rendering:
            if self._rendered_version != self._version:
                self._rendered_version = self._version
                begun_s = time.monotonic()
                text, reasoning = "".join(self._text).lstrip(), "".join(self._reasoning).lstrip()
                self._html = await asyncio.to_thread(self._render_texts, text, reasoning)
                self._rendering_s = time.monotonic() - begun_s
            return self._html

    def _render_texts(self, text: str, reasoning: str) -> _Html:
        return _Html(self._live_reasoning.render(reasoning), self._live_text.render(text))


def turn_value(turn: Turn) -> Value:
    """A turn as the page gets it; answers with HTML. An answer whose end is unknown was stopped by a crash."""
    value: dict[str, object] = {"role": turn.role, "content": turn.content}
    if turn.role == "assistant":
        value |= {
            "html": render_blocks(turn.content),
            "reasoning_html": render_blocks(turn.reasoning),
            "finish_reason": turn.finish_reason or "cancelled",
            "model": turn.model,
            "num_tokens": turn.num_tokens,
            "sources": msgspec.json.decode(turn.sources_json) if turn.sources_json else None,
        }
    return value


def _difference(phase: Phase, progress: Value | None, old: _Html, new: _Html) -> Value:
    update: dict[str, object] = {"phase": phase}
    if progress is not None:
        update["progress"] = progress
    for name, before, now in (("reasoning", old.reasoning, new.reasoning), ("answer", old.answer, new.answer)):
        if before != now:
            num_same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(before, now, strict=False))))
            update[name] = {"from": num_same, "html": now[num_same:]}
    return update
