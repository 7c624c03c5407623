"""What keygen, sign, trust and audit say, and how a model's origin is told."""

from __future__ import annotations

from collections.abc import Mapping

from pocketseek.cli.messages import Message
from pocketseek.package.trust.audit_chain import SENTENCES, ProblemKind

# the state of a model
SIGNED_BY = Message("signed by {name} ({fingerprint})", "由 {name} 签名（{fingerprint}）")
TRUSTED = Message("{signed}, trusted since {day}", "{signed}，自 {day} 起受信任")
UNKNOWN_KEY = Message("{signed}, who is not trusted here yet", "{signed}，此密钥尚未受信任")
OTHER_MODELS = Message("{signed}, who is trusted for other models only", "{signed}，此密钥只对其他模型受信任")
EXPIRED = Message("{signed}, expired on {day}", "{signed}，已于 {day} 过期")
DELTAS_LEAD_ELSEWHERE = Message(
    "its manifest has changed, so the differences that were published lead elsewhere: run "
    "`pocketseek diff OLD {path} --publish` again",
    "清单已改变，先前发布的差分不再适用：请重新运行 `pocketseek diff OLD {path} --publish`",
)
REVOKED = Message("{signed}, revoked: it may not be used", "{signed}，密钥已吊销：不可使用")
WRONG = Message("the signature does not match: it may not be used", "签名不符：不可使用")
UNSIGNED = Message("not signed", "未签名")
UNCHECKED = Message("signed; nothing here can check it ({reason})", "已签名；本机无法验证（{reason}）")
CHANGED_SIGNER = Message("{state}; until now it was signed by {was}", "{state}；此前由 {was} 签名")
OLDER = Message("{state}; older than version {highest}, which was here before", "{state}；比曾用过的版本 {highest} 旧")
SHORT_TRUSTED = Message("{name}", "{name}")
SHORT_UNTRUSTED = Message("{name}?", "{name}?")
SHORT_REFUSED = Message("refused", "拒用")
COLUMN_SIGNED = Message("signed by", "签名者")
COLUMN_SIGNATURE = Message("signature", "签名")
COLUMN_VERSION = Message("version", "版本")

# consent
ASK_TRUST = Message(
    "{model} is signed by {name}, whom this device does not know.\n"
    "  fingerprint  {fingerprint}\n"
    "Compare it with the one that the publisher shows. Trust this key for {model}?",
    "{model} 由 {name} 签名，本机尚不认识此密钥。\n"
    "  指纹  {fingerprint}\n"
    "请与发布者公布的指纹核对。是否信任此密钥用于 {model}?",
)
ASK_ACCEPT = Message("{model}: {state}.\nAccept it as it is from now on?", "{model}：{state}。\n今后按现状接受？")
ACCEPTED = Message("{model} is accepted: {state}.", "已接受 {model}：{state}。")
NOTHING_TO_ACCEPT = Message("{model} may be used as it is: {state}.", "{model} 可照常使用：{state}。")

# keygen, sign
ASK_NEW_PASSPHRASE = Message("Passphrase for the key (empty: none)", "密钥口令（留空则不设）")
ASK_PASSPHRASE = Message("Passphrase of {path}", "{path} 的口令")
KEY_MADE = Message(
    "The private key is in {path}; whoever has it can sign as you. Keep a copy in a safe place.",
    "私钥保存在 {path}；持有它的人可以用您的名义签名。请妥善备份。",
)
KEY_OPEN = Message("It is not protected by a passphrase.", "它没有口令保护。")
KEY_TRUSTED = Message("This device trusts it from now on.", "本机从此信任该密钥。")
KEY_FINGERPRINT = Message("Fingerprint, for others to compare: {fingerprint}", "指纹（供他人核对）：{fingerprint}")
KEY_TO_PUBLISH = Message("The public key, to give away:", "公钥（可公开）：")
MODEL_SIGNED = Message(
    "Signed {model}, version {version}, as {name} ({fingerprint}).",
    "已签名 {model}（版本 {version}），签名者 {name}（{fingerprint}）。",
)
MODEL_SIGNED_PLAIN = Message(
    "Signed {model} as {name} ({fingerprint}), without a release number: devices cannot tell older ones (--version N).",
    "已签名 {model}，签名者 {name}（{fingerprint}），没有版本号：设备无法识别旧版本（可用 --version N 指定）。",
)
SIGNED_REFUSED_HERE = Message("It is refused here: {reason}", "本机拒用该模型：{reason}")
SIGNED_UNTIL = Message("The signature holds until {day}.", "签名有效期至 {day}。")
SIGNER_NOT_TRUSTED = Message(
    'This device does not trust that key: `pocketseek trust add "{line}"`',
    '本机不信任该密钥：`pocketseek trust add "{line}"`',
)

