"""apps/doc/terms.py: what counts as the same word, in English and Chinese."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.doc.terms import index_text, is_beginning, terms_of, wanted_terms


@pytest.mark.parametrize(
    "words",
    [
        "install installs installed installing installation",
        "package packages PACKAGE",
        "dependency dependencies",
        "configure configured configuration",
        "upgrade upgrades upgrading",
        "copy copies copied",
        "stop stops stopped stopping",
        "synchronise synchronised synchronizes synchronization",
        "analyse analyzed",
        "café cafe CAFÉ cafe\u0301",
    ],
)
def test_forms_of_a_word_are_one_term(words: str) -> None:
    assert len(set(index_text(words).split())) == 1


@pytest.mark.parametrize("words", ["process precise", "status statu", "bus bu", "user used"])
def test_other_words_stay_apart(words: str) -> None:
    assert len(set(index_text(words).split())) == 2


def test_chinese_is_cut_in_overlapping_pairs_and_its_last_character() -> None:
    assert index_text("软件包, apt安装") == "软件 件包 包 apt 安装 装"


def test_a_single_chinese_character_is_looked_for_as_a_beginning() -> None:
    assert wanted_terms("法") == ["法"]
    assert is_beginning("法")
    assert not is_beginning("a")


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("How do I install the packages?", ["install", "packag"]),
        ("什么是软件包?", ["软件", "件包"]),
        ("如何安装 Debian 呢?", ["安装", "debian"]),
        ("这个程序的目的是什么", ["程序", "目的"]),
        ("代号从哪里来?", ["代号"]),
        ("这些代号来自哪里?", ["代号"]),
        ("怎样升级某个软件包?", ["升级", "软件", "件包"]),
        ("What is this?", ["what", "is", "this"]),
        ("packages and PACKAGE", ["packag"]),
    ],
)
def test_words_that_only_ask_are_not_looked_for(question: str, wanted: list[str]) -> None:
    assert wanted_terms(question) == wanted


@given(st.text())
def test_terms_are_in_the_text_where_they_say_and_have_no_signs(text: str) -> None:
    for term in terms_of(text):
        assert 0 <= term.start < term.stop <= len(text)
        assert term.text
        assert not set(term.text) & set(' "*\n\0')
