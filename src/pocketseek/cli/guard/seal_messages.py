"""What `seal`, `unseal` and `passwd` say, and what sealed models are asked for."""

from __future__ import annotations

from pocketseek.cli.messages import Message

ASK_PASSPHRASE = Message("Passphrase of {name}", "{name} 的口令")
ASK_NEW_PASSPHRASE = Message("New passphrase for {name}", "{name} 的新口令")
ASK_DATA_PASSPHRASE = Message("Passphrase of your conversations and documents", "对话和文档的口令")
YOUR_DATA = Message("your conversations and documents", "对话和文档")
DATA_SEALED = Message(
    "Conversations and documents are sealed. Without the {what} nobody can read them again, so keep that safe.",
    "对话和文档已加密。没有{what}就再也无法读取，请妥善保管。",
)
DATA_UNSEALED = Message("Conversations and documents are not sealed any more.", "对话和文档已不再加密。")
DATA_CHANGED = Message(
    "From now on conversations and documents open with the new {what} only.", "从现在起对话和文档只能用新的{what}打开。"
)
ASK_AGAIN = Message("The same again", "再输入一次")
SEALING = Message("sealing", "正在加密")
UNSEALING = Message("unsealing", "正在解密")
SEALED = Message(
    "{name} is sealed ({cipher}). Without its {what} nobody can use it again, so keep that safe.",
    "{name} 已加密（{cipher}）。没有{what}就再也无法使用它，请妥善保管。",
)
ALREADY_SEALED = Message("{name} is sealed already; nothing was left to do.", "{name} 已经加密，无需再做什么。")
WHAT_PASSPHRASE = Message("passphrase", "口令")
WHAT_KEY = Message("key", "密钥")
UNSEALED = Message("{name} is not sealed any more.", "{name} 已不再加密。")
PLAIN_BESIDE = Message(
    "{size} of its weights are part of {name} too, where they stay in the clear; `pocketseek seal {name}` encrypts "
    "those",
    "其权重中有 {size} 同时属于 {name}，在那里仍未加密；`pocketseek seal {name}` 可将其加密",
)
PREVIOUS_GONE = Message(
    "The version before its last update was removed, so `pocketseek rollback` has nothing to go back to.",
    "上次更新之前的版本已移除，`pocketseek rollback` 无法再退回。",
)
CHANGED = Message(
    "From now on {name} opens with the new {what} only. Who copied the model before opens the copy with the old one.",
    "从现在起 {name} 只能用新的{what}打开。此前复制的副本仍可用旧的打开。",
)
KEY_WRITTEN = Message("The key is in {path}; keep a copy in another place.", "密钥在 {path} 中；请另存一份副本。")
STATE = Message("sealed", "加密")
STATE_PLAIN = Message("no", "否")
STATE_SEALED = Message("yes, {cipher}, opens with {what}", "是，{cipher}，用{what}打开")
STATE_MIXED = Message(
    "in part: `pocketseek seal` or `unseal` was interrupted", "部分：`pocketseek seal` 或 `unseal` 曾被中断"
)
LISTED = Message("(sealed)", "（已加密）")
CHECKED = Message("when read", "每次读取时")
VERIFIED_WITH_KEY = Message(
    "{path}: {chunks} chunks and {files} files decrypted, {size}, every byte as it was sealed ({seconds:.1f} s)",
    "{path}：已解密 {chunks} 个分块和 {files} 个文件，{size}，每个字节都与加密时一致（{seconds:.1f} 秒）",
)
