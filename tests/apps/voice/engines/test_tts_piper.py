"""What is too long to be spoken at once is parted where a voice may pause; sound made in stretches is the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.voice.engines.tts_piper import MOST_CHARS, PiperSynthesiser, _Network, short_parts, stretches_of

LONG = "it was the age of wisdom"


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("Short.", ["Short."]),
        (f"{LONG}. {LONG}, {LONG}, {LONG}.", ["wisdom.", "wisdom."]),
        (f"{LONG} {LONG}, {LONG} {LONG}.", ["wisdom,", "wisdom."]),
        (f"{LONG} {LONG} that {LONG} {LONG}.", ["wisdom", "wisdom."]),
    ],
)
def test_it_is_parted_at_the_best_place(text: str, ends: list[str]) -> None:
    assert [part.rpartition(" ")[2] for part in short_parts(text)] == ends


@given(st.text(alphabet="ab ,.;!?\nand", max_size=400))
def test_nothing_is_lost_and_nothing_is_long(text: str) -> None:
    parts = list(short_parts(text))
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(0 < len(part) <= MOST_CHARS + 1 for part in parts)


class SoundOfFrames:
    """Makes four samples of each frame, each of which hears 13 frames to both sides, and none of what is not there."""

    reach = 13

    def run(self, _: None, inputs: dict[str, Any]) -> list[Any]:
        frames = inputs["frames"][0].sum(axis=0)
        heard = np.convolve(frames, np.ones(2 * self.reach + 1))[self.reach : -self.reach]
        return [np.repeat(heard, 4)[None, None].astype(np.float32)]


@pytest.mark.parametrize("num_frames", [1, 31, 32, 33, 80, 1000])
def test_sound_made_stretch_by_stretch_is_what_it_is_whole(num_frames: int) -> None:
    frames = np.random.default_rng(num_frames).normal(size=(3, num_frames)).astype(np.float32)
    made = frames if num_frames > 1 else frames[:, 0]  # as Piper gives it, without axes of length 1
    (whole,) = SoundOfFrames().run(None, {"frames": frames[None]})
    pieces = list(_Network(None, SoundOfFrames(), "frames").sounds(made))
    np.testing.assert_allclose(np.concatenate(pieces), whole.ravel(), rtol=1e-5, atol=1e-5)


@given(st.integers(0, 20_000))
def test_stretches_follow_one_another_begin_short_and_stay_bounded(num_frames: int) -> None:
    stretches = list(stretches_of(num_frames))
    assert [start for start, _ in stretches] == [0, *(end for _, end in stretches)][: len(stretches)]
    assert (stretches[-1][1] if stretches else 0) == num_frames
    assert all(0 < end - start <= 160 for start, end in stretches)
    assert not stretches or stretches[0][1] <= 32


def test_loudness_falls_where_the_voice_is_louder_than_ever_and_never_clips() -> None:
    voice = PiperSynthesiser.__new__(PiperSynthesiser)
    voice._peak = 0.5
    assert np.abs(voice._loud(np.full(1000, 0.25, np.float32))).max() == pytest.approx(0.5)
    louder = voice._loud(np.full(1000, 0.8, np.float32))
    assert louder.max() <= 1.0
    assert louder[-1] == pytest.approx(1.0)
    assert np.abs(voice._loud(np.full(100, 0.4, np.float32))).max() == pytest.approx(0.5)
    assert len(voice._loud(np.zeros(0, np.float32))) == 0
