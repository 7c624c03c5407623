"""Whether a model says that what was asked is not in the text it was given.

It is the beginning of the answer that counts, and only if nothing is set against it: "Not in the document root but in
/srv" and "文中没有规定押金,但租金为850元" are answers. What is meant are the usual phrases of models; an answer with a
mark that leads to a passage is one whatever it says, see ask.py.
"""

from __future__ import annotations

import re

_TEXT = r"(?:(?:provided|given|above)\s+)?(?:numbered\s+)?(?:documents?|passages?|texts?|contract|context|excerpts?)"
_THE = r"(?:the|this|these|any\s+of\s+the)\s+"
_IN_TEXT = rf"(?:any\s*where\s+)?(?:in|from|by)\s+{_THE}{_TEXT}"
_TOLD = r"(?:mentioned|found|stated|given|specified|contained|provided|included|addressed|covered|answered|available)"
_TELLS = r"(?:contain|mention|say|provide|answer|specify|state|give|include|address|cover|discuss|tell|indicate)"
_NOT = r"(?:\s+not|n['’]t|not)"
_LEADING = rf"(?:(?:sorry|unfortunately)\W+(?:but\s+)?)?(?:(?:based\s+on|according\s+to|from)\s+{_THE}{_TEXT}\W+)?"
_ENGLISH = (
    # Not in the document. The answer is not given in the passages.
    rf"(?:(?:the\s+answer|this|that|it|(?:this\s+|the\s+)?information)\s+(?:is|was)\s+)?not\s+(?:{_TOLD}\s+)?{_IN_TEXT}"
    r"(?:\s+(?:provided|given|above))?(?=\W*(?:$|[.,;:!?\n]))",
    # The document does not say.
    rf"(?:{_THE})?{_TEXT}\s+(?:do|does|did){_NOT}\s+(?:explicitly\s+|directly\s+)?{_TELLS}",
    # I could not find this in the document.
    rf"i\s+(?:could|can|was|am|did|do)(?:{_NOT}|\s+unable)\s+(?:able\s+to\s+|to\s+)?(?:find|see|locate|answer)",
    # There is no information about it.
    r"there\s+(?:is|was)\s+no\s+(?:relevant\s+|such\s+)?(?:information|mention|answer)\b",
    r"no\s+(?:relevant\s+)?(?:information|mention|answer)\s+"
    r"(?:about|on|of|regarding|(?:is|was)\s+given|(?:is|was|could\s+be)\s+found)\b",
)
_CHINESE_TEXT = (
    "(?:文中|原文|(?:本|该|这份|所给|给出的|提供的|上述|以上)?(?:文档|文件|文本|文章|段落|内容|资料|合同|信息))"
)
_CHINESE_SOURCE = rf"(?:根据|依据|按照|从){_CHINESE_TEXT}(?:内容)?(?:来看|中)?[,，]?\s*"
_CHINESE_LEADING = rf"(?:(?:很)?(?:抱歉|对不起)[,，。!！]?\s*)?(?:{_CHINESE_SOURCE})?"
_CHINESE_SAYS = "提到|提及|提供|说明|说|规定|记载|涉及|找到|给出|包含|包括|写|讲|回答|答案"
_CHINESE_TELLS = f"(?:{_CHINESE_SAYS}|相关|有关|关于|任何|明确|具体|这|此|该)"
_CHINESE_INFORMATION = "(?:信息|内容|说明|答案|规定|记载|描述|资料|段落)"
_CHINESE = (
    # 文中没有。 段落中未提到押金。
    rf"{_CHINESE_TEXT}(?:中|里|内)?[,，]?\s*(?:都|均|也)?(?:并)?(?:没有|没|未|无)(?:有|能)?(?:{_CHINESE_TELLS}|(?=\W*$))",
    # 没有相关信息。 未找到有关押金的内容。
    rf"(?:并)?(?:没有|未|无|找不到|没)(?:能|有)?(?:找到|提到|提及|提供|发现)?(?:任何)?(?:相关|有关|关于)(?:的)?.{{0,30}}?{_CHINESE_INFORMATION}",
    # 无法从文中找到答案。
    rf"(?:我)?(?:无法|不能|没法|没能)(?:从|在|根据){_CHINESE_TEXT}(?:中|里|内)?.{{0,20}}?(?:找到|得出|确定|回答|得知|知道)",
)
# 根据所给段落,未提及押金。
_CHINESE_SHORT = rf"{_CHINESE_SOURCE}(?:并)?(?:没有|没|未|无){_CHINESE_TELLS}"
_NOT_THERE = re.compile(
    rf"\W*(?:{_LEADING}(?:{'|'.join(_ENGLISH)})|{_CHINESE_LEADING}(?:{'|'.join(_CHINESE)})|{_CHINESE_SHORT})",
    re.IGNORECASE,
)
_SET_AGAINST = re.compile(
    r"\b(?:but|however|although|though|instead|nevertheless)\b|但|不过|然而|而是|只有|只是", re.IGNORECASE
)


def says_not_there(answer: str) -> bool:
    """Whether the answer says so and nothing else."""
    said = _NOT_THERE.match(answer.strip())
    return said is not None and _SET_AGAINST.search(answer.strip(), said.end()) is None
