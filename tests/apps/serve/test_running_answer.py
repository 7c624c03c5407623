"""Watchers of an answer see all of it, whenever they come."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from pocketseek.apps.conversation import Turn
from pocketseek.apps.serve import running_answer
from pocketseek.apps.serve.running_answer import RunningAnswer, turn_value
from pocketseek.types import TextEvent


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_answer, "_PAUSE_S", 0.0)
    monkeypatch.setattr(running_answer, "_PAUSE_PER_RENDERING", 0.0)


def shown(updates: list[Mapping[str, object]], name: str) -> list[str]:
    """As the page puts them together."""
    blocks: list[str] = []
    for update in updates:
        part = update.get(name)
        if isinstance(part, dict):
            blocks[part["from"] :] = part["html"]
    return blocks


async def write(answer: RunningAnswer, *pieces: TextEvent) -> None:
    for piece in pieces:
        answer.see(piece)
        await asyncio.sleep(0.001)


def test_all_watchers_see_the_same_whenever_they_come() -> None:
    async def run() -> list[list[Mapping[str, object]]]:
        answer = RunningAnswer()

        async def watch() -> list[Mapping[str, object]]:
            return [update async for update in answer.updates()]

        first = asyncio.ensure_future(watch())
        await write(answer, TextEvent(reasoning="hm"), TextEvent("one\n"), TextEvent("\ntw"))
        second = asyncio.ensure_future(watch())
        await write(answer, TextEvent("o"), TextEvent("\n\n- th"), TextEvent("ree"))
        await asyncio.sleep(0.05)
        answer.end({"turn": {}, "title": ""})
        return [await first, await second]

    for updates in asyncio.run(run()):
        assert shown(updates[:-1], "answer") == ["<p>one</p>\n", "<p>two</p>\n", "<ul>\n<li>three</li>\n</ul>\n"]
        assert shown(updates[:-1], "reasoning") == ["<p>hm</p>\n"]
        assert updates[-1] == {"turn": {}, "title": ""}


def test_what_is_settled_is_not_sent_again() -> None:
    async def run() -> list[Mapping[str, object]]:
        answer = RunningAnswer()
        answer.see(TextEvent("one\n\ntw"))
        updates = answer.updates()
        seen = [await anext(updates)]
        answer.see(TextEvent("o"))
        seen.append(await anext(updates))
        await updates.aclose()
        return seen

    assert asyncio.run(run())[-1]["answer"] == {"from": 1, "html": ["<p>two</p>\n"]}


def test_only_the_first_end_counts() -> None:
    async def run() -> list[Mapping[str, object]]:
        answer = RunningAnswer()
        answer.end({"turn": 1})
        answer.end({"error": 2})
        return [update async for update in answer.updates()]

    assert asyncio.run(run()) == [{"turn": 1}]


def test_an_answer_whose_end_is_unknown_counts_as_stopped() -> None:
    assert turn_value(Turn("assistant", "a"))["finish_reason"] == "cancelled"
    assert turn_value(Turn("user", "<b>")) == {"role": "user", "content": "<b>"}
