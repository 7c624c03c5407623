"""`pocketseek voice listen` and `setup`: with engines of the test, and a tiny model."""

from collections.abc import Callable
from pathlib import Path

import pytest
from voice_parts import CountingRecogniser, LoudnessDetector, ToneSynthesiser, silence, speech

from pocketseek.apps.voice import parts
from pocketseek.apps.voice.engines import choose
from pocketseek.apps.voice.engines.choose import Chosen
from pocketseek.apps.voice.parts import known_parts
from pocketseek.apps.voice.sound.sound_file import read_sound, wav_bytes
from pocketseek.cli.voice import sources
from pocketseek.cli.voice.listen_cmd import check_room
from pocketseek.errors import MemoryLimitError
from pocketseek.settings import Settings

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_QUIET_S", 0.9)  # files are played in real time
    monkeypatch.setattr(choose, "choose_detector", lambda settings, **_: Chosen("loud", "only", LoudnessDetector))
    monkeypatch.setattr(
        choose, "choose_recogniser", lambda settings, language, **_: Chosen("counting", "language", CountingRecogniser)
    )
    monkeypatch.setattr(
        choose, "choose_synthesiser", lambda settings, language, **_: Chosen("tone", "only", ToneSynthesiser)
    )


def sound_file(tmp_path: Path, words: int = 3) -> Path:
    path = tmp_path / f"question-{words}.wav"
    path.write_bytes(wav_bytes(speech(words), 16_000))
    return path


@pytest.mark.usefixtures("engines", "installed")
def test_questions_in_files_are_answered_into_a_file(run: Callable, tmp_path: Path) -> None:
    out = tmp_path / "answers.wav"
    files = [part for words in (3, 5) for part in ("--wav", sound_file(tmp_path, words))]
    ended = run("voice", "listen", *files, "--out", out, "--max-tokens", 12, "--seed", 1, "--json")
    first, second = ended.json["turns"]
    assert (first["transcript"], second["transcript"]) == ("word word word", "word word word word word")
    for turn in (first, second):
        assert turn["timings"]["tokens"] == 12
        assert turn["timings"]["endpoint_s"] > turn["timings"]["speech_end_s"]
    spoken_s = first["audio_s"] + second["audio_s"]
    if spoken_s:  # a tiny model with random weights may write nothing that can be said
        assert read_sound(out).duration_s == pytest.approx(spoken_s, abs=0.01)


@pytest.mark.usefixtures("engines", "installed")
def test_what_was_said_is_shown_line_by_line(run: Callable, tmp_path: Path) -> None:
    arguments = ("--wav", sound_file(tmp_path), "--out", tmp_path / "out.wav", "--max-tokens", 8, "--timings")
    ended = run("voice", "listen", *arguments)
    assert ended.code == 0
    assert "You: word word word" in ended.out
    assert "counting" in ended.err
    assert "first sound" in ended.err


@pytest.mark.usefixtures("engines")
def test_mistakes_are_told_before_a_model_is_opened(run: Callable, tmp_path: Path) -> None:
    assert run("voice", "listen", "--wav", "no.wav").code == 3
    sound = sound_file(tmp_path)
    assert "--push-to-talk" in run("voice", "listen", "--wav", sound, "--push-to-talk").error
    assert run("voice", "listen", "--wav", sound, "--out", tmp_path / "no folder" / "x.wav").code == 7
    assert "language" in run("voice", "listen", "--wav", sound, "--language", "klingon").error
    assert "--wav" in run("voice", "listen", "--recogniser", "android", "--wav", sound).error
    damaged = tmp_path / "damaged.wav"
    damaged.write_bytes(b"RIFF" + bytes(40))
    assert run("voice", "listen", "--wav", damaged).code == 4


@pytest.mark.usefixtures("engines")
def test_an_answer_never_overwrites_the_question(run: Callable, tmp_path: Path) -> None:
    other, sound, link = sound_file(tmp_path, 5), sound_file(tmp_path), tmp_path / "link.wav"
    link.symlink_to(sound)
    before = sound.read_bytes()
    for out in (sound, link, tmp_path / "." / sound.name):
        ended = run("voice", "listen", "--wav", other, "--wav", sound, "--out", out)
        assert ended.code == 2
        assert "name another file" in ended.error
    assert sound.read_bytes() == before


@pytest.mark.usefixtures("engines", "installed")
def test_silence_ends_without_an_answer(run: Callable, tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    path.write_bytes(wav_bytes(silence(0.5), 16_000))
    ended = run("voice", "listen", "--wav", path, "--out", tmp_path / "out.wav")
    assert ended.code == 0
    assert "not written" in ended.err
    assert not (tmp_path / "out.wav").exists()


def test_engines_that_take_more_than_is_allowed_are_told() -> None:
    check_room(None, 500_000_000)
    check_room(300_000_000, 250_000_000)
    with pytest.raises(MemoryLimitError, match="take 251 MB and --memory allows 200 MB"):
        check_room(200_000_000, 250_100_000)


def test_nothing_here_says_what_to_run(run: Callable) -> None:
    if choose.importlib.util.find_spec("faster_whisper") is None:
        assert "voice setup" in run("voice", "listen", "--wav", "x.wav").error
    assert "voice setup" in run("voice", "listen", "--recogniser", "nothing", "--wav", "x.wav").error


def test_setup_lists_parts_and_fetches_nothing_unasked(run: Callable, home: Path) -> None:
    ended = run("voice", "setup")
    assert ended.code == 0
    assert all(part.id in ended.out for part in known_parts())
    assert "pocketseek voice setup silero-vad" in ended.err
    assert not (home / "voice").exists()
    assert not (home / "models").exists()


def test_setup_says_which_library_a_part_wants(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "fetch_part", lambda *_, **__: None)
    monkeypatch.setattr("pocketseek.cli.voice.setup_cmd._has_library", lambda part: part.engine != "piper")
    ended = run("voice", "setup", "piper-en-joe")
    assert "piper-en-joe is not used before its library is here: pip install piper-tts" in ended.err
    assert "needs: pip install piper-tts" in ended.out
    assert "piper-tts" not in run("voice", "setup", "silero-vad").err


def test_setup_fetches_what_is_named(run: Callable, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(
        parts, "fetch_part", lambda part, settings, *, progress: fetched.append(f"{settings.models_dir.name}/{part.id}")
    )
    ended = run("voice", "setup", "silero-vad", "--json")
    assert fetched == ["models/silero-vad"]
    assert {part["id"] for part in ended.json["parts"]} == {part.id for part in known_parts()}
    assert "silero-vad" in run("voice", "setup", "nothing").error


def test_setup_shows_what_it_fetched_as_installed(
    run: Callable, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(part: parts.Part, settings: Settings, *, progress: object) -> None:
        for file in part.files:
            place = settings.voice_dir / part.id / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as made:
                made.truncate(file.num_bytes)

    monkeypatch.setattr(parts, "fetch_part", fetch)
    assert "not installed" in _row(run("voice", "setup").out, "silero-vad")
    assert "not installed" not in _row(run("voice", "setup", "silero-vad").out, "silero-vad")


def _row(table: str, part: str) -> str:
    return next(line for line in table.splitlines() if part in line)
