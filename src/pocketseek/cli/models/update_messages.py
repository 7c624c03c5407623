"""Words of `diff`, `update` and `rollback`, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

COLUMN_STAGE = Message("stage", "阶段")
COLUMN_WHOLE = Message("whole", "完整大小")
COLUMN_SENT = Message("sent", "传输大小")
COLUMN_CHUNKS = Message("chunks", "数据块")
CHUNKS = Message("{same} same, {deltas} by difference, {whole} whole", "{same} 个相同，{deltas} 个差分，{whole} 个完整")
ROW_FILES = Message("files", "文件")
ROW_MANIFEST = Message("manifest, list of differences", "清单与差分列表")
ROW_ALL = Message("all", "合计")
COMPARING = Message("comparing", "正在比较")
DIFF_SAME = Message("the two are the same version", "两者是同一版本")
DIFF_WRITTEN = Message(
    "written to {folder}: copy it beside the manifest.json of the new version, where that is published",
    "已写入 {folder}：请将其复制到新版本发布处 manifest.json 的旁边",
)
IS_THE_ONE_BEFORE = Message(
    "it is the version that was here before this one; `pocketseek rollback {name}` goes back to it without fetching",
    "它就是此前使用的版本；运行 `pocketseek rollback {name}` 可直接退回，无需下载",
)
UP_TO_DATE = Message("{name} is up to date", "{name} 已是最新版本")
NEW_SIGNATURE = Message(
    "it was signed anew: `pocketseek update {name}{where}` takes the new signature",
    "它有新的签名：运行 `pocketseek update {name}{where}` 即可采用",
)
SIGNED_ANEW = Message("its new signature was taken", "已采用其新签名")
UPDATED_LOCAL = Message(
    "{local} chunks ({size}) were taken from models that were here", "{local} 个数据块（{size}）取自本机已有的模型"
)
PREVIOUS = Message("version before", "旧版本")
PREVIOUS_UNTIL_ANSWER = Message(
    "{version}, kept until this one has answered; `pocketseek rollback {name}` goes back to it",
    "{version}，保留到新版本首次作答为止；运行 `pocketseek rollback {name}` 可退回",
)
PREVIOUS_UNTIL_UPDATE = Message(
    "{version}, kept until the next update; `pocketseek rollback {name}` goes back to it",
    "{version}，保留到下次更新为止；运行 `pocketseek rollback {name}` 可退回",
)
PREVIOUS_UNTIL_OPENED = Message(
    "{version}, goes when the model is next opened; until then `pocketseek rollback {name}` goes back to it",
    "{version}，下次打开模型时将被移除；在此之前运行 `pocketseek rollback {name}` 可退回",
)
PREVIOUS_NUMBER = Message("version {number} ({id})", "版本 {number}（{id}）")
PREVIOUS_LISTED = Message(
    "{name}: the version before is kept; `pocketseek rollback {name}` goes back to it",
    "{name}：旧版本仍保留；运行 `pocketseek rollback {name}` 可退回",
)
AVAILABLE = Message(
    "an update of {name} is there: {size} to fetch ({whole} without differences), {disk} of free storage needed",
    "{name} 有更新：需下载 {size}（不用差分则为 {whole}），需要 {disk} 的可用存储",
)
AVAILABLE_AS_IS = Message(
    "an update of {name} is there, and all of it is here already: nothing is to be fetched",
    "{name} 有更新，所需数据已全部在本机：无需下载",
)
CHECK_NEXT = Message("`pocketseek update {name}{where}` installs it", "运行 `pocketseek update {name}{where}` 即可安装")
CONFIRM_UPDATE = Message("Fetch and install it?", "是否下载并安装？")
CONFIRM_MORE = Message(
    "It takes more than was told: {size} instead of {told}. Fetch that?",
    "需要下载的比先前显示的多：{size}，而不是 {told}。是否继续下载？",
)
NOT_UPDATED = Message("nothing was changed", "未作任何更改")
UPDATING = Message("fetching {name}", "正在下载 {name}")
PUTTING_TOGETHER = Message("putting {name} together", "正在合成 {name}")
UPDATED = Message(
    "{name} is updated: {size} fetched, {deltas} chunks and files by difference, {whole} whole",
    "{name} 已更新：下载 {size}，{deltas} 个以差分更新，{whole} 个完整下载",
)
UPDATED_FAILED = Message(
    "{failed} differences did not fit what is here and were fetched whole; `pocketseek verify {name}` checks the model",
    "{failed} 个差分与本机数据不符，已完整下载；运行 `pocketseek verify {name}` 可检查模型",
)
KEPT_UNTIL_ANSWER = Message(
    "the version before is kept until this one has answered: `pocketseek rollback {name}` goes back to it",
    "旧版本会保留到新版本首次作答为止：运行 `pocketseek rollback {name}` 可退回",
)
KEPT_UNTIL_UPDATE = Message(
    "the version before is kept until the next update: `pocketseek rollback {name}` goes back to it",
    "旧版本会保留到下次更新为止：运行 `pocketseek rollback {name}` 可退回",
)
KEPT_PARTS = Message(
    "what arrived is kept: the same command goes on from there", "已下载的部分已保留：再次运行同一命令即可继续"
)
ROLLED_BACK = Message("{name} is back at the version before the update", "{name} 已退回到更新前的版本")
