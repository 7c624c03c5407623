"""What `pocketseek` alone says to a person, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

TITLE = Message(
    "pocketseek {version}: DeepSeek-family language models on this device, offline",
    "pocketseek {version}：在本机离线运行 DeepSeek 系列语言模型",
)

# the device
ROW_DEVICE = Message("device", "设备")
ROW_MEMORY = Message("memory", "内存")
ROW_STORAGE = Message("storage", "存储")
ROW_SPEED = Message("speed", "速度")
ROW_MODELS = Message("models", "模型")
STORAGE_FREE = Message("{free} free", "可用 {free}")
SPEED_VALUE = Message(
    "memory {memory:.0f} GB/s, storage {storage:.1f} GB/s", "内存 {memory:.0f} GB/s，存储 {storage:.1f} GB/s"
)
SPEED_MEMORY = Message("memory {memory:.0f} GB/s", "内存 {memory:.0f} GB/s")
SPEED_PUBLISHED = Message("memory up to {memory:.0f} GB/s, as published", "内存至多 {memory:.0f} GB/s（公布值）")
WHY_MEASURE = Message(
    "How fast it is decides which model is good here. Measuring takes up to a minute, once.",
    "哪个模型合适取决于设备的速度。测量一次即可，最多一分钟。",
)
CONFIRM_MEASURE = Message("Measure it now?", "现在测量吗？")
NOT_MEASURED = Message("Not measured: {why}", "未测量：{why}")

# what can be done
WHAT_NEXT = Message("What would you like to do?", "您想做什么？")
TALK = Message("Talk to {name}", "与 {name} 对话")
INSTALL = Message("Get {name} and talk to it", "安装 {name} 并与它对话")
INSTALL_RECOMMENDED = Message("Get {name} and talk to it (recommended)", "安装 {name} 并与它对话（推荐）")
TRY_DEMO = Message("Try the little demo model", "试用小型演示模型")
OPEN_PAGE = Message("Open the page in the browser", "在浏览器中打开网页")
INSTALL_FILE = Message("Install a model file I have", "安装我已有的模型文件")
ALL_COMMANDS = Message("See all commands", "查看全部命令")
LEAVE = Message("Leave", "退出")
CHOICE = Message("Number, or q to leave", "请输入编号，q 退出")
NO_CHOICE = Message(
    "{typed} is none of these; type a number from 1 to {most}, or q.", "没有 {typed}；请输入 1 到 {most}，或 q。"
)

# of a choice
DETAIL_DOWNLOAD = Message("{size} to fetch ({minutes} at 20 Mbit/s)", "下载 {size}（20 Mbit/s 时{minutes}）")
DETAIL_KEPT = Message("{size} on disk", "占用 {size}")
DETAIL_RATE = Message("about {rate} tokens/s", "约每秒 {rate} 词元")
DETAIL_AT_MOST = Message("at most {rate} tokens/s", "每秒至多 {rate} 词元")
DETAIL_SLOW = Message("slower than one reads", "比阅读速度慢")
DETAIL_DEMO = Message("small: quick, in English, often wrong", "很小：快，但常出错，以英文为主")
DETAIL_COMMA = Message(", ", "，")
MINUTES = Message("{minutes} min", "约 {minutes} 分钟")
HOURS = Message("{hours:.1f} h", "约 {hours:.1f} 小时")
NOTHING_FITS = Message(
    "No DeepSeek model of the catalogue runs well here now: `pocketseek device --models` says why.",
    "目录中的 DeepSeek 模型目前都不适合此设备：`pocketseek device --models` 会说明原因。",
)

# doing it
NEEDS_EXTRA = Message("For this, pocketseek needs a few more libraries:", "此功能还需要几个库：")
ASK_FILE = Message(
    "Path of the file or folder (GGUF, safetensors), empty to go back",
    "文件或文件夹的路径（GGUF、safetensors），留空返回",
)
NO_FILE = Message("{path} is not there; check the path.", "没有 {path}；请检查路径。")
FETCH_FAILED = Message("That did not work: {why}", "未能完成：{why}")
FETCH_KEPT = Message(
    "Stopped. Nothing is lost: `{command}` goes on where it was.", "已停止。不会丢失进度：运行 `{command}` 可继续。"
)
PAGE_SOON = Message(
    "When it is ready, open its address in the browser of this device:", "就绪后，在本机浏览器中打开它的地址："
)

# at the end
NEXT_TIME = Message("Next time:", "下一次：")
NEXT_CHAT = Message("talk to it", "与它对话")
NEXT_PAGE = Message("the page, at {url}", "网页：{url}")
NEXT_DOC = Message("ask a document", "向文档提问")

# without a person
DEVICE = Message("This device: {device}", "本机：{device}")
MODELS = Message("Installed models: {models}", "已安装的模型：{models}")
NEXT = Message("What next:", "下一步：")
STEP_DEMO = Message("talk to the small demo model (about 90 MB)", "与小型演示模型对话（约 90 MB）")
STEP_CONVERT = Message("install a model file you have", "安装您已有的模型文件")
STEP_CHAT = Message("talk to a model", "与模型对话")
STEP_GENERATE = Message("ask one question", "只问一个问题")
STEP_DEVICE = Message("which models fit here, and how fast", "哪些模型适合此设备、有多快")
