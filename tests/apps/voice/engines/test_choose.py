"""Who listens and who speaks, by what lies in the folder and which libraries there are; nothing is loaded."""

import json
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from pocketseek.apps.voice.engines import choose
from pocketseek.apps.voice.engines.choose import choose_detector, choose_recogniser, choose_synthesiser
from pocketseek.errors import VoiceError
from pocketseek.settings import Settings


class Machine:
    """A data directory and the libraries of a machine."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home, kernels=None, num_threads=None, language="en")
        self.libraries: set[str] = set()

    def put(self, folder: str, *files: str, text: str = "x") -> None:
        for name in files:
            path = self.settings.voice_dir / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def put_whisper(self, folder: str, *, english_only: bool = False) -> None:
        self.put(folder, "model.bin", "config.json")
        self.put(folder, "vocabulary.txt", text="word\n" * (51_864 if english_only else 51_865))

    def put_piper(self, folder: str, language: str) -> None:
        self.put(folder, "voice.onnx")
        facts = {"language": {"family": language}, "audio": {"sample_rate": 22_050}}
        self.put(folder, "voice.onnx.json", text=json.dumps(facts))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setattr(
        choose.importlib.util, "find_spec", lambda name: ModuleSpec(name, None) if name in made.libraries else None
    )
    monkeypatch.setattr(choose.shutil, "which", lambda name: f"/usr/bin/{name}" if name in made.libraries else None)
    monkeypatch.setattr(choose, "find_library", lambda name: None)
    monkeypatch.setattr(choose, "is_termux", lambda: "termux" in made.libraries)
    return made


def test_the_model_that_is_made_for_the_language_is_chosen(machine: Machine) -> None:
    machine.libraries = {"faster_whisper"}
    machine.put_whisper("whisper-base")
    machine.put_whisper("whisper-tiny.en", english_only=True)
    english, chinese = (choose_recogniser(machine.settings, language) for language in ("en", "zh"))
    assert (english.name, english.reason) == ("whisper-tiny.en", "language")
    assert (chinese.name, chinese.reason) == ("whisper-base", "only")


def test_a_name_overrules(machine: Machine) -> None:
    machine.libraries = {"faster_whisper"}
    machine.put_whisper("whisper-base")
    machine.put_whisper("whisper-tiny.en", english_only=True)
    chosen = choose_recogniser(machine.settings, "en", name="whisper-base")
    assert (chosen.name, chosen.reason) == ("whisper-base", "named")
    with pytest.raises(VoiceError, match="does not know this language"):
        choose_recogniser(machine.settings, "zh", name="whisper-tiny.en")
    with pytest.raises(VoiceError, match="is not here"):
        choose_recogniser(machine.settings, "zh", name="nothing")


@pytest.mark.parametrize(("system", "expected"), [("pc", "whisper-base"), ("termux", "sherpa-onnx-whisper-base")])
def test_phones_take_the_library_for_phones(machine: Machine, system: str, expected: str) -> None:
    machine.libraries = {"faster_whisper", "sherpa_onnx", system}
    machine.put_whisper("whisper-base")
    machine.put("sherpa-onnx-whisper-base", "base-tokens.txt", "base-encoder.onnx", "base-decoder.onnx")
    assert choose_recogniser(machine.settings, "fr").name == expected


def test_nothing_here_says_what_to_run(machine: Machine) -> None:
    with pytest.raises(VoiceError, match="voice setup --language zh"):
        choose_recogniser(machine.settings, "zh")
    with pytest.raises(VoiceError, match="voice setup"):
        choose_detector(machine.settings)
    with pytest.raises(VoiceError, match="voice setup --language zh"):
        choose_synthesiser(machine.settings, "zh")


def test_a_model_without_its_library_says_what_to_install(machine: Machine) -> None:
    machine.put_whisper("whisper-base")
    with pytest.raises(VoiceError, match="pip install faster-whisper"):
        choose_recogniser(machine.settings, "en")


def test_espeak_speaks_when_nothing_better_does(machine: Machine) -> None:
    machine.libraries = {"espeak-ng", "piper"}
    machine.put_piper("piper-en", "en")
    assert choose_synthesiser(machine.settings, "en").name == "piper-en"
    assert choose_synthesiser(machine.settings, "zh").name == "espeak"
    assert choose_synthesiser(machine.settings, "en", name="espeak").name == "espeak"


def test_androids_voice_speaks_at_the_phone_alone(machine: Machine) -> None:
    machine.libraries = {"termux-tts-speak"}
    assert choose_synthesiser(machine.settings, "en", may_play_itself=True).name == "android"
    with pytest.raises(VoiceError, match="voice setup --language en"):
        choose_synthesiser(machine.settings, "en")
    with pytest.raises(VoiceError, match="use --voice espeak"):
        choose_synthesiser(machine.settings, "en", name="android")
    machine.libraries |= {"espeak-ng"}
    assert choose_synthesiser(machine.settings, "en").name == "espeak"


def test_the_detector_is_our_own_or_the_one_that_a_library_carries(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried = tmp_path / "library" / "assets"
    carried.mkdir(parents=True)
    (carried / "silero_vad_v6.onnx").write_text("x")
    spec = ModuleSpec("faster_whisper", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "library")]
    monkeypatch.setattr(choose.importlib.util, "find_spec", lambda name: spec if name == "faster_whisper" else None)
    assert choose_detector(machine.settings).reason == "carried"
    machine.put("silero-vad", "silero_vad.onnx")
    assert choose_detector(machine.settings).reason == "only"
