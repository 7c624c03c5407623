"""What `pocketseek doctor` says about the system around, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

WHERE = Message("storage", "存储设备")
WHERE_GOOD = Message("{kind}, {filesystem}", "{kind}，{filesystem}")
WHERE_MEMORY = Message(
    "the data directory is in memory ({filesystem}): models are gone at the next start; set POCKETSEEK_HOME to a "
    "folder on a disk",
    "数据目录位于内存中（{filesystem}）：重启后模型会消失；请把 POCKETSEEK_HOME 设为磁盘上的文件夹",
)
WHERE_SHARED = Message(
    "the data directory is on shared storage ({filesystem}): slow, and every app may read it; unset POCKETSEEK_HOME, "
    "or set it to a folder in Termux's own home",
    "数据目录位于共享存储（{filesystem}）：速度慢，其他应用也能读取；"
    "请取消 POCKETSEEK_HOME，或设为 Termux 主目录中的文件夹",
)
WHERE_NETWORK = Message(
    "the data directory is on a network ({filesystem}): weights that are read anew become slow, and locks may fail; "
    "set POCKETSEEK_HOME to a folder on a disk of this machine",
    "数据目录位于网络文件系统（{filesystem}）：流式读取会变慢，锁也可能失效；"
    "请把 POCKETSEEK_HOME 设为本机磁盘上的文件夹",
)
WHERE_SLOW = Message(
    "{kind} is slow: take models that fit into memory (`pocketseek device --models`), or move POCKETSEEK_HOME to a "
    "faster disk",
    "{kind} 较慢：请选择能放入内存的模型（`pocketseek device --models`），或把 POCKETSEEK_HOME 移到更快的磁盘",
)
FILES = Message("open files", "可打开文件数")
FILES_GOOD = Message("up to {limit}", "上限 {limit}")
FILES_FEW = Message(
    "up to {limit}, and the models here may need {needed}: `ulimit -n {suggested}` before pocketseek",
    "上限 {limit}，而这里的模型可能需要 {needed}：请先运行 `ulimit -n {suggested}`",
)
LOCALE = Message("characters", "字符编码")
LOCALE_BAD = Message(
    "this terminal is set to {encoding}, which cannot show every character: `export LANG=C.UTF-8`",
    "终端编码为 {encoding}，无法显示所有字符：请运行 `export LANG=C.UTF-8`",
)
CLOCK = Message("clock", "时钟")
CLOCK_BAD = Message(
    "it says {date}, which cannot be: downloads and signatures fail until it is set",
    "显示为 {date}，不可能正确：校准之前，下载与签名验证都会失败",
)
CLOCK_GOOD = Message("{date}", "{date}")
COMPILER = Message("compiler", "编译器")
COMPILER_NONE = Message(
    "there is none, so the core cannot be built: {command}, then install pocketseek again",
    "没有编译器，无法构建核心：运行 {command}，然后重新安装 pocketseek",
)
COMPILER_HERE = Message(
    "{name} is here: install pocketseek again to build the core", "已有 {name}：重新安装 pocketseek 即可构建核心"
)
CPU_SHARE = Message("processor time", "处理器时间")
CPU_SHARE_LITTLE = Message(
    "this container gets {share:g} of a processor; allow it more, or answers are slow",
    "此容器只分得 {share:g} 个处理器；请调高限额，否则回答会很慢",
)
BACKGROUND = Message("in the background", "后台运行")
BACKGROUND_LOCK = Message(
    "Android may stop Termux while the screen is off: `termux-wake-lock` before long work, and no battery optimisation "
    "for Termux in Android's settings",
    "熄屏时 Android 可能停止 Termux：长时间工作前运行 `termux-wake-lock`，并在系统设置中关闭 Termux 的电池优化",
)
BACKGROUND_NONE = Message(
    "Android may stop Termux while the screen is off, and termux-wake-lock is not here: `pkg install termux-tools`",
    "熄屏时 Android 可能停止 Termux，且没有 termux-wake-lock：运行 `pkg install termux-tools`",
)
TERMUX = Message("Termux", "Termux")
TERMUX_PLAY = Message(
    "from Google Play, which lacks parts (Termux:API, Termux:Boot): install Termux from F-Droid or GitHub",
    "来自 Google Play，缺少一些组件（Termux:API、Termux:Boot）：请改从 F-Droid 或 GitHub 安装",
)
UNFINISHED = Message("unfinished", "未完成")
UNFINISHED_VALUE = Message(
    "{name}: {size} of an interrupted {what}; the same command goes on, `pocketseek remove {name}` frees it",
    "{name}：{what}中断，保留了 {size}；同一命令可继续，`pocketseek remove {name}` 可释放空间",
)
A_DOWNLOAD = Message("download", "下载")
A_CONVERSION = Message("conversion", "转换")
EXTRAS = Message("extras", "附加组件")
EXTRAS_HERE = Message("{here}", "{here}")
EXTRAS_SOME = Message(
    "{here}; not here: {missing} (`pip install 'pocketseek[NAME]'` adds one)",
    "{here}；未安装：{missing}（用 `pip install 'pocketseek[名称]'` 添加）",
)
EXTRAS_SOME_TERMUX = Message(
    "{here}; not here: {missing} (`bash scripts/setup-termux --with NAME` in pocketseek's folder adds most of them)",
    "{here}；未安装：{missing}（在代码文件夹中用 `bash scripts/setup-termux --with 名称` 添加，多数可行）",
)
EXTRA_BROKEN = Message(
    "the library {library} is here and does not load ({why}): `pip install --force-reinstall {package}`",
    "已有库 {library}，但无法加载（{why}）：运行 `pip install --force-reinstall {package}`",
)
EXTRA_BROKEN_TERMUX = Message(
    "the library {library} is here and does not load ({why}): `pkg upgrade`, then `pip install --force-reinstall "
    "{package}`",
    "已有库 {library}，但无法加载（{why}）：运行 `pkg upgrade`，再运行 `pip install --force-reinstall {package}`",
)
FOUND = Message(
    "{problems} {problems:problem|problems} (!!), {warnings} {warnings:warning|warnings} (!).",
    "{problems} 个问题（!!），{warnings} 个警告（!）。",
)
PYTHON = Message("Python", "Python")
CORE = Message("compiled core", "编译核心")
SPACE = Message("free storage", "可用存储")
MEMORY = Message("memory", "内存")
MEMORY_FREE = Message("{available} available", "可用 {available}")
MEMORY_LIMIT = Message("{available} available; this container may take {limit}", "可用 {available}；此容器上限 {limit}")
LOW_MEMORY = Message(
    "{memory}; the smallest model needs about {least}, so close other programs",
    "{memory}；最小的模型约需 {least}，请关闭其他程序",
)
LOW_LIMIT = Message(
    "{memory}; the smallest model needs about {least}, so allow the container more",
    "{memory}；最小的模型约需 {least}，请调高容器的上限",
)
MODELS = Message("models", "模型")
OK = Message("Everything needed is here.", "所需的一切都已就绪。")
LOW_SPACE = Message(
    "{free}; less than a small model needs: free some, or set POCKETSEEK_HOME to a folder on larger storage",
    "{free}；不足以存放一个小模型：请清理一些空间，或把 POCKETSEEK_HOME 设为更大存储上的文件夹",
)
SETTINGS = Message("settings", "设置")
SETTINGS_OK = Message("as they should be", "正常")
DATA = Message("data directory", "数据目录")
NO_FOLDER = Message(
    "{path} is no folder; move it away, or name another place in POCKETSEEK_HOME",
    "{path} 不是文件夹；请将其移走，或用 POCKETSEEK_HOME 指定其他位置",
)
NOT_WRITABLE = Message("{path} cannot be written; change its owner or mode", "{path} 不可写；请修改其所有者或权限")
NUM_MODELS = Message("{count} installed, {broken} broken", "已安装 {count} 个，损坏 {broken} 个")
NUM_MODELS_VERIFY = Message(
    "{count} installed, {broken} broken; `pocketseek verify NAME` checks every byte of one",
    "已安装 {count} 个，损坏 {broken} 个；`pocketseek verify 名称` 可检查每个字节",
)
