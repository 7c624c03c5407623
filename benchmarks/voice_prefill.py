"""What computing a prompt ahead, while a question is still spoken, saves of the time to the first token.

    python benchmarks/voice_prefill.py [--model demo] [--rounds 5] [--threads 1]

Without sound: a question becomes known a few words at a time, as two readings agree on it, and is computed ahead as a
voice session does it (`EngineChat.warm`); then it is answered, and the time until the first token is told, next to that
of the same without anything computed ahead. Four cases: a short and a long question in a new conversation, a long one
after five turns (whose pages are found either way), and a long one after a system prompt of the user's own of about 250
words. What is computed ahead are whole pages of 64 tokens. Every round begins with words of its own, so that nothing of
another round is found. Prints a table of medians, with processor seconds of the whole process beside those on the clock
(with one thread they say how much work it is on a busy machine, too), and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass

from voice_dialogues import LONG_QUESTIONS, QUESTIONS

import pocketseek
from pocketseek.apps.conversation import Turn
from pocketseek.apps.voice.engine_chat import EngineChat
from pocketseek.apps.voice.style import spoken_style
from pocketseek.runtime.engine import Engine

_KNOWN_SHARES = (0.25, 0.45, 0.65, 0.85)  # of a question's words, when something is computed ahead
_HOUSE_RULES = " ".join(LONG_QUESTIONS[3:])


@dataclass(frozen=True)
class Case:
    """turns: so many before the question. system: what the user says of their own about how to answer."""

    question: str
    num_turns: int = 0
    system: str = ""


CASES = {
    "short question": Case(QUESTIONS["en"][9]),
    "long question": Case(LONG_QUESTIONS[0]),
    "long, after five turns": Case(LONG_QUESTIONS[0], num_turns=5),
    "long, long system prompt": Case(LONG_QUESTIONS[0], system=_HOUSE_RULES),
}


@dataclass(frozen=True)
class Wait:
    """found: prompt tokens that were computed before the answer began."""

    seconds: float
    processor_s: float
    found: int


def first_token(engine: Engine, case: Case, name: str, *, ahead: bool) -> Wait:
    system = spoken_style("en", system=f"Conversation {name}. {case.system}".strip()).system
    chat = EngineChat(engine, system=system, max_tokens=16, turns=turns_of(case))
    if case.num_turns:  # the last answer left the pages of all that was before
        exhaust(chat.answer("Thank you."))
    if ahead:
        chat.warm("")
        words = case.question.split()
        for share in _KNOWN_SHARES:
            chat.warm(" ".join(words[: int(share * len(words))]))
    began_s, worked_s = time.perf_counter(), time.process_time()
    with closing(chat.answer(case.question)) as events:
        event = next(events)
        return Wait(time.perf_counter() - began_s, time.process_time() - worked_s, event.num_cached_prompt_tokens)


def turns_of(case: Case) -> list[Turn]:
    pairs = zip(QUESTIONS["en"], LONG_QUESTIONS, strict=False)
    turns = [turn for asked, said in pairs for turn in (Turn("user", asked), Turn("assistant", said))]
    return turns[: 2 * case.num_turns]


def exhaust(events: Iterable[object]) -> None:
    for _ in events:
        pass


def prompt_tokens(engine: Engine, case: Case) -> int:
    chat = EngineChat(engine, system=spoken_style("en", system=case.system).system, turns=turns_of(case))
    return len(engine.encode_prompt(chat._prompt(case.question)))


def middle(waits: Sequence[Wait]) -> Wait:
    return Wait(
        statistics.median(wait.seconds for wait in waits),
        statistics.median(wait.processor_s for wait in waits),
        waits[-1].found,
    )


def cell(wait: Wait) -> str:
    return f"{wait.seconds:.3f} {wait.processor_s:.3f} ({wait.found})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    facts: dict[str, dict[str, object]] = {}
    with closing(pocketseek.load(options.model, num_threads=options.threads, prefix_store_bytes=0)) as engine:
        print(f"{options.model}: seconds to the first token, of the processor (prompt tokens found computed)")
        print(f"{'':28}{'tokens':>8}{'nothing ahead':>22}{'computed ahead':>22}{'saved':>8}{'processor':>10}")
        for title, case in CASES.items():
            waits: dict[bool, list[Wait]] = {False: [], True: []}
            for number in range(options.rounds):
                for ahead in (False, True):
                    name = f"{number} {'with' if ahead else 'without'} {title}"
                    waits[ahead].append(first_token(engine, case, name, ahead=ahead))
            cold, warm = middle(waits[False]), middle(waits[True])
            tokens = prompt_tokens(engine, case)
            saved = f"{cold.seconds - warm.seconds:>8.3f}{cold.processor_s - warm.processor_s:>10.3f}"
            print(f"{title:28}{tokens:>8}{cell(cold):>22}{cell(warm):>22}{saved}")
            facts[title] = {"tokens": tokens, "nothing_ahead": asdict(cold), "ahead": asdict(warm)}
    print(json.dumps({"benchmark": "voice_prefill", "model": options.model, "rounds": options.rounds, "cases": facts}))


if __name__ == "__main__":
    main()
