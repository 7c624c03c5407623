"""Words of `adapt`, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

ADDED = Message(
    "Added {name}: an adapter for {base}, rank {rank}, {size}. Use it with `--adapter {name}`.",
    "已添加 {name}：{base} 的适配器，秩 {rank}，{size}。用 `--adapter {name}` 使用它。",
)
NO_ADAPTERS = Message(
    "There are no adapters. `pocketseek adapt add MODEL FOLDER --name NAME` adds one.",
    "没有适配器。用 `pocketseek adapt add 模型 文件夹 --name 名称` 添加。",
)
COLUMN_BASE = Message("for", "用于")
COLUMN_RANK = Message("rank", "秩")
COLUMN_TARGETS = Message("changes", "改动")
BASE_CHANGED = Message(
    "{name} was made for another version of {base} than the one that is installed.",
    "{name} 是为 {base} 的另一个版本制作的，与已安装的版本不同。",
)
BASE_MISSING = Message("{name} is for {base}, which is not installed.", "{name} 用于 {base}，但它尚未安装。")
MERGING = Message("Merging", "合并中")
MERGED = Message(
    "Wrote {path}: {base} with {adapter}, {size}. Its weights differ from the exact sum by {error:.2%} of their size.",
    "已写入 {path}：{base} 加上 {adapter}，{size}。其权重与精确之和相差 {error:.2%}。",
)
