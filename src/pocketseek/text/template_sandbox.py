"""Jinja2's sandbox with a budget: what a template does is counted and stopped, from any thread, without signals.

Jinja2's ImmutableSandboxedEnvironment keeps templates from Python's insides; it does not keep them from looping for a
year or printing a terabyte. Here everything that can repeat, copy or compare is charged to a Meter:

- loops, output, `~`, slices, comparisons and lists, because the syntax tree is rewritten (template_rewrite);
- operators that grow values (+ * ** %), calls, filters and tests, by the environment;
- filters and the methods of text, dicts and lists are an allow-list; those that can blow up are checked first.

Compile-time tricks are out too: constants are not folded, and the size and the nesting of the source are limited.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Template
from jinja2.exceptions import SecurityError
from jinja2.ext import loopcontrols
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS

from pocketseek.text.template_filters import CONSTANT_FILTERS, DEEP_FILTERS, allowed_filters, check_filter
from pocketseek.text.template_meter import LimitError, Meter
from pocketseek.text.template_rewrite import DEEP, EACH, SHALLOW, GenerationTag, Metering, check_nesting

MAX_SOURCE_CHARACTERS = 128 * 1024

_DEEP_TESTS = "!= < <= == > >= eq equalto ge greaterthan gt in le lessthan lt ne lower upper"
_TEXT_METHODS = (
    "capitalize casefold center count endswith find format format_map index isalnum isalpha isascii isdecimal isdigit "
    "isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip partition removeprefix "
    "removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title "
    "upper zfill"
)
_METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(_TEXT_METHODS.split()),
    dict: frozenset(["copy", "get", "items", "keys", "values"]),
    list: frozenset(["copy", "count", "index"]),
    tuple: frozenset(["count", "index"]),
}
_PADDING_METHODS = ("center", "ljust", "rjust", "zfill")


class MeteredEnvironment(ImmutableSandboxedEnvironment):
    """An environment for one template. `meter` is replaced before each rendering; renderings take turns."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def __init__(self, functions: Mapping[str, Callable[..., object]]) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[GenerationTag, loopcontrols],
            optimized=False,  # the optimizer computes constant expressions while compiling, before any budget
            cache_size=0,
        )
        self.meter = Meter(0)
        del self.globals["lipsum"]
        self.globals.update(functions)
        self.filters = {name: self._metered_filter(name, filter_) for name, filter_ in allowed_filters().items()}
        self.filters |= {EACH: self._each, SHALLOW: self._shallow, DEEP: self._deep}
        tests: Mapping[str, Any] = TESTS
        self.tests = {name: self._metered_test(name, test) for name, test in tests.items()}

    def compile_metered(self, source: str) -> Template:
        """The template, rewritten to be charged. Raises Jinja2's errors, LimitError and those of Python's compiler."""
        if len(source) > MAX_SOURCE_CHARACTERS:
            raise LimitError(f"it is longer than {MAX_SOURCE_CHARACTERS} characters")
        tree = self.parse(source)
        check_nesting(tree)
        tree = Metering().visit(tree)
        tree.set_environment(self)
        return Template.from_code(self, self.compile(tree), self.make_globals(None))

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        """Refuse at once; Jinja2's way is a value that turns into empty text."""
        raise SecurityError(f"it reaches for {attribute!r}")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        self.meter.shallow(left)
        self.meter.shallow(right)
        if isinstance(left, int) and isinstance(right, int):
            self.meter.number(_result_bits(operator, left, right))
        elif operator == "*":
            self._check_repetition(left, right)
        elif operator == "%" and isinstance(left, str):
            self.meter.formatted(left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, called: Any, *args: Any, **kwargs: Any) -> Any:
        self.meter.spend(0)
        if isinstance(called, LoopContext):  # {% for ... recursive %}
            args = tuple(map(self.meter.each, args))
        elif isinstance(called, types.BuiltinFunctionType | types.MethodType):
            args = self._checked_method(called, args, kwargs)
        elif isinstance(called, type) and called not in self.globals.values():
            raise SecurityError(f"it calls {called.__name__}")
        result = super().call(context, called, *args, **kwargs)
        if called is dict:
            self.meter.deep(result)
        else:
            self.meter.shallow(result)
        return result

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        safe_format = super().wrap_str_format(value)
        if safe_format is None:
            return None

        def metered_format(*args: Any, **kwargs: Any) -> str:
            self.meter.brace_formatted(str(value.__self__), [*args, kwargs])
            return safe_format(*args, **kwargs)

        return metered_format

    def _check_repetition(self, left: Any, right: Any) -> None:
        for value, times in ((left, right), (right, left)):
            if isinstance(times, int):
                self.meter.repetition(value, times)

    def _checked_method(self, method: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """The arguments for a method, once the call is known to be harmless."""
        owner, name = method.__self__, method.__name__
        kind = next((kind for kind in _METHODS if isinstance(owner, kind)), None)
        if kind is None and isinstance(method, types.MethodType):
            return args  # of Jinja2's own objects, such as loop.cycle
        if kind is None or name not in _METHODS[kind]:
            raise SecurityError(f"it calls {name!r}")
        self.meter.shallow(owner)
        for value in (*args, *kwargs.values()):
            self.meter.shallow(value)
        if isinstance(owner, str):
            return self._checked_text_method(owner, name, args, kwargs)
        if name in ("count", "index"):
            self.meter.deep(owner)
        return args

    def _checked_text_method(
        self, owner: str, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[Any, ...]:
        if name in _PADDING_METHODS and args:
            self.meter.padding(args[0])
        elif name == "replace" and len(args) > 1:
            self.meter.replacement(owner, args[0], args[1])
        elif name == "join" and args:
            items = list(self.meter.each(args[0]))
            self.meter.joined(owner, items)
            return (items,)
        return args

    def _metered_filter(self, name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
        if name in CONSTANT_FILTERS:
            return self._counted(filter_)
        look = self._deep if name in DEEP_FILTERS else self._shallow
        num_passed = 1 if hasattr(filter_, "jinja_pass_arg") else 0  # Jinja2 passes the environment or so first

        @functools.wraps(filter_)
        def metered(*args: Any, **kwargs: Any) -> Any:
            values = list(args[num_passed:])
            for value in (*values, *kwargs.values()):
                look(value)
            check_filter(name, self.meter, values, kwargs)
            return self._shallow(filter_(*args[:num_passed], *values, **kwargs))

        return metered

    def _metered_test(self, name: str, test: Callable[..., Any]) -> Callable[..., Any]:
        if name not in _DEEP_TESTS.split():  # what remains looks at types
            return self._counted(test)

        @functools.wraps(test)
        def metered(*args: Any) -> Any:
            for value in args:
                self.meter.deep(value)
            return test(*args)

        return metered

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.meter.spend(0)
            return function(*args, **kwargs)

        return counted

    def _each(self, value: Any) -> Any:
        return self.meter.each(value)

    def _shallow(self, value: Any) -> Any:
        self.meter.shallow(value)
        return value

    def _deep(self, value: Any) -> Any:
        self.meter.deep(value)
        return value


def _result_bits(operator: str, left: int, right: int) -> int:
    if operator == "*":
        return left.bit_length() + right.bit_length()
    if operator == "**":
        return left.bit_length() * max(right, 0)
    return max(left.bit_length(), right.bit_length())
