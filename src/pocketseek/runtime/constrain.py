"""Answers that keep to a JSON schema, a regular expression or a grammar; the only module that uses `llguidance`.

A `Constrainer` belongs to one engine. It compiles a `Constraint` once, keeps the last few, and gives every request a
`Guide` of its own. The library is imported, and its form of the vocabulary made, when the first constraint comes
(0.5 s for 152 000 tokens).

Kinds: "json_object" (any object), "json_schema", "regex" (Rust's syntax; the whole answer has to match) and "lark"
(llguidance's dialect). Between the parts of a JSON text there may be a line end and a few spaces, but not white space
without end, in which weak models get lost.

Trust: a constraint comes from whoever may ask for an answer. Its size is limited, schemas that the library cannot
compile in bounds are refused before (schema_bounds.py), compiling happens in a thread with a deep stack, one at a time
and for a limited time, and the library's own limits bound the work of each step. What is wrong with it is a one-line
UsageError; what a step finds too complex later ends that request with one.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, get_args

from pocketseek.errors import OverloadedError, UnsupportedError, UsageError
from pocketseek.runtime.guide import Guide, ReasoningFirst, StepBudget
from pocketseek.runtime.prompt import starts_in_reasoning
from pocketseek.runtime.schema_bounds import check_schema
from pocketseek.text.special_tokens import TOOL_TAGS
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import Constraint, ConstraintKind, Request

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLParserLimits, LLTokenizer

MAX_CONSTRAINT_BYTES = 128 * 1024
COMPILE_LIMIT_S = 5.0
JSON_WHITE_SPACE = r"\n? {0,24}"  # between the parts of a JSON text

_KEPT_CONSTRAINTS = 4  # a hostile one holds 25 MB, and a usual one is compiled in milliseconds
_STACK_BYTES = 64 * 1024 * 1024  # addresses, not memory: 128 KiB of references nest so deep that 8 MB would overflow
_TOOL_TAG = re.compile(f"({'|'.join(map(re.escape, TOOL_TAGS))})")
_REASON_CHARACTERS = 200


class Constrainer:
    """See the module. Any thread may ask."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int) -> None:
        """vocab_size: the model's, which may be larger than the tokenizer's."""
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._token_data: list[bytes] = []
        self._words: LLTokenizer | None = None
        self._matchers: OrderedDict[Constraint, tuple[LLMatcher, StepBudget]] = OrderedDict()
        self._lock = threading.Lock()  # of the three above
        self._compiling = threading.Semaphore(1)  # released by the thread that compiles, which may outlast its caller

    def guide(self, request: Request) -> Guide | None:
        """For a request with a constraint, otherwise None. Raises UsageError, UnsupportedError, OverloadedError."""
        constraint = request.constraint
        if constraint is None:
            return None
        matcher, budget = self._matcher(constraint)
        return Guide(matcher, self._vocab_size, self._reasoning(request), budget)

    def _matcher(self, constraint: Constraint) -> tuple[LLMatcher, StepBudget]:
        with self._lock:
            words = self._words = self._words or self._make_words()
            known = self._matchers.get(constraint)
            if known is not None:
                self._matchers.move_to_end(constraint)
                matcher, budget = known
                if budget.is_spent:  # those answers have ended; whoever asks again begins anew, at his own turn
                    budget = StepBudget()
                    self._matchers[constraint] = matcher, budget
                return matcher.deep_copy(), budget
        grammar = _grammar(constraint)
        if not self._compiling.acquire(timeout=COMPILE_LIMIT_S):
            raise OverloadedError("another answer's grammar is still being compiled; try again in a moment")
        matcher = _in_deep_thread(lambda: _compile(words, grammar), self._compiling.release)
        if matcher.is_error():
            raise _wrong(constraint, matcher.get_error())
        with self._lock:
            budget = StepBudget()
            self._matchers[constraint] = matcher, budget
            while len(self._matchers) > _KEPT_CONSTRAINTS:
                self._matchers.popitem(last=False)
            return matcher.deep_copy(), budget

    def _make_words(self) -> LLTokenizer:
        try:
            from llguidance import LLTokenizer, TokenizerWrapper
        except ImportError as error:
            raise UnsupportedError(
                "answers in a given form need the package llguidance; pip install 'pocketseek[constrain]'"
            ) from error
        self._token_data = [self._tokenizer.token_bytes(i) for i in range(self._vocab_size)]
        words = _Words(self._tokenizer, self._token_data)
        return LLTokenizer(TokenizerWrapper(words), n_vocab=len(words.tokens), eos_token=words.eos_token_ids)

    def _reasoning(self, request: Request) -> ReasoningFirst | None:
        settings = self._tokenizer.settings
        if not settings.reasoning_end:
            return None
        is_inside = starts_in_reasoning(request.prompt_ids, self._tokenizer)
        tail = self._tokenizer.decode(request.prompt_ids[-16:], skip_special=False).rstrip()
        opening = self._tokenizer.encode(settings.reasoning_start, add_special=False)
        may_open = len(opening) == 1 and not is_inside and not tail.endswith(settings.reasoning_end)
        if not is_inside and not may_open:
            return None
        end_ids = {i for i in (*request.stop_ids, *settings.eos_ids) if i < self._vocab_size}
        return ReasoningFirst(
            settings, self._token_data, end_ids, is_inside=is_inside, opening_id=opening[0] if may_open else None
        )


