"""What is said about summaries of documents, in English and Chinese; see messages.py."""

from __future__ import annotations

from pocketseek.cli.messages import Message

PLANNED = Message("{chunks} {chunks:chunk|chunks}, {tokens} {tokens:token|tokens}", "{chunks} 个分块，{tokens} 个词元")
GOING_ON = Message(
    "{chunks} {chunks:chunk|chunks}, {tokens} {tokens:token|tokens}; {kept} of them {kept:was|were} read before",
    "{chunks} 个分块，{tokens} 个词元；其中 {kept} 个此前已读完",
)
PHASE_NOTES = Message("notes on {done} of {total} {total:chunk|chunks}", "已读 {done}/{total} 个分块")
PHASE_MERGE = Message("notes merged: {done} of {total}", "已合并笔记 {done}/{total}")
PHASE_SUMMARY = Message("writing the summary", "正在撰写摘要")
SECONDS_LEFT = Message("{phase}, about {count} s left", "{phase}，约剩 {count} 秒")
MINUTES_LEFT = Message("{phase}, about {count} min left", "{phase}，约剩 {count} 分钟")
STOPPED = Message(
    "stopped; {count} {count:answer is|answers are} kept, and the same command goes on from there",
    "已停止；已保存 {count} 个结果，再次运行同一命令即可继续",
)

COVERED = Message(
    "The summary covers {covered} of {chunks} {chunks:chunk|chunks}, {tokens} {tokens:token|tokens}.",
    "摘要涵盖 {covered}/{chunks} 个分块，共 {tokens} 个词元。",
)
READ = Message(
    "{covered} of {chunks} {chunks:chunk was|chunks were} read for this, {tokens} {tokens:token|tokens}.",
    "为此读了 {covered}/{chunks} 个分块，共 {tokens} 个词元。",
)
ANSWER_CUT = Message("The answer was cut off.", "回答被截断。")
NOTHING_LEFT_OUT = Message("Nothing was left out.", "没有遗漏。")
CUT_OFF = Message("The notes on these chunks were cut off: {chunks}", "以下分块的笔记被截断：{chunks}")
MERGES_CUT = Message("{count} merged {count:note was|notes were} cut off.", "有 {count} 份合并的笔记被截断。")
SUMMARY_CUT = Message(
    "The summary was cut off; --length asks for a longer one.", "摘要被截断；可用 --length 要求更长的摘要。"
)
NOTHING_ABOUT = Message("Nothing about the question in {count} {count:chunk|chunks}.", "有 {count} 个分块与问题无关。")
LEFT_OUT = Message("Left out: {where}: {reason}", "遗漏：{where}：{reason}")
LEFT_OUT_WHY = Message("Left out: {where}: {reason} ({detail})", "遗漏：{where}：{reason}（{detail}）")
PAGE = Message("page {page}", "第 {page} 页")
PART = Message("part {chapter}", "第 {chapter} 部分")
CHUNK = Message("chunk {first}", "第 {first} 个分块")
CHUNKS = Message("chunks {first} to {last}", "第 {first} 至 {last} 个分块")
SOMEWHERE = Message("the file", "文件")
OUTLINE = Message("Outline", "大纲")
UNTITLED = Message("(before the first heading)", "（第一个标题之前）")

REASONS = {
    "picture-page": Message("a picture without text", "没有文字的图片"),
    "damaged-part": Message("damaged", "已损坏"),
    "left-out": Message("too much for one page", "单页内容过多"),
    "running-lines": Message("running headers, footers and page numbers", "页眉、页脚和页码"),
    "comments": Message("comments, which --comments reads", "批注（可用 --comments 读取）"),
    "empty": Message("the model wrote nothing about it", "模型没有写出任何内容"),
    "refused": Message("the model refused", "模型拒绝处理"),
    "failed": Message("it could not be computed", "无法计算"),
    "merge": Message("the notes could not be merged", "笔记无法合并"),
}
"""By coverage.Reason."""

NO_JOBS = Message("No summaries are kept.", "没有已保存的摘要。")
COLUMN_JOB = Message("job", "任务")
COLUMN_TITLE = Message("title", "标题")
COLUMN_MODEL = Message("model", "模型")
COLUMN_STATE = Message("state", "状态")
COLUMN_USED = Message("last used", "上次使用")
JOB_DONE = Message("done", "已完成")
JOB_BEGUN = Message(
    "{answers} {answers:answer|answers} of {chunks} {chunks:chunk|chunks}", "{chunks} 个分块，已有 {answers} 个结果"
)
JOB_REMOVED = Message("Removed {count}.", "已删除 {count} 个。")
