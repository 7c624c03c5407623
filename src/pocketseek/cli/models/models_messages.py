"""Words of `models`, `inspect`, `verify` and `remove`, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

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
COLUMN_FAMILY = Message("family", "系列")
COLUMN_WEIGHTS = Message("weights", "参数量")
ACTIVE = Message("used for a token", "每个词元使用")
ACTIVE_VALUE = Message(
    "{weights:.1f} M, {chosen} of {experts} experts in each layer that has them",
    "{weights:.1f} M，含专家的每一层使用 {experts} 个专家中的 {chosen} 个",
)
COLUMN_CONTEXT = Message("context", "上下文")
COLUMN_FORMATS = Message("formats", "格式")
COLUMN_PATH = Message("path", "路径")
COLUMN_TENSOR = Message("tensor", "张量")
COLUMN_SHAPE = Message("shape", "形状")
COLUMN_FORMAT = Message("format", "格式")
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
