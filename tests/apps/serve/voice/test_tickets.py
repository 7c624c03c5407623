"""Tickets: good once, for a short time, and not without number."""

from dataclasses import replace
from pathlib import Path

import pytest

from pocketseek.apps.conversations import ConversationStore
from pocketseek.apps.serve.access import Caller
from pocketseek.apps.serve.replies import RefusedError
from pocketseek.apps.serve.voice.chat import VoiceOrder
from pocketseek.apps.serve.voice.tickets import LIFETIME_S, PROTOCOL, Tickets


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def order(tmp_path: Path) -> VoiceOrder:
    return VoiceOrder(Caller(), ConversationStore(tmp_path / "c.db"), "fake")


def test_a_ticket_is_redeemed_once(order: VoiceOrder) -> None:
    tickets = Tickets()
    ticket = tickets.issue(order)
    assert tickets.redeem([PROTOCOL]) is None
    assert tickets.redeem([PROTOCOL, ticket + "x"]) is None
    assert tickets.redeem([PROTOCOL, ticket]) is order
    assert tickets.redeem([PROTOCOL, ticket]) is None


def test_an_old_ticket_is_none(order: VoiceOrder) -> None:
    clock = Clock()
    tickets = Tickets(clock)
    first = tickets.issue(order)
    clock.now_s = LIFETIME_S - 0.1
    second = tickets.issue(order)
    assert tickets.redeem([first]) is order
    clock.now_s += LIFETIME_S
    assert tickets.redeem([second]) is None


def test_who_asks_for_many_loses_the_oldest_and_takes_nobody_elses(order: VoiceOrder) -> None:
    tickets = Tickets()
    of_another = tickets.issue(replace(order, caller=Caller("other", has_token=True, digest="x")))
    first, *later = (tickets.issue(order) for _ in range(100))
    assert tickets.redeem([first]) is None
    assert [tickets.redeem([ticket]) is order for ticket in later] == [False] * 91 + [True] * 8
    assert tickets.redeem([of_another]) is not None


def test_tickets_that_nobody_redeems_are_bounded(order: VoiceOrder) -> None:
    clock = Clock()
    tickets = Tickets(clock)
    for number in range(64):
        tickets.issue(replace(order, caller=Caller("one", has_token=True, digest=str(number // 8))))
    with pytest.raises(RefusedError) as error:
        tickets.issue(order)
    assert error.value.status == 429
    clock.now_s = LIFETIME_S
    assert tickets.redeem([tickets.issue(order)]) is order
