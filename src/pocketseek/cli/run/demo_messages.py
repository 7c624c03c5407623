"""Words about the demo model, which is offered where no model is installed, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

DOWNLOADING = Message("downloading the demo model", "正在下载演示模型")
UNPACKING = Message("unpacking the demo model", "正在解压演示模型")
CONVERTING = Message("installing the demo model", "正在安装演示模型")
CONFIRM = Message(
    "No model is installed. Install the demo model SmolLM2-135M-Instruct now (93 MB to download, 100 MB on disk)?",
    "尚未安装模型。现在安装演示模型 SmolLM2-135M-Instruct 吗（下载 93 MB，占用 100 MB）？",
)
