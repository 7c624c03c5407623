"""Words of `convert`, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

GOING_ON_LAYERS = Message(
    "going on with an interrupted conversion: {done} of {total} layers were done before (--fresh begins anew)",
    "继续上次中断的转换：共 {total} 层，其中 {done} 层已完成（--fresh 可从头开始）",
)
GOING_ON_ALL = Message(
    "going on with an interrupted conversion: all {total} layers were done before (--fresh begins anew)",
    "继续上次中断的转换：全部 {total} 层已完成（--fresh 可从头开始）",
)
GOING_ON_MEASURED = Message(
    "going on with an interrupted conversion: what matters was found out for {done} of {total} layers before "
    "(--fresh begins anew)",
    "继续上次中断的转换：{total} 层中已有 {done} 层测得敏感度（--fresh 可从头开始）",
)
GOING_ON_BEGINNING = Message(
    "going on with an interrupted conversion: the embedding was done before (--fresh begins anew)",
    "继续上次中断的转换：嵌入层已完成（--fresh 可从头开始）",
)
BEGINNING_ANEW = Message(
    "an interrupted conversion was found, but {reason}; beginning anew",
    "发现一次中断的转换，但{reason}；从头开始",
)
REFUSED_VERSION = Message("it is of another version of pocketseek or numpy", "它出自其他版本的 pocketseek 或 numpy")
REFUSED_SOURCE = Message("it is of another checkpoint, or the files have changed", "它来自其他检查点，或文件已改变")
REFUSED_SETTINGS = Message("its settings were others", "其设置不同")
REFUSED_DAMAGED = Message("it is damaged", "其数据已损坏")
KEPT = Message(
    "what was done is kept: the same command goes on from there (to drop it: the same with --fresh, or "
    "`pocketseek remove NAME`)",
    "已完成的部分已保留：再次运行同一命令即可继续（若要丢弃：加 --fresh，或运行 `pocketseek remove 名称`）",
)
CALIBRATED = Message(
    "calibrated on {tokens} tokens: {matrices} matrices",
    "已用 {tokens} 个词元校准：{matrices} 个矩阵",
)
NOT_CALIBRATED = Message(
    "no matrix is rounded to four or six bits, so none was calibrated; the text served to choose the formats",
    "没有矩阵被舍入为 4 或 6 位，因此未作校准；文本仅用于选择格式",
)
UNFINISHED = Message(
    "{name}: an interrupted conversion ({size}); the same `pocketseek convert` goes on with it, "
    "`pocketseek remove {name}` drops it",
    "{name}：中断的转换（{size}）；再次运行同一 `pocketseek convert` 命令即可继续，"
    "`pocketseek remove {name}` 可将其丢弃",
)
INSTALLED = Message(
    "Installed {name} ({size}) at {path}; use it: pocketseek chat {name}",
    "已安装 {name}（{size}）：{path}；使用：pocketseek chat {name}",
)
WRITTEN = Message(
    "Written to {path} ({size}); use it: pocketseek chat {path}",
    "已写入 {path}（{size}）；使用：pocketseek chat {path}",
)
CONVERTING = Message("converting", "正在转换")
FINDING_SENSITIVITY = Message("finding out what matters", "正在测量各层的敏感度")
CHECKING = Message("checking what was lost", "正在检查损失")
