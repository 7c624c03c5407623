"""What is said about kept documents and questions to them, in English and Chinese; see messages.py."""

from __future__ import annotations

from pocketseek.cli.messages import Message

READING = Message("reading", "正在读取")
ASK_PASSWORD = Message("Password of {file} (an empty one leaves it)", "{file} 的密码（直接回车则放弃）")
ASK_PASSWORD_AGAIN = Message(
    "Wrong; password of {file} (an empty one leaves it)", "密码错误；{file} 的密码（直接回车则放弃）"
)
READING_FILE = Message("reading file {number} of {total}", "正在读取文件 {number}/{total}")
PICTURE_PAGES = Message(
    "{path}: {count} {count:page is a picture|pages are pictures} without text; `pocketseek doc add --ocr` reads them",
    "{path}：有 {count} 页是没有文字的图片；可用 `pocketseek doc add --ocr` 识别",
)
ADDED = Message(
    "{added} added, {changed} changed, {unchanged} unchanged, {failed} not readable",
    "新增 {added} 个，更新 {changed} 个，未变 {unchanged} 个，无法读取 {failed} 个",
)
IN_COLLECTION = Message("collection {name}: {count} {count:document|documents}", "文档集 {name}：{count} 个文档")
OTHER_FILES = Message(
    "{count} other {count:file of the folder is no document by its name|files of the folder are no documents by their "
    "names}; name {count:it|one} to add it all the same",
    "文件夹中另有 {count} 个文件从名称看不是文档；如需添加，请直接指定文件",
)
GONE = Message(
    "{count} {count:file that was added is|files that were added are} no longer there ({first}{count:| ...}); "
    "`pocketseek doc remove FILE` forgets {count:it|them}",
    "有 {count} 个已添加的文件已不存在（{first}{count:| ...}）；用 `pocketseek doc remove 文件` 清除",
)
NOT_READ = Message("{path}: {problem}", "{path}：{problem}")
NO_DOCUMENTS = Message(
    "no documents are kept; `pocketseek doc add FILE` adds one", "尚未保存任何文档；用 `pocketseek doc add 文件` 添加"
)
COLUMN_NUMBER = Message("no.", "编号")
COLUMN_TITLE = Message("title", "标题")
COLUMN_PAGES = Message("pages", "页数")
COLUMN_SIZE = Message("size", "大小")
COLUMN_COLLECTIONS = Message("collections", "文档集")
COLUMN_FILE = Message("file", "文件")
CONFIRM_REMOVE = Message(
    "Forget {count} {count:document? The file itself stays.|documents? The files themselves stay.}",
    "要清除 {count} 个文档吗？文件本身会保留。",
)
NOT_REMOVED = Message("nothing was removed", "未清除任何内容")
REMOVED = Message(
    "{count} {count:document was|documents were} removed from the kept ones; the {count:file itself stays|files "
    "themselves stay}",
    "已清除 {count} 个文档；文件本身仍保留",
)
JOBS_REMOVED = Message(
    "{count} {count:summary|summaries} of {count:it was|them were} removed too", "并已清除它们的 {count} 份摘要"
)
NOTHING_FOUND = Message("no passage has any of these words", "没有包含这些词的段落")
PAGE = Message("page {number}", "第 {number} 页")
PART = Message("part {number}", "第 {number} 部分")
PARAGRAPH = Message("paragraph {number}", "第 {number} 段")
NOT_IN_DOCUMENT = Message("Not in the document.", "文中没有相关内容。")
NO_PASSAGE = Message(
    "no passage of it speaks of this question; other words may help, `pocketseek doc search` shows what there is",
    "没有段落谈到这个问题；可以换个说法，或用 `pocketseek doc search` 查看有哪些内容",
)
SOURCES = Message("Sources:", "出处：")
NO_SOURCE = Message(
    "no sentence of the document could be tied to this answer; do not rely on it",
    "无法在文档中找到与此回答对应的句子；请勿依赖",
)
UNMARKED = Message(
    "the model has named no sources; these are the sentences nearest to what it says",
    "模型未注明出处；以下是与回答最接近的句子",
)
DROPPED = Message(
    "marks without a source in the document, dropped: {marks}", "以下标注在文档中没有对应内容，已略去：{marks}"
)
NOT_IN_WHOLE = Message("nothing of it answers the question", "其中没有能回答这个问题的内容")
READING_ONE = Message("document {number} of {total}: {title}", "第 {number}/{total} 个文档：{title}")
ASK_PROMPT = Message("Question (an empty line ends): ", "问题（空行结束）：")
CIRCLES = Message(
    "the answer went round in circles and was ended; another model may do better",
    "回答开始循环重复，已将其结束；换一个模型可能更好",
)
MISSING_FIELDS = Message("nothing was found for: {fields}", "以下字段没有找到内容：{fields}")
OTHER_VALUES = Message(
    "the document has several values for: {fields}; --json shows them",
    "文档中有多个取值的字段：{fields}；--json 可列出",
)
LOST_CHUNKS = Message(
    "{lost} of {total} {total:part|parts} of the document gave no usable answer; --json shows which",
    "文档的 {total} 个部分中有 {lost} 个没有得到可用的回答；--json 可列出",
)
UNPLACED_FIELDS = Message(
    "not in the document word for word, check: {fields}", "以下字段的值没有在文档中逐字出现，请核对：{fields}"
)
