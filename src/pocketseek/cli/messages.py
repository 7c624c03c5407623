"""What the commands say to a person, in English and Chinese. Error messages are not here: they stay English.

A message is a constant, so that a misspelt one is found by the type checker; `Words` chooses the language and fills in
the values. Both versions of a message use the same values (a test compares them). What depends on a number is written
"{count} {count:chunk|chunks}": the first of both for 1.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Any, NamedTuple


class Message(NamedTuple):
    en: str
    zh: str


@dataclass(frozen=True)
class Words:
    """Messages in one language: "en" or "zh"."""

    language: str

    def __call__(self, message: Message, **values: object) -> str:
        return _FORMATTER.vformat(message.zh if self.language == "zh" else message.en, (), values)


class _Counting(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        for_one, is_choice, for_others = format_spec.partition("|")
        if is_choice:
            return for_one if value == 1 else for_others
        return str(super().format_field(value, format_spec))


_FORMATTER = _Counting()


UNKNOWN = Message("unknown", "未知")
NONE = Message("none", "无")

# device, doctor
DEVICE_MEMORY_VALUE = Message("{available} available of {total}", "共 {total}，可用 {available}")
DOCTOR_PYTHON = Message("Python", "Python")
DOCTOR_CORE = Message("compiled core", "编译核心")
DOCTOR_SPACE = Message("free storage", "可用存储")
DOCTOR_MEMORY = Message("memory", "内存")
DOCTOR_MEMORY_FREE = Message("{available} available", "可用 {available}")
DOCTOR_MEMORY_LIMIT = Message(
    "{available} available; this container may take {limit}", "可用 {available}；此容器上限 {limit}"
)
DOCTOR_LOW_MEMORY = Message(
    "{memory}; the smallest model needs about {least}, so close other programs",
    "{memory}；最小的模型约需 {least}，请关闭其他程序",
)
DOCTOR_LOW_LIMIT = Message(
    "{memory}; the smallest model needs about {least}, so allow the container more",
    "{memory}；最小的模型约需 {least}，请调高容器的上限",
)
DOCTOR_MODELS = Message("models", "模型")
DOCTOR_OK = Message("Everything needed is here.", "所需的一切都已就绪。")
DOCTOR_LOW_SPACE = Message("{free}; less than a small model needs", "{free}；不足以存放一个小模型")
DOCTOR_SETTINGS = Message("settings", "设置")
DOCTOR_SETTINGS_OK = Message("as they should be", "正常")
DOCTOR_DATA = Message("data directory", "数据目录")
DOCTOR_NOT_WRITABLE = Message(
    "{path} cannot be written; change its owner or mode", "{path} 不可写；请修改其所有者或权限"
)
DOCTOR_NUM_MODELS = Message("{count} installed, {broken} broken", "已安装 {count} 个，损坏 {broken} 个")

# models and packages
NO_MODELS = Message(
    "No model is installed. Try `pocketseek chat demo`, or `pocketseek convert FILE` for a model file you have.",
    "尚未安装模型。可运行 `pocketseek chat demo`，或用 `pocketseek convert 文件` 安装已有的模型文件。",
)
BROKEN = Message("broken", "已损坏")
BROKEN_REMEDY = Message(
    "{name} is broken ({reason}): `pocketseek remove {name}`, then install or convert it again",
    "{name} 已损坏（{reason}）：运行 `pocketseek remove {name}`，然后重新安装或转换",
)
BROKEN_REPAIR = Message(
    "{name} is broken ({reason}): `pocketseek verify {name} --repair` fetches what is damaged again",
    "{name} 已损坏（{reason}）：运行 `pocketseek verify {name} --repair` 可重新下载损坏的部分",
)
COLUMN_NAME = Message("name", "名称")
COLUMN_FAMILY = Message("family", "系列")
COLUMN_WEIGHTS = Message("weights", "参数量")
ACTIVE = Message("used for a token", "每个词元使用")
ACTIVE_VALUE = Message(
    "{weights:.1f} M, {chosen} of {experts} experts in each layer that has them",
    "{weights:.1f} M，含专家的每一层使用 {experts} 个专家中的 {chosen} 个",
)
COLUMN_SIZE = Message("size", "大小")
COLUMN_CONTEXT = Message("context", "上下文")
COLUMN_FORMATS = Message("formats", "格式")
COLUMN_PATH = Message("path", "路径")
COLUMN_TENSOR = Message("tensor", "张量")
COLUMN_SHAPE = Message("shape", "形状")
COLUMN_FORMAT = Message("format", "格式")
INSTALLED = Message(
    "Installed {name} ({size}) at {path}; use it: pocketseek chat {name}",
    "已安装 {name}（{size}）：{path}；使用：pocketseek chat {name}",
)
WRITTEN = Message(
    "Written to {path} ({size}); use it: pocketseek chat {path}",
    "已写入 {path}（{size}）；使用：pocketseek chat {path}",
)
VERIFIED_FULL = Message(
    "{path}: every byte is as it should be ({chunks} chunks, {files} files, {size}, {seconds:.1f} s)",
    "{path}：每个字节都正确（{chunks} 个分块，{files} 个文件，{size}，{seconds:.1f} 秒）",
)
VERIFIED_QUICK = Message(
    "{path}: sizes and header are right ({chunks} chunks, {files} files, {size}); --full checks every byte",
    "{path}：大小与文件头正确（{chunks} 个分块，{files} 个文件，{size}）；用 --full 检查每个字节",
)
CONFIRM_REMOVE = Message("Remove {name} ({size})?", "删除 {name}（{size}）？")
REMOVED = Message("Removed {name}; {size} freed", "已删除 {name}，释放 {size}")
NOT_REMOVED = Message("Nothing was removed.", "未删除任何内容。")

# work in progress
CONVERTING = Message("converting", "正在转换")
FINDING_SENSITIVITY = Message("finding out what matters", "正在测量各层的敏感度")
CHECKING = Message("checking what was lost", "正在检查损失")
HELD_OUT_ALL = Message("all texts", "全部文本")
VERIFYING = Message("verifying", "正在校验")
DEMO_DOWNLOADING = Message("downloading the demo model", "正在下载演示模型")
DEMO_UNPACKING = Message("unpacking the demo model", "正在解压演示模型")
DEMO_CONVERTING = Message("installing the demo model", "正在安装演示模型")
CONFIRM_DEMO = Message(
    "No model is installed. Install the demo model SmolLM2-135M-Instruct now (93 MB to download, 100 MB on disk)?",
    "尚未安装模型。现在安装演示模型 SmolLM2-135M-Instruct 吗（下载 93 MB，占用 100 MB）？",
)
SCORING = Message("scoring", "正在计算")
MEASURING = Message("measuring", "正在测量")

# --min-speed
SPEED_TOLD = Message("{problem} {done}", "{problem}{done}")
SPEED_BELOW = Message(
    "{model} is expected to write {speed} tokens/s in {memory} of memory, less than the {floor} asked for: {reason}.",
    "{model} 在 {memory} 内存中预计每秒 {speed} 词元，低于要求的 {floor}：{reason}。",
)
SPEED_NO_ROOM = Message("{model} does not fit into {memory} of memory.", "{memory} 内存放不下 {model}。")
SPEED_STORAGE = Message(
    "{streamed} of its {weights} of weights come from storage for every token",
    "它的 {weights} 权重中有 {streamed} 须为每个词元从存储读取",
)
SPEED_COMPUTING = Message(
    "computing with its {weights} of weights takes that long", "用它的 {weights} 权重计算就需要这么久"
)
SPEED_INSTEAD = Message(
    "Taken instead: {steps}; {speed} tokens/s are expected.", "改用：{steps}；预计每秒 {speed} 词元。"
)
SPEED_FASTEST = Message(
    "Nothing here is that fast. Taken is the fastest: {steps}; {speed} tokens/s are expected.",
    "这里没有那么快的方式。采用最快的：{steps}；预计每秒 {speed} 词元。",
)
SPEED_AS_IT_IS = Message("Nothing here is faster, so it stays as it is.", "这里没有更快的方式，因此不作改变。")
SPEED_STEP_MODEL = Message("the smaller model {model}", "较小的模型 {model}")
SPEED_STEP_KV = Message("keys and values in int8", "int8 键值缓存")
SPEED_STEP_CONTEXT = Message("a context of {tokens} tokens", "{tokens} 词元的上下文")
SPEED_AND = Message(", ", "、")
SPEED_MEASURED = Message(
    "[{speed} tokens/s, less than the {floor} asked for]", "[每秒 {speed} 词元，低于要求的 {floor}]"
)

READING_PROMPT = Message("reading …", "正在阅读……")

# chat
CHAT_WELCOME = Message(
    "{name}. Type a message and press Enter; /help shows the commands, Ctrl-D leaves.",
    "{name}。输入内容后按回车发送；/help 显示命令，Ctrl-D 退出。",
)
CHAT_HELP = Message(
    "/help          this list\n"
    "/reset         start a new conversation\n"
    "/undo          take back the last question and its answer\n"
    "/system TEXT   set what the model is told about its role (without TEXT: nothing), and start a new conversation\n"
    "/model NAME    go on with another model (without NAME: list them)\n"
    "/list          conversations that are kept\n"
    "/load WHICH    go on with one of them: its number in the list, its id or a part of its title\n"
    "/search TEXT   find conversations in which it was said\n"
    "/rename TITLE  call this conversation something else\n"
    "/delete WHICH  delete a conversation (without WHICH: this one), after asking\n"
    "/save FILE     write this one to FILE (.json, otherwise text); without FILE: say where it is kept\n"
    "/exit, /quit   leave (also Ctrl-D)\n"
    "Ctrl-C stops an answer; pressed again it leaves. The arrow keys bring back what was typed before.",
    "/help          显示本列表\n"
    "/reset         开始新的对话\n"
    "/undo          撤回上一个问题及其回答\n"
    "/system 文本   设定模型的角色（不写文本则清除），并开始新的对话\n"
    "/model 名称    换用另一个模型（不写名称则列出）\n"
    "/list          列出已保留的对话\n"
    "/load 对话     继续其中一个：列表中的编号、标识或标题的一部分\n"
    "/search 文本   查找说过这些内容的对话\n"
    "/rename 标题   为当前对话改名\n"
    "/delete 对话   删除一个对话（不写则为当前对话），会先询问\n"
    "/save 文件     把当前对话写入文件（.json，否则为纯文本）；不写文件则说明保留在何处\n"
    "/exit, /quit   退出（也可按 Ctrl-D）\n"
    "Ctrl-C 停止回答，再按一次退出。方向键可找回输入过的内容。",
)
CHAT_RESET = Message("The conversation starts afresh.", "对话已重新开始。")
CHAT_UNDONE = Message("The last question and its answer are taken back.", "已撤回上一个问题及其回答。")
CHAT_NOTHING_SAID = Message("There is nothing to take back.", "没有可撤回的内容。")
CHAT_SAVED = Message("Saved to {path}", "已保存到 {path}")
CHAT_STOPPED = Message("[stopped]", "[已停止]")
CHAT_CUT = Message("[cut at the token limit]", "[达到长度上限，已截断]")
CUT_BY_ROOM = Message("[cut: model and memory allow no longer context]", "[已截断：模型与内存不允许更长的上下文]")
CHAT_DROPPED = Message(
    "[the {count} oldest messages no longer fit the context and were forgotten]",
    "[最早的 {count} 条消息超出上下文长度，已被遗忘]",
)
CHAT_LEAVE_HINT = Message("Press Ctrl-C again, or Ctrl-D, to leave.", "再按一次 Ctrl-C 或按 Ctrl-D 退出。")
CHAT_UNKNOWN_COMMAND = Message(
    "There is no command {command}; /help shows them.", "没有命令 {command}；/help 显示全部命令。"
)

CHAT_KEPT = Message(
    "Kept as {id}, '{title}'; `pocketseek chat --continue` goes on with it.",
    "已保留为 {id}“{title}”；用 `pocketseek chat --continue` 继续。",
)
CHAT_NOT_KEPT = Message("[not kept any more: {problem}]", "[不再保留：{problem}]")
CHAT_NO_CONVERSATIONS = Message("No conversation is kept yet.", "尚未保留任何对话。")
CHAT_NOTHING_FOUND = Message("Nothing was found.", "没有找到。")
CHAT_MORE_CONVERSATIONS = Message("Older ones are found with /search TEXT.", "更早的对话可用 /search 文本 查找。")
CHAT_LOADED = Message("Going on with '{title}' ({count} messages).", "继续“{title}”（{count} 条消息）。")
CHAT_OTHER_MODEL = Message(
    "It was with {model}; /model {model} goes back to it.", "它使用的是 {model}；用 /model {model} 换回。"
)
CHAT_RENAMED = Message("Called '{title}' from now on.", "已改名为“{title}”。")
CHAT_CONFIRM_DELETE = Message("Delete '{title}' ({count} messages)? y/N", "删除“{title}”（{count} 条消息）吗？y/N")
CHAT_DELETED = Message("Deleted '{title}'.", "已删除“{title}”。")
CHAT_NOT_DELETED = Message("Nothing was deleted.", "未删除任何内容。")
CHAT_MODELS = Message("This is {current}. Installed: {models}", "当前模型：{current}。已安装：{models}")
CHAT_SWITCHED = Message("{name} answers from now on.", "现在由 {name} 回答。")

# eval, bench
EVAL_RESULT = Message(
    "perplexity {perplexity:.3f} over {tokens} tokens in windows of {window} ({seconds:.1f} s)",
    "困惑度 {perplexity:.3f}（{tokens} 个词元，窗口 {window}，{seconds:.1f} 秒）",
)
COMPARE_RESULT = Message(
    "KL {mean_kl:.5f} nats (p99 {p99_kl:.4f}), same likeliest token {top1:.1f} %, perplexity {perplexity:.3f} against "
    "{reference:.3f}, over {positions} tokens",
    "KL {mean_kl:.5f} nats（p99 {p99_kl:.4f}），最可能词元一致 {top1:.1f} %，困惑度 {perplexity:.3f} "
    "对 {reference:.3f}，共 {positions} 个词元",
)
BENCH_LOAD = Message("load", "加载")
BENCH_LOAD_TO_FIRST = Message("load to first token, short prompt", "从加载到首词元（短提示）")
BENCH_FIRST_TOKEN = Message("time to first token, {tokens} tokens of prompt", "首词元时间（提示 {tokens} 词元）")
BENCH_PREFILL = Message("prefill, {tokens} tokens", "预填充（{tokens} 词元）")
BENCH_DECODE = Message("decode, {tokens} tokens", "解码（{tokens} 词元）")
BENCH_RSS = Message("peak memory (RSS)", "内存峰值（RSS）")
BENCH_ANONYMOUS = Message("of it anonymous", "其中匿名内存")
BENCH_RATE = Message("{rate:.1f} tokens/s", "{rate:.1f} 词元/秒")
BENCH_STORAGE = Message("read from storage per token", "每词元读取存储")
BENCH_WEIGHTS = Message("weights read from memory per token", "每词元读取内存中的权重")
BENCH_ENERGY = Message("energy per token (estimate, unmeasured on a device)", "每词元能耗（估算，未在设备上实测）")
BENCH_MILLIJOULES = Message("{millijoules:.1f} mJ", "{millijoules:.1f} 毫焦")
BENCH_LIMIT = Message("memory limit", "内存上限")
BENCH_ENFORCED = Message("{size}, enforced by the kernel", "{size}，由内核强制执行")
BENCH_NOT_ENFORCED = Message("{size}, not enforced", "{size}，未强制执行")
BENCH_GROUP_PEAK = Message("peak memory under the limit, file pages included", "上限内的内存峰值（含文件页）")
BENCH_NO_GROUP = Message(
    "The limit of {size} is not enforced by the kernel, pocketseek alone keeps it: {reason}",
    "{size} 的上限未由内核强制执行，仅由 pocketseek 自行遵守：{reason}",
)
LOAD_PROFILE = Message("load", "负载")
LOAD_PROFILE_VALUE = Message(
    "{profile}, {clients} clients, {seconds:.1f} s", "{profile}，{clients} 个客户端，{seconds:.1f} 秒"
)
LOAD_WRITTEN = Message("tokens written", "生成")
LOAD_READ = Message("prompt tokens read", "读取提示")
LOAD_PER_PASS = Message("tokens per pass", "每遍词元数")
LOAD_PASSES = Message("passes per second", "每秒遍数")
LOAD_WAKEUPS = Message("wake-ups", "唤醒次数")
LOAD_PAGES = Message("KV pages, peak / all", "KV 页（峰值 / 全部）")
LOAD_CACHED = Message("prompt tokens found in the prefix cache", "前缀缓存命中的提示词元")
LOAD_DRAFTS = Message("drafted tokens, accepted / checked", "草稿词元（接受 / 检查）")
LOAD_PREEMPTIONS = Message("pre-emptions / of these to disk", "抢占次数 / 其中换出到磁盘")
LOAD_INTERACTIVE = Message("interactive", "交互")
LOAD_BACKGROUND = Message("background", "后台")
LOAD_ALONE = Message("interactive without background", "无后台时的交互")
LOAD_REQUESTS = Message("complete answers", "完成的回答")
LOAD_FIRST_TOKEN = Message("time to first token, p50 / p95 / p99, ms", "首词元时间 p50 / p95 / p99（毫秒）")
LOAD_BETWEEN = Message("time between tokens, p50 / p95 / p99, ms", "词元间隔 p50 / p95 / p99（毫秒）")
LOAD_PAGE_FIRST = Message("Time to first token", "首词元时间")
LOAD_PAGE_FIRST_NOTE = Message(
    "Share of requests (%) that had it within so many milliseconds", "在给定毫秒数内得到首词元的请求比例（%）"
)
LOAD_PAGE_BETWEEN = Message("Time between tokens", "词元间隔")
LOAD_PAGE_BETWEEN_NOTE = Message(
    "Share of tokens (%) that followed within so many milliseconds", "在给定毫秒数内到来的词元比例（%）"
)
LOAD_PAGE_NOTHING = Message("no samples", "没有样本")
LOAD_PAGE = Message("The report is in {path}", "报告已写入 {path}")
BENCH_SECONDS = Message("{seconds:.3f} s", "{seconds:.3f} 秒")

# serve
SERVE_READY = Message("Serving {models} at {url}", "正在 {url} 提供 {models}")
SERVE_TOKEN = Message(
    "An access token is needed: `pocketseek token create NAME` makes one.",
    "需要访问令牌：用 `pocketseek token create 名称` 创建。",
)
SERVE_SCAN = Message("Scan this on the other device:", "请在另一台设备上扫描：")
SERVE_SCAN_HERE = Message(
    "The address, as this device alone can reach it (--host 0.0.0.0 is for others):",
    "此地址仅本机可用（要供其他设备使用，请加 --host 0.0.0.0）：",
)
SERVE_STOP = Message("Ctrl-C ends it.", "按 Ctrl-C 结束。")
SERVE_NOTICE = Message("pocketseek is serving", "pocketseek 服务运行中")
SERVE_NOTICE_STOP = Message("Stop", "停止")
