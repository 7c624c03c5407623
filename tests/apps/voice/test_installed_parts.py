"""Speech parts that are packages: found, chosen, admitted, opened, and closed with what was made of them."""

from __future__ import annotations

import gc
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from package.samples import write_sample
from part_packages import part_of_kind, write_part

from pocketseek.apps.voice import candidates
from pocketseek.apps.voice.engines.choose import choose_detector, choose_recogniser, choose_synthesiser
from pocketseek.apps.voice.installed_parts import InstalledParts
from pocketseek.errors import SealError, TrustError
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.trust.trust_store import TrustStore
from pocketseek.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path, None, 1, "en")


class Engine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = (folder / "model.bin").read_bytes()


def test_parts_are_told_apart_by_what_they_are_for(settings: Settings) -> None:
    write_part(settings.models_dir / "ears")
    write_part(settings.models_dir / "mouth", part_of_kind("voice", "piper"))
    write_sample(settings.models_dir / "mind")
    parts = InstalledParts(settings)
    assert [one.name for one in parts.of_kind("recogniser")] == ["ears"]
    assert [one.name for one in parts.of_kind("voice")] == ["mouth"]
    assert parts.is_taken("mind")
    assert not parts.is_taken("ears")
    assert not parts.is_taken("nothing")


def test_packages_are_chosen_like_folders(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates.importlib.util, "find_spec", lambda name: object())
    write_part(settings.models_dir / "ears")
    write_part(settings.models_dir / "mouth", part_of_kind("voice", "piper"))
    write_part(settings.models_dir / "detector", part_of_kind("detector", "onnxruntime"))
    assert choose_recogniser(settings, "en").name == "ears"
    assert choose_synthesiser(settings, "en").name == "mouth"
    assert choose_detector(settings).name == "detector"
    folder = settings.voice_dir / "by-hand"
    folder.mkdir(parents=True)
    for name in ("model.bin", "config.json", "vocabulary.txt"):
        (folder / name).write_bytes(b"")
    assert choose_recogniser(settings, "fr").name == "by-hand"
    assert choose_recogniser(settings, "en", name="by-hand").name == "by-hand"


def test_who_wants_signed_models_alone_gets_no_other_parts(settings: Settings) -> None:
    pytest.importorskip("cryptography", reason="cryptography is not installed (extra `secure`)")
    package = write_part(settings.models_dir / "ears")
    InstalledParts(settings).open(package, Engine)
    TrustStore(settings.trust_path).change(lambda trust: replace(trust, require_signed=True))
    with pytest.raises(TrustError, match="ears"):
        InstalledParts(settings).open(package, Engine)


def test_what_cannot_be_made_leaves_nothing_open(settings: Settings) -> None:
    package = write_part(settings.models_dir / "ears")

    def fail(folder: Path) -> Engine:
        raise ValueError("not this one")

    with pytest.raises(ValueError, match="not this one"):
        InstalledParts(settings).open(package, fail)
    assert InstalledParts(settings).open(package, Engine).model


class TestSealed:
    @pytest.fixture
    def package(self, settings: Settings) -> Path:
        pytest.importorskip("cryptography", reason="cryptography is not installed (extra `secure`)")
        return write_part(settings.models_dir / "ears")

    def seal(self, package: Path, settings: Settings) -> None:
        from package.sealed_samples import key

        from pocketseek.apps.sealing import seal_model

        seal_model(package, key, settings)

    def parts(self, settings: Settings) -> InstalledParts:
        from package.sealed_samples import key

        def secret_of(package_dir: Path) -> AbstractContextManager[Secret | None]:
            return nullcontext(key())

        return InstalledParts(settings, secret_of)

    def test_sealing_takes_what_lay_in_the_clear(self, package: Path, settings: Settings) -> None:
        engine = InstalledParts(settings).open(package, Engine)
        assert engine.folder.is_dir()
        self.seal(package, settings)
        assert not engine.folder.exists()
        assert list(settings.views_dir.iterdir()) == []

    def test_it_opens_with_its_key_alone(self, package: Path, settings: Settings) -> None:
        self.seal(package, settings)
        with pytest.raises(SealError, match="is sealed"):
            InstalledParts(settings).open(package, Engine)
        assert self.parts(settings).open(package, Engine).model

    def test_what_was_decrypted_goes_with_the_engine(self, package: Path, settings: Settings) -> None:
        self.seal(package, settings)
        engine = self.parts(settings).open(package, Engine)
        folder = engine.folder
        assert folder.is_dir()
        del engine
        gc.collect()
        assert not folder.exists()

    @pytest.mark.skipif(
        find_spec("faster_whisper") is None, reason="faster-whisper, which carries a model, is not here"
    )
    def test_a_sealed_detector_hears_what_a_plain_one_hears(self, settings: Settings) -> None:
        pytest.importorskip("cryptography", reason="cryptography is not installed (extra `secure`)")
        from package.sealed_samples import key

        carried = choose_detector(settings)
        assert carried.reason == "carried"
        spec = find_spec("faster_whisper")
        assert spec is not None
        assert spec.submodule_search_locations is not None
        model = sorted(Path(spec.submodule_search_locations[0]).glob("assets/silero_vad*.onnx"))[-1]
        part = part_of_kind("detector", "onnxruntime")
        package = write_part(settings.models_dir / "hearing", part, {"silero_vad.onnx": model.read_bytes()})
        self.seal(package, settings)
        sealed = choose_detector(settings, secret_of=lambda _: nullcontext(key())).open()
        plain = carried.open()
        noise = np.random.default_rng(1).standard_normal(512 * 8).astype(np.float32)
        frames = noise.reshape(8, 512) * 0.1
        assert [sealed.probability(frame) for frame in frames] == [plain.probability(frame) for frame in frames]
        shutil.rmtree(package)
