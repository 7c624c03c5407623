"""Closing everything, whatever one part says."""

import pytest

from pocketseek.runtime.closing import close_all


class Part:
    def __init__(self, name: str, closed: list[str], *, fails: bool = False) -> None:
        self._name, self._closed, self._fails = name, closed, fails

    def close(self) -> None:
        self._closed.append(self._name)
        if self._fails:
            raise OSError(self._name)


def test_all_are_closed_in_order() -> None:
    closed: list[str] = []
    close_all(Part(name, closed) for name in "abc")
    assert closed == ["a", "b", "c"]


def test_those_that_fail_keep_none_of_the_others_open_and_none_of_their_errors_is_lost() -> None:
    closed: list[str] = []
    with pytest.raises(OSError, match="c") as raised:
        close_all([Part("a", closed, fails=True), Part("b", closed), Part("c", closed, fails=True), Part("d", closed)])
    assert closed == ["a", "b", "c", "d"]
    assert str(raised.value.__context__) == "a"
