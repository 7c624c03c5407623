"""What bench reports say, in English and Chinese: the table on the terminal and the page. See `messages`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketseek.cli.messages import Message

if TYPE_CHECKING:
    from pocketseek.apps.report.comparison import Difference
    from pocketseek.apps.report.figures import Gap, Key
    from pocketseek.apps.report.measure import Phase

TITLE = Message("pocketseek bench: {model}", "pocketseek 基准测试：{model}")
MADE = Message(
    "Measured {created} with pocketseek {version} on {device}.",
    "{created} 由 pocketseek {version} 在 {device} 上测得。",
)
CUT_SHORT = Message(
    "Cut short: the measurement was ended early, and these are the figures that were complete by then.",
    "提前结束：测量被中断，这里是中断前已得到的结果。",
)
CLAIM_NOTE = Message(
    "“Claim” is what another system says of itself on a {device}. It was not measured here, and neither its model nor "
    "its method is known; it stands beside the figures of this device for orientation only.",
    "“声称”是另一系统自称在 {device} 上的数值。它不是在这里测得的，其模型与方法均未知，列在本机数据旁仅供参考。",
)
CLAIM = Message("claim: {value}", "声称：{value}")
HEAT_CLAIM = Message("{cpu:g} / {gpu:g} °C (CPU / GPU)", "{cpu:g} / {gpu:g} °C（CPU / GPU）")
COLUMN_FIGURE = Message("figure", "指标")
COLUMN_MEASURED = Message("measured", "实测")
COLUMN_CLAIM = Message("claim, {device}", "声称（{device}）")
NOT_MEASURED = Message("Not measured", "未测得")
LIST_SEPARATOR = Message("; ", "；")
NOT_MEASURED_WHY = Message("not measured: {why}", "未测得：{why}")
ALL_FIGURES = Message("All figures", "全部指标")
CONDITIONS = Message("How it was measured", "测量条件")
DEVICE = Message("Device", "设备")
SUSTAINED = Message("Sustained load", "持续负载")
SUSTAINED_NOTE = Message(
    "{minutes:.1f} minutes at full load, {tokens} tokens written. Each point is the mean of {interval:.0f} s.",
    "满负载 {minutes:.1f} 分钟，共生成 {tokens} 个词元。每点为 {interval:.0f} 秒的平均值。",
)
NO_SUSTAINED = Message(
    "No sustained load was measured; --minutes 30 does.", "未测量持续负载；使用 --minutes 30 可测量。"
)
CHART_SPEED = Message("Tokens per second", "每秒词元数")
CHART_HEAT = Message("Temperature, °C", "温度（°C）")
CHART_FREQUENCY = Message("Frequency of the fastest core, GHz", "最快核心的频率（GHz）")
CHART_DUTY = Message("Share of the time spent computing, and of full heat allowed, %", "计算所占时间与允许的热量（%）")
CHART_DUTY_ALONE = Message("Share of the time spent computing, %", "计算所占时间（%）")
LINE_DUTY = Message("computing", "计算")
LINE_HEAT_SHARE = Message("heat allowed", "允许的热量")
CHART_POWER = Message("Power, W", "功率（W）")
LINE_SKIN = Message("skin", "外壳")
LINE_BATTERY = Message("battery", "电池")
LINE_SOC = Message("chip", "芯片")
MINUTES = Message("min", "分")
SECONDS = Message("s", "秒")

FIGURES: dict[Key, Message] = {
    "load": Message("load{cached}", "加载{cached}"),
    "load_to_first_token": Message("load to first token", "从加载到首词元"),
    "short_answer": Message(
        "short answer, 16 tokens in, 8 out, batch 1", "短回答（输入 16 词元，输出 8 词元，批大小 1）"
    ),
    "long_answer": Message(
        "longer answer, {prompt} tokens in, {new} out, batch 1",
        "长回答（输入 {prompt} 词元，输出 {new} 词元，批大小 1）",
    ),
    "first_token": Message("time to first token, {prompt} tokens in", "首词元时间（输入 {prompt} 词元）"),
    "prefill": Message("prefill, {prompt} tokens", "预填充（{prompt} 词元）"),
    "decode": Message("decode, {new} tokens", "解码（{new} 词元）"),
    "sustained": Message("sustained, mean", "持续负载下的平均速度"),
    "sustained_last": Message("sustained, at the end", "持续负载结束时的速度"),
    "kept": Message("speed kept from beginning to end", "从开始到结束保持的速度"),
    "skin": Message("peak temperature, skin", "外壳最高温度"),
    "battery": Message("peak temperature, battery", "电池最高温度"),
    "soc": Message("peak temperature, chip", "芯片最高温度"),
    "idle_power": Message("power at rest{source}", "静止功率{source}"),
    "busy_power": Message("power under load{source}", "负载功率{source}"),
    "added_power": Message("power above idle{source}", "高于静止的功率{source}"),
    "tokens_per_joule": Message("tokens per joule", "每焦耳词元数"),
    "tokens_per_added_joule": Message("tokens per joule above idle", "每焦耳词元数（扣除静止功率）"),
    "package": Message("package on disk", "模型包大小"),
    "saved": Message("smaller than f16 weights ({f16})", "比 f16 权重（{f16}）减小"),
    "peak_rss": Message("peak memory (RSS)", "内存峰值（RSS）"),
}
PERHAPS_CACHED = Message(", files perhaps in memory already", "（文件可能已在内存中）")
OF_BATTERY = Message(", from the battery", "（取自电池）")
OF_PROCESSOR = Message(", processor package only", "（仅处理器封装）")
CARDS: dict[Key, Message] = {
    "load": Message("Load", "加载"),
    "short_answer": Message("Short answer, 16 in, 8 out", "短回答（入 16 出 8）"),
    "decode": Message("Decode", "解码"),
    "sustained": Message("Sustained", "持续速度"),
    "saved": Message("Package against f16", "模型包对比 f16"),
    "skin": Message("Peak, skin", "外壳最高温度"),
    "battery": Message("Peak, battery", "电池最高温度"),
    "soc": Message("Peak, chip", "芯片最高温度"),
    "added_power": Message("Power above idle", "高于静止的功率"),
}
GAPS: dict[Gap, Message] = {
    "no sensor": Message("no readable sensor", "无可读传感器"),
    "charging": Message("the device was charging", "设备正在充电"),
    "no sustained load": Message("needs --minutes", "需要 --minutes"),
    "cut short": Message("ended before", "在此之前已结束"),
    "not at batch 1": Message("several sequences at once", "同时运行多个序列"),
    "no system figure": Message("the system does not tell", "系统未提供"),
}
PHASES: dict[Phase, Message] = {
    "rest": Message("measuring at rest", "正在测量静止状态"),
    "answers": Message("measuring answers", "正在测量回答"),
    "sustained": Message("sustained load", "持续负载"),
}
MILLISECONDS = Message("{value:.0f} ms", "{value:.0f} 毫秒")
RATE_PER_JOULE = Message("{value:.2f} tokens/J", "{value:.2f} 词元/焦")

CONDITION_MODEL = Message("model", "模型")
CONDITION_MODEL_VALUE = Message("{name}, {parameters:.2f} G parameters", "{name}，{parameters:.2f} G 参数")
CONDITION_KERNELS = Message("kernels, keys and values", "内核、键值缓存")
CONDITION_RUNS = Message("runs", "测量次数")
CONDITION_RUNS_VALUE = Message(
    "{short} short answers, {repeats} longer ones; medians count", "短回答 {short} 次，长回答 {repeats} 次，取中位数"
)
CONDITION_SEQUENCES = Message("sequences at a time", "同时运行的序列")
CONDITION_REST = Message("seconds at rest before", "之前静止的秒数")
CONDITION_LOADED = Message("model's files before loading", "加载前模型文件")
LOADED_STORAGE = Message("on storage (the page cache was emptied)", "在存储中（页缓存已清空）")
LOADED_CACHE = Message("wherever they were, perhaps in memory already", "未清空缓存，可能已在内存中")
CONDITION_THREADS = Message("threads", "线程数")
CONDITION_HEAT = Message("temperature limit", "温度上限")
CONDITION_HEAT_VALUE = Message("{limit} °C", "{limit} °C")
CONDITION_HEAT_NONE = Message("none (switched off, or no sensor can be read)", "无（已关闭，或无法读取传感器）")
CONDITION_MEMORY = Message("memory allowed", "允许的内存")
DEVICE_CHIP = Message("chip", "芯片")
DEVICE_PHONE = Message("phone", "手机")
DEVICE_PROCESSOR = Message("processor", "处理器")
DEVICE_CORES = Message("usable cores", "可用核心")
DEVICE_MEMORY = Message("memory", "内存")
DEVICE_SYSTEM = Message("system", "系统")
COMPLAINTS = Message("Sensors left out", "未采用的传感器")

COMPARE_TITLE = Message("Two bench reports", "两份基准报告对比")
COMPARE_WHICH = Message("{letter}: {model} on {device}, {created}", "{letter}：{model}，{device}，{created}")
COLUMN_CHANGE = Message("B against A", "B 相对 A")
TIMES = Message("{factor:.2f}x", "{factor:.2f} 倍")
BETTER = Message("{change} better", "更好（{change}）")
WORSE = Message("{change} worse", "更差（{change}）")
SAME = Message("about the same", "基本相同")
OTHER_WORK = Message("not comparable: {what}", "不可比：{what}")
LIST_COMMA = Message(", ", "、")
YES = Message("yes", "是")
NO = Message("no", "否")
POWER_SOURCES = {"battery": Message("battery", "电池"), "processor": Message("processor package", "处理器封装")}
# What two reports differ in, in A and in B; the names are those of the JSON's conditions and of `same_work`.
BOTH = {
    "kernels": Message("kernels {a} / {b}", "内核 {a} / {b}"),
    "kv": Message("keys and values {a} / {b}", "键值缓存 {a} / {b}"),
    "speculation": Message("speculation {a} / {b}", "推测解码 {a} / {b}"),
    "concurrency": Message("sequences at a time {a} / {b}", "同时运行的序列 {a} / {b}"),
    "prompt_tokens": Message("prompt {a} / {b} tokens", "输入 {a} / {b} 词元"),
    "new_tokens": Message("answer {a} / {b} tokens", "输出 {a} / {b} 词元"),
    "repeats": Message("longer answers {a} / {b}", "长回答次数 {a} / {b}"),
    "idle_s": Message("at rest before {a} / {b} s", "之前静止 {a} / {b} 秒"),
    "sustained_s": Message("load asked for {a} / {b} s", "要求的负载 {a} / {b} 秒"),
    "from_storage": Message("page cache emptied first {a} / {b}", "先清空页缓存 {a} / {b}"),
    "memory_limit_bytes": Message("memory limit {a} / {b}", "内存上限 {a} / {b}"),
    "num_threads": Message("threads {a} / {b}", "线程 {a} / {b}"),
    "temperature_limit_c": Message("temperature limit {a} / {b} °C", "温度上限 {a} / {b} °C"),
    "num_parameters": Message("model {a} / {b} G parameters", "模型 {a} / {b} G 参数"),
    "measured_s": Message("sustained load {a} / {b} s", "持续负载 {a} / {b} 秒"),
    "load_answer_tokens": Message("answers under load {a} / {b} tokens", "负载下每个回答 {a} / {b} 词元"),
    "power_source": Message("power of the {a} / {b}", "功率取自{a} / {b}"),
}
DIFFERENCES: dict[Difference, Message] = {
    "device": Message("They are of different devices.", "两份报告来自不同的设备。"),
    "model": Message("They are of different models.", "两份报告使用不同的模型。"),
    "conditions": Message(
        "They were measured differently, A / B: {what}.", "两份报告的测量条件不同（A / B）：{what}。"
    ),
    "program": Message("They are of different versions of pocketseek.", "两份报告来自不同版本的 pocketseek。"),
    "cut short": Message("One of them was cut short.", "其中有一份被提前结束。"),
}
WRITTEN = Message("The report is in {page}, its figures in {figures}", "报告已写入 {page}，数据在 {figures}")
WRITTEN_SHORT = Message(
    "Cut short; what was measured is in {page} and {figures}", "已提前结束；已测得的结果在 {page} 和 {figures}"
)
COMPARED = Message("The comparison is in {page}", "对比已写入 {page}")
