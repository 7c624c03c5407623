"""When speech begins and ends, from probabilities alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.voice.endpoint import Endpointer, EndpointSettings, Signal, hint_of

FRAME_S = 0.032


def run(endpointer: Endpointer, *stretches: tuple[float, float], strict: bool = False) -> list[tuple[Signal, float]]:
    """(seconds, probability) one after the other; the signals with the times after which they came."""
    signals: list[tuple[Signal, float]] = []
    number = 0
    for seconds, probability in stretches:
        for _ in range(round(seconds / FRAME_S)):
            number += 1
            if signal := endpointer.push(probability, strict=strict):
                signals.append((signal, number * FRAME_S))
    return signals


def names(signals: list[tuple[Signal, float]]) -> list[Signal]:
    return [signal for signal, _ in signals]


def test_speech_starts_settles_and_ends() -> None:
    signals = run(Endpointer(FRAME_S), (0.5, 0.01), (1.0, 0.9), (1.5, 0.01))
    assert names(signals) == ["start", "settle", "end"]
    assert signals[0][1] == pytest.approx(0.5 + 0.128, abs=2 * FRAME_S)
    assert signals[1][1] == pytest.approx(1.5 + 0.128, abs=2 * FRAME_S)
    assert signals[2][1] == pytest.approx(1.5 + 0.6, abs=2 * FRAME_S)


def test_where_speech_began_and_ended_is_told_by_the_audio() -> None:
    endpointer = Endpointer(FRAME_S)
    run(endpointer, (0.32, 0.01), (0.96, 0.9), (1.5, 0.01))
    assert endpointer.start_frame == 10
    assert endpointer.end_frame == 40


def test_a_click_starts_nothing() -> None:
    assert run(Endpointer(FRAME_S), (0.5, 0.01), (0.064, 0.95), (0.5, 0.01)) == []


def test_a_pause_shorter_than_the_hangover_resumes() -> None:
    assert names(run(Endpointer(FRAME_S), (1.0, 0.9), (0.4, 0.01), (1.0, 0.9), (2.0, 0.01))) == [
        "start",
        "settle",
        "resume",
        "settle",
        "end",
    ]


def test_the_hangover_grows_with_the_pauses_of_the_speaker() -> None:
    slow, brisk = Endpointer(FRAME_S), Endpointer(FRAME_S)
    run(slow, (1.0, 0.9), *[(0.5, 0.01), (1.0, 0.9)] * 8)
    run(brisk, (1.0, 0.9), *[(0.16, 0.01), (1.0, 0.9)] * 8)
    assert brisk.hangover_s < Endpointer(FRAME_S).hangover_s < slow.hangover_s


def test_going_on_after_the_end_was_called_counts_as_a_pause() -> None:
    endpointer = Endpointer(FRAME_S)
    before_s = endpointer.hangover_s
    run(endpointer, *[(1.0, 0.9), (0.9, 0.01)] * 6, (0.5, 0.9))
    assert endpointer.hangover_s > before_s


def test_an_open_sentence_is_waited_for_longer_than_a_complete_one() -> None:
    endpointer = Endpointer(FRAME_S)
    unknown_s = endpointer.hangover_s
    endpointer.hint = "open"
    open_s = endpointer.hangover_s
    endpointer.hint = "complete"
    assert endpointer.hangover_s < unknown_s < open_s


@given(st.lists(st.floats(0, 1), max_size=400), st.sampled_from(["open", "complete", "unknown"]))
def test_the_hangover_stays_within_its_limits_and_signals_alternate(probabilities: list[float], hint: str) -> None:
    settings = EndpointSettings()
    endpointer = Endpointer(FRAME_S, settings)
    is_open = False
    for probability in probabilities:
        endpointer.hint = hint  # type: ignore[assignment]
        signal = endpointer.push(probability)
        assert settings.least_hangover_s <= endpointer.hangover_s <= settings.most_hangover_s
        if signal in ("start", "end"):
            assert is_open == (signal == "end")
            is_open = not is_open
        assert endpointer.is_speaking == is_open


def test_while_an_answer_sounds_only_a_clear_voice_counts() -> None:
    assert run(Endpointer(FRAME_S), (1.0, 0.6), strict=True) == []
    assert names(run(Endpointer(FRAME_S), (1.0, 0.9), strict=True)) == ["start"]


def test_a_clear_voice_is_noticed_within_200_ms() -> None:
    ((_, after_s),) = run(Endpointer(FRAME_S), (1.0, 0.95), strict=True)
    assert after_s <= 0.2


def test_endless_speech_is_ended() -> None:
    signals = run(Endpointer(FRAME_S, EndpointSettings(longest_s=3.0)), (4.0, 0.9))
    assert names(signals[:2]) == ["start", "end"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("What is the capital of France?", "complete"),
        ("法国的首都是什么？", "complete"),
        ("I would like to", "open"),
        ("Can you explain what a black hole is?", "unknown"),
        ("What is the", "open"),
        ("What is the?", "open"),
        ("Tell me about cats,", "open"),
        ("我想知道因为", "open"),
        ("What time is it", "unknown"),
        ("", "unknown"),
        ("...", "open"),
    ],
)
def test_a_text_says_whether_more_is_to_come(text: str, hint: str) -> None:
    assert hint_of(text) == hint
