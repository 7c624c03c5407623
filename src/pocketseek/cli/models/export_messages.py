"""What `pocketseek export` says."""

from __future__ import annotations

from pocketseek.cli.messages import Message

EXPORTING = Message("exporting", "正在导出")
EXPORTED = Message(
    "Written to {path} ({size}, {num_files} files)",
    "已写入 {path}（{size}，{num_files} 个文件）",
)
STATIC_BITS = Message(
    "Activations: 8 bits, 16 in {attention} of {layers} attentions and {mlp} of {layers} MLPs",
    "激活值：8 位；{layers} 层中有 {attention} 层的注意力和 {mlp} 层的 MLP 为 16 位",
)
