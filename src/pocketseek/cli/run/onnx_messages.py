"""What is said about ONNX Runtime, in English and Chinese; see messages.py."""

from __future__ import annotations

from pocketseek.cli.device.device_messages import REASONS
from pocketseek.cli.messages import Message

NO_CORE = Message(
    "the compiled core cannot be loaded here, so ONNX Runtime computes", "本机无法加载编译核心，改用 ONNX Runtime 计算"
)
EXPORTING = Message("exporting for ONNX Runtime", "正在导出为 ONNX Runtime 格式")
COMPUTES = Message("ONNX Runtime computes with {name}: {reason}", "ONNX Runtime 使用 {name} 计算：{reason}")
FAILED = Message(
    "{name} cannot be used ({problem}); {instead} computes instead", "无法使用 {name}（{problem}）；改用 {instead} 计算"
)
DETAILED = Message("{problem}: {detail}", "{problem}：{detail}")
ROW = Message("ONNX Runtime", "ONNX Runtime")
ABSENT = Message(
    'not installed; pip install "pocketseek[onnx]" brings it', '未安装；可用 pip install "pocketseek[onnx]" 安装'
)
ABSENT_TERMUX = Message(
    "not installed; `pkg install python-onnxruntime` brings it", "未安装；可用 `pkg install python-onnxruntime` 安装"
)
DOCTOR_VALUE = Message("{version} with {providers}", "{version}，含 {providers}")

MADE_BY = Message("made by", "由何制作")
STAGES = Message("stages", "阶段文件")
VERIFIED_FULL = Message(
    "{path}: every byte is as it should be ({files} files, {size}, {seconds:.1f} s)",
    "{path}：每个字节都正确（{files} 个文件，{size}，{seconds:.1f} 秒）",
)
VERIFIED_QUICK = Message(
    "{path}: sizes are right ({files} files, {size}); --full checks every byte",
    "{path}：大小正确（{files} 个文件，{size}）；用 --full 检查每个字节",
)

PROBLEMS: dict[str, Message] = {
    "not started": Message("it could not be started", "无法启动"),
    "no operators": Message("it has none of the operators of this model", "不支持此模型的任何算子"),
    "refused": Message("it cannot run the model", "无法运行此模型"),
    "first pass": Message("it failed in its first pass", "首次计算失败"),
    "no numbers": Message("what it computed in its first pass were no numbers", "首次计算得到的不是数值"),
    "later pass": Message("it failed while it computed", "计算中途失败"),
}
"""By ProblemKind."""

PROVIDER_REASONS: dict[str, Message] = {str(reason): message for reason, message in REASONS.items()} | {
    "asked for": Message("asked for", "按要求"),
    "last resort": Message("the others cannot be used", "其他方式不可用"),
    "intel by openvino": Message("a processor by Intel", "英特尔处理器"),
    "not built in": Message(
        "the installed ONNX Runtime was built without the one for this device",
        "已安装的 ONNX Runtime 未包含适合本设备的执行方式",
    ),
    "needs fixed shapes": Message(
        "the neural processor needs an export with fixed shapes (--tokens, --context)",
        "神经网络处理器需要固定形状的导出（--tokens、--context）",
    ),
    "model for cpu": Message(
        "this export is for processors; int8-static is the one for others", "此导出用于 CPU；其他硬件请用 int8-static"
    ),
}
"""By ProviderReason."""