class _Words:
    """The vocabulary as llguidance's TokenizerWrapper wants it.

    Tool tags are words like others here, so that a grammar may ask for them; all other special tokens are none.
    A model without an end token gets one behind its vocabulary, which nothing can choose.
    """

    def __init__(self, tokenizer: Tokenizer, token_data: list[bytes]) -> None:
        self._tokenizer = tokenizer
        ends = [i for i in tokenizer.settings.eos_ids if i < len(token_data)]
        self.tokens = token_data if ends else [*token_data, b"<end>"]
        self.eos_token_ids = ends or [len(token_data)]
        self.eos_token_id = self.eos_token_ids[0]
        self.bos_token_id = None
        tags = {tag.encode("utf-8") for tag in TOOL_TAGS}
        special = (i for i, data in enumerate(token_data) if tokenizer.is_special(i) and data not in tags)
        self.special_token_ids = sorted({*special, *self.eos_token_ids})

    def __call__(self, text: bytes | str) -> list[int]:
        """The usual ids of a text."""
        parts = _TOOL_TAG.split(text.decode("utf-8") if isinstance(text, bytes) else text)
        return [token_id for part in parts if part for token_id in self._part(part)]

    def _part(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special=False, parse_special=text in TOOL_TAGS)


def _grammar(constraint: Constraint) -> str:
    """In the library's own form. Raises UsageError for what can be seen without compiling."""
    from llguidance import LLMatcher

    kind, text = constraint.kind, constraint.text
    if kind not in get_args(ConstraintKind):
        raise UsageError(f"the constraint's kind is {kind!r:.40}; use one of {', '.join(get_args(ConstraintKind))}")
    size = len(text.encode("utf-8", "replace"))
    if size > MAX_CONSTRAINT_BYTES:
        raise UsageError(f"the {_name(constraint)} has {size} bytes; use at most {MAX_CONSTRAINT_BYTES}")
    if kind == "regex":
        return LLMatcher.grammar_from_regex(text)
    if kind == "lark":
        return LLMatcher.grammar_from_lark(text)
    schema = {"type": "object"} if kind == "json_object" else _schema(constraint)
    return LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides={"whitespace_pattern": JSON_WHITE_SPACE})


def _schema(constraint: Constraint) -> dict[str, object]:
    try:
        schema = json.loads(constraint.text)
    except (ValueError, RecursionError) as error:
        raise _wrong(constraint, str(error)) from error
    if not isinstance(schema, dict):
        raise _wrong(constraint, "it is no JSON object")
    schema.pop("x-guidance", None)  # settings of the library
    check_schema(schema)
    return schema


def _compile(words: LLTokenizer, grammar: str) -> LLMatcher:
    from llguidance import LLMatcher

    matcher = LLMatcher(words, grammar, log_level=0, limits=_limits())
    if matcher.is_error():
        return matcher
    trial = matcher.deep_copy()
    trial.compute_bitmask()  # the first step is the costliest, and the copies share what it found
    return trial if trial.is_error() else matcher


def _limits() -> LLParserLimits:
    """With what schema_bounds.py lets through at most some 10 ms of work for a step, and some 25 MB for a grammar."""
    from llguidance import LLParserLimits

    return LLParserLimits(
        initial_lexer_fuel=200_000,
        max_items_in_row=5_000,  # of an object with 1000 optional properties
        step_lexer_fuel=50_000,
        step_max_items=20_000,
        max_lexer_states=20_000,
        max_grammar_size=200_000,
        verbose_errors=False,
    )


def _in_deep_thread(compile_matcher: Callable[[], LLMatcher], done: Callable[[], object]) -> LLMatcher:
    results: list[LLMatcher] = []

    def run() -> None:
        try:
            results.append(compile_matcher())
        finally:
            done()

    with _stack_size_lock:
        usual = threading.stack_size(_STACK_BYTES)
        try:
            thread = threading.Thread(target=run, name="pocketseek-grammar", daemon=True)
            thread.start()
        finally:
            threading.stack_size(usual)
    thread.join(COMPILE_LIMIT_S)
    if not results:
        raise UsageError(f"the answer's grammar takes longer than {COMPILE_LIMIT_S:g} s to compile; use a simpler one")
    return results[0]


_stack_size_lock = threading.Lock()


def _name(constraint: Constraint) -> str:
    names = {"json_schema": "JSON schema", "regex": "regular expression", "lark": "grammar"}
    return names.get(constraint.kind, constraint.kind)


def _wrong(constraint: Constraint, problem: str) -> UsageError:
    reason = " ".join(problem.split())[:_REASON_CHARACTERS]
    return UsageError(f"the {_name(constraint)} cannot be used: {reason}; correct or simplify it")
