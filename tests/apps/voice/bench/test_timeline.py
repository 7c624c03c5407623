from xml.etree import ElementTree

from pocketseek.apps.voice.bench.timeline import LANES, heard_spans, timeline
from pocketseek.apps.voice.bench.turns import SpokenSound, Turn
from pocketseek.apps.voice.events import TurnTimings

NAMES = {name: f"<{name}>" for name in LANES}
TURN = Turn(
    1,
    timings=TurnTimings(
        speech_start_s=10.0,
        speech_end_s=11.4,
        endpoint_s=12.0,
        transcript_s=12.2,
        first_token_s=12.3,
        first_clause_s=12.5,
        first_audio_s=12.6,
        answer_s=13.0,
        end_s=13.1,
    ),
    partials_s=(10.5, 11.0),
    sounds=(SpokenSound(12.6, 0.5), SpokenSound(12.7, 0.5), SpokenSound(14.0, 0.5)),
    speech_end_s=11.5,
)


def bars_of(drawing: str) -> list[tuple[float, float]]:
    paths = [one.attrib["d"] for one in ElementTree.fromstring(drawing).iter("path") if "bar" in one.attrib["class"]]
    return [(float(d[1:].split()[0]), float(d.split("H")[1])) for d in paths]


def test_all_stages_have_their_bars_inside_the_frame_in_order() -> None:
    bars = bars_of(timeline(TURN, "a turn", NAMES))
    assert len(bars) == 1 + 1 + (2 + 1) + 1 + 1 + 2
    assert all(0 <= left < right <= 400 for left, right in bars)
    speech, endpoint = bars[0], bars[1]
    assert abs(speech[1] - endpoint[0]) < 1e-6


def test_names_are_text_and_the_drawing_is_described() -> None:
    drawing = ElementTree.fromstring(timeline(TURN, 'a "turn"', NAMES))
    assert drawing.attrib["aria-label"] == 'a "turn"'
    assert {f"<{name}>" for name in LANES} <= {text.text for text in drawing.iter("text")}


def test_a_turn_without_an_answer_is_drawn_too() -> None:
    assert bars_of(timeline(Turn(1), "nothing", NAMES)) == []


def test_sound_that_comes_early_waits_for_what_is_heard_before_it() -> None:
    assert heard_spans(TURN.sounds) == [(12.6, 13.6), (14.0, 14.5)]
