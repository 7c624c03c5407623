"""When somebody begins to speak and when they are done: pure decisions over probabilities, one for each frame.

    start    enough of the last frames are speech
    settle   silence for a moment: likely the end, worth getting the answer ready
    resume   speech again after a settle: it was a pause
    end      silence for as long as the hangover, or speech for longer than allowed

The hangover follows the speaker: pauses inside their utterances, and gaps after which they went on although an end had
been called, make it longer; a speaker without pauses gets the shortest. It is also a matter of what was said: a
sentence that is complete needs less waiting for than one that ends in "and" (`hint`). Times are counted in frames, so
that the same audio always gives the same decisions, however fast it comes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

Signal = Literal["start", "settle", "resume", "end"]
Hint = Literal["complete", "open", "unknown"]

_HINT_FACTORS: dict[Hint, float] = {"complete": 0.75, "open": 1.6, "unknown": 1.0}
_KEPT_PAUSES = 16
_LIKELY = 0.8  # share of a speaker's pauses that the hangover outlasts
_USUAL_PAUSES = 3  # that an unknown speaker counts as having had


@dataclass(frozen=True)
class EndpointSettings:
    """Seconds. speech: probability from which a frame is speech; while somebody speaks, `still_speech` is enough.

    start_s, strict_start_s: length of the window of which all frames but one have to be speech; the strict one counts
    while an answer is being played, which the microphone may hear, and asks for `strict_speech`. usual_hangover_s: for
    a speaker whose pauses are not known yet. least_pause_s: shorter silence within speech says nothing of a speaker.
    longest_s: speech that goes on for longer ends here.
    """

    speech: float = 0.5
    still_speech: float = 0.35
    strict_speech: float = 0.65
    start_s: float = 0.128
    strict_start_s: float = 0.16
    least_pause_s: float = 0.1
    settle_s: float = 0.12
    least_hangover_s: float = 0.4
    usual_hangover_s: float = 0.6
    most_hangover_s: float = 1.4
    longest_s: float = 180.0


class Endpointer:
    """frame_s: seconds in a frame. Positions are frames since the beginning."""

    def __init__(self, frame_s: float, settings: EndpointSettings | None = None) -> None:
        self._settings = settings or EndpointSettings()
        self._frame_s = frame_s
        self._recent: deque[bool] = deque(
            maxlen=self._frames(max(self._settings.start_s, self._settings.strict_start_s))
        )
        self._pauses_s: deque[float] = deque(maxlen=_KEPT_PAUSES)
        self._position = 0
        self._is_settled = False
        self._last_end: int | None = None
        self.is_speaking = False
        self.start_frame = 0
        """Where the present or last utterance began."""
        self.end_frame = 0
        """After the last frame of speech in it."""
        self.frames_to_notice = 0
        """Of speech, that the last start took."""
        self.hint: Hint = "unknown"
        """What the text so far says about whether more is to come; set by whoever knows, and forgotten at a start."""

    @property
    def longest_s(self) -> float:
        return self._settings.longest_s

    @property
    def hangover_s(self) -> float:
        """Of silence after which it is the end."""
        settings = self._settings
        seconds = self._speakers_hangover_s() * _HINT_FACTORS[self.hint]
        return min(settings.most_hangover_s, max(settings.least_hangover_s, seconds))

    @property
    def silent_frames(self) -> int:
        """Since the last frame of speech."""
        return self._position - self.end_frame

    def push(self, probability: float, *, strict: bool = False) -> Signal | None:
        """The next frame. strict: only a clear voice begins something."""
        self._position += 1
        if self.is_speaking:
            return self._while_speaking(probability >= self._settings.still_speech)
        self._recent.append(probability >= (self._settings.strict_speech if strict else self._settings.speech))
        size = self._frames(self._settings.strict_start_s if strict else self._settings.start_s)
        window = list(self._recent)[-size:]
        if len(window) < size or not window[-1] or sum(window) < size - 1:
            return None
        self.frames_to_notice = size - window.index(True)
        self._begin(self._position - self.frames_to_notice)
        return "start"

    def open(self) -> None:
        """Somebody says that speech begins here (push-to-talk)."""
        self._begin(self._position)

    def close(self) -> None:
        """Somebody says that it is the end."""
        self._finish()

    def _begin(self, frame: int) -> None:
        gap_s = None if self._last_end is None else (frame - self._last_end) * self._frame_s
        if gap_s is not None and gap_s <= self._settings.most_hangover_s:
            self._pauses_s.append(gap_s)  # they were not done
        self.is_speaking, self._is_settled = True, False
        self.start_frame, self.end_frame = max(0, frame), self._position
        self.hint = "unknown"
        self._recent.clear()

    def _finish(self) -> None:
        self.is_speaking = False
        self._last_end = self.end_frame
        self._recent.clear()

    def _while_speaking(self, is_speech: bool) -> Signal | None:
        silence_s = (self._position - 1 - self.end_frame) * self._frame_s
        if is_speech:
            if silence_s >= self._settings.least_pause_s:
                self._pauses_s.append(silence_s)
            self.end_frame = self._position
            was_settled, self._is_settled = self._is_settled, False
            if (self._position - self.start_frame) * self._frame_s >= self._settings.longest_s:
                self._finish()
                return "end"
            return "resume" if was_settled else None
        silence_s += self._frame_s
        if silence_s >= self.hangover_s:
            self._finish()
            return "end"
        if silence_s >= self._settings.settle_s and not self._is_settled:
            self._is_settled = True
            return "settle"
        return None

    def _speakers_hangover_s(self) -> float:
        """A little longer than most of their pauses; the usual one weighs as much as a few of theirs."""
        usual_s = self._settings.usual_hangover_s
        if not self._pauses_s:
            return usual_s
        ordered = sorted(self._pauses_s)
        likely_s = 1.2 * ordered[min(len(ordered) - 1, int(_LIKELY * len(ordered)))] + 0.1
        weight = len(ordered) / (len(ordered) + _USUAL_PAUSES)
        return weight * likely_s + (1 - weight) * usual_s

    def _frames(self, seconds: float) -> int:
        return max(1, round(seconds / self._frame_s))


_OPEN_ENDINGS = frozenset(
    word
    for line in (
        "a an the and or but because so if while of as than my your his her our their not also um uh er hmm well",
    )
    for word in line.split()
)
_ENDS_A_QUESTION = frozenset(
    word
    for line in ("when that which who to in on at for with from by", "is are was were this these")
    for word in line.split()
)
"""Words that mostly have something after them, if they do not end a question: "what a black hole is?"."""
_OPEN_CHINESE = (
    "和",
    "的",
    "因为",
    "所以",
    "但是",
    "如果",
    "还有",
    "然后",
    "或者",
    "比如",
    "就是",
    "那个",
    "嗯",
    "呃",
    "跟",
    "把",
    "在",
)


def hint_of(text: str) -> Hint:
    """What a transcript so far says about whether its speaker is done."""
    text = text.strip()
    if not text:
        return "unknown"
    if text.endswith(("...", "…", ",", "，", "、", "-", "—", ":", "：")):
        return "open"
    bare = text.rstrip(".!?。！？ ")
    last = bare.split()[-1].lower() if bare.split() else ""
    if last in _OPEN_ENDINGS or bare.endswith(_OPEN_CHINESE):
        return "open"
    if last in _ENDS_A_QUESTION:
        return "unknown" if text.endswith("?") else "open"
    return "complete" if text.endswith((".", "!", "?", "。", "！", "？")) else "unknown"
