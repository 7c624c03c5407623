"""`verify` passes a sound package and names what is wrong with a damaged one."""

import json
from collections.abc import Callable
from pathlib import Path

from pocketseek.errors import FormatError, IntegrityError


def damage(package: Path) -> Path:
    chunk = max((package / "chunks").iterdir())
    data = bytearray(chunk.read_bytes())
    data[100] ^= 1
    chunk.chmod(0o644)
    chunk.write_bytes(data)
    return chunk


def test_a_sound_package_passes(run: Callable, tiny_package: Path) -> None:
    assert "every byte" in run("verify", tiny_package).out
    report = run("verify", tiny_package, "--json").json
    assert report["ok"] is True
    assert report["full"] is True
    assert report["num_chunks"] > 0


def test_a_flipped_bit_is_found_and_named(run: Callable, installed: Path) -> None:
    chunk = damage(installed)
    ended = run("verify", "tiny")
    assert ended.code == IntegrityError.exit_code
    assert chunk.name in ended.err


def test_quick_looks_at_sizes_only(run: Callable, installed: Path) -> None:
    damage(installed)
    assert "--full" in run("verify", "tiny", "--quick").out


def test_a_missing_chunk_is_found_even_quickly(run: Callable, installed: Path) -> None:
    next((installed / "chunks").iterdir()).unlink()
    ended = run("verify", "tiny", "--quick", "--json")
    assert ended.code == IntegrityError.exit_code
    report = json.loads(ended.out)
    assert report["ok"] is False
    assert "missing" in report["error"]
    assert "missing" in run("verify", "tiny", "--quick").error


def test_an_unreadable_manifest_is_a_format_error(run: Callable, installed: Path) -> None:
    (installed / "manifest.json").write_bytes(b"")
    ended = run("verify", "tiny", "--json")
    assert ended.code == FormatError.exit_code
    assert ended.error
