"""How well a model understands spoken requests: which of ten things is wanted?

The model is not asked to write an answer, which small ones do badly for other reasons. Instead every label is put where
its answer would begin, and its likelihood is read off: the natural logarithms of the probabilities of the label's
tokens, summed. The likeliest label is the choice. Labels that are likely whatever was asked distort that, so a second
choice is reported beside it: the label whose likelihood rises most over its likelihood after an empty request. Both
rules were fixed before any model was tried on the set.

`intents.json` holds the requests: 10 intents, 6 in English and 6 in Chinese of each, as people say them, polite,
roundabout or short. They are for measuring only; nothing was tuned on them. Own sets have the same form.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pocketseek.errors import FormatError, NotFoundError, UsageError
from pocketseek.package.storage import storage_errors
from pocketseek.runtime.prompt import starts_in_reasoning
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import Message, Request, TokenEvent

BUILT_IN = Path(__file__).parent / "intents.json"
MAX_BYTES = 1 << 20
_TASK = {
    "en": "You hear what somebody says to a phone. Say in one word what it is about: {labels}.",
    "zh": "你听到有人对手机说的话。请用一个词回答它属于哪一类:{labels}。",
}
_BETWEEN = {"en": ", ", "zh": "、"}


class IntentEngine(Protocol):
    """What is needed of an Engine."""

    @property
    def tokenizer(self) -> Tokenizer: ...

    def encode_prompt(self, prompt: Sequence[Message]) -> tuple[int, ...]: ...

    def stream(self, request: Request) -> Iterator[TokenEvent]: ...


@dataclass(frozen=True)
class IntentRequest:
    text: str
    language: str
    intent: str


@dataclass(frozen=True)
class IntentSet:
    """labels: what each intent is called, by intent and language."""

    labels: Mapping[str, Mapping[str, str]]
    requests: tuple[IntentRequest, ...]


@dataclass(frozen=True)
class Choice:
    """What the model takes a request for. calibrated: by how much the likelihood rose."""

    likeliest: str
    calibrated: str


@dataclass(frozen=True)
class Understanding:
    """Of so many requests. chance: accuracy of guessing. by_intent: requests and those understood (calibrated)."""

    requests: int
    likeliest: float
    calibrated: float
    chance: float
    by_intent: Mapping[str, tuple[int, int]]


def read_intents(path: Path = BUILT_IN) -> IntentSet:
    """Raises NotFoundError, StorageError or FormatError."""
    with storage_errors(path):
        try:
            data = path.read_bytes()
        except (FileNotFoundError, IsADirectoryError) as error:
            raise NotFoundError(f"there is no set of requests at {path}; check the path") from error
    try:
        return _parsed(json.loads(data[: MAX_BYTES + 1]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(
            f'{path} is no set of requests ({str(error)[:100]}); make it {{"labels": {{intent: {{language: word}}}}, '
            '"requests": [{"intent", "language", "text"}]}'
        ) from error


def _parsed(found: Mapping[str, object]) -> IntentSet:
    labels, requests = found["labels"], found["requests"]
    if not isinstance(labels, dict) or not isinstance(requests, list) or len(labels) < 2 or not requests:
        raise ValueError("it needs two labels or more, and requests")
    parsed = tuple(IntentRequest(str(one["text"]), str(one["language"]), str(one["intent"])) for one in requests)
    named = {str(intent): {str(a): str(b) for a, b in words.items()} for intent, words in labels.items()}
    for one in parsed:
        if not named[one.intent].get(one.language) or not one.text.strip():
            raise ValueError(f"the request {one.text!r:.40} has no label in its language")
    return IntentSet(named, parsed)


class IntentChooser:
    """Asks one model. Not for use from several threads."""

    def __init__(self, engine: IntentEngine, labels: Mapping[str, Mapping[str, str]]) -> None:
        self._engine = engine
        self._labels = labels
        self._empty: dict[str, dict[str, float]] = {}

    def choose(self, text: str, language: str) -> Choice:
        found = self.likelihoods(text, language)
        if language not in self._empty:
            self._empty[language] = self.likelihoods("", language)
        empty = self._empty[language]
        return Choice(_best(found), _best({intent: found[intent] - empty[intent] for intent in found}))

    def likelihoods(self, text: str, language: str) -> dict[str, float]:
        """Natural logarithms, by intent. All labels are computed side by side."""
        words = {intent: names[language] for intent, names in self._labels.items() if language in names}
        task = _TASK["zh" if language == "zh" else "en"]
        between = _BETWEEN["zh" if language == "zh" else "en"]
        messages = [Message("system", task.format(labels=between.join(words.values()))), Message("user", text)]
        tokenizer = self._engine.tokenizer
        prompt = self._engine.encode_prompt(messages)
        if starts_in_reasoning(prompt, tokenizer):  # a model that would reason first is made to skip it
            prompt += tuple(tokenizer.encode(f"\n{tokenizer.settings.reasoning_end}\n\n", add_special=False))
        labels = {intent: tuple(tokenizer.encode(word, add_special=False)) for intent, word in words.items()}
        streams = {intent: self._engine.stream(_scored((*prompt, *ids), len(prompt))) for intent, ids in labels.items()}
        return {intent: _sum_of_scores(stream) for intent, stream in streams.items()}


def evaluate_understanding(
    engine: IntentEngine,
    intents: IntentSet,
    *,
    heard: Mapping[int, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Understanding:
    """heard: what a recogniser made of requests, by their index; only those count then. Raises UsageError for none."""
    chosen = [index for index in range(len(intents.requests)) if heard is None or index in heard]
    if not chosen:
        raise UsageError("there are no requests to be understood; give at least one")
    chooser = IntentChooser(engine, intents.labels)
    likeliest, calibrated, asked = 0, Counter[str](), Counter[str]()
    for done, index in enumerate(chosen, 1):
        request = intents.requests[index]
        choice = chooser.choose(request.text if heard is None else heard[index], request.language)
        asked[request.intent] += 1
        likeliest += choice.likeliest == request.intent
        calibrated[request.intent] += choice.calibrated == request.intent
        if progress is not None:
            progress(done, len(chosen))
    return Understanding(
        requests=len(chosen),
        likeliest=likeliest / len(chosen),
        calibrated=calibrated.total() / len(chosen),
        chance=1 / len(intents.labels),
        by_intent={intent: (count, calibrated[intent]) for intent, count in asked.items()},
    )


def _scored(token_ids: tuple[int, ...], score_from: int) -> Request:
    return Request(token_ids, max_tokens=0, score_prompt=True, score_from=score_from, keep_on_disk=False)


def _sum_of_scores(stream: Iterator[TokenEvent]) -> float:
    *_, last = stream
    return math.fsum(last.prompt_logprobs or ())


def _best(scores: Mapping[str, float]) -> str:
    return max(scores, key=lambda intent: scores[intent])
