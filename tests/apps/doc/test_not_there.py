"""apps/doc/not_there.py: what models say when the text does not answer, and what only sounds like it."""

import pytest

from pocketseek.apps.doc.not_there import says_not_there


@pytest.mark.parametrize(
    "answer",
    [
        "Not in the document.",
        "not in the document",
        "not mentioned in the passages",
        "The document does not contain this.",
        "The document doesn't mention a deposit.",
        "The answer is not in the document.",
        "This information is not provided in the given passages.",
        "I could not find this in the document.",
        "I couldn't find any information about a deposit.",
        "Sorry, but I am unable to answer this.",
        "Unfortunately, the text does not specify the deposit.",
        "Based on the document, there is no information about a deposit.",
        "There is no mention of a deposit in the document.",
        "文中没有。",
        "文中没有",
        "文中没有规定押金。",
        "段落中未提到",
        "文档中没有提到押金。",
        "根据文档,没有相关信息。",
        "根据文档，没有相关信息。",
        "根据所给段落，未提及押金。",
        "没有找到关于押金的内容。",
        "抱歉，文档中没有相关内容。",
        "无法从文中找到答案。",
        "该合同未明确说明押金。",
    ],
)
def test_the_model_may_say_that_it_is_not_there(answer: str) -> None:
    assert says_not_there(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "In March.",
        "Roses, not tulips, are in the document.",
        "三月",
        "没有虫害时不必修剪",
        "文中没有规定押金，但第三条规定租金为850元[1]",
        "Not in the document root but in /srv [2].",
        "Not in the document root.",
        "The document does not say when, but it says where: in the garden.",
        "The contract does not end before May.",
        "No answer is needed within ten days",
        "根据文档，没有虫害时不必修剪。",
        "根据文档，租金为850元。",
        "No.",
        "",
    ],
)
def test_other_answers_are_answers(answer: str) -> None:
    assert not says_not_there(answer)
