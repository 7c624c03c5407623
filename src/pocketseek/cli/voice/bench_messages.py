"""What `voice bench` says, in English and Chinese; see messages.py."""

from __future__ import annotations

from pocketseek.cli.messages import Message

PLAYING = Message("playing {name}", "正在播放 {name}")
SORTING = Message("sorting requests", "正在判断请求意图")
PAGE = Message("timeline: {path}", "时间线：{path}")
PAGE_TITLE = Message("A turn of a spoken conversation", "一轮语音对话")
FAST_NOTE = Message(
    "--fast: nothing was waited for, so there are no times after the end of speech",
    "--fast：不等待真实时间，因此没有“说完之后”的时间",
)
COLUMN_STAGE = Message("seconds", "秒")
COLUMN_P50 = Message("p50", "p50")
COLUMN_P95 = Message("p95", "p95")
COLUMN_ADDS = Message("of it p50", "其中 p50")
TURNS = Message("files / turns / failed", "文件 / 轮次 / 失败")
TOKENS = Message("tokens written / prompt tokens found computed", "生成词元 / 已提前算好的提示词元")
WORD_ERRORS = Message("word error rate, {language}", "词错误率，{language}")
CHARACTER_ERRORS = Message("character error rate, {language}", "字错误率，{language}")
RATE_OF = Message("{rate:.1%} of {units}", "{units} 个中错 {rate:.1%}")
NO_RATE = Message("nothing to compare with", "没有可比较的文本")
UNDERSTOOD = Message(
    "understood, {kind}: likeliest label / calibrated / by chance", "理解正确率，{kind}：最可能标签 / 校准后 / 随机"
)
UNDERSTOOD_OF = Message(
    "{likeliest:.1%} / {calibrated:.1%} / {chance:.1%} of {requests}",
    "{requests} 个请求：{likeliest:.1%} / {calibrated:.1%} / {chance:.1%}",
)
UNDERSTOOD_TEXT = Message("understood", "听到")
ANSWERED = Message("answered", "回答")

KINDS = {
    "text": Message("typed", "文字"),
    "speech": Message("spoken", "语音"),
}
STAGES = {
    "endpoint": Message("end of speech noticed", "发现说完"),
    "transcript": Message("text recognised", "识别出文字"),
    "first_token": Message("first word written", "写出第一个词"),
    "first_clause": Message("first clause written", "写完第一个分句"),
    "first_sound": Message("first sound (end to end)", "第一声（端到端）"),
    "answer": Message("all of the answer spoken", "回答合成完毕"),
}
LANES = {
    "speech": Message("somebody speaks", "用户说话"),
    "endpoint": Message("is it the end?", "判断是否说完"),
    "transcript": Message("recognition (dots: partial texts)", "语音识别（点：部分文本）"),
    "model": Message("model", "语言模型"),
    "voice": Message("speech synthesis", "语音合成"),
    "heard": Message("sound of the answer", "回答的声音"),
}
