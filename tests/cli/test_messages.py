"""Both languages say the same with the same values."""

import importlib
import pkgutil
import re
import string
from collections.abc import Callable, Iterator, Mapping

import pytest

import pocketseek.cli
from pocketseek.cli.messages import Message, Words

HALF_WIDTH = re.compile(r"[\u4e00-\u9fff）][,;:!?()]|[,;!?()][\u4e00-\u9fff]")  # beside a Chinese character
PLACEHOLDER = re.compile(r"\{[^{}]*\}")


def messages_in(value: object, name: str) -> Iterator[tuple[str, Message]]:
    """The messages that a module's value is or holds, with a name for each."""
    if isinstance(value, Message):
        yield name, value
    elif isinstance(value, Mapping):
        for key, held in value.items():
            yield from messages_in(held, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for number, held in enumerate(value):
            yield from messages_in(held, f"{name}.{number}")


def all_messages() -> Iterator[tuple[str, Message]]:
    """Of every module below cli/ that is called messages or *_messages."""
    for module in pkgutil.walk_packages(pocketseek.cli.__path__, "pocketseek.cli."):
        if module.name.endswith("messages"):
            for name, value in vars(importlib.import_module(module.name)).items():
                yield from messages_in(value, f"{module.name.removeprefix('pocketseek.cli.')}.{name}")


ALL = dict(all_messages())


def test_they_are_found() -> None:
    assert len(ALL) > 600
    assert "chat.chat_messages.WELCOME" in ALL
    assert "device.verdict_messages.FITS.resident" in ALL


def values_of(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_both_versions_use_the_same_values() -> None:
    assert [
        name for name, one in ALL.items() if values_of(one.en) != values_of(one.zh) or not (one.en and one.zh)
    ] == []


def test_language_is_chosen_and_values_filled_in() -> None:
    message = Message("{n} models", "{n} 个模型")
    assert Words("en")(message, n=2) == "2 models"
    assert Words("zh")(message, n=2) == "2 个模型"


def test_what_depends_on_a_number_follows_it() -> None:
    message = Message("{n} {n:model is|models are} here: {size:.1f} MB", "{n} 个模型:{size:.1f} MB")
    assert [Words("en")(message, n=n, size=2) for n in (0, 1, 2)] == [
        "0 models are here: 2.0 MB",
        "1 model is here: 2.0 MB",
        "2 models are here: 2.0 MB",
    ]


def test_chinese_environment_gives_chinese_messages(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POCKETSEEK_LANG")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert "已安装的模型" in run().out


def test_chinese_has_full_width_punctuation() -> None:
    assert [name for name, one in ALL.items() if HALF_WIDTH.search(one.zh)] == []


def test_what_only_joins_words_has_it_too() -> None:
    joining = {
        name: one.zh for name, one in ALL.items() if one.zh != one.en and not re.search("[\u4e00-\u9fff]", one.zh)
    }
    assert [name for name, zh in joining.items() if re.search("[,;:()]", PLACEHOLDER.sub("", zh))] == []
