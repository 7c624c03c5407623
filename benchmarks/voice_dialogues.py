"""Questions spoken by a synthetic voice, with what is said, for `voice bench`: made here, so anybody has the same.

    python benchmarks/voice_dialogues.py FOLDER [--voice espeak|piper] [--what questions|long|intents]
        [--language en|zh] [--noise-db 20]

questions: things one asks an assistant, 20 in English and 20 in Chinese. long: eight in English of 42 to 46 words, a
quarter of a minute each. intents: the requests of the set that understanding is measured with
(apps/voice/bench/intents.json), and `labels.tsv` with what is wanted. Speed and pitch differ from file to file, by
their numbers, as people do; --noise-db adds white noise of so many dB below the speech. How well a model understands
them: `--what intents --language en`, then `pocketseek voice bench MODEL --wav FOLDER --recognise-only --fast`, which
tells it for the same requests typed, too. A synthetic voice is no person: its error rates tell how recognisers compare,
not how well people are understood.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pocketseek.apps.voice.bench.intents import read_intents
from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples, Synthesiser
from pocketseek.apps.voice.engines.tts_espeak import EspeakSynthesiser
from pocketseek.apps.voice.engines.tts_piper import PiperSynthesiser
from pocketseek.apps.voice.sound.resample import resample
from pocketseek.apps.voice.sound.sound_file import wav_bytes
from pocketseek.apps.voice.words.spoken_text import spoken

_SPEEDS = (150, 165, 180, 195)  # words a minute
_BEFORE_S, _AFTER_S = 0.4, 0.3  # of silence in the file

QUESTIONS = {
    "en": (
        "What is the capital of France?",
        "Who wrote Romeo and Juliet?",
        "How many days are there in a leap year?",
        "Why is the sky blue?",
        "What should I cook with rice and eggs?",
        "Can you explain what a black hole is?",
        "What is the largest ocean on Earth?",
        "Tell me a short story about a brave cat.",
        "How do I get rid of a headache?",
        "What is the difference between a virus and a bacterium?",
        "Give me three ideas for a birthday present.",
        "How far away is the moon?",
        "What does the word serendipity mean?",
        "When did the second world war end?",
        "How long should I boil an egg?",
        "Which planet is closest to the sun?",
        "What is a good way to learn a new language?",
        "Who painted the Mona Lisa?",
        "Is it better to run in the morning or in the evening?",
        "What can I see in London in one day?",
    ),
    "zh": (
        "法国的首都是哪里？",
        "红楼梦是谁写的？",
        "闰年有多少天？",
        "天空为什么是蓝色的？",
        "用米饭和鸡蛋可以做什么菜？",
        "你能解释一下什么是黑洞吗？",
        "世界上最大的海洋是哪个？",
        "给我讲一个关于小猫的短故事。",
        "头疼应该怎么办？",
        "病毒和细菌有什么区别？",
        "给我三个生日礼物的建议。",
        "月亮离我们有多远？",
        "画蛇添足是什么意思？",
        "第二次世界大战是哪一年结束的？",
        "鸡蛋要煮几分钟？",
        "哪颗行星离太阳最近？",
        "怎样才能学好一门外语？",
        "蒙娜丽莎是谁画的？",
        "早上跑步好还是晚上跑步好？",
        "一天时间在北京可以看什么？",
    ),
}

LONG_QUESTIONS = (
    "I am going to visit my parents next weekend and the train takes almost four hours, so I would like to read "
    "something on the way. I enjoy books about the history of science, but nothing too difficult. What would you "
    "recommend?",
    "My neighbour has a dog that barks every morning at five o'clock and wakes up the whole house. I have already "
    "talked to him twice, and he was friendly, but nothing has changed. What could I say to him next time, without "
    "starting a fight?",
    "Yesterday I bought a bag of potatoes, some carrots, two onions and a piece of beef, and I have about one hour "
    "before my friends arrive for dinner. One of them does not eat butter or milk. What can I cook for all of us?",
    "I have been running three times a week since the beginning of the year, and at first it was easy, but now my "
    "left knee hurts a little after every run. Should I stop for a while, or should I run more slowly?",
    "Our school is planning a small garden behind the building, where the sun shines only in the morning and the "
    "ground is quite wet. The children would like to grow something that they can eat in June. Which plants should we "
    "choose?",
    "When I was a child, my grandmother told me that you can see more stars in the mountains than in the city, and "
    "that the moon looks larger when it is close to the horizon. Are both of these things true, and why?",
    "I am learning to play the guitar and I practise for half an hour every evening, but when I change from one chord "
    "to the next I always lose the rhythm. Do you know a simple exercise that would help me with that?",
    "We are moving to a smaller flat in the spring, and we have far too many things, from old furniture to boxes full "
    "of letters that nobody has opened for years. How would you decide what to keep, what to sell, and what to give "
    "away?",
)


def texts_of(what: str) -> Iterator[tuple[str, str, str, str]]:
    """(file name, language, text, intent or nothing)."""
    if what == "questions":
        for language, questions in QUESTIONS.items():
            for number, text in enumerate(questions, 1):
                yield f"question-{language}-{number:02}", language, text, ""
    elif what == "long":
        for number, text in enumerate(LONG_QUESTIONS, 1):
            yield f"long-en-{number:02}", "en", text, ""
    else:
        for number, request in enumerate(read_intents().requests, 1):
            yield f"intent-{number:03}-{request.language}", request.language, request.text, request.intent


def voice_of(options: argparse.Namespace, number: int) -> Synthesiser:
    if options.voice == "piper":
        if options.piper_model is None:
            raise SystemExit("give the voice with --piper-model FILE.onnx")
        return PiperSynthesiser(options.piper_model)
    return EspeakSynthesiser(words_per_minute=_SPEEDS[number % len(_SPEEDS)])


def sound_of(text: str, language: str, voice: Synthesiser) -> Samples:
    pieces = list(voice.speak(spoken(text, language), language))
    samples = resample(np.concatenate(pieces), voice.sample_rate, SAMPLE_RATE)
    silences = (np.zeros(int(seconds * SAMPLE_RATE), np.float32) for seconds in (_BEFORE_S, _AFTER_S))
    before, after = silences
    return np.concatenate([before, 0.5 * samples / max(1e-6, float(np.abs(samples).max())), after]).astype(np.float32)


def with_noise(samples: Samples, below_db: float, seed: int) -> Samples:
    power = float((samples.astype(np.float64) ** 2).mean())
    noise = np.random.default_rng(seed).normal(0, np.sqrt(power * 10 ** (-below_db / 10)), len(samples))
    return (samples + noise).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--what", choices=("questions", "long", "intents"), default="questions")
    parser.add_argument("--language", choices=("en", "zh"))
    parser.add_argument("--voice", choices=("espeak", "piper"), default="espeak")
    parser.add_argument("--piper-model", type=Path)
    parser.add_argument("--noise-db", type=float)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    labels: list[str] = []
    piper = voice_of(options, 0) if options.voice == "piper" else None
    for number, (name, language, text, intent) in enumerate(texts_of(options.what)):
        if options.language not in (None, language):
            continue
        samples = sound_of(text, language, piper or voice_of(options, number))
        if options.noise_db is not None:
            samples = with_noise(samples, options.noise_db, number)
        (options.folder / f"{name}.wav").write_bytes(wav_bytes(samples, SAMPLE_RATE))
        (options.folder / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
        if intent:
            labels.append(f"{name}.wav\t{language}\t{intent}\n")
    if labels:
        (options.folder / "labels.tsv").write_text("".join(labels), encoding="utf-8")
    print(f"{len(list(options.folder.glob('*.wav')))} files in {options.folder}")


if __name__ == "__main__":
    main()
