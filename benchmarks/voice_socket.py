"""How soon a served voice answers, and how soon it falls silent when somebody breaks in, as a page would notice it.

    pocketseek serve demo &
    python benchmarks/voice_socket.py http://127.0.0.1:8080 --question ask.wav --interruption stop.wav [another.wav ...]

All files are spoken at the pace of a microphone, over the WebSocket of the page; interruptions one after the other, in
--rounds. What comes back counts as played from the moment it is here. first_sound: from the last loud sample of the
question to the first sound of the answer. broken_off: from the first 10 ms of the interruption, spoken --after s into
the answer, that are loud (34 dB below full scale), to `interrupted`; an answer that is over by then is no round. The
network of this machine is in it, a loudspeaker's and a browser's delay are not.
Prints a table and ends in one JSON line. Needs websockets and httpx.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
from websockets.sync.client import ClientConnection, connect

from pocketseek.apps.voice.contract import SAMPLE_RATE, Samples
from pocketseek.apps.voice.sound.sound_file import pcm16, read_sound

_FRAME = 512
_LOUD = 0.02  # of full scale
_PATIENCE_S = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--question", type=Path, required=True)
    parser.add_argument("--interruption", type=Path, required=True, nargs="+")
    parser.add_argument("--language", default="en")
    parser.add_argument("--after", type=float, default=0.7)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    question, *interruptions = (read_sound(path).at(SAMPLE_RATE) for path in (options.question, *options.interruption))
    rounds = [_round(options, question, interruptions[number % len(interruptions)]) for number in range(options.rounds)]
    figures = {name: _figures([one[name] for one in rounds]) for name in ("first_sound_ms", "broken_off_ms")}
    for name, figure in figures.items():
        print(f"{name:16}" + "".join(f"{key:>6} {value:>8}" for key, value in figure.items()))
    for number, path in enumerate(options.interruption):
        times = [one["broken_off_ms"] for one in rounds[number :: len(interruptions)]]
        print(f"broken off by {path.name}: " + ", ".join("-" if time is None else f"{time:.0f}" for time in times))
    print(json.dumps({"benchmark": "voice_socket", "rounds": options.rounds, **figures}))


def _round(options: argparse.Namespace, question: Samples, interruption: Samples) -> dict[str, float | None]:
    with _opened(options) as socket:
        watcher = _Watcher(socket)
        microphone = _Microphone(socket)
        watcher.wait("ready")
        microphone.pause(0.5)
        asked_s = microphone.speak(question)[1]
        sounded_s = microphone.pause_until(lambda: watcher.times.get("sound"))
        microphone.pause(options.after)
        began_s = microphone.speak(interruption)[0] + _onset_s(interruption)
        silent_s = microphone.pause_until(lambda: watcher.times.get("interrupted") or watcher.times.get("sound 2"))
        is_broken_off = "interrupted" in watcher.times
        socket.send(json.dumps({"type": "end"}))
        return {
            "first_sound_ms": (sounded_s - asked_s) * 1000,
            "broken_off_ms": (silent_s - began_s) * 1000 if is_broken_off else None,
        }


def _opened(options: argparse.Namespace) -> ClientConnection:
    asked = {"language": options.language, "settings": {"temperature": 0, "max_tokens": 120}}
    reply = httpx.post(f"{options.url}/api/voice", json=asked)
    reply.raise_for_status()
    given = reply.json()
    return connect(
        options.url.replace("http", "ws", 1) + "/api/voice", subprotocols=[given["protocol"], given["ticket"]]
    )


class _Watcher:
    """When things came, by perf_counter; "sound" is the first of an answer, "sound 2" that of another one."""

    def __init__(self, socket: ClientConnection) -> None:
        self.times: dict[str, float] = {}
        self._socket = socket
        self._turns: list[int] = []
        threading.Thread(target=self._watch, daemon=True).start()

    def wait(self, name: str) -> None:
        until_s = time.perf_counter() + _PATIENCE_S
        while name not in self.times:
            if time.perf_counter() > until_s:
                raise TimeoutError(f"no {name} within {_PATIENCE_S:g} s")
            time.sleep(0.005)

    def _watch(self) -> None:
        for message in self._socket:
            now_s = time.perf_counter()
            if isinstance(message, bytes):
                self.times.setdefault("sound" if len(self._turns) < 2 else "sound 2", now_s)
                continue
            event = json.loads(message)
            self.times.setdefault(event["type"], now_s)
            if event["type"] == "audio" and event["turn"] not in self._turns:
                self._turns.append(event["turn"])


class _Microphone:
    """Sends frames when they would have been heard."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._next_s = time.perf_counter()

    def speak(self, samples: Samples) -> tuple[float, float]:
        """When it began, and when its last loud sample was spoken."""
        loud = np.flatnonzero(np.abs(samples) > _LOUD)
        begun_s = self._next_s
        for start in range(0, len(samples), _FRAME):
            frame = np.zeros(_FRAME, np.float32)
            frame[: len(samples[start : start + _FRAME])] = samples[start : start + _FRAME]
            self._send(frame)
        return begun_s, begun_s + loud[-1] / SAMPLE_RATE

    def pause(self, seconds: float) -> None:
        until_s = self._next_s + seconds
        while self._next_s < until_s:
            self._send(np.zeros(_FRAME, np.float32))

    def pause_until(self, when_s: Callable[[], float | None]) -> float:
        """when_s(): the time at which it happened, None as long as it has not."""
        until_s = time.perf_counter() + _PATIENCE_S
        while (found := when_s()) is None:
            if time.perf_counter() > until_s:
                raise TimeoutError(f"nothing happened within {_PATIENCE_S:g} s")
            self._send(np.zeros(_FRAME, np.float32))
        return found

    def _send(self, frame: Samples) -> None:
        """A frame is there when its last sample was spoken."""
        self._next_s += _FRAME / SAMPLE_RATE
        time.sleep(max(0.0, self._next_s - time.perf_counter()))
        self._socket.send(pcm16(frame).tobytes())


def _onset_s(samples: Samples) -> float:
    """Where the first frame of 10 ms is loud enough to be speech; a click of one sample is not."""
    size = SAMPLE_RATE // 100
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    loudness = np.sqrt((frames.astype(np.float64) ** 2).mean(axis=1))
    return float(np.flatnonzero(loudness > _LOUD)[0]) * size / SAMPLE_RATE


def _figures(values: list[float | None]) -> dict[str, float]:
    known = sorted(value for value in values if value is not None)
    if not known:
        return {"n": 0}
    p95 = known[min(len(known) - 1, int(0.95 * len(known)))]
    return {"n": len(known), "p50": round(statistics.median(known)), "p95": round(p95), "max": round(known[-1])}


if __name__ == "__main__":
    main()
