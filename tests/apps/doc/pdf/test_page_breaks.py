"""Chinese paragraphs over page breaks, which no small letter gives away; English ones are in test_pdf_reader.py."""

from __future__ import annotations

import pytest

from pocketseek.apps.doc.pdf.lines import Line
from pocketseek.apps.doc.pdf.page_breaks import PageText, over_page_breaks
from pocketseek.apps.doc.pdf.paragraphs import Draft
from pocketseek.apps.doc.pdf.pdf_page import Page
from pocketseek.apps.doc.pdf.runs import Run, Style

PLAIN = Style(10, mono=False, bold=False, turned=False)


def page(number: int, *lines: tuple[float, str]) -> PageText:
    """One paragraph of these lines, each with where it begins; a character is ten points wide."""
    region = tuple(
        Line((Run(text, x, x + 10 * len(text), 700 - 12 * n, PLAIN, n),)) for n, (x, text) in enumerate(lines)
    )
    draft = Draft("paragraph", "".join(text for _, text in lines))
    return PageText(Page(number, 595, 842, ()), (draft,), (region,))


FULL = (70.0, "合作社在去年销售了三千吨苹果和许多李子")


def joint(before: PageText, after: PageText) -> str | None:
    first, second = over_page_breaks([before, after])
    assert (first.page.number, second.page.number) == (1, 2)
    return second.drafts[0].joint


def test_a_chinese_paragraph_goes_on_without_a_space() -> None:
    assert joint(page(1, FULL, FULL), page(2, (70.0, "其中大部分运往汉堡"), FULL)) == ""


@pytest.mark.parametrize(
    ("last", "first"),
    [
        ((70.0, "合作社在去年销售了三千吨苹果和许多李。"), (70.0, "其中大部分运往汉堡")),
        (FULL, (90.0, "其中大部分运往汉堡")),  # set in by two characters: a new paragraph
        ((70.0, "短的一行"), (70.0, "其中大部分运往汉堡")),
    ],
)
def test_a_chinese_paragraph_that_ends_or_begins_is_kept_apart(
    last: tuple[float, str], first: tuple[float, str]
) -> None:
    assert joint(page(1, FULL, last), page(2, first, FULL)) is None
