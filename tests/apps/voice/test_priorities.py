"""Threads that give way, and those that they start."""

import os
import sys
import threading

import pytest

from pocketseek.apps.voice.priorities import give_way, made_giving_way

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nice values of threads are Linux's")


def nice_value() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def of_a_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(nice_value()))
    thread.start()
    thread.join()
    return found[0]


@linux
def test_what_is_made_gives_way_and_its_maker_does_not() -> None:
    before = nice_value()
    inside = made_giving_way(lambda: (nice_value(), of_a_thread()), 3)
    assert inside == (min(before + 3, 19), min(before + 3, 19))
    assert nice_value() == before


def test_what_goes_wrong_is_raised_by_the_caller() -> None:
    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        made_giving_way(fails, 1)


def test_giving_way_where_it_is_forbidden_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*arguments: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbidden)
    give_way(1)
