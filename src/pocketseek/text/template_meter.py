"""What a chat template may use up while it renders: work, memory and time, counted in one budget.

The unit is a character of text made or looked at. Every step costs at least STEP_COST, every element of a list
ELEMENT_COST, so the budget bounds the number of steps (260,000), the memory (tens of megabytes) and, with the
processor time checked now and then, the time. Values are charged before they are made, where making them could be
expensive. A nested list may hold the same list many times over (and print as exponentially much text): `deep` counts it
as often as it would be written.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from string import Formatter

from jinja2.exceptions import SecurityError
from jinja2.runtime import Undefined
from jinja2.utils import Namespace

BASE_BUDGET = 8 * 1024 * 1024
BUDGET_PER_INPUT_CHARACTER = 64  # a message of a few characters counts about 40 for its frame
STEP_COST = 32
ELEMENT_COST = 16
MAX_CPU_S = 5.0
MAX_NESTING = 64
MAX_NUMBER_BITS = 4096
MAX_PADDING = 10_000
_STEPS_PER_CLOCK_CHECK = 64

# Widths of four digits, and widths taken from an argument: `%*d`, `{:{}}`.
_WILD_PERCENT = re.compile(r"%[^a-zA-Z%]*(?:[0-9]{4}|\*)")
_WILD_SPECIFICATION = re.compile(r"[0-9]{4}|\{")


class LimitError(SecurityError):
    """The template does more than a template has to."""


class Meter:
    """The budget of one rendering, for one thread."""

    def __init__(self, num_input_characters: int) -> None:
        self._left = BASE_BUDGET + BUDGET_PER_INPUT_CHARACTER * num_input_characters
        self._steps = 0
        self._latest_s = time.thread_time() + MAX_CPU_S

    def spend(self, amount: int) -> None:
        """One step of this size. Raises LimitError when the budget is used up."""
        self._left -= STEP_COST + amount
        self._steps += 1
        if self._left < 0 or (self._steps % _STEPS_PER_CLOCK_CHECK == 0 and time.thread_time() > self._latest_s):
            raise LimitError("it loops too long or writes too much")

    def shallow(self, value: object) -> None:
        """A step that looks at this value once: all of a text, the elements of a list but not into them."""
        self.spend(_size(value))

    def deep(self, value: object) -> None:
        """A step that writes out or compares the whole value, however nested."""
        waiting: list[tuple[object, int]] = [(value, 0)]
        while waiting:
            item, depth = waiting.pop()
            self.spend(_size(item))
            if depth > MAX_NESTING:
                raise LimitError("it nests values too deeply")
            waiting.extend((child, depth + 1) for child in _children(item))

    def each(self, values: Iterable[object]) -> Counted:
        """The same values, charged one by one as they are taken."""
        return Counted(values, self)

    def repetition(self, value: object, times: int) -> None:
        """Before `value * times`."""
        self.spend(_size(value) * max(times, 0))

    def padding(self, width: object) -> None:
        """Before filling a text up to a width."""
        if not isinstance(width, int) or abs(width) > MAX_PADDING:
            raise LimitError(f"it asks for a width of more than {MAX_PADDING}")

    def replacement(self, text: str, old: object, new: object) -> None:
        """Before `text.replace(old, new)`."""
        found = text.count(old) if isinstance(old, str) else 0
        self.spend(len(text) + found * len(str(new)))

    def joined(self, separator: str, values: list[object]) -> None:
        """Before `separator.join(values)`."""
        self.deep(values)
        self.spend(len(separator) * len(values))

    def formatted(self, pattern: str, values: object) -> None:
        """Before `pattern % values`."""
        self._format(pattern, pattern.count("%"), values, is_wild=_WILD_PERCENT.search(pattern) is not None)

    def brace_formatted(self, pattern: str, values: object) -> None:
        """Before `pattern.format(values)`. Raises ValueError if that is no pattern."""
        specifications = [field[2] for field in Formatter().parse(pattern) if field[2] is not None]
        is_wild = any(_WILD_SPECIFICATION.search(specification) for specification in specifications)
        self._format(pattern, len(specifications), values, is_wild=is_wild)

    def _format(self, pattern: str, num_fields: int, values: object, *, is_wild: bool) -> None:
        if is_wild:
            raise LimitError("it formats with an extreme width")
        before = self._left
        self.deep(values)
        self.spend(len(pattern) + num_fields * (before - self._left + 1000))

    def number(self, num_bits: int) -> None:
        """Before a whole number of this many bits is computed."""
        if num_bits > MAX_NUMBER_BITS:
            raise LimitError("it computes extreme numbers")


class Counted:
    """An iterable that charges for every element; as long as what it wraps."""

    def __init__(self, values: Iterable[object], meter: Meter) -> None:
        self._values = values
        self._meter = meter

    def __iter__(self) -> Iterator[object]:
        for value in self._values:
            self._meter.spend(0)
            yield value

    def __len__(self) -> int:
        if not isinstance(self._values, Collection | Undefined):
            raise TypeError("a generator has no length")
        return len(self._values)


def _size(value: object) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Collection):
        return ELEMENT_COST * len(value)
    return value.bit_length() // 3 if isinstance(value, int) else 0


def _children(value: object) -> Iterable[object]:
    if isinstance(value, str | bytes | range):
        return ()
    if isinstance(value, Mapping):
        return (*value.keys(), *value.values())
    if isinstance(value, Namespace):  # writing one out writes its values; they are kept in this attribute only
        return tuple(object.__getattribute__(value, "_Namespace__attrs").values())
    return tuple(value) if isinstance(value, Collection) else ()
