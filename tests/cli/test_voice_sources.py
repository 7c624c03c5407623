"""What a source of sound remembers of turns."""

from pocketseek.apps.voice.events import SpeechEnded, TurnEnded, TurnFailed, TurnTimings
from pocketseek.cli.voice_sources import _OpenTurns


class Quiet:
    is_answering = False


def test_a_turn_is_open_from_its_end_of_speech_to_its_answer() -> None:
    turns, session = _OpenTurns(), Quiet()
    turns.see(SpeechEnded(1.0, 1, 0.5))
    assert turns.are_there(session)  # type: ignore[arg-type]
    turns.see(TurnEnded(2.0, 1, TurnTimings()))
    assert not turns.are_there(session)  # type: ignore[arg-type]


def test_a_turn_that_failed_while_they_spoke_is_not_waited_for() -> None:
    turns, session = _OpenTurns(), Quiet()
    turns.see(TurnFailed(1.0, 1, "the engine crashed"))
    turns.see(SpeechEnded(2.0, 1, 1.5))
    assert not turns.are_there(session)  # type: ignore[arg-type]
