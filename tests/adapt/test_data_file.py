"""Data files: what is read of them, and the line that is told when one is bad."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.adapt.data_file import read_data
from pocketseek.errors import FormatError, NotFoundError, PocketseekError, StorageError, UsageError
from pocketseek.types import Message

GOOD = '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}'


def written(folder: Path, *lines: str) -> Path:
    path = folder / "data.jsonl"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_conversations_and_texts_are_read_with_their_lines(tmp_path: Path) -> None:
    data = read_data(written(tmp_path, GOOD, "", '{"text": "一段文字", "id": 7}'))
    assert [example.line for example in data.examples] == [1, 3]
    assert data.examples[0].messages == (Message("user", "hi"), Message("assistant", "ho"))
    assert data.examples[1].text == "一段文字"


def test_a_text_file_is_one_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa\nb\n")
    (example,) = read_data(tmp_path / "a.txt").examples
    assert example.text == "a\nb\n"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not valid JSON"),
        ("[1]", "not a JSON object"),
        ("{}", "either"),
        ('{"text": "a", "messages": []}', "either"),
        ('{"text": 5}', "not a text"),
        ('{"text": "  "}', "not a text"),
        ('{"messages": "hi"}', "list of messages"),
        ('{"messages": []}', "list of messages"),
        ('{"messages": ["hi"]}', "message 1 is not an object"),
        ('{"messages": [{"role": "king", "content": "a"}]}', "role 'king'"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "no message of the assistant"),
        ('{"messages": [{"role": "assistant", "content": ""}]}', "empty answer"),
        ('{"messages": [{"role": "assistant", "content": null}]}', "no content"),
        ('{"messages": [{"role": "assistant", "content": "a", "tool_calls": [1]}]}', "tool calls"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_line_is_told_by_its_number(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(FormatError, match="line 2") as caught:
        read_data(written(tmp_path, GOOD, line))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_utf8_are_told_by_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(GOOD.encode() + b'\n{"text": "\xff"}\n')
    with pytest.raises(FormatError, match="line 2 is not UTF-8"):
        read_data(tmp_path / "a.jsonl")


def test_files_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_data(tmp_path / "absent.jsonl")
    (tmp_path / "a.csv").write_text("a")
    with pytest.raises(UsageError, match="neither"):
        read_data(tmp_path / "a.csv")
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(UsageError, match="nothing to learn"):
        read_data(tmp_path / "empty.txt")
    (tmp_path / "folder.txt").mkdir()
    os.mkfifo(tmp_path / "pipe.txt")
    for name in ("folder.txt", "pipe.txt"):
        with pytest.raises(StorageError):
            read_data(tmp_path / name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "x"]), inner),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from(["messages", "text", "id"]), JSON, max_size=2), max_size=4))
def test_any_json_is_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, lines: list[object]) -> None:
    path = tmp_path_factory.mktemp("data") / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    problem = ""
    try:
        assert len(read_data(path).examples) == len(lines)
    except PocketseekError as error:
        problem = str(error)
    assert "\n" not in problem
