"""What of a page a person sees, and as what kind of block."""

from __future__ import annotations

from pocketseek.apps.doc.document import Link
from pocketseek.apps.doc.formats.html_blocks import HtmlDraft, html_drafts, html_title
from pocketseek.apps.doc.formats.safe_xml import parse_html


def drafts(html: str) -> list[HtmlDraft]:
    return list(html_drafts(parse_html(f"<html><body>{html}</body></html>", "a.html").root))


def seen(html: str) -> list[tuple[str, int, str]]:
    return [(draft.kind, draft.level, draft.text) for draft in drafts(html)]


def test_headings_paragraphs_and_code() -> None:
    assert seen("<h2>Head</h2><p>one\n two</p>loose<pre>a\n  b</pre><blockquote>said</blockquote>") == [
        ("heading", 2, "Head"),
        ("paragraph", 0, "one two"),
        ("paragraph", 0, "loose"),
        ("code", 0, "a\n  b"),
        ("paragraph", 0, "said"),
    ]


def test_what_nobody_sees_is_left_out() -> None:
    hidden = (
        "<script>x()</script><style>p{}</style><nav>menu</nav><div hidden>h</div><p style='display: none'>d</p>"
        "<template>t</template><div class='navheader'>n</div><form><button>b</button><input value='v'></form>"
        "<ul class='docnav'><li>Next</ul>"
    )
    assert seen(f"<p>before</p>{hidden}<p>after</p>") == [("paragraph", 0, "before"), ("paragraph", 0, "after")]


def test_text_behind_something_unseen_is_kept() -> None:
    assert seen("<p>one <script>x</script>two <!-- c -->three</p>") == [("paragraph", 0, "one two three")]


def test_lists_are_numbered_and_know_their_depth() -> None:
    assert seen("<ol start=3><li>c<ul><li>inner</li></ul></li><li><p>d</p><p>more</p></li></ol>") == [
        ("item", 1, "3. c"),
        ("item", 2, "inner"),
        ("item", 1, "4. d"),
        ("paragraph", 0, "more"),
    ]


def test_a_table_is_one_block_a_row_a_line() -> None:
    table = "<table><caption>T</caption><tr><th>a<th>b</tr><tr><td><p>1</p><p>2</p><td>x\ny</table>"
    assert seen(table) == [("caption", 0, "T"), ("table", 0, "a | b\n1 2 | x y")]


def test_a_table_that_only_places_things_is_running_text() -> None:
    assert seen("<table><tr><td><h1>Head</h1><p>text</p></td><td>side</td></tr></table>") == [
        ("heading", 1, "Head"),
        ("paragraph", 0, "text"),
        ("paragraph", 0, "side"),
    ]


def test_ruby_keeps_its_base_and_puts_the_reading_in_parentheses() -> None:
    assert seen("<p><ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp>字<rt>じ</rt></ruby>だ</p>") == [
        ("paragraph", 0, "漢（かん）字（じ）だ")
    ]


def test_a_line_break_between_chinese_characters_is_no_space() -> None:
    assert seen("<p>中文\n  换行 与\nEnglish\nwords</p>") == [("paragraph", 0, "中文换行 与 English words")]


def test_links_that_lead_outside_lie_over_their_words() -> None:
    (draft,) = drafts("<p> See <a href='https://example.org/a'>the\npage</a> and <a href='#x'>below</a>.</p>")
    assert draft.text == "See the page and below."
    assert draft.links == (Link(4, 12, "https://example.org/a"),)
    assert draft.text[4:12] == "the page"


def test_a_link_over_a_numbered_item_moves_with_its_label() -> None:
    (draft,) = drafts("<ol><li><a href='https://example.org/'>x</a></li></ol>")
    assert (draft.text, draft.links) == ("1. x", (Link(3, 4, "https://example.org/"),))


def test_a_footnote_is_told_by_its_type() -> None:
    assert seen("<aside epub:type='footnote'><p>note</p></aside><p>text</p>") == [
        ("footnote", 0, "note"),
        ("paragraph", 0, "text"),
    ]


def test_the_mark_of_a_footnote_stands_in_brackets_in_the_text_and_before_the_note() -> None:
    text = "<p>rent<a href='#n1' role='doc-noteref'><sup>1</sup></a>, heat<sup><a href='#n2'>2</a></sup></p>"
    notes = "<ol><li id=n1 role='doc-endnote'><p>One.<a href='#r1' role='doc-backlink'>up</a></p></li></ol>"
    assert seen(text + notes) == [("paragraph", 0, "rent[1], heat[2]"), ("footnote", 0, "[1] One.")]
    assert seen("<p>a<a href='#n'><sup>[3]</sup></a></p>") == [("paragraph", 0, "a[3]")]
    assert seen("<p>a<a href='#n' epub:type='noteref'>4</a></p>") == [("paragraph", 0, "a[4]")]


def test_raised_digits_stay_raised() -> None:
    assert seen("<p>10<sup>6</sup> x<sup>-2</sup> 1<sup>st</sup> H<sub>2</sub>O</p>") == [
        ("paragraph", 0, "10⁶ x⁻² 1st H2O")
    ]


def test_columns_stay_in_line_where_cells_span_others() -> None:
    head = "<tr><th colspan=2>ab</th><th>c</th></tr>"
    rows = "<tr><td rowspan=2>1</td><td>2</td><td rowspan=2>3</td></tr><tr><td>4</td></tr><tr><td>5<td>6<td>7</tr>"
    assert seen(f"<table>{head}{rows}</table>") == [("table", 0, "ab |  | c\n1 | 2 | 3\n| 4\n5 | 6 | 7")]
    wide = "<table><tr><td colspan=99999999999>x<td>y</tr><tr><td colspan=-1 rowspan=0>z<td>w</tr></table>"
    assert seen(wide) == [("table", 0, "x | y\nz | w")]


def test_the_title_is_that_of_the_head() -> None:
    assert html_title(parse_html("<title> A\n title </title><p>x", "a.html").root) == "A title"
    assert html_title(parse_html("<p>x", "a.html").root) is None
