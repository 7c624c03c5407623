"""Words of `bench` and `eval`, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

SCORING = Message("scoring", "正在计算")
MEASURING = Message("measuring", "正在测量")
EVAL_RESULT = Message(
    "perplexity {perplexity:.3f} over {tokens} tokens in windows of {window} ({seconds:.1f} s)",
    "困惑度 {perplexity:.3f}（{tokens} 个词元，窗口 {window}，{seconds:.1f} 秒）",
)
COMPARE_RESULT = Message(
    "KL {mean_kl:.5f} nats (p99 {p99_kl:.4f}), same likeliest token {top1:.1f} %, perplexity {perplexity:.3f} against "
    "{reference:.3f}, over {positions} tokens",
    "KL {mean_kl:.5f} nats（p99 {p99_kl:.4f}），最可能词元一致 {top1:.1f} %，"
    "困惑度 {perplexity:.3f} 对 {reference:.3f}，"
    "共 {positions} 个词元",
)
LOAD = Message("load", "加载")
LOAD_TO_FIRST = Message("load to first token, short prompt", "从加载到首词元（短提示）")
FIRST_TOKEN = Message("time to first token, {tokens} tokens of prompt", "首词元时间（提示 {tokens} 词元）")
PREFILL = Message("prefill, {tokens} tokens", "预填充（{tokens} 词元）")
DECODE = Message("decode, {tokens} tokens", "解码（{tokens} 词元）")
RSS = Message("peak memory (RSS)", "内存峰值（RSS）")
ANONYMOUS = Message("of it anonymous", "其中匿名内存")
RATE = Message("{rate:.1f} tokens/s", "{rate:.1f} 词元/秒")
STORAGE = Message("read from storage per token", "每词元读取存储")
WEIGHTS = Message("weights read from memory per token", "每词元读取内存中的权重")
ENERGY = Message("energy per token (estimate, unmeasured on a device)", "每词元能耗（估算，未在设备上实测）")
MILLIJOULES = Message("{millijoules:.1f} mJ", "{millijoules:.1f} 毫焦")
LIMIT = Message("memory limit", "内存上限")
ENFORCED = Message("{size}, enforced by the kernel", "{size}，由内核强制执行")
NOT_ENFORCED = Message("{size}, not enforced", "{size}，未强制执行")
GROUP_PEAK = Message("peak memory under the limit, file pages included", "上限内的内存峰值（含文件页）")
NO_GROUP = Message(
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
SECONDS = Message("{seconds:.3f} s", "{seconds:.3f} 秒")
