"""apps/doc/snippet.py: a line with what was found in it."""

from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.doc.snippet import snippet


def test_hits_are_marked_where_most_of_them_are() -> None:
    text = (
        "A package. "
        + "Filler text of no use. " * 30
        + "The package has dependencies.\nEnd of "
        + "the long text. " * 20
    )
    assert "«package» has «dependencies». End of" in snippet(text, "package dependency")
    assert snippet(text, "package dependency").startswith("…")


def test_pairs_of_one_chinese_word_are_marked_together() -> None:
    assert snippet("安装软件包的方法", "软件包") == "安装«软件包»的方法"


def test_without_a_hit_it_is_the_beginning() -> None:
    assert snippet("short", "absent") == "short"
    assert snippet("long " * 100, "absent").endswith("…")


@given(st.text(max_size=400), st.text(max_size=20))
def test_it_is_one_short_line(text: str, words: str) -> None:
    line = snippet(text, words)
    assert "\n" not in line
    assert len(line) <= 160 * 3 + 2
