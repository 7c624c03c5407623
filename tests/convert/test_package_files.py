from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from checkpoints import write_gguf
from tiny_models import CHAT_TEMPLATE, gguf_metadata, tiny_gguf, tiny_hf_directory, tiny_model
from tiny_tokenizer import EOS, tiny_tokenizer

from pocketseek.convert.package_files import collect_files
from pocketseek.convert.sources.open import open_source
from pocketseek.errors import FormatError, NotFoundError
from pocketseek.text.settings_file import parse_text_settings
from pocketseek.text.tokenizer import Tokenizer

VOCAB = 320


def files_of(path: Path, vocab_size: int = VOCAB) -> dict[str, bytes]:
    with closing(open_source(path)) as source:
        return collect_files(source, vocab_size)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tiny_hf_directory(tmp_path / "hf")


def test_a_directorys_tokenizer_is_taken_over_byte_for_byte(directory: Path) -> None:
    assert files_of(directory)["tokenizer.json"] == (directory / "tokenizer.json").read_bytes()


def test_both_kinds_of_checkpoint_give_a_tokenizer_that_agrees(directory: Path, tmp_path: Path) -> None:
    texts = ["the capital of France is Paris", "你好\n 12", f"a{EOS}b"]
    encoded = []
    for path in (directory, tiny_gguf(tmp_path / "model.gguf")):
        files = files_of(path)
        tokenizer = Tokenizer.from_json(files["tokenizer.json"], parse_text_settings(files["text.json"]))
        encoded.append([tokenizer.encode(text) for text in texts])
    assert encoded[0] == encoded[1]


def test_text_settings_hold_the_end_of_an_answer(directory: Path) -> None:
    settings = parse_text_settings(files_of(directory)["text.json"])
    assert settings.eos_ids == (tiny_tokenizer().tokens.index(EOS),)


def test_the_chat_template_comes_along_from_either_kind(directory: Path, tmp_path: Path) -> None:
    for path in (directory, tiny_gguf(tmp_path / "model.gguf")):
        assert files_of(path)["chat_template.jinja"] == CHAT_TEMPLATE.encode()


def test_a_template_in_a_file_of_its_own_wins(directory: Path) -> None:
    (directory / "chat_template.jinja").write_text("{{ '你好' }}", encoding="utf-8")
    assert files_of(directory)["chat_template.jinja"] == "{{ '你好' }}".encode()


def test_without_a_template_there_is_no_such_file(directory: Path) -> None:
    (directory / "tokenizer_config.json").write_text("{}")
    assert set(files_of(directory)) == {"tokenizer.json", "text.json"}


def test_licences_come_along(directory: Path) -> None:
    (directory / "LICENSE").write_bytes(b"MIT")
    (directory / "NOTICE").write_bytes(b"made by")
    files = files_of(directory)
    assert (files["LICENSE"], files["NOTICE"]) == (b"MIT", b"made by")


def test_optional_settings_may_be_missing(directory: Path) -> None:
    for name in ("tokenizer_config.json", "generation_config.json"):
        (directory / name).unlink()
    assert parse_text_settings(files_of(directory)["text.json"]).eos_ids


def test_a_directory_without_tokenizer_is_refused_with_the_remedy(directory: Path) -> None:
    (directory / "tokenizer.json").unlink()
    with pytest.raises(NotFoundError, match=r"has no tokenizer.json; make one with transformers"):
        files_of(directory)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"a": 1, "a": 2}', b"[" * 100_000])
def test_damaged_text_files_are_format_errors(name: str, content: bytes, directory: Path) -> None:
    (directory / name).write_bytes(content)
    with pytest.raises(FormatError) as caught:
        files_of(directory)
    assert "\n" not in str(caught.value)


def test_a_template_that_is_not_utf8_is_a_format_error(directory: Path) -> None:
    (directory / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(FormatError, match=r"chat_template.jinja is not UTF-8; download"):
        files_of(directory)


def test_a_tokenizer_larger_than_the_embedding_is_refused(directory: Path) -> None:
    with pytest.raises(FormatError, match=r"tokens but the embedding 100 rows; get"):
        files_of(directory, vocab_size=100)


def test_a_gguf_without_tokenizer_is_refused(tmp_path: Path) -> None:
    metadata = {key: value for key, value in gguf_metadata(tiny_model()).items() if "tokens" not in key}
    with pytest.raises(FormatError):
        files_of(write_gguf(tmp_path / "model.gguf", metadata, {}))


def test_settings_are_json_that_names_the_special_tokens(directory: Path) -> None:
    assert json.loads(files_of(directory)["text.json"])["eos_token"] == EOS


def test_recommended_sampling_comes_along_when_there_is_any(directory: Path) -> None:
    assert "sampling.json" not in files_of(directory)
    (directory / "generation_config.json").write_text('{"temperature": 0.6, "top_p": 0.95, "do_sample": true}')
    assert files_of(directory)["sampling.json"] == b'{"temperature":0.6,"top_p":0.95}\n'


def test_sampling_named_by_the_caller_replaces_the_checkpoints(directory: Path) -> None:
    (directory / "generation_config.json").write_text('{"temperature": 0.6}')
    with closing(open_source(directory)) as source:
        files = collect_files(source, VOCAB, {"temperature": 0.2})
    assert files["sampling.json"] == b'{"temperature":0.2}\n'
