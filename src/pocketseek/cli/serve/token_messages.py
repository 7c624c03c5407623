"""Words of `token`, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

TOKEN_CREATED = Message("Token {name}. Copy it now, it is not shown again:", "令牌 {name}。请立即复制，之后不再显示：")
NOT_INSTALLED = Message(
    "Not installed so far: {models}. The names are those that `pocketseek models` shows.",
    "尚未安装：{models}。名称以 `pocketseek models` 显示的为准。",
)
ONLY_WHERE_WANTED = Message(
    "On this machine the server answers without a token, too, unless it runs with --require-token.",
    "在本机上，除非服务器以 --require-token 运行，否则不带令牌也会得到回答。",
)
TOKEN_REVOKED = Message("Revoked {name}. A running server knows at once.", "已吊销 {name}。运行中的服务器立即生效。")
NO_TOKENS = Message(
    "There are no tokens. `pocketseek token create NAME` makes one.",
    "没有令牌。用 `pocketseek token create 名称` 创建。",
)
COLUMN_CREATED = Message("created", "创建时间")
COLUMN_PER_MINUTE = Message("requests/min", "每分钟请求")
COLUMN_CONCURRENT = Message("at a time", "同时请求")
COLUMN_MODELS = Message("models", "模型")
COLUMN_MAY_UPDATE = Message("updates", "更新")
MAY_UPDATE = Message("may", "允许")
