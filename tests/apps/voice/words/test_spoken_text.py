import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.voice.clauses import Clauses
from pocketseek.apps.voice.words.spoken_text import by_language, language_of, spoken

FRAGMENTS = [
    "1",
    "2",
    "10",
    "1,000",
    "3.14",
    "2026-11-27",
    "1/2",
    "10:30",
    "$",
    "€",
    "¥",
    "%",
    "km",
    "°C",
    "-",
    "–",
    ":",
    "/",
    "*",
    "**",
    "`",
    "#",
    "|",
    "[",
    "](",
    ")",
    "²",
    "^2",
    "½",
    "个",
    "年",
    "元",
    "of",
    "may",
    "第",
    "x",
    "GPT-4",
    "你好",
    "e.g.",
    "🎉",
    "<b>",
]
written = st.one_of(
    st.text(max_size=40), st.lists(st.sampled_from([*FRAGMENTS, " ", " ", "\n"]), max_size=15).map("".join)
)


@pytest.mark.parametrize("language", ["en", "zh"])
@given(text=written)
def test_nothing_is_left_that_has_to_be_seen(language: str, text: str) -> None:
    said = spoken(text, language)
    assert not any(character.isdecimal() and character.isascii() for character in said)
    assert not set(said) & set("*`#|\\^{}[]🎉$%")
    assert said == said.strip()


@given(written)
def test_every_part_has_a_word_and_neighbours_differ_in_language(text: str) -> None:
    parts = by_language(text, "zh")
    assert all(any(character.isalnum() for character in part.text) for part in parts)
    assert all(one.language != other.language for one, other in itertools.pairwise(parts))


ENGLISH = {
    # dates, times
    "On 2026-11-27 at 3:05 pm": "On November twenty-seventh, twenty twenty-six at three oh five p m",
    "Nov. 27, 2026": "November twenty-seventh, twenty twenty-six",
    "the 21st of May 2001": "the twenty-first of May, two thousand one",
    "2/11/2026 and 28/2/2026": "February eleventh, twenty twenty-six and February twenty-eighth, twenty twenty-six",
    "14:30, 9:00 am, 10 a.m., 12:00": "fourteen thirty, nine a m, ten a m, twelve o'clock",
    "in 1889 and since 1900": "in eighteen eighty-nine and since nineteen hundred",
    "in the 1990s": "in the nineteen nineties",
    "1939–1945": "nineteen thirty-nine to nineteen forty-five",
    # numbers
    "1,234,567": "one million two hundred thirty-four thousand five hundred sixty-seven",
    "007 and 3.14": "zero zero seven and three point one four",
    "3.11.2": "three point eleven point two",
    "-5, 10-20, 7 - 2": "minus five, ten to twenty, seven minus two",
    "1/2, 3/4, 1½, 2 1/2 tsp": "one half, three quarters, one and a half, two and a half teaspoons",
    "3/4 mi": "three quarters of a mile",
    "the 1st, 22nd and 103rd": "the first, twenty-second and one hundred third",
    "3:1": "three to one",
    "#1, No. 5": "number one, number five",
    # units, money
    "330 m, 1 km, 60 km/h, 5 m²": "three hundred thirty meters, one kilometer, sixty kilometers per hour, five square "
    "meters",
    "-5°C": "minus five degrees Celsius",
    "12.5%": "twelve point five percent",
    "$1.50, $0.99, $1, €3.99 million": "one dollar and fifty cents, ninety-nine cents, one dollar, three point "
    "nine nine million euros",
    "$10-$20, 100 USD, £5": "ten dollars to twenty dollars, one hundred dollars, five pounds",
    # signs, abbreviations, names
    "E = mc^2, 10^-3": "E equals mc squared, ten to the power of minus three",
    "e.g. Dr. Smith vs. Mr. Jones": "for example Doctor Smith versus Mister Jones",
    "salt & pepper, and/or": "salt and pepper, and or",
    "GPT-4, H2O, C#": "GPT four, H two O, C sharp",
    "555-123-4567": "five five five, one two three, four five six seven",
    # markup
    "**Bold**, *it*, `a_b`": "Bold, it, a b",
    "## Title\n": "Title",
    "1. Wash the *rice*": "one, Wash the rice",
    "- [x] done 🎉": "done",
    "see [the page](https://x.org/a_b)[^1] or https://example.com/x?y=1.": "see the page or a link.",
    "a <b>bold</b> &amp; b<br>c": "a bold and b, c",
    "so $\\frac{1}{2} \\times x$ is \\boxed{42}": "so one half times x is forty-two",
    "2*3": "two times three",
    "```python\nprint(1)\n```": "The code is on the screen.",
    "| a | b |\n| - | - |\n": "The table is on the screen.",
    "<think>5 is odd</think>": "",
    "🎉 ---": "",
}
CHINESE = {
    "2026-11-27 下午3:05": "二零二六年十一月二十七日下午三点零五分",
    "1990年代，90年代，2019-2021年": "一九九零年代，九零年代，二零一九到二零二一年",
    "8:00 开会": "八点开会",
    "2个人，第2名，2月，2点，12个": "两个人，第二名，二月，两点，十二个",
    "200元，2000元，20000人，10500": "二百元，两千元，两万人，一万零五百",
    "10-20km，60km/h，100m²": "十到二十公里，六十公里每小时，一百平方米",
    "-5℃到10°C": "负五摄氏度到十摄氏度",
    "12.5%，1/2，3:1": "百分之十二点五，二分之一，三比一",
    "¥3.5，$100，100万美元，3.5亿元": "三点五元，一百美元，一百万美元，三点五亿元",
    "打13812345678": "打幺三八幺二三四五六七八",
    "3.14 × 2 = 6.28，0.5": "三点一四乘以二等于六点二八，零点五",
    "**水**：[链接](https://x.org)，见 https://x.cn/a。": "水：链接，见链接。",
    "1. 洗米 🍚": "一，洗米",
    "```\nx\n```": "代码请看屏幕。",
}


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_read_as_one_says_it(text: str) -> None:
    assert spoken(text, "en") == ENGLISH[text]


@pytest.mark.parametrize("text", CHINESE)
def test_chinese_is_read_as_one_says_it(text: str) -> None:
    assert spoken(text, "zh") == CHINESE[text]


def test_text_in_both_languages_is_cut_by_script() -> None:
    assert by_language("我用 Python 写了3个程序，GPT-4 很好。", "zh") == [
        ("我用", "zh"),
        ("Python", "en"),
        ("写了三个程序，", "zh"),
        ("GPT four", "en"),
        ("很好。", "zh"),
    ]
    assert by_language("The word 你好 means hello, and 3个 is three.", "en") == [
        ("The word", "en"),
        ("你好", "zh"),
        ("means hello, and", "en"),
        ("三个", "zh"),
        ("is three.", "en"),
    ]


def test_the_language_is_that_of_the_words_not_of_the_conversation() -> None:
    assert language_of("今天天气很好", "en") == "zh"
    assert language_of("It is sunny today", "zh") == "en"
    assert language_of("42", "zh") == "zh"
    assert language_of("Guten Tag", "de") == "de"


def test_emphasis_that_is_cut_by_a_clause_leaves_nothing_behind() -> None:
    clauses = Clauses()
    text = "**Well, I think so.** And *this, too* is it."
    cut = [*clauses.feed(text), *clauses.finish()]
    assert " ".join(spoken(clause, "en") for clause in cut) == "Well, I think so. And this, too is it."
