import pytest
from hypothesis import given
from hypothesis import strategies as st
from voice_parts import silence

from pocketseek.apps.voice.bench.files import SpokenFile
from pocketseek.apps.voice.bench.report import added_by, figures_of, rates_of, spread_of
from pocketseek.apps.voice.bench.turns import PlayedFile, Turn
from pocketseek.apps.voice.events import TurnTimings

LATER = TurnTimings(
    speech_start_s=0.5,
    speech_end_s=2.0,
    endpoint_s=2.6,
    transcript_s=2.8,
    first_token_s=2.9,
    first_clause_s=3.2,
    first_audio_s=3.3,
    end_s=4.0,
    tokens=20,
    cached_tokens=64,
)
EARLY = TurnTimings(  # the answer was tried before the end was certain
    speech_end_s=2.0,
    endpoint_s=2.6,
    transcript_s=2.61,
    first_token_s=2.3,
    first_clause_s=2.5,
    first_audio_s=2.62,
    end_s=3.0,
)


def played(*turns: Turn, reference: str | None = None) -> PlayedFile:
    return PlayedFile(SpokenFile("a.wav", silence(1), 0.9, reference, "en"), turns)


def test_stages_add_up_to_the_first_sound() -> None:
    for timings in (LATER, EARLY):
        turn = Turn(1, timings=timings, speech_end_s=2.0)
        assert timings.first_audio_s is not None
        assert sum(added_by(turn).values()) == pytest.approx(timings.first_audio_s - 2.0)


def test_what_was_ready_before_the_end_was_certain_adds_nothing() -> None:
    added = added_by(Turn(1, timings=EARLY, speech_end_s=2.0))
    assert added["endpoint"] == pytest.approx(0.6)
    assert added["first_token"] == added["first_clause"] == 0.0


def test_without_real_time_only_work_after_the_endpoint_counts() -> None:
    added = added_by(Turn(1, timings=LATER, speech_end_s=2.0), fast=True)
    assert "endpoint" not in added
    assert sum(added.values()) == pytest.approx(0.7)
    assert figures_of([played(Turn(1, timings=LATER, speech_end_s=2.0))], fast=True).after_end == {}


@given(st.lists(st.floats(0, 100), min_size=1))
def test_percentiles_lie_within_the_values_and_in_order(values: list[float]) -> None:
    spread = spread_of(values)
    assert min(values) <= spread.p50_s <= spread.p95_s <= spread.longest_s == max(values)
    assert spread.count == len(values)


def test_percentiles_between_two_values_lie_in_proportion() -> None:
    spread = spread_of([1.0, 2.0, 3.0, 4.0, 5.0])
    assert spread.p50_s == 3.0
    assert spread.p95_s == pytest.approx(4.8)


def test_failed_and_wordless_turns_count_but_give_no_times() -> None:
    turns = (
        Turn(1, "one", timings=LATER, speech_end_s=2.0),
        Turn(2, "two", failure="it broke"),
        Turn(3, "three", was_interrupted=True),
    )
    figures = figures_of([played(*turns, reference="one two four")])
    assert (figures.turns, figures.failed_turns, figures.interrupted_turns) == (3, 1, 1)
    assert figures.failures == ("a.wav: it broke",)
    assert figures.after_end["first_sound"].count == 1
    assert figures.tokens == 20
    assert figures.rates["en"].word_error_rate == pytest.approx(1 / 3)


def test_files_without_a_text_have_no_error_rate() -> None:
    assert figures_of([played(Turn(1, "one"))]).rates == {}


def test_rates_are_by_language() -> None:
    rates = rates_of([("en", "a b", "a"), ("zh", "你好", "你好"), ("en", "c d", "c d")])
    assert rates["en"].word_error_rate == 1 / 4
    assert rates["zh"].character_error_rate == 0
    assert rates["en"].files == 2
