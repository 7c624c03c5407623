"""Speech to text by Whisper, with the library faster-whisper (CTranslate2).

Whisper reads a stretch of up to 30 s at once and knows no streaming, so the text so far is made by reading all of the
present stretch again. An utterance that gets longer is cut at its quietest moment; what is before the cut is read a
last time and stays, and its words are told to the model as what came before. `finish` reads nothing again that
`partial` has just read, unless that is doubtful.

The encoder takes as long for a word as for 30 s, because it is always given 30 s, most of them silence. Here it is
given the sound and a few seconds of silence, which takes a fraction of that. Now and then a model says things twice
then, or is not sure of itself; such a stretch is read again with all 30 s, as faster-whisper itself does it, but only
once it is over, or silence says that it may be: of half a word a model is seldom sure, and the second reading takes
five times as long as the first, in which speech goes on (docs/lab-notes.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples, Utterance
from pocketseek.errors import FormatError, UsageError
from pocketseek.libraries import load_library

CUT_S = 26.0
_EARLIEST_CUT_S = 12.0  # a stretch has at least so much
_QUIET_S = 0.25
_SHORTEST_S = 0.2  # less than that is no word
_MOST_SILENT = 0.8  # probability of no speech from which a doubtful text is none
_LEAST_SURE = -1.0  # mean log-probability of a token below which a text is doubtful
_PROMPT_CHARS = 200
_FRAMES_PER_S = 100
_WHOLE_FRAMES = 3000  # what Whisper was trained on: 30 s
_SILENT_FRAMES = 500  # after the sound; with less, models repeat themselves
_STEP_FRAMES = 250
_MOST_TOKENS = 448
_MOST_TOKENS_PER_S = 12  # more than anybody says; a model that repeats itself ends there, not after 20 s of work


class WhisperRecogniser:
    """model: a folder as CTranslate2 writes it. Raises UnsupportedError without the library, FormatError."""

    def __init__(self, model: Path, *, num_threads: int = 0, beam_size: int = 5) -> None:
        self._library = load_library("faster_whisper", "pip install faster-whisper", needed_for="Whisper")
        try:
            self._model = self._library.WhisperModel(
                str(model), device="cpu", compute_type="int8", cpu_threads=num_threads, local_files_only=True
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise FormatError(f"{model} is no Whisper model; run `pocketseek voice setup` again") from error
        filters = self._model.feature_extractor.mel_filters
        if filters.any(axis=1).all():
            self._model.feature_extractor.mel_filters = _Bands(filters)
        self._is_multilingual = bool(self._model.model.is_multilingual)
        self.languages: tuple[str, ...] = () if self._is_multilingual else ("en",)
        self.name = f"Whisper ({model.name})"
        self._beam_size = beam_size

    def start(self, language: str | None) -> Utterance:
        if language is not None and self.languages and language not in self.languages:
            raise UsageError(f"this Whisper model knows English only, not {language!r}; run `pocketseek voice setup`")
        return _Stretches(self, language if self._is_multilingual else "en")

    def read(self, samples: Samples, language: str | None, before: str, *, is_over: bool = True) -> Heard:
        """One stretch of at most 30 s. before: what was said until then. is_over: likely that is all of it."""
        if len(samples) < _SHORTEST_S * SAMPLE_RATE:
            return Heard("")
        features = self._model.feature_extractor(samples)[..., : _FRAMES_PER_S * 30]
        num_frames = min(_WHOLE_FRAMES, -(-(features.shape[-1] + _SILENT_FRAMES) // _STEP_FRAMES) * _STEP_FRAMES)
        reading = self._reading(features, num_frames, language, before)
        seconds = len(samples) / SAMPLE_RATE
        is_doubtful = num_frames < _WHOLE_FRAMES and reading.is_doubtful(seconds)
        if is_doubtful and is_over:
            again = self._reading(features, _WHOLE_FRAMES, language, before)
            if reading.says_too_much(seconds) or again.sureness > reading.sureness:
                reading = again
        return Heard("" if reading.is_no_speech else reading.text, is_doubtful and not is_over)

    def _reading(self, features: NDArray[np.float32], num_frames: int, language: str | None, before: str) -> _Reading:
        model = self._model.model
        missing = num_frames - features.shape[-1]
        encoded = self._model.encode(np.pad(features, ((0, 0), (0, max(0, missing)))))
        if language is None:
            language = model.detect_language(encoded)[0][0][0].strip("<|>")
        tokenizer = self._library.tokenizer.Tokenizer(
            self._model.hf_tokenizer, self._is_multilingual, task="transcribe", language=language
        )
        said_before = tokenizer.encode(" " + before[-_PROMPT_CHARS:].strip()) if before else []
        prompt = self._model.get_prompt(tokenizer, said_before, without_timestamps=True)
        result = model.generate(
            encoded,
            [prompt],
            beam_size=self._beam_size,
            max_length=min(_MOST_TOKENS, len(prompt) + 16 + _MOST_TOKENS_PER_S * features.shape[-1] // _FRAMES_PER_S),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=self._library.transcribe.get_suppressed_tokens(tokenizer, [-1]),
        )[0]
        token_ids = result.sequences_ids[0]
        return _Reading(tokenizer.decode(token_ids).strip(), len(token_ids), result.scores[0], result.no_speech_prob)

    def close(self) -> None:
        self._model.model.unload_model()


class _Bands:
    """The filters that make 80 bands of 201 frequencies, of which each takes a few: `filters @ spectrum` without the
    zeros, and without BLAS, whose threads spin on for longer than this takes, on the cores of everybody else.

    filters: (bands, frequencies), none of them empty.
    """

    def __init__(self, filters: NDArray[np.float32]) -> None:
        bands, self._frequencies = np.nonzero(filters)
        self._weights = filters[bands, self._frequencies][:, None]
        self._starts = np.searchsorted(bands, np.arange(len(filters)))

    def __matmul__(self, spectrum: NDArray[np.float32]) -> NDArray[np.float32]:
        """spectrum: (frequencies, frames); gives (bands, frames)."""
        return np.add.reduceat(self._weights * spectrum[self._frequencies], self._starts, axis=0)


@dataclass(frozen=True)
class Heard:
    """is_doubtful: it is worth being read once more when it is over."""

    text: str
    is_doubtful: bool = False


@dataclass(frozen=True)
class _Reading:
    """sureness: mean log-probability of a token. silence: probability that nobody speaks."""

    text: str
    num_tokens: int
    sureness: float
    silence: float

    @property
    def is_no_speech(self) -> bool:
        """Of noise Whisper makes words, and says that it is not sure of them."""
        return self.silence > _MOST_SILENT and self.sureness < _LEAST_SURE

    def is_doubtful(self, seconds: float) -> bool:
        """It hardly believes itself, or should not be believed."""
        return self.sureness < _LEAST_SURE or self.says_too_much(seconds)

    def says_too_much(self, seconds: float) -> bool:
        """It says things twice, or more than can be said in the time."""
        return self.num_tokens > 10 + 8 * seconds or says_twice(self.text)


def says_twice(text: str) -> bool:
    """Whether several words at its end are a repetition of those before them, or it is nothing but two or more words
    said again and again."""
    words = re.findall(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+", text.casefold())
    at_end = any(words[-size:] == words[-2 * size : -size] for size in range(4, len(words) // 2 + 1))
    return at_end or any(words[size:] == words[:-size] for size in range(2, len(words) // 2 + 1))


class _Stretches:
    """An utterance: what is read for good, and the stretch that is still read again."""

    def __init__(self, recogniser: WhisperRecogniser, language: str | None) -> None:
        self._recogniser = recogniser
        self._language = language
        self._done = ""
        self._pieces: list[Samples] = []
        self._num_samples = 0
        self._num_read = 0
        self._heard = Heard("")

    def feed(self, samples: Samples) -> None:
        self._pieces.append(samples)
        self._num_samples += len(samples)
        while self._num_samples > CUT_S * SAMPLE_RATE:
            self._cut()

    def partial(self, *, may_be_over: bool = False) -> str:
        if self._num_read != self._num_samples or (may_be_over and self._heard.is_doubtful):
            self._heard = self._recogniser.read(self._stretch(), self._language, self._done, is_over=may_be_over)
            self._num_read = self._num_samples
        return joined(self._done, self._heard.text)

    def finish(self) -> str:
        text = self.partial(may_be_over=True)
        self.cancel()
        return text

    def cancel(self) -> None:
        self._pieces, self._num_samples, self._num_read = [], 0, 0

    def _stretch(self) -> Samples:
        if len(self._pieces) != 1:
            self._pieces = [np.concatenate(self._pieces)] if self._pieces else [np.zeros(0, np.float32)]
        return self._pieces[0]

    def _cut(self) -> None:
        samples = self._stretch()
        place = quietest(samples, int(_EARLIEST_CUT_S * SAMPLE_RATE), int(CUT_S * SAMPLE_RATE))
        self._done = joined(self._done, self._recogniser.read(samples[:place], self._language, self._done).text)
        self._pieces, self._num_samples, self._num_read = [samples[place:]], len(samples) - place, 0
        self._heard = Heard("")


def quietest(samples: Samples, first: int, end: int) -> int:
    """The middle of the quietest quarter of a second between two places."""
    size = int(_QUIET_S * SAMPLE_RATE)
    energy = np.concatenate([[0.0], np.cumsum(samples[first:end].astype(np.float64) ** 2)])
    windows = energy[size:] - energy[:-size]
    return first + int(np.argmin(windows)) + size // 2


def joined(before: str, after: str) -> str:
    """Two texts of one speaker; Chinese needs no space."""
    needs_space = before and after and after[0].isascii() and before[-1].isascii()
    return f"{before} {after}" if needs_space else before + after
