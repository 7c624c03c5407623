"""A keyboard for the chat loop: what is typed, in order, and Ctrl-D at the end."""

from collections.abc import Iterator

CTRL_D = EOFError()


class Script:
    """A keyboard: text is a line, an exception is a key."""

    def __init__(self, *lines: str | BaseException) -> None:
        self._lines: Iterator[str | BaseException] = iter([*lines, CTRL_D])
        self.num_left = len(lines)

    def __call__(self) -> str:
        line = next(self._lines)
        self.num_left -= 1
        if isinstance(line, BaseException):
            raise line
        return line
