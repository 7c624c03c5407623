"""Words of `serve`, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

READY = Message("Serving {models} at {url}", "正在 {url} 提供 {models}")
TOKEN = Message(
    "An access token is needed: `pocketseek token create NAME` makes one.",
    "需要访问令牌：用 `pocketseek token create 名称` 创建。",
)
SCAN = Message("Scan this on the other device:", "请在另一台设备上扫描：")
SCAN_HERE = Message(
    "The address, as this device alone can reach it (--host 0.0.0.0 is for others):",
    "此地址仅本机可用（要供其他设备使用，请加 --host 0.0.0.0）：",
)
STOP = Message("Ctrl-C ends it.", "按 Ctrl-C 结束。")
NOTICE = Message("pocketseek is serving", "pocketseek 服务运行中")
NOTICE_STOP = Message("Stop", "停止")
