"""What `pocketseek device` says, in English and Chinese; see messages.py."""

from __future__ import annotations

from pocketseek.cli.messages import Message
from pocketseek.device.execution_provider import Reason

PHONE = Message("device", "设备")
SYSTEM = Message("system", "系统")
CHIP = Message("chip", "芯片")
CHIP_VALUE = Message("{name} ({id}), {year}", "{name}（{id}），{year} 年")
PROCESSOR = Message("processor", "处理器")
CORES = Message("cores", "核心")
CORES_USABLE = Message("{usable} usable, {fast} of them fast", "可用 {usable} 个，其中性能核 {fast} 个")
CORES_USABLE_SMT = Message(
    "{usable} usable ({threads} hardware threads), {fast} of them fast",
    "可用 {usable} 个（{threads} 个硬件线程），其中性能核 {fast} 个",
)
CLUSTER_SMT = Message("{cluster}, {threads} hardware threads", "{cluster}，{threads} 个硬件线程")
CAPACITY = Message("of capacity {capacity}", "算力 {capacity}")
QUOTA = Message("processor quota", "处理器配额")
SETS = Message("instruction sets", "指令集")
GPU = Message("graphics", "图形处理器")
NPU = Message("neural processor", "神经处理器")
PROVIDER = Message("ONNX Runtime", "ONNX Runtime")
MEMORY = Message("memory", "内存")
MEMORY_SPEED = Message("at most {rate}", "最高 {rate}")
LIMIT = Message("memory limit", "内存上限")
SWAP = Message("swap", "交换空间")
SWAP_ZRAM = Message("{total}, compressed memory (zram)", "{total}，为压缩内存（zram）")
SWAP_MIXED = Message("{total}, {zram} of it compressed memory (zram)", "{total}，其中 {zram} 为压缩内存（zram）")
SWAP_STORAGE = Message("{total} on storage", "{total}，位于存储上")
STORAGE = Message("storage", "存储")
STORAGE_VALUE = Message("{free} free of {total}", "共 {total}，可用 {free}")
STORAGE_AT = Message("at {path}", "位于 {path}")
ACCESS = Message("access", "权限")
ACCESS_GRANTED = Message("may: {what}", "可以：{what}")
ACCESS_REFUSED = Message("may not: {what}", "不可以：{what}")
LIST_COMMA = Message(", ", "、")
PART_COMMA = Message(", ", "，")
KERNELS = Message("kernels", "计算内核")
KERNELS_BEST = Message("{name}, the fastest that this processor can run", "{name}，此处理器可用的最快一种")
KERNELS_ASKED_FOR = Message("{name}, as POCKETSEEK_KERNELS says", "{name}，由 POCKETSEEK_KERNELS 指定")
TERMUX_API = Message("Termux with Termux:API commands", "Termux（含 Termux:API 命令）")
TERMUX = Message("Termux", "Termux")
YES = Message("yes", "是")
NO = Message("no", "否")

PERMISSIONS = {
    "read_temperatures": Message("read temperatures", "读取温度"),
    "read_battery": Message("read the battery", "读取电池"),
    "read_load": Message("read the load", "读取负载"),
    "read_pressure": Message("read memory stalls", "读取内存压力"),
    "read_block_devices": Message("look at disks", "查看磁盘"),
    "write_frequency": Message("set frequencies", "设置频率"),
}
KINDS = {
    "SD card": Message("SD card", "SD 卡"),
    "hard disk": Message("hard disk", "机械硬盘"),
    "virtual disk": Message("virtual disk", "虚拟磁盘"),
    "memory": Message("in memory", "位于内存"),
}
REASONS: dict[Reason, Message] = {
    "npu by qnn": Message("reaches the neural processor", "可使用神经处理器"),
    "npu by coreml": Message("reaches the neural processor", "可使用神经处理器"),
    "chip by nnapi": Message("Android's way to the chip's accelerators", "通过 Android 使用芯片的加速器"),
    "unknown chip": Message("the chip is not in the table", "芯片表中没有该芯片"),
    "no npu": Message("no neural processor is known here", "未发现神经处理器"),
    "npu unreached": Message("none is known for this neural processor", "没有已知的方式可使用该神经处理器"),
    "needs android": Message("the neural processor is reached on Android only", "仅在 Android 上可使用神经处理器"),
    "nnapi deprecated": Message("NNAPI is deprecated from Android 15 on", "NNAPI 自 Android 15 起已弃用"),
    "android too old": Message("NNAPI needs Android 8.1", "NNAPI 需要 Android 8.1"),
}
