"""The edge of a spoken conversation in the terminal: a source of sound (sources.py), and where its answers go."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from pocketseek.apps.voice.contract import SAMPLE_RATE
from pocketseek.apps.voice.events import (
    AnswerAudio,
    Interrupted,
    Transcript,
    TurnFailed,
    VoiceEvent,
)
from pocketseek.apps.voice.failures import failure_line
from pocketseek.apps.voice.session import VoiceSession
from pocketseek.apps.voice.sound.devices import Loudspeaker, open_loudspeaker
from pocketseek.apps.voice.sound.sound_file import SoundWriter, read_sound
from pocketseek.cli.console import note
from pocketseek.cli.messages import Words
from pocketseek.cli.voice import voice_messages
from pocketseek.cli.voice.sources import Source, open_source
from pocketseek.errors import PocketseekError, StorageError, UsageError, VoiceError

_TICK_S = 0.1


class Edge(Protocol):
    """devices: names of microphone and loudspeaker, if it has them."""

    @property
    def devices(self) -> tuple[str, str] | None: ...

    def begin(self, session: VoiceSession) -> None: ...

    def see(self, event: VoiceEvent) -> None:
        """In the thread that reads the events. Raises what went wrong with the source or the sink."""

    def end(self) -> None:
        """All events were seen. Raises what went wrong with the source."""


@contextmanager
def open_edge(
    sounds: Sequence[Path],
    out: Path | None,
    *,
    microphone: str | None,
    loudspeaker: str | None,
    push_to_talk: bool,
    by_android: bool,
    words: Words,
) -> Iterator[Edge]:
    """by_android: its own recognition listens. Raises what reading the files or opening the devices raises, before
    anything that takes long."""
    with ExitStack() as stack:
        if out is not None:
            _check_place(out, sounds)
        recorded = [read_sound(path).at(SAMPLE_RATE) for path in sounds]
        feeder = open_source(recorded, microphone, words, push_to_talk=push_to_talk, by_android=by_android)
        stack.callback(feeder.close)
        sink: _Sink = _FileSink(out, words) if out is not None else _LoudspeakerSink(open_loudspeaker(loudspeaker))
        stack.callback(sink.close)
        terminal = _Terminal(feeder, sink, None if sounds else (feeder.name, sink.name))
        stack.callback(terminal.stop)
        yield terminal


def _check_place(out: Path, sounds: Sequence[Path]) -> None:
    """The file itself is made with the first sound; that it can be is better known before. Links count as what they
    lead to: writing would go through them."""
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise StorageError(f"{out} cannot be written; name a file in a folder that is there")
    if out.exists() and any(sound.exists() and out.samefile(sound) for sound in sounds):
        raise UsageError(f"--out {out} would overwrite the recording that --wav reads; name another file")


class _Sink(Protocol):
    @property
    def name(self) -> str: ...

    def see(self, event: VoiceEvent) -> None: ...

    def played_s(self) -> float: ...

    def close(self) -> None: ...


class _Terminal:
    def __init__(self, feeder: Source, sink: _Sink, devices: tuple[str, str] | None) -> None:
        self._feeder = feeder
        self._sink = sink
        self.devices = devices
        self._error: PocketseekError | None = None
        self._is_over = threading.Event()

    def begin(self, session: VoiceSession) -> None:
        threading.Thread(target=self._feed, args=(session,), name="voice-source", daemon=True).start()
        threading.Thread(target=self._tell_played, args=(session,), name="voice-played", daemon=True).start()

    def see(self, event: VoiceEvent) -> None:
        self._feeder.see(event)
        self._sink.see(event)

    def stop(self) -> None:
        self._is_over.set()
        self._feeder.close()

    def end(self) -> None:
        self.stop()
        if self._error is not None:
            raise self._error

    def _feed(self, session: VoiceSession) -> None:
        try:
            self._feeder.run(session)
        except Exception as error:  # noqa: BLE001  kept for `end`, which is in the thread that can tell it
            self._error = error if isinstance(error, PocketseekError) else _failure(error)
        finally:
            session.close()

    def _tell_played(self, session: VoiceSession) -> None:
        """An answer whose last sound the loudspeaker has may be cut off, too, when that goes away."""
        try:
            while not self._is_over.wait(_TICK_S):
                if session.is_answering:
                    session.played(self._sink.played_s())
        except VoiceError as error:
            self._error = error
            session.close()


def _failure(error: Exception) -> VoiceError:
    failure = VoiceError(failure_line("the source of sound", error, "start it again"))
    failure.__cause__ = error
    return failure


class _LoudspeakerSink:
    def __init__(self, loudspeaker: Loudspeaker) -> None:
        self._loudspeaker = loudspeaker
        self.name = loudspeaker.name

    def see(self, event: VoiceEvent) -> None:
        if isinstance(event, Interrupted | TurnFailed):
            self._loudspeaker.stop()
        elif isinstance(event, Transcript):
            self._loudspeaker.begin()
        elif isinstance(event, AnswerAudio):
            self._loudspeaker.play(event.samples, event.sample_rate)

    def played_s(self) -> float:
        return self._loudspeaker.played_s

    def close(self) -> None:
        self._loudspeaker.close()


class _FileSink:
    """What is written counts as heard. The file is made with the first sound."""

    def __init__(self, path: Path, words: Words) -> None:
        self._path = path
        self._words = words
        self._writer: SoundWriter | None = None
        self._turn_s = 0.0
        self.name = str(path)

    def see(self, event: VoiceEvent) -> None:
        if isinstance(event, Transcript):
            self._turn_s = 0.0
        elif isinstance(event, AnswerAudio):
            if self._writer is None:
                self._writer = SoundWriter(self._path)
            self._writer.write(event.samples, event.sample_rate)
            self._turn_s += len(event.samples) / event.sample_rate

    def played_s(self) -> float:
        return self._turn_s

    def close(self) -> None:
        if self._writer is None:
            note(self._words(voice_messages.NOTHING_SAID, path=self._path))
            return
        self._writer.close()
        seconds = self._writer.num_samples / self._writer.sample_rate
        note(self._words(voice_messages.WRITTEN, seconds=seconds, path=self._path))
