"""Sealing a model takes along what its prompts left in the clear; unsealing it, what they left under its key. Killed
anywhere, a model that counts as sealed has left nothing in the clear."""

from __future__ import annotations

import random
import shutil
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed (extra `secure`)")

from package.crashes import run_killed_before_change
from package.samples import write_sample
from package.sealed_samples import key

from pocketseek.apps.sealing import seal_model, unseal_model
from pocketseek.package.manifest import read_manifest
from pocketseek.package.sealing.in_place import seal_state
from pocketseek.package.sealing.seal_record import read_record
from pocketseek.runtime.onnx.opening import cached_export
from pocketseek.runtime.prefix.owners import manifest_id, onnx_owner, plain_owner, sealed_owner
from pocketseek.runtime.prefix.page import key_of_page
from pocketseek.runtime.prefix.store import PrefixStore, identity_of
from pocketseek.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
OTHER = "f" * 32


def keep_page(settings: Settings, owner: str) -> None:
    store = PrefixStore(settings.prefix_dir, identity_of({}), page_bytes=8, owner=owner)
    assert store.keep(key_of_page(b"", [1] * 64), 0, memoryview(b"computed"), used_ns=1)


def owners_left(settings: Settings) -> set[str]:
    return {path.name[:-64].rstrip("-") for path in settings.prefix_dir.iterdir()}


def test_pages_go_with_the_state_that_they_were_computed_in(tmp_path: Path) -> None:
    settings = Settings(tmp_path, None, 1, "en")
    path = write_sample(tmp_path / "model")
    manifest = read_manifest(path)
    export = onnx_owner(cached_export(settings, manifest))
    for owner in (plain_owner(manifest_id(manifest)), export, OTHER, ""):
        keep_page(settings, owner)
    seal_model(path, key, settings)
    assert owners_left(settings) == {OTHER}
    record = read_record(path)
    assert record is not None
    keep_page(settings, sealed_owner(record.sealing))
    unseal_model(path, key(), settings)
    assert owners_left(settings) == {OTHER}


def check_no_plaintext(path: Path, settings: Settings) -> None:
    """No export, and no page that was computed while it was plain."""
    manifest = read_manifest(path)
    assert not cached_export(settings, manifest).exists()
    assert plain_owner(manifest_id(manifest)) not in owners_left(settings)


def test_killed_before_any_change_a_sealed_model_has_left_nothing_in_the_clear(tmp_path: Path) -> None:
    write_sample(tmp_path / "sample", max_chunk_bytes=10**6)
    change, step = random.Random().randrange(5), 5
    killed = True
    while killed:
        shutil.rmtree(tmp_path / "home", ignore_errors=True)
        settings = Settings(tmp_path / "home", None, 1, "en")
        path = Path(shutil.copytree(tmp_path / "sample", settings.models_dir / "m"))
        manifest = read_manifest(path)
        cached_export(settings, manifest).mkdir(parents=True)
        (cached_export(settings, manifest) / "model.onnx").write_text("weights in the clear")
        keep_page(settings, plain_owner(manifest_id(manifest)))
        killed = run_killed_before_change(partial(seal_model, path, key, settings), change)
        if seal_state(path, manifest) == "sealed":
            check_no_plaintext(path, settings)
        seal_model(path, key, settings)
        assert seal_state(path, manifest) == "sealed"
        check_no_plaintext(path, settings)
        change += step
    assert change > 5 * step
