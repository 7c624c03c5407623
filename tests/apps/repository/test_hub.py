"""Repositories of a model hub, against a hub that its own client takes for a real one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from apps.repository.conftest import a_link
from fake_hub import COMMIT, FakeHub, fake_hub
from package.samples import seed_on_disk
from tiny_models import tiny_gguf, tiny_hf_directory
from web_server import Fault

from pocketseek.apps.repository.hub import choose_checkpoint, parse_repository, read_repository
from pocketseek.apps.repository.open_source import Link, open_source
from pocketseek.apps.repository.pull import Pulled, PullOptions, pull
from pocketseek.errors import DownloadError, FormatError, NotFoundError, StorageError, UnsupportedError, UsageError
from pocketseek.package.manifest import read_manifest
from pocketseek.package.origin import read_origin
from pocketseek.package.verify import verify_package

NAME = "someone/tiny-llama"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    (tmp_path / "hub").mkdir()
    with fake_hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    tiny_hf_directory(folder)
    (folder / "modeling_evil.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "README.md").write_text("hello")
    (folder / "original").mkdir()
    (folder / "original" / "model.safetensors").write_bytes(b"not ours")
    return folder


def a_hub_link(hub: FakeHub, **changes: object) -> Link:
    link = a_link()
    return replace(link, network=replace(link.network, hub=hub.url, **changes))  # type: ignore[arg-type]


def pulled(hub: FakeHub, models_dir: Path, address: str = NAME, **options: object) -> Pulled:
    return pull(
        address,
        a_hub_link(hub),
        models_dir=models_dir,
        downloads_dir=models_dir.parent / "downloads",
        options=PullOptions(**options),  # type: ignore[arg-type]
    )


def test_safetensors_are_downloaded_converted_and_gone(hub: FakeHub, checkpoint: Path, models_dir: Path) -> None:
    hub.add_folder(NAME, checkpoint)
    result = pulled(hub, models_dir)
    assert result.is_converted
    assert result.path == models_dir / "tiny-llama"
    verify_package(result.path, full=True)
    assert os.listdir(models_dir.parent / "downloads" / "hub") == []
    names = {path.rpartition("/")[2] for path in hub.server.paths()}
    assert not names & {"modeling_evil.py", "pytorch_model.bin", "README.md"}
    assert read_origin(result.path) is None  # nothing of the package can be fetched again from there


def test_the_hubs_own_client_gets_the_same_bytes_from_the_same_hub(
    hub: FakeHub, checkpoint: Path, tmp_path: Path, models_dir: Path
) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    hub.add_folder(NAME, checkpoint)
    pulled(hub, models_dir, keep_download=True)
    (ours,) = (models_dir.parent / "downloads" / "hub").glob("*@*")
    theirs = tmp_path / "theirs"
    info = huggingface_hub.HfApi(endpoint=hub.url).model_info(NAME, files_metadata=True)
    client, link = a_hub_link(hub).client(), a_hub_link(hub)
    listed = read_repository(client, link.network, parse_repository(NAME) or pytest.fail("no name"))
    assert info.sha == listed.commit == COMMIT
    sizes = {one.rfilename: one.size for one in info.siblings if "/" not in one.rfilename}
    assert {file.name: file.num_bytes for file in listed.files} == sizes
    for path in sorted(ours.iterdir()):
        got = huggingface_hub.hf_hub_download(NAME, path.name, endpoint=hub.url, local_dir=theirs)
        assert Path(got).read_bytes() == path.read_bytes() == (checkpoint / path.name).read_bytes()
    client.close()


def test_a_gguf_file_is_chosen_by_its_kind_or_by_name(hub: FakeHub, tmp_path: Path, models_dir: Path) -> None:
    files = {
        f"tiny-{kind}.gguf": tiny_gguf(tmp_path / f"{kind}.gguf", type_name=kind).read_bytes()
        for kind in ("F16", "Q8_0", "Q4_0")
    }
    hub.add(NAME, files)
    pulled(hub, models_dir)
    assert [path for path in hub.server.paths() if path.endswith(".gguf")] == [
        f"/{NAME}/resolve/{COMMIT}/tiny-Q4_0.gguf"
    ]
    result = pulled(hub, models_dir, file_name="tiny-Q8_0.gguf", name="eight")
    assert read_manifest(result.path).recipe["quant"] == "keep"
    assert any(path.endswith("tiny-Q8_0.gguf") for path in hub.server.paths())
    with pytest.raises(NotFoundError, match=r"no GGUF file 'other\.gguf'; there are tiny-F16\.gguf, tiny-Q8_0"):
        pulled(hub, models_dir, file_name="other.gguf")


def test_several_files_that_nobody_can_choose_from_are_asked_about(hub: FakeHub, models_dir: Path) -> None:
    hub.add(NAME, {"a.gguf": b"a", "b.gguf": b"b"})
    with pytest.raises(UsageError, match=r"say which with --file: there are a\.gguf, b\.gguf"):
        pulled(hub, models_dir)
    hub.add(NAME, {"m-00001-of-00002.gguf": b"a", "m-00002-of-00002.gguf": b"b", "mmproj-x.gguf": b""})
    with pytest.raises(UnsupportedError):
        pulled(hub, models_dir)
    hub.add(NAME, {"pytorch_model.bin": b"a", "../evil.gguf": b"b", "deep/x.gguf": b"c"})
    with pytest.raises(UnsupportedError, match="neither safetensors nor GGUF"):
        pulled(hub, models_dir)


def test_an_unknown_family_shows_before_its_weights_are_fetched(hub: FakeHub, models_dir: Path) -> None:
    hub.add(NAME, {"config.json": b'{"architectures":["MambaForCausalLM"]}', "model.safetensors": bytes(1000)})
    with pytest.raises(UnsupportedError, match="MambaForCausalLM"):
        pulled(hub, models_dir)
    assert not any(path.endswith("safetensors") for path in hub.server.paths())
    assert os.listdir(models_dir.parent / "downloads" / "hub") == []


def test_a_download_that_was_dropped_is_gone_on_with(hub: FakeHub, checkpoint: Path, models_dir: Path) -> None:
    hub.add_folder(NAME, checkpoint)
    hub.faults = lambda path, count: Fault("drop", at=5000) if path.startswith("/cdn/") else None
    with pytest.raises(DownloadError):
        pulled(hub, models_dir)
    hub.server.asked.clear()
    hub.cdn.asked.clear()
    hub.faults = lambda path, count: None
    assert pulled(hub, models_dir).path.is_dir()
    assert {asked.range for asked in hub.cdn.asked} == {"bytes=5000-"}
    assert not any(path.endswith("tokenizer.json") for path in hub.server.paths())


def test_damage_is_found_by_the_hubs_hashes(hub: FakeHub, checkpoint: Path, models_dir: Path) -> None:
    hub.add_folder(NAME, checkpoint)
    hub.faults = lambda path, count: Fault("flip", at=3) if path.endswith("tokenizer.json") else None
    with pytest.raises(DownloadError, match=r"tokenizer\.json arrived damaged"):
        pulled(hub, models_dir)
    hub.faults = lambda path, count: Fault("flip", at=3) if path.startswith("/cdn/") else None
    with pytest.raises(DownloadError, match="arrives damaged each time"):
        pulled(hub, models_dir)
    assert not models_dir.exists()


def test_a_full_disk_is_told_and_what_arrived_stays(
    hub: FakeHub, checkpoint: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    hub.add_folder(NAME, checkpoint)
    free = shutil._ntuple_diskusage(10**9, 10**9, 1000)
    monkeypatch.setattr("pocketseek.package.storage.shutil.disk_usage", lambda path: free)
    with pytest.raises(StorageError):
        pulled(hub, models_dir)
    assert not any(path.endswith("safetensors") for path in hub.server.paths())


def test_a_package_of_ours_in_a_repository_is_installed_as_it_is(
    hub: FakeHub, published: Path, models_dir: Path
) -> None:
    hub.add_folder("us/tiny", published / "tiny")
    result = pulled(hub, models_dir, "hf://us/tiny")
    assert seed_on_disk(result.path) == 1
    assert not result.is_converted
    origin = read_origin(result.path)
    assert origin is not None
    assert origin.address == "hf://us/tiny"
    source = open_source(origin.address, a_hub_link(hub))
    assert source.name == "hf://us/tiny"
    source.close()


def test_a_repository_without_a_package_is_no_source(hub: FakeHub, checkpoint: Path) -> None:
    hub.add_folder(NAME, checkpoint)
    with pytest.raises(FormatError, match="`pocketseek pull` converts"):
        open_source(NAME, a_hub_link(hub))


def test_a_token_goes_to_the_hub_alone(hub: FakeHub, checkpoint: Path, models_dir: Path, tmp_path: Path) -> None:
    hub.add_folder(NAME, checkpoint)
    pull(NAME, a_hub_link(hub, hub_token="hf_secret"), models_dir=models_dir, downloads_dir=tmp_path / "downloads")
    assert {asked.authorization for asked in hub.server.asked} == {"Bearer hf_secret"}
    assert {asked.authorization for asked in hub.cdn.asked} == {None}


def test_what_is_no_repository_is_told(hub: FakeHub, models_dir: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nobody/nothing is not at .*, or is private"):
        pulled(hub, models_dir, "nobody/nothing")
    with pytest.raises(NotFoundError, match=r"no folder here, no web address and no repository"):
        pulled(hub, models_dir, "a/b/c")
    for body in (b"<html>", b"{}", b'{"sha":"x","siblings":[]}', b'{"sha":"%b","siblings":{}}' % COMMIT.encode()):
        hub.server.pages[f"/api/models/{NAME}/revision/main?blobs=true"] = (body, {})
        with pytest.raises((FormatError, DownloadError)):
            pulled(hub, models_dir)


def test_a_gated_repository_is_told(hub: FakeHub, checkpoint: Path, models_dir: Path) -> None:
    hub.add_folder(NAME, checkpoint)
    hub.faults = lambda path, count: Fault("status", status=403) if "/resolve/" in path else None
    with pytest.raises(DownloadError, match="does not let us read it"):
        pulled(hub, models_dir)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a/b", "hf://a/b"), ("hf://a/b.c-d", "hf://a/b.c-d"), ("a/b@v1.0", "hf://a/b@v1.0"), ("a/b@main", "hf://a/b")],
)
def test_names_of_repositories(text: str, shown: str) -> None:
    assert str(parse_repository(text)) == shown


@pytest.mark.parametrize("text", ["a", "a/b/c", "../b", "a/..", "a/b@../x", "hf://", "a b/c", "/a/b", "a/b?x"])
def test_other_texts_name_none(text: str) -> None:
    assert parse_repository(text) is None


def test_files_of_hostile_names_are_not_seen(hub: FakeHub) -> None:
    hub.add(NAME, {"../../x.gguf": b"1", "/etc/y.gguf": b"2", "z z.gguf": b"3", "ok.gguf": b"4"})
    link = a_hub_link(hub)
    client = link.client()
    repository = read_repository(client, link.network, parse_repository(NAME) or pytest.fail("no name"))
    assert [file.name for file in choose_checkpoint(repository).files] == ["ok.gguf"]
    client.close()
