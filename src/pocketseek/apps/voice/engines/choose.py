"""Which engine listens and which one speaks, by what is installed here, and why that one.

Looked through are the speech parts that are installed as packages (parts.py fetches some), the folders below `<data
directory>/voice` that somebody put there, each with one model, and the libraries that could run them, which are not
loaded for that. On phones sherpa-onnx goes before faster-whisper. A model that knows the language goes before one that
knows all, and the smaller one of two before the larger. eSpeak NG speaks when nothing better does, and the parts of an
answer that are in another language.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator, Sequence
from ctypes.util import find_library
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Literal, TypeVar

from pocketseek.apps.voice.candidates import (
    Candidate,
    packaged_recognisers,
    packaged_voices,
    recogniser_folders,
    voice_folders,
)
from pocketseek.apps.voice.contract import Recogniser, SpeechDetector, Synthesiser
from pocketseek.apps.voice.engines.asr_termux import NoRecogniser
from pocketseek.apps.voice.engines.tts_espeak import EspeakSynthesiser
from pocketseek.apps.voice.engines.tts_termux import PROGRAM as TERMUX_SPEAK
from pocketseek.apps.voice.engines.tts_termux import TermuxSynthesiser
from pocketseek.apps.voice.engines.vad import SileroDetector
from pocketseek.apps.voice.engines.voices import Voices
from pocketseek.apps.voice.installed_parts import InstalledParts, SecretOf
from pocketseek.apps.voice.on_demand import OnDemand, OnDemandRecogniser, OnDemandSynthesiser, Room
from pocketseek.errors import VoiceError
from pocketseek.libraries import is_termux
from pocketseek.settings import Settings

Reason = Literal["named", "language", "any_language", "device", "only", "carried"]
T_co = TypeVar("T_co", covariant=True)

ANDROID = "android"
"""Name of what Android itself has: its recognition (asr_termux.py) and its voice."""
_WORK_BYTES = {"faster_whisper": 50_000_000, "piper": 130_000_000}
"""What an engine takes at the most besides its weights as they are on the disk, as measured (docs/lab-notes.md)."""
_UNKNOWN_WORK_BYTES = 80_000_000
_SILERO = "silero_vad.onnx"


@dataclass(frozen=True)
class Chosen(Generic[T_co]):
    """reason: named (asked for), language (made for it), any_language (knows it among others), device (the kind for
    phones), only (nothing else is here), carried (a library brings it along). missing: libraries that would have let
    something else be chosen."""

    name: str
    reason: Reason
    open: Callable[[], T_co]
    missing: tuple[str, ...] = ()


def choose_recogniser(
    settings: Settings,
    language: str | None,
    *,
    name: str | None = None,
    room: Room | None = None,
    secret_of: SecretOf | None = None,
) -> Chosen[Recogniser]:
    """name: of a part or folder, instead of choosing; `android` is one, too. secret_of: of sealed parts. Opened on
    demand, in a room. Raises VoiceError if there is none."""
    if name == ANDROID:
        return Chosen(NoRecogniser.name, "named", NoRecogniser)
    found = [one for one in recognisers(settings, secret_of) if name is None or one.name == name]
    best, reason, missing = _best(found, language, name, "speech recogniser")

    def opened() -> Recogniser:
        engine = OnDemand(best.name, best.open, num_bytes=_memory_bytes(best), room=room)
        return OnDemandRecogniser(engine, best.languages)

    return Chosen(best.name, reason, opened, missing)


def choose_synthesiser(
    settings: Settings,
    language: str,
    *,
    name: str | None = None,
    room: Room | None = None,
    secret_of: SecretOf | None = None,
    may_play_itself: bool = False,
) -> Chosen[Synthesiser]:
    """As above; `espeak` and `android` are names, too. may_play_itself: whether Android's voice will do, which gives
    silence to its caller while the phone speaks: right at the phone's own loudspeaker, and nowhere else."""
    if name == ANDROID and not may_play_itself:
        raise VoiceError("Android's own voice plays by itself and cannot be written or sent; use --voice espeak")
    every = [one for one in voices(settings, secret_of) if may_play_itself or one.name != ANDROID]
    best, reason, missing = _best([one for one in every if name is None or one.name == name], language, name, "voice")
    usable = [one for one in every if one.is_usable and one != best]

    def opened() -> Synthesiser:
        rest = [(one.languages, _on_demand(one, room)) for one in usable]
        return Voices([((*best.languages, *((language,) if name else ())), _on_demand(best, room)), *rest])

    return Chosen(best.name, reason, opened, missing)


