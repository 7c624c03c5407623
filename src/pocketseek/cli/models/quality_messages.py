"""Words about what a conversion lost, for `convert` and `inspect`, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

ALL_EXACT = Message("all weights are those of the checkpoint, bit for bit", "所有权重均与检查点逐位相同")
FORMAT_EXACT = Message(
    "{format}: as the checkpoint has them (matrices: {matrices})",
    "{format}：与检查点完全一致（矩阵 {matrices} 个）",
)
FORMAT_ROUNDED = Message(
    "{format}: relative error {error:.2f} %, at worst {worst:.2f} % ({tensor}) (matrices: {matrices}, exact: {exact})",
    "{format}：相对误差 {error:.2f} %，最大 {worst:.2f} %（{tensor}）（矩阵 {matrices} 个，其中无损 {exact} 个）",
)
OUTPUT_ERROR = Message(
    "calibrated on {tokens} tokens: outputs are off by {error:.2f} % there, at worst {worst:.2f} % ({tensor}) "
    "(matrices: {matrices})",
    "已用 {tokens} 个词元校准：输出在其上偏差 {error:.2f} %，最大 {worst:.2f} %（{tensor}）（矩阵 {matrices} 个）",
)
CHECKED = Message(
    "checked on text that it was not calibrated on, against the checkpoint:",
    "在未参与校准的文本上与检查点比较：",
)
CHECKED_QUANTISED = Message(
    "checked on text that it was not calibrated on, against the checkpoint, which was quantised before ({types}): what "
    "that had lost is not in these figures:",
    "在未参与校准的文本上与检查点比较；检查点本身已量化（{types}），其已有损失不计入以下数字：",
)
NOT_CHECKED = Message(
    "what is lost on text was not measured (convert with --check FILE)", "未测量在文本上的损失（转换时加 --check 文件）"
)
HELD_OUT = Message(
    "{kind}: KL {mean_kl:.4f} nats (p99 {p99_kl:.3f}), same likeliest token {top1:.1f} %, perplexity {perplexity:.3f} "
    "(source {source:.3f})",
    "{kind}：KL {mean_kl:.4f} nats（p99 {p99_kl:.3f}），最可能词元一致 {top1:.1f} %，"
    "困惑度 {perplexity:.3f}（源模型 {source:.3f}）",
)
