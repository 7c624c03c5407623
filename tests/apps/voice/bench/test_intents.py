import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pocketseek.apps.voice.bench.intents import (
    IntentChooser,
    IntentRequest,
    IntentSet,
    evaluate_understanding,
    read_intents,
)
from pocketseek.errors import FormatError, NotFoundError, UsageError
from pocketseek.types import Message, Request, TextSettings, TokenEvent

LABELS = {"alarm": {"en": "alarm", "zh": "闹钟"}, "music": {"en": "music", "zh": "音乐"}}


class LetterTokenizer:
    settings = TextSettings()

    def encode(self, text: str, *, add_special: bool = True) -> list[int]:
        return list(map(ord, text))

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        return "".join(map(chr, ids))


class KnowingEngine:
    """Finds a label likely if its first letter is in the request, and "music" always a little more than others."""

    def __init__(self, opening: str = "") -> None:
        self.tokenizer = LetterTokenizer()
        self.opening = opening
        self.prompts: list[str] = []

    def encode_prompt(self, prompt: Sequence[Message]) -> tuple[int, ...]:
        return tuple(map(ord, "\n".join(f"{one.role}: {one.content}" for one in prompt) + "\n>" + self.opening))

    def stream(self, request: Request) -> Iterator[TokenEvent]:
        text = "".join(map(chr, request.prompt_ids))
        self.prompts.append(text)
        said, _, label = text.split("user: ")[1].partition(">")
        label = label.removeprefix("<think>").removeprefix("\n</think>\n\n")
        score = (-1.0 if label[0] in said else -3.0) + (2.5 if label in ("music", "音乐") else 0.0)
        whole = [*[-9.0] * (len(request.prompt_ids) - 1 - len(label)), *[score / len(label)] * len(label)]
        yield TokenEvent(None, finish_reason="length", prompt_logprobs=tuple(whole[request.score_from - 1 :]))


def test_the_set_has_ten_intents_in_two_languages_with_as_many_requests_of_each() -> None:
    intents = read_intents()
    counts = Counter((one.intent, one.language) for one in intents.requests)
    assert len(intents.labels) == 10
    assert set(counts.values()) == {6}
    assert len(counts) == 20
    assert len({one.text for one in intents.requests}) == len(intents.requests) >= 100


def test_labels_are_told_and_scored_where_the_answer_begins() -> None:
    engine = KnowingEngine()
    scores = IntentChooser(engine, LABELS).likelihoods("a ring", "en")
    assert scores == pytest.approx({"alarm": -1.0, "music": -0.5})
    assert all("alarm, music" in prompt for prompt in engine.prompts)
    assert [prompt.partition(">")[2] for prompt in engine.prompts] == ["alarm", "music"]


def test_calibration_takes_off_what_is_likely_whatever_was_asked() -> None:
    choice = IntentChooser(KnowingEngine(), LABELS).choose("a ring", "en")
    assert (choice.likeliest, choice.calibrated) == ("music", "alarm")


def test_a_model_that_would_reason_first_is_made_to_skip_it() -> None:
    engine = KnowingEngine("<think>")
    IntentChooser(engine, LABELS).likelihoods("a ring", "en")
    assert engine.prompts[0].endswith("<think>\n</think>\n\nalarm")


def test_understanding_is_a_share_of_the_requests_and_told_by_intent() -> None:
    intents = IntentSet(LABELS, (IntentRequest("a ring", "en", "alarm"), IntentRequest("来点音", "zh", "music")))
    steps: list[tuple[int, int]] = []
    found = evaluate_understanding(KnowingEngine(), intents, progress=lambda *step: steps.append(step))
    assert (found.requests, found.likeliest, found.calibrated, found.chance) == (2, 0.5, 1.0, 0.5)
    assert found.by_intent == {"alarm": (1, 1), "music": (1, 1)}
    assert steps == [(1, 2), (2, 2)]


def test_what_was_heard_takes_the_place_of_what_was_said() -> None:
    intents = IntentSet(LABELS, (IntentRequest("a ring", "en", "alarm"),) * 2)
    found = evaluate_understanding(KnowingEngine(), intents, heard={1: "move"})
    assert (found.requests, found.calibrated) == (1, 0.0)
    with pytest.raises(UsageError, match="no requests"):
        evaluate_understanding(KnowingEngine(), intents, heard={})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"labels": {}, "requests": []}',
        json.dumps({"labels": LABELS, "requests": [{"intent": "news", "language": "en", "text": "x"}]}).encode(),
        json.dumps({"labels": LABELS, "requests": [{"intent": "alarm", "language": "de", "text": "x"}]}).encode(),
        json.dumps({"labels": LABELS, "requests": [{"intent": "alarm", "language": "en", "text": " "}]}).encode(),
        b"[" * 100_000,
    ],
)
def test_a_file_that_is_no_set_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "intents.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="no set of requests") as raised:
        read_intents(path)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_intents(tmp_path / "none.json")
