"""What `pocketseek bench --trace` and `--replay` say."""

from __future__ import annotations

from pocketseek.cli.messages import Message

TRACE_WRITTEN = Message("routing of {passes} passes: {path}", "{passes} 次前向的路由已写入：{path}")
REPLAYING = Message("replaying", "回放中")
TRACED_MODEL = Message("model", "模型")
TRACED_PASSES = Message("passes, rows", "前向次数、行数")
TRACED_BUSIEST = Message("work of the busiest eighth of the experts", "最忙的八分之一专家的工作占比")
TRACED_UNUSED = Message("experts that nobody chose", "从未被选中的专家")
TRACED_REPEATED = Message("chosen again by the next token (by chance)", "下一个词元再次选中（随机期望）")
COLUMN_MEMORY = Message("memory", "内存")
COLUMN_KEPT = Message("experts in memory", "内存中的专家")
COLUMN_POLICY = Message("policy", "策略")
COLUMN_HITS = Message("hits", "命中率")
COLUMN_READ = Message("read per token", "每词元读取")
COLUMN_RATE = Message("expected", "预期速度")
COLUMN_BOUND = Message("bound", "上界")
RATE = Message("{rate:.1f} tokens/s", "{rate:.1f} 词元/秒")
USED_POLICY = Message("{policy} (used)", "{policy}（使用中）")
OPTIMUM_NAME = Message("optimum (knows the future)", "最优（预知未来）")
MODELLED = Message(
    "Times are a model, computed from the traced run and {rate} of storage; unmeasured on a device.",
    "时间由记录的运行和 {rate} 的存储速度推算；未在设备上实测。",
)
