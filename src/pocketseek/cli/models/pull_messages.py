"""What `pull`, `verify --repair` and the checks in the background say to a person, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

DOWNLOADING = Message("downloading", "正在下载")
CONVERTING = Message("converting", "正在转换")
PULLED = Message(
    "{name} is installed in {path}: {size}, {fetched} fetched", "{name} 已安装到 {path}：{size}，下载了 {fetched}"
)
PULLED_SHARED = Message(
    "{name} is installed in {path}: {size}, {fetched} fetched, {local} shared with models that were here",
    "{name} 已安装到 {path}：{size}，下载了 {fetched}，{local} 与已有模型共用",
)
UP_TO_DATE = Message("{name} was here already, whole and the same: {path}", "{name} 已在本机，内容完整且相同：{path}")
DOWNLOAD_KEPT = Message("The download is kept in {path}", "下载的文件保留在 {path}")
CONFIRM_METERED = Message(
    "This network is paid for by the byte (says {source}). Fetch {size} over it?",
    "当前网络按流量计费（据 {source}）。要通过它下载 {size} 吗？",
)
REPLACING = Message(
    "{name} is installed with other content: here is {old}, and {address} is {new}",
    "{name} 已安装，但内容不同：本机的是 {old}，而 {address} 是 {new}",
)
CONFIRM_REPLACE = Message(
    "{name} is installed with other content: here is {old}, and {address} is {new}. Replace it?",
    "{name} 已安装，但内容不同：本机的是 {old}，而 {address} 是 {new}。要替换它吗？",
)
MODEL_VERSION_AND_SIGNER = Message("{name}, version {version} ({signed})", "{name} 版本 {version}（{signed}）")
MODEL_AND_SIGNER = Message("{name} ({signed})", "{name}（{signed}）")
A_CHECKPOINT = Message("a checkpoint to be converted", "需要转换的检查点")
UNFINISHED_DOWNLOAD = Message(
    "{name}: an interrupted download, {size} kept; `pocketseek pull` goes on, `pocketseek remove {name}` frees it",
    "{name}：下载中断，已保留 {size}；`pocketseek pull` 会继续，`pocketseek remove {name}` 可释放空间",
)
REPAIRING = Message("fetching damaged chunks again", "正在重新下载损坏的分块")
REPAIRED = Message(
    "{name}: {chunks} damaged chunks and {files} files replaced from {address}, {fetched} fetched",
    "{name}：已从 {address} 替换 {chunks} 个损坏的分块和 {files} 个文件，下载了 {fetched}",
)
NOTHING_DAMAGED = Message("{name}: every byte is as it should be", "{name}：每个字节都完好")
THIS_MACHINE = Message("this machine", "本机")
ORIGIN = Message("pulled from", "来源")
ORIGIN_VALUE = Message("{address}, {pulled_at}", "{address}，{pulled_at}")
VERIFIED = Message("bytes checked", "字节校验")
NOT_VERIFIED = Message("not since they changed: it is done when it is first used", "更改后尚未校验：首次使用时进行")
CHECKED = Message("checked again", "使用中复查")
CHECKED_ALL = Message("every chunk since {since}", "{since} 以来每个分块都已校验")
CHECKED_SOME = Message(
    "{checked} of {chunks} chunks since {since}", "{since} 以来已校验 {chunks} 个分块中的 {checked} 个"
)
CHECKED_NEVER = Message(
    "not yet: `serve` and `chat` do it now and then, `pocketseek verify` at once",
    "尚未进行：`serve` 和 `chat` 会不时校验，`pocketseek verify` 立即校验",
)
DAMAGED = Message("damaged", "损坏")
DAMAGED_CHUNKS = Message(
    "{chunks} chunks; `pocketseek verify {name} --repair` fetches them again",
    "{chunks} 个分块；`pocketseek verify {name} --repair` 可重新下载",
)
PUBLISH = Message("to publish it", "发布方法")
PUBLISH_VALUE = Message(
    "copy manifest.json, manifest.sig if there is one, chunks and files to any web server ({size})",
    "将 manifest.json、manifest.sig（如有）、chunks 和 files 复制到任意网络服务器（{size}）",
)
