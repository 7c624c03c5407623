"""`pocketseek voice bench` with fake engines around the real command, and what it says about bad input."""

from pathlib import Path

import numpy as np
import pytest
from cli.conftest import Run
from voice_parts import CountingRecogniser, LoudnessDetector, ToneSynthesiser, silence, speech

from pocketseek.apps.voice.contract import SAMPLE_RATE
from pocketseek.apps.voice.engines import choose
from pocketseek.apps.voice.engines.choose import Chosen
from pocketseek.apps.voice.sound.sound_file import wav_bytes


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Two questions of three and two words."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name, words, text in (("a", 3, "word word word"), ("b", 2, "word none")):
        samples = np.concatenate([silence(0.3), speech(words), silence(0.2)])
        (folder / f"{name}.wav").write_bytes(wav_bytes(samples, SAMPLE_RATE))
        (folder / f"{name}.txt").write_text(text)
    return folder


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "choose_recogniser", lambda *a, **k: Chosen("ears", "only", CountingRecogniser))
    monkeypatch.setattr(choose, "choose_synthesiser", lambda *a, **k: Chosen("mouth", "only", ToneSynthesiser))
    monkeypatch.setattr(choose, "choose_detector", lambda *a, **k: Chosen("detector", "only", LoudnessDetector))


@pytest.mark.usefixtures("parts", "installed")
def test_recordings_are_played_and_told_as_json_and_as_a_page(run: Run, recordings: Path, tmp_path: Path) -> None:
    page = tmp_path / "turn.html"
    arguments = ("voice", "bench", "tiny", "--wav", recordings, "--fast", "--max-tokens", 4, "--report", page, "--json")
    found = run(*arguments).json
    assert found["model"] == "tiny"
    assert found["parts"] == {"recogniser": "ears", "voice": "mouth", "detector": "detector"}
    figures, turns = found["figures"], found["turns"]
    assert isinstance(figures, dict)
    assert isinstance(turns, list)
    assert (figures["files"], figures["turns"], figures["failed_turns"]) == (2, 2, 0)
    assert figures["rates"]["en"]["word_error_rate"] == pytest.approx(1 / 5)
    assert figures["after_end"] == {}
    assert [turn["transcript"] for turn in turns] == ["word word word", "word word"]
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.usefixtures("parts")
def test_error_rates_need_no_model(run: Run, recordings: Path) -> None:
    ended = run("voice", "bench", "--wav", recordings, "--fast", "--recognise-only")
    assert ended.code == 0, ended.err
    assert "20.0% of 5" in ended.out
    assert "first sound" not in ended.out


@pytest.mark.usefixtures("parts", "installed")
def test_labelled_recordings_are_understood_as_typed_and_as_heard(run: Run, recordings: Path) -> None:
    (recordings / "labels.tsv").write_text("a.wav\ten\talarm\n")
    found = run("voice", "bench", "tiny", "--wav", recordings, "--fast", "--recognise-only", "--json").json
    understanding = found["understanding"]
    assert isinstance(understanding, dict)
    assert {kind: one["requests"] for kind, one in understanding.items()} == {"text": 1, "speech": 1}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "--wav DIR"),
        (["--understanding", "--fast"], 2, "--wav DIR"),
        (["--wav", "none"], 3, "no folder none"),
        (["--wav", "."], 3, "no WAV files"),
        (["--intents", "none.json"], 3, "no set of requests"),
        (["--understanding", "--report", "page.txt"], 2, ".html"),
    ],
)
def test_bad_input_is_told_in_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run("voice", "bench", *arguments)
    assert ended.code == code
    assert says in ended.error


@pytest.mark.usefixtures("parts", "installed")
def test_a_label_that_the_set_does_not_have_is_told(run: Run, recordings: Path) -> None:
    (recordings / "labels.tsv").write_text("a.wav\ten\tnews\n")
    ended = run("voice", "bench", "tiny", "--wav", recordings, "--fast", "--recognise-only")
    assert ended.code == 2
    assert "'news'" in ended.err.splitlines()[-1]
