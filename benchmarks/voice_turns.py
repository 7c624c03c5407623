"""Whether the memory of a spoken conversation is steady: many turns of one session with the engines that are installed.

    python benchmarks/voice_turns.py ask.wav [another.wav ...] [--model demo] [--turns 200] [--max-tokens 12]
    python benchmarks/voice_turns.py ask.wav --only recogniser|voice|detector|model --turns 600

The files are spoken in turn, as fast as they are understood; every answer is written and spoken to its end. Told every
ten turns: anonymous memory and files in memory (MB), threads, open files. The conversation itself grows with every turn
until it fills the context, so it begins anew every --forget turns; pages of prompts that are kept grow to --kv-mb and
are memory, too. --only uses one engine as turns do, alone and in a new thread every --forget turns, to see which of
them it is that grows. Prints a table and ends in one JSON line with how much the memory grew from the 40th turn to the
last, and from the middle to the last.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import pocketseek
from pocketseek.apps.voice.contract import SAMPLE_RATE, Recogniser, Samples, SpeechDetector, Synthesiser
from pocketseek.apps.voice.engine_chat import EngineChat
from pocketseek.apps.voice.engines.choose import choose_detector, choose_recogniser, choose_synthesiser
from pocketseek.apps.voice.events import Transcript, TurnEnded, TurnFailed
from pocketseek.apps.voice.session import VoiceSession, VoiceSettings
from pocketseek.apps.voice.sound.sound_file import read_sound
from pocketseek.apps.voice.style import ReadAloud, spoken_style
from pocketseek.device.reading import read_fields
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.memory_use import give_back_freed_memory, share_one_heap
from pocketseek.settings import read_settings

_EVERY = 10
_SETTLED_TURN = 40
_PATIENCE_S = 900.0  # the machine may be busy with much else
SENTENCES = (
    "Yes.",
    "The capital of France is Paris.",
    "There are three hundred and sixty-five days in a year, and one more in a leap year.",
    "The sky is blue because air scatters blue light more than red light, and it does so all day long.",
    "I would cook fried rice with two eggs, a little soy sauce and spring onions.",
    "A black hole is a place that nothing gets out of, not even light.",
    "No, I do not think so.",
)
"""Said by the model, and asked of it, when engines are used alone: of different lengths, as turns are."""


@dataclass(frozen=True)
class State:
    turn: int
    anonymous_mb: float
    shared_mb: float
    threads: int
    files: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", type=Path, nargs="+")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--language", default="en")
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--forget", type=int, default=20)
    parser.add_argument("--max-tokens", type=int, default=12)
    parser.add_argument("--kv-mb", type=int, default=24, help="pages of K and V: what is kept of prompts fills them")
    parser.add_argument("--only", choices=("recogniser", "voice", "detector", "model"))
    options = parser.parse_args()
    share_one_heap()  # as commands that talk do
    sounds = [read_sound(path).at(SAMPLE_RATE) for path in options.sounds]
    states: list[State] = []
    (whole if options.only is None else alone)(options, sounds, states)
    settled = next((state for state in states if state.turn >= _SETTLED_TURN), states[0])
    middle = next(state for state in states if state.turn >= options.turns / 2)
    result = {
        "benchmark": "voice_turns",
        "only": options.only,
        "grown_mb": states[-1].anonymous_mb - settled.anonymous_mb,
        "second_half_mb": states[-1].anonymous_mb - middle.anonymous_mb,
        "states": [asdict(state) for state in states],
    }
    print(json.dumps(result))


def whole(options: argparse.Namespace, sounds: Sequence[Samples], states: list[State]) -> None:
    settings = read_settings()
    with closing(opened_model(options)) as engine:
        recogniser = choose_recogniser(settings, options.language, room=engine.guests).open()
        voice = choose_synthesiser(settings, options.language, room=engine.guests).open()
        with closing(recogniser), closing(voice):
            print(f"{recogniser.name} listens, {voice.name} speaks, {options.model} answers")
            print_titles()
            done = 0
            while done < options.turns:
                count = min(options.forget, options.turns - done)
                session = VoiceSession(
                    recogniser,
                    voice,
                    choose_detector(settings).open(),
                    chat_of(engine, options.language, options.max_tokens),
                    ReadAloud(),
                    VoiceSettings(language=options.language),
                )
                with closing(session):
                    hold(session, sounds, done, count, states)
                done += count


def alone(options: argparse.Namespace, sounds: Sequence[Samples], states: list[State]) -> None:
    """One engine, used as turns use it."""
    with ExitStack() as stack:
        use = used_alone(options, sounds, stack)
        print_titles()
        for first in range(0, options.turns, options.forget):
            numbers = range(first + 1, min(first + options.forget, options.turns) + 1)
            with ThreadPoolExecutor(1) as thread:  # as sessions have threads of their own
                for number in numbers:
                    thread.submit(use, number).result()
                    note(number, states)


def used_alone(options: argparse.Namespace, sounds: Sequence[Samples], stack: ExitStack) -> Callable[[int], None]:
    """What a turn of that number asks of it."""
    settings = read_settings()
    if options.only == "recogniser":
        recogniser = stack.enter_context(closing(choose_recogniser(settings, options.language).open()))
        return lambda number: listen(recogniser, sounds[number % len(sounds)], options.language)
    if options.only == "voice":
        voice = stack.enter_context(closing(choose_synthesiser(settings, options.language).open()))
        return lambda number: speak(voice, SENTENCES[number % len(SENTENCES)], options.language)
    if options.only == "detector":
        detector = choose_detector(settings).open()
        return lambda number: notice(detector, sounds[number % len(sounds)])
    engine = stack.enter_context(closing(opened_model(options)))
    chats: dict[int, EngineChat] = {}

    def converse(number: int) -> None:
        begun = (number - 1) // options.forget
        if begun not in chats:
            chats.clear()
            chats[begun] = chat_of(engine, options.language, options.max_tokens)
        answer(chats[begun], SENTENCES[number % len(SENTENCES)])

    return converse


def listen(recogniser: Recogniser, sound: Samples, language: str) -> None:
    utterance = recogniser.start(language)
    for piece in np.array_split(sound, 4):
        utterance.feed(piece)
        utterance.partial()
    utterance.finish()


def speak(voice: Synthesiser, text: str, language: str) -> None:
    for _ in voice.speak(text, language):
        pass


def notice(detector: SpeechDetector, sound: Samples) -> None:
    size = detector.frame_samples
    for start in range(0, len(sound) - size + 1, size):
        detector.probability(sound[start : start + size])


def answer(chat: EngineChat, question: str) -> None:
    words = question.split()
    chat.warm(" ".join(words[: len(words) // 2]))
    chat.keep(question, "".join(event.text for event in chat.answer(question)))


def opened_model(options: argparse.Namespace) -> Engine:
    return pocketseek.load(options.model, kv_bytes=options.kv_mb << 20, prefix_store_bytes=0)


def chat_of(engine: Engine, language: str, max_tokens: int) -> EngineChat:
    style = spoken_style(language, max_tokens=max_tokens)
    return EngineChat(engine, system=style.system, max_tokens=max_tokens)


def hold(session: VoiceSession, sounds: Sequence[Samples], done: int, count: int, states: list[State]) -> None:
    """So many turns, each fed when the one before has ended."""
    ended, heard = threading.Semaphore(0), []

    def read() -> None:
        for event in session.events():
            if isinstance(event, Transcript):
                heard.append(event.text)
            elif isinstance(event, TurnFailed):
                raise SystemExit(event.message)
            elif isinstance(event, TurnEnded):
                ended.release()

    threading.Thread(target=read, daemon=True).start()
    for number in range(count):
        turn = done + number + 1
        session.feed(np.concatenate([sounds[turn % len(sounds)], np.zeros(2 * SAMPLE_RATE, np.float32)]))
        if not ended.acquire(timeout=_PATIENCE_S):
            raise SystemExit(f"turn {turn} did not end; heard so far: {heard[-1:]}")
        session.played(1e6)
        note(turn, states)


def print_titles() -> None:
    print(f"{'turn':>6}{'anonymous MB':>14}{'shared MB':>11}{'threads':>9}{'files':>7}")


def note(turn: int, states: list[State]) -> None:
    if turn % _EVERY == 0:
        state = now(turn)
        states.append(state)
        print(
            f"{turn:>6}{state.anonymous_mb:>14.1f}{state.shared_mb:>11.1f}{state.threads:>9}{state.files:>7}",
            flush=True,
        )


def now(turn: int) -> State:
    give_back_freed_memory()
    fields = read_fields(Path("/proc/self/status"))
    anonymous, shared = (int(fields[name].split()[0]) / 1000 for name in ("RssAnon", "RssShmem"))
    return State(turn, anonymous, shared, threading.active_count(), len(os.listdir("/proc/self/fd")))


if __name__ == "__main__":
    main()
