"""What `pocketseek device --models` and `--measure` say, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message
from pocketseek.govern.model_verdict import Why, WhyNone

MEASURING_DEVICE = Message("measuring", "测量中")
FIGURE_MEMORY = Message("reads memory at", "内存读取")
FIGURE_INT8 = Message("int8 multiply-adds", "int8 乘加")
FIGURE_FLASH = Message("reads storage at", "存储读取")
FIGURE_DIRECT = Message("past the page cache", "绕过页缓存读取")
FIGURE_STREAMING = Message("streams weights at", "权重流式读取")
FIGURE_LONG_READ = Message("reads gigabytes from storage at", "存储持续读取")
GIGABYTES = Message("{value:.1f} GB/s", "{value:.1f} GB/s")
GIGA_OPERATIONS = Message(
    "{value:.0f} G/s ({kernels}, {threads} threads)", "{value:.0f} G/s（{kernels}，{threads} 线程）"
)
COLUMN_MODEL = Message("model", "模型")
COLUMN_BITS = Message("bits", "位")
COLUMN_FITS = Message("fits", "能否运行")
COLUMN_SIZE = Message("size", "大小")
COLUMN_READS = Message("reads", "读")
COLUMN_WRITES = Message("writes", "写")
COLUMN_LOAD = Message("starts in", "启动")
COLUMN_CONTEXT = Message("context", "上下文")
FITS = {
    "resident": Message("yes", "可以"),
    "streams": Message("streamed", "流式"),
    "no memory": Message("no: memory < {memory}", "不行：内存不足 {memory}"),
    "no storage": Message("no: storage < {storage}", "不行：存储不足 {storage}"),
    "unknown": Message("unknown", "未知"),
}
TOKENS_PER_S = Message("{rate}/s", "{rate}/秒")
AT_MOST_TOKENS_PER_S = Message("≤ {rate}/s", "≤ {rate}/秒")
SECONDS = Message("{seconds:.1f} s", "{seconds:.1f} 秒")
RECOMMENDED = Message("Take {model} at {bits} bits: {reason}.", "建议 {model}（{bits} 位）：{reason}。")
WHY: dict[Why, Message] = {
    "reads along": Message(
        "the largest that writes as fast as people read ({rate} tokens/s)",
        "在阅读速度以上的模型中最大（{rate} 词元/秒）",
    ),
    "usable": Message(
        "nothing larger writes a token per second; it writes {rate} tokens/s",
        "更大的模型不到每秒一个词元；它每秒 {rate} 个",
    ),
    "fastest": Message("the fastest here, {rate} tokens/s", "此处最快，每秒 {rate} 个词元"),
    "upper limit": Message(
        "it writes at most {rate} tokens/s; `pocketseek device --measure` says how fast it really is",
        "每秒最多 {rate} 个词元；用 `pocketseek device --measure` 测量实际速度",
    ),
}
UNMEASURED = Message(
    "The largest that fits into memory is {model} at {bits} bits; which is fast enough, `pocketseek device --measure` "
    "tells.",
    "能放入内存的最大模型是 {model}（{bits} 位）；哪个模型够快，请用 `pocketseek device --measure` 测量。",
)
STORAGE = Message(
    "It takes {storage} of storage; {conversion} while it is converted here.",
    "需要 {storage} 存储空间；在本机转换时需要 {conversion}。",
)
STORAGE_SHORT = Message(
    "It takes {storage} of storage. Converting it takes {conversion}, more than the {free} that are free: convert it "
    "on another machine and copy the package.",
    "需要 {storage} 存储空间。转换时需要 {conversion}，超过可用的 {free}：请在其他机器上转换，再复制模型包。",
)
START_INSTALLED = Message("`pocketseek chat {model}` starts it.", "运行 `pocketseek chat {model}` 即可使用。")
START_DEMO = Message("`pocketseek chat demo` installs and starts it.", "运行 `pocketseek chat demo` 即可安装并使用。")
START_PULL = Message("This fetches {repository} and installs it:", "下载并安装 {repository}:")
INSTALLED = Message("*: installed.", "*：已安装。")
SLOW_STORAGE = Message(
    "Models of 12 billion weights and more want UFS 3.1 or faster; this storage is slower.",
    "120 亿参数及以上的模型需要 UFS 3.1 或更快的存储；此设备的存储较慢。",
)
ESTIMATED = Message(
    "Nothing was measured: speeds are upper limits, by the published peak of this chip's memory, {value:.1f} GB/s. "
    "`pocketseek device --measure` measures.",
    "尚未测量：速度为上限，依据该芯片公布的内存峰值带宽 {value:.1f} GB/s。请运行 `pocketseek device --measure`。",
)
WHY_NONE: dict[WhyNone, Message] = {
    "nothing fits": Message("Nothing in the catalogue runs here.", "目录中没有能在此运行的模型。"),
    "memory unknown": Message(
        "It is not known how much memory is free here, so no model can be recommended.",
        "无法得知此处的可用内存，因此不能推荐模型。",
    ),
}
NO_STORAGE_FIGURES = Message("Storage was not measured: {why}", "存储未测量：{why}")
NOT_MEASURED = Message(
    "Speeds are unknown until `pocketseek device --measure` has run.",
    "运行 `pocketseek device --measure` 之后才知道速度。",
)
EXPLAINED = Message(
    "Writes and reads are tokens of answer and of prompt in a second, as expected for one answer at {tokens} tokens of "
    "context, with nothing else running and before heat slows it down. Streamed: not all weights fit into memory, the "
    "rest is read from storage for every token.",
    "“写”与“读”为每秒生成和读入的词元数，是单个回答在 {tokens} 词元上下文时的预期，"
    "假定没有其他程序运行且未因发热降速。流式：内存放不下全部权重，其余部分在每个词元时从存储读取。",
)
