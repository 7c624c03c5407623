"""Formulas become MathML of known elements, or stay what they were."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketseek.apps.serve.mathml import MAX_FORMULA_CHARS, render_formula

LATEX = st.lists(
    st.sampled_from(
        [
            "a",
            "1",
            "+",
            "\\frac",
            "{",
            "}",
            "\\sqrt",
            "[",
            "]",
            "^",
            "_",
            "\\left(",
            "\\right)",
            "\\begin{matrix}",
            "&",
            "\\end{matrix}",
            "\\\\",
            "\\text{",
            "<",
            ">",
            '"',
            "\\mathbb{R}",
            "\\color{red}",
            "\\sum",
            "\\int",
            "'",
            " ",
            "\\hspace{1em}",
            "\\substack{",
            "\\overset{",
            "\\not",
            "\\middle|",
            "&lt;",
            "&#60;",
            "\\limits",
            "\\\\[1em]",
        ]
    ),
    max_size=30,
).map("".join)


@given(LATEX)
@settings(max_examples=400, deadline=None)
def test_any_formula_gives_an_element_and_no_more(latex: str) -> None:
    html = render_formula(latex, display=False)
    assert html.startswith(("<math", "<code"))
    assert html.endswith(("</math>", "</code>"))
    assert "<img" not in html
    assert "style=" not in html


def test_a_fraction_is_drawn() -> None:
    html = render_formula("\\frac{1}{2}", display=True)
    assert (
        html
        == '<math display="block"><mrow><mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac></mrow></math>'
    )


@pytest.mark.parametrize(
    "latex",
    [
        "\\newcommand{\\a}{\\a\\a}\\a",
        "\\def\\a{b}",
        "\\href{javascript:alert(1)}{x}",
        "a" * (MAX_FORMULA_CHARS + 1),
        "\\frac{" * 300,
        "\\left(",
        "a_b_c",
    ],
)
def test_what_is_refused_is_shown_as_written(latex: str) -> None:
    assert render_formula(latex, display=False).startswith('<code class="tex">')


def test_text_in_a_formula_is_escaped() -> None:
    assert "&lt;img/src=x&gt;" in render_formula("\\text{<img/src=x>}", display=False)