# trust
COLUMN_FINGERPRINT = Message("fingerprint", "指纹")
COLUMN_SINCE = Message("since", "起始")
COLUMN_UNTIL = Message("until", "截止")
COLUMN_FOR = Message("for models", "适用模型")
COLUMN_STATE = Message("state", "状态")
ALL_MODELS = Message("all", "全部")
KEY_STATE_TRUSTED = Message("trusted", "受信任")
KEY_STATE_EXPIRED = Message("expired", "已过期")
KEY_STATE_REVOKED = Message("revoked", "已吊销")
NO_KEYS = Message("No key is trusted here.", "本机没有受信任的密钥。")
POLICY_ON = Message("Only signed models may run.", "只可运行已签名的模型。")
POLICY_OFF = Message("Models without a signature may run.", "未签名的模型也可运行。")
KEY_ADDED = Message("Trusted: {name} ({fingerprint}).", "已信任：{name}（{fingerprint}）。")
KEY_REMOVED = Message("No longer trusted: {name}.", "不再信任：{name}。")
ASK_REVOKE = Message(
    "Revoke {name} ({fingerprint})? What it signed will not run here any more, and this cannot be taken back.",
    "吊销 {name}（{fingerprint}）？它签名的内容将不能再在本机运行，且不可撤销。",
)
KEY_REVOKED = Message(
    "Revoked: {name}. What it signed will not run here any more.", "已吊销：{name}。它签名的内容不能再在本机运行。"
)
NOT_CHANGED = Message("Nothing was changed.", "未作更改。")

# audit
AUDIT_EMPTY = Message("Nothing has been written down yet.", "尚无记录。")
AUDIT_GOOD = Message(
    "{lines} lines, kept from line {first} on: the chain is whole.\nHead: {head}",
    "共 {lines} 行，自第 {first} 行起保留：链条完整。\n末尾：{head}",
)
AUDIT_BAD = Message("The log was changed or cut:", "日志被更改或截断：")
AUDIT_HINT = Message(
    "Note the head elsewhere; `pocketseek audit verify --head HASH` tells later whether it is still there.",
    "请将末尾值另存他处；以后可用 `pocketseek audit verify --head HASH` 核对。",
)
_PROBLEMS_ZH: Mapping[ProblemKind, str] = {
    "unreadable": "第 {number} 行之后的一行无法读取",
    "gap": "第 {number} 行之后是第 {found} 行：有行缺失、被插入或移动",
    "changed": "第 {number} 行或第 {found} 行被更改",
    "cut": "应以第 {due} 行结束，实际以第 {number} 行结束",
    "last-changed": "最后一行（第 {number} 行）被更改",
    "head-missing": "{head} 缺失，无从得知应有多少行",
    "head-damaged": "{head} 已损坏，无从得知应有多少行",
    "head-was-lost": "第 {number} 行：当时 {head} 缺失或损坏；之前的行可能已丢失",
    "no-such-line": "没有哪一行的哈希是所记下的 {noted}",
}
AUDIT_PROBLEMS = {kind: Message(sentence, _PROBLEMS_ZH[kind]) for kind, sentence in SENTENCES.items()}
COLUMN_WHEN = Message("when", "时间")
COLUMN_EVENT = Message("event", "事件")
COLUMN_ABOUT = Message("about", "内容")

# doctor
DOCTOR_PRIVACY = Message("private files", "私密文件")
DOCTOR_PRIVATE = Message("only you can read what is yours", "您的数据仅您可读")
DOCTOR_EXPOSED = Message(
    "others can read {paths}; run `chmod -R go-rwx` on them, or move the data directory (POCKETSEEK_HOME) "
    "to storage that knows file modes",
    "其他用户可读 {paths}；请对其执行 `chmod -R go-rwx`，或将数据目录（POCKETSEEK_HOME）移到支持权限的存储上",
)
DOCTOR_TRUST = Message("signatures", "签名")
DOCTOR_TRUST_VALUE = Message(
    "trusted keys: {keys}; signed models: {signed} of {models}; {policy}",
    "受信任密钥 {keys} 个，{models} 个模型中 {signed} 个已签名；{policy}",
)
DOCTOR_REFUSED = Message("{model}: {state}", "{model}：{state}")
DOCTOR_AUDIT = Message("audit log", "审计日志")
DOCTOR_AUDIT_GOOD = Message("{lines} lines, the chain is whole", "{lines} 行，链条完整")
DOCTOR_AUDIT_BAD = Message(
    "{problem}; `pocketseek audit verify` shows all", "{problem}；`pocketseek audit verify` 查看全部"
)