def choose_detector(settings: Settings, *, secret_of: SecretOf | None = None) -> Chosen[SpeechDetector]:
    """Raises VoiceError if there is none."""
    parts = InstalledParts(settings, secret_of)
    for part in parts.of_kind("detector"):
        return Chosen(
            part.name, "only", partial(parts.open, part.path, lambda folder: SileroDetector(folder / _SILERO))
        )
    own = settings.voice_dir / "silero-vad" / _SILERO
    if own.is_file():
        return Chosen("silero-vad", "only", lambda: SileroDetector(own))
    for library, pattern in (("faster_whisper", "assets/silero_vad*.onnx"), ("silero_vad", "data/silero_vad.onnx")):
        spec = importlib.util.find_spec(library)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            if carried := sorted(Path(folder).glob(pattern)):
                return Chosen(f"silero-vad ({library})", "carried", partial(SileroDetector, carried[-1]))
    raise VoiceError("the model that notices speech is not here; run `pocketseek voice setup`")


def recognisers(settings: Settings, secret_of: SecretOf | None = None) -> Iterator[Candidate[Recogniser]]:
    """Those that are here, whether they can be used or not, the kind for this device first."""
    found = [*packaged_recognisers(InstalledParts(settings, secret_of)), *recogniser_folders(settings.voice_dir)]
    first = "sherpa_onnx" if is_termux() else "faster_whisper"
    yield from sorted(found, key=lambda one: one.library != first)


def voices(settings: Settings, secret_of: SecretOf | None = None) -> Iterator[Candidate[Synthesiser]]:
    yield from packaged_voices(InstalledParts(settings, secret_of))
    yield from voice_folders(settings.voice_dir)
    if shutil.which(TERMUX_SPEAK) is not None:
        yield Candidate(ANDROID, "", (), 0, TermuxSynthesiser)
    if has_espeak():
        yield Candidate("espeak", "", (), 0, EspeakSynthesiser)


def has_espeak() -> bool:
    is_packaged = importlib.util.find_spec("espeakng_loader") is not None
    return is_packaged or shutil.which("espeak-ng") is not None or find_library("espeak-ng") is not None


def _best(
    found: Sequence[Candidate[T_co]], language: str | None, name: str | None, what: str
) -> tuple[Candidate[T_co], Reason, tuple[str, ...]]:
    usable = [one for one in found if one.is_usable and one.knows(language)]
    missing = tuple(dict.fromkeys(one.library for one in found if not one.is_usable and one.knows(language)))
    if not usable:
        raise _none_error(language, name, what, missing, bool(found))
    if name is not None:
        return usable[0], "named", missing
    special = [one for one in usable if language is not None and language in one.languages]
    best = min(special or [one for one in usable if not one.languages] or usable, key=_order(usable))
    reason: Reason = "language" if special else "any_language"
    return best, "only" if len(usable) == 1 else reason, missing


def _order(usable: Sequence[Candidate[T_co]]) -> Callable[[Candidate[T_co]], tuple[int, int]]:
    """The kind that comes first, then the smaller one."""
    libraries = list(dict.fromkeys(one.library for one in usable))
    return lambda one: (libraries.index(one.library), one.num_bytes)


def _none_error(
    language: str | None, name: str | None, what: str, missing: tuple[str, ...], is_there: bool
) -> VoiceError:
    for_language = f" for {language!r}" if language else ""
    if missing:
        libraries = " or ".join(_PACKAGES[library] for library in missing)
        return VoiceError(f"the {what}{for_language} that is here needs a library; pip install {libraries}")
    if name is not None:
        problem = "does not know this language" if is_there else "is not here"
        return VoiceError(f"{name[:60]!r} {problem}; `pocketseek voice setup` shows what is")
    option = f" --language {language}" if language else ""
    return VoiceError(f"there is no {what}{for_language} here; run `pocketseek voice setup{option}`")


_PACKAGES = {"faster_whisper": "faster-whisper", "sherpa_onnx": "sherpa-onnx", "piper": "piper-tts"}


def _on_demand(one: Candidate[Synthesiser], room: Room | None) -> Synthesiser:
    if not one.library:
        return one.open()
    engine = OnDemand(one.name, one.open, num_bytes=_memory_bytes(one), room=room)
    return OnDemandSynthesiser(engine, one.sample_rate)


def _memory_bytes(one: Candidate[T_co]) -> int:
    """What it will take."""
    return one.num_bytes + _WORK_BYTES.get(one.library, _UNKNOWN_WORK_BYTES)
