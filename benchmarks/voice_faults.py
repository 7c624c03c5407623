"""What goes wrong around a spoken conversation, played to the real session with the engines that are installed.

    python benchmarks/voice_faults.py [--model demo] [--only WORD ...]

Sound: ten minutes of silence, four kinds of noise, clipping, samples that are no numbers, speech without end, other
sample rates; it comes as fast as it is worked off. Engines (voice_fault_engines.py): recogniser,
voice, model and detector fail in mid-turn. Devices (voice_fault_devices.py): `voice listen` in a process of its own,
with microphones and loudspeakers that are programs of this benchmark. The question is spoken by the installed voice.
Prints a table of what happened, which ends in "well" (it recovered, or ended in one clear line) or
"ILL", and one JSON line; exits with 1 if anything is ill.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from voice_fault_devices import DEVICE_FAULTS, Bench
from voice_fault_engines import ENGINE_FAULTS
from voice_fault_talk import END_S, Ear, Found, is_question, said, silence, talking

import pocketseek
from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.apps.voice.events import NoiseChanged, SpeechStarted
from pocketseek.apps.voice.sound.resample import resample
from pocketseek.apps.voice.sound.sound_file import read_sound, wav_bytes

LONG_TEXT = (
    "It was the best of times and it was the worst of times and it was the age of wisdom and it was the age of "
    "foolishness and it was the season of light and it was the season of darkness and we had everything before us and"
)


@dataclass(frozen=True)
class Outcome:
    fault: str
    happened: str
    is_well: bool


def ten_minutes_of_silence(ear: Ear) -> Found:
    with talking(ear) as talk:
        talk.hear(silence(600))
        num_begun = talk.count(SpeechStarted)
        understood = talk.ask(ear)
    return f"{num_begun} turns begun in it; the question after it {said(understood)}", understood and num_begun == 0


def noises(ear: Ear) -> Iterator[tuple[str, Samples]]:
    """Two minutes of each, about 20 dB below full scale."""
    length = 120 * SAMPLE_RATE
    random = np.random.default_rng(11)
    white = random.standard_normal(length)
    spectrum = np.fft.rfft(white)
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), length)
    t = np.arange(length) / SAMPLE_RATE
    hum = sum(np.sin(2 * np.pi * 50 * k * t) / k for k in range(1, 20)) * (1 + 0.3 * np.sin(2 * np.pi * 0.7 * t))
    talk = np.tile(ear.question[::-1], 1 + length // len(ear.question))
    crowd = sum(np.roll(talk[:length], int(random.integers(length))) for _ in range(12))
    for name, sound in (("white noise", white), ("pink noise", pink), ("an engine's hum", hum), ("a crowd", crowd)):
        yield name, (0.1 * sound / np.sqrt(np.mean(np.square(sound)))).astype(np.float32)


def noise(ear: Ear, sound: Samples) -> Found:
    """A question 12 dB above it is heard through it, another one after it."""
    with talking(ear) as talk:
        talk.hear(sound)
        talk.wait(lambda: talk.session.backlog_s == 0)
        num_begun, words = talk.count(SpeechStarted), " ".join(talk.texts).split()
        is_told = talk.count(NoiseChanged) > 0
        num_told = len(talk.texts)
        loud = 0.4 * ear.question / np.sqrt(np.mean(np.square(ear.question)))
        at = SAMPLE_RATE
        over = sound[: len(loud) + 5 * SAMPLE_RATE].copy()
        over[at : at + len(loud)] += loud
        talk.hear(np.clip(over, -1, 1).astype(np.float32))
        talk.wait(lambda: talk.session.backlog_s == 0)
        talk.hear(silence(8))
        talk.wait(lambda: talk.session.backlog_s == 0 and talk.count(SpeechStarted) == len(talk.ended))
        through = is_question(talk.texts[num_told:])
        after = talk.ask(ear)
    told = ", the noise was told" if is_told else ""
    happened = f"{num_begun} turns begun in two minutes, {len(words)} words heard in it{told}; the question in it "
    return f"{happened}{said(through)}, the one after it {said(after)}", after and num_begun <= 12


def clipped(ear: Ear, gain: float) -> Found:
    with talking(ear) as talk:
        sound = ear.question / np.abs(ear.question).max()
        talk.hear(np.clip(gain * sound, -1, 1).astype(np.float32), silence(END_S))
        talk.wait(lambda: bool(talk.ended))
        understood = is_question(talk.texts)
        share = float(np.mean(np.abs(gain * sound) >= 1))
    return f"{share:.0%} of the samples at the limit: {' '.join(talk.texts)!r}", understood


def no_numbers(ear: Ear) -> Found:
    broken = silence(2)
    broken[::3], broken[1::3] = np.nan, np.inf
    with talking(ear) as talk:
        talk.hear(broken)
        understood = talk.ask(ear)
    return f"a third NaN, a third infinite; the question after it {said(understood)}", understood


def speech_without_end(ear: Ear) -> Found:
    """200 s without a pause: it ends at three minutes, and goes on in another turn."""
    sentence = ear.spoken(LONG_TEXT)
    loud = np.flatnonzero(np.abs(sentence) > 0.01)
    sentence = sentence[loud[0] : loud[-1]]
    with talking(ear) as talk:
        talk.hear(np.tile(sentence, 1 + int(200 * SAMPLE_RATE / len(sentence)))[: 200 * SAMPLE_RATE], silence(END_S))
        talk.wait(lambda: talk.session.backlog_s == 0 and talk.count(SpeechStarted) == len(talk.ended))
        seconds = [text.count(" ") + 1 for text in talk.texts]
        failures = talk.failures
        understood = talk.ask(ear)
    happened = f"{len(seconds)} turns of {' and '.join(map(str, seconds))} words; the question after it "
    return happened + said(understood), understood and not failures and len(seconds) >= 2 and sum(seconds) > 300


def other_rate(ear: Ear, rate: int) -> Found:
    """A file of another rate, read as --wav reads it."""
    with TemporaryDirectory() as folder, talking(ear) as talk:
        path = Path(folder) / "question.wav"
        path.write_bytes(wav_bytes(resample(ear.question, SAMPLE_RATE, rate), rate))
        talk.hear(read_sound(path).at(SAMPLE_RATE), silence(END_S))
        talk.wait(lambda: bool(talk.ended))
    return repr(" ".join(talk.texts)), is_question(talk.texts)


def faults(ear: Ear, bench: Bench) -> Iterator[tuple[str, Callable[[], Found]]]:
    for name, device_fault in DEVICE_FAULTS.items():
        yield f"device: {name}", partial(device_fault, bench)
    yield "sound: ten minutes of silence", partial(ten_minutes_of_silence, ear)
    for name, sound in noises(ear):
        yield f"sound: {name}", partial(noise, ear, sound)
    for gain in (4.0, 30.0):
        yield f"sound: clipped, {gain:g} times too loud", partial(clipped, ear, gain)
    yield "sound: samples that are no numbers", partial(no_numbers, ear)
    yield "sound: 200 s of speech without a pause", partial(speech_without_end, ear)
    for rate in (8_000, 11_025, 44_100, 48_000, 96_000):
        yield f"sound: a file of {rate} Hz", partial(other_rate, ear, rate)
    for name, engine_fault in ENGINE_FAULTS.items():
        yield f"engine: {name}", partial(engine_fault, ear)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--only", nargs="*", default=[], help="faults in whose names one of these words stands")
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    with ExitStack() as stack:
        engine = stack.enter_context(closing(pocketseek.load(options.model, prefix_store_bytes=0)))
        ear = stack.enter_context(closing(Ear(engine)))
        folder = Path(stack.enter_context(TemporaryDirectory()))
        bench = Bench(folder, options.model, ear.question, is_question)
        for name, run in faults(ear, bench):
            if not options.only or any(word in name for word in options.only):
                outcomes.append(Outcome(name, *run()))
                print(f"{name:54}{'well' if outcomes[-1].is_well else 'ILL':6}{outcomes[-1].happened}", flush=True)
    print(json.dumps({"benchmark": "voice_faults", "outcomes": [asdict(one) for one in outcomes]}))
    sys.exit(not all(one.is_well for one in outcomes))


if __name__ == "__main__":
    main()
