"""apps/doc/citations.py: a quote is always in the document, at its place; marks that lead to nothing are dropped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_documents import made

from pocketseek.apps.doc.citations import Cited, cite, fold
from pocketseek.apps.doc.document import Document, Place
from pocketseek.apps.doc.document_rows import DocumentInfo
from pocketseek.apps.doc.retrieve import Found

BOOK = made(
    "Roses are pruned in\nMarch. They like sun.", "=", "Apples are picked in September.", "玫瑰在三月修剪。", title="G"
)
INFO = DocumentInfo(1, "sha", "G", "text/plain", 2, 10, 0.0, "/g", 3)


def passages(document: Document = BOOK) -> list[Found]:
    return [
        Found(INFO, start, start + len(block.text), (), block.text, block.place, 1.0, 1.0)
        for start, block in zip(document.starts, document.blocks, strict=True)
    ]


def cited(answer: str, *, text: str = "", document: Document = BOOK) -> Cited:
    """text: what is read again, if it is not the document's."""
    shown = text or document.text
    return cite(
        answer,
        passages(document),
        lambda _, start, stop: shown[start:stop],
        lambda _, position: document.place_at(position),
    )


@pytest.mark.parametrize(
    "answer",
    [
        "You prune roses in March [1].",
        "You prune roses in March. [1]",
        "You prune roses in March.[1] And so on.",
        "In March【1】, roses are pruned",
        "Roses: March [1, 2].",
    ],
)
def test_a_mark_leads_to_the_sentence_and_its_page(answer: str) -> None:
    first = cited(answer).citations[0]
    assert (first.number, first.place.page, first.is_marked) == (1, 1, True)
    assert first.quote == "Roses are pruned in March."
    assert fold(BOOK.text[first.start : first.stop]) == first.quote


def test_chinese_is_cited() -> None:
    assert cited("三月要修剪玫瑰[3]。").citations[0].quote == "玫瑰在三月修剪。"


@pytest.mark.parametrize("answer", ["Roses in March [7].", "Roses in March [0].", "Quantum physics is hard [2]."])
def test_a_mark_that_leads_to_nothing_is_dropped_and_said(answer: str) -> None:
    result = cited(answer)
    assert result.citations == ()
    assert len(result.dropped) == 1


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        (
            "Contents 12. 12.1. 12.2. Rent. The rent of clause 12 is paid monthly.",
            "The rent of clause 12 is paid monthly.",
        ),
        ("12.2. Rent of the flat ........ 17\n\nThe rent is paid monthly.", "The rent is paid monthly."),
        ("Terms apply here to all of it. 12.2. The rent is paid monthly.", "12.2. The rent is paid monthly."),
        ("1. 2. 3.", "1. 2. 3."),
    ],
)
def test_a_quote_is_a_sentence_rather_than_a_scrap(text: str, quote: str) -> None:
    answer = "By clause 12.2 the rent is paid monthly [1]." if "rent" in text else "It is 3 [1]."
    assert [one.quote for one in cited(answer, document=made(text)).citations] == [quote]


def test_a_quote_that_is_not_at_its_place_is_dropped() -> None:
    result = cited("You prune roses in March [1].", text=BOOK.text.replace("Roses", "Tulips"))
    assert (result.citations, result.dropped) == ((), (1,))


def test_an_answer_without_marks_is_tied_to_what_says_the_same() -> None:
    result = cited("Apples are picked in September. The moon is made of cheese.")
    assert [(one.number, one.is_marked) for one in result.citations] == [(2, False)]


def test_the_same_quote_is_cited_once() -> None:
    assert len(cited("Roses: March [1]. In March, roses [1].").citations) == 1


@given(st.text(alphabet="roses march apple [12].9 三月玫瑰【】，\n"))
def test_whatever_the_model_writes_quotes_are_in_the_document(answer: str) -> None:
    for one in cited(answer).citations:
        assert one.quote
        assert fold(BOOK.text[one.start : one.stop]) == one.quote
        assert isinstance(one.place, Place)
