"""Least served first; coming and going gains and loses nothing."""

from pocketseek.runtime.client_shares import ClientShares
from pocketseek.runtime.sequence import SequenceState
from pocketseek.types import Priority, Request


def sequence(client: str, priority: Priority = "background") -> SequenceState:
    return SequenceState(1, Request((1,), client=client, priority=priority))


def test_a_newcomer_starts_level_with_the_least_served() -> None:
    shares, first, second, new = ClientShares(), sequence("a"), sequence("b"), sequence("c")
    for one in (first, second):
        shares.arrive(one)
    shares.charge(first, 100)
    shares.charge(second, 70)
    shares.arrive(new)
    assert shares.served(new) == shares.served(second) == 70
    assert shares.served(first) == 100


def test_going_and_coming_back_does_not_wipe_the_slate() -> None:
    shares, greedy, modest = ClientShares(), sequence("a"), sequence("b")
    shares.arrive(greedy)
    shares.arrive(modest)
    shares.charge(greedy, 500)
    shares.leave(greedy)
    shares.arrive(greedy)
    assert shares.served(greedy) - shares.served(modest) == 500


def test_absent_clients_are_forgotten_once_the_others_have_caught_up() -> None:
    shares, modest = ClientShares(), sequence("b")
    shares.arrive(modest)
    for number in range(100):
        passing = sequence(f"c{number}")
        shares.arrive(passing)
        shares.charge(passing, 10)
        shares.charge(modest, 10)
        shares.leave(passing)
    assert shares.num_clients <= 3


def test_nothing_is_remembered_when_everybody_has_gone() -> None:
    shares, one, other = ClientShares(), sequence("a"), sequence("a", "interactive")
    for present in (one, other):
        shares.arrive(present)
        shares.charge(present, 10)
    shares.leave(one)
    assert shares.num_clients == 1
    shares.leave(other)
    assert shares.num_clients == 0
