"""Words of `adapt federate`, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

SETTING_UP = Message("installing Flower into {path}", "正在把 Flower 安装到 {path}")
SET_UP = Message("Flower is ready: {path}", "Flower 已就绪：{path}")
SERVER_KEYS = Message(
    "Keys of the server are in {folder}. Give {folder}/ca.pem to devices; put their public keys in {folder}/devices",
    "服务器密钥在 {folder}。请把 {folder}/ca.pem 交给设备，并把设备的公钥放入 {folder}/devices",
)
DEVICE_KEYS = Message(
    "The device's key is in {folder}. Give {public} to whoever runs the server, and put the server's ca.pem beside it",
    "设备密钥在 {folder}。请把 {public} 交给服务器管理者，并把服务器的 ca.pem 放在同一文件夹",
)
LISTENING = Message("listening on {host}:{port}", "正在 {host}：{port} 监听")
GOING_ON = Message(
    "going on where it was: {done} of {rounds} rounds are done (--fresh begins anew)",
    "从上次停下处继续：共 {rounds} 轮，已完成 {done} 轮（--fresh 可从头开始）",
)
ALL_DONE = Message(
    "{done} rounds were done before; more --rounds go on from there, --fresh begins anew",
    "此前已完成 {done} 轮；更大的 --rounds 可继续，--fresh 可从头开始",
)
WAITING = Message(
    "waiting for devices: {num_there} connected, {num_ready} ready, {needed} needed{why}",
    "等待设备：已连接 {num_there} 台，就绪 {num_ready} 台，需要 {needed} 台{why}",
)
ROUND = Message(
    "round {number} of {rounds}: {num_learnt} of {num_asked} devices, {outcome}{more}",
    "第 {number} 轮（共 {rounds} 轮）：{num_asked} 台中 {num_learnt} 台，{outcome}{more}",
)
OUTCOMES = {
    "learnt": Message("learnt", "已学习"),
    "too-few": Message("too few answers, nothing changed", "应答太少，未作改动"),
    "bad-sum": Message("the sum cannot be right, nothing changed", "总和不可能正确，未作改动"),
    "broken-off": Message("broken off, nothing changed", "中断，未作改动"),
}
PERPLEXITY = Message("perplexity {perplexity:.3f}", "困惑度 {perplexity:.3f}")
EPSILON = Message("epsilon {epsilon:.2f}", "ε {epsilon:.2f}")
REJECTED = Message("rejected: {names}", "已拒绝：{names}")
DONE = Message("The adapter is in {path}", "适配器已写入 {path}")
SOME_LEARNT = Message(
    "{learnt} of {rounds} rounds changed it; the same command with more --rounds goes on",
    "{rounds} 轮中有 {learnt} 轮作了改动；同一命令加大 --rounds 可继续",
)
NO_PRIVACY = Message(
    "No noise was added, so nothing is promised about what the adapter gives away of a device's data",
    "未添加噪声，因此不能保证适配器不会泄露设备数据",
)
PRIVACY = Message(
    "Privacy spent (delta {delta:g}): epsilon {published} if adapters are seen, {known} if it is known who took part",
    "隐私消耗（δ = {delta:g}）：对能看到适配器者 ε 为 {published}；若知道谁参与过，则为 {known}",
)
SERVER_SAW = Message(
    "Against the server, which saw each answer: epsilon {epsilon}", "对能看到每个应答的服务器：ε 为 {epsilon}"
)
INSTALLED = Message(
    "Installed as {name}; `pocketseek sign {name}` vouches for it, and devices get it with `pocketseek update`",
    "已安装为 {name}；`pocketseek sign {name}` 为其签名，设备用 `pocketseek update` 获取",
)
INSTALLED_SIGNED = Message(
    "Installed as {name}; devices that trust the key get it with `pocketseek pull`, and later with `pocketseek update`",
    "已安装为 {name}；信任该密钥的设备用 `pocketseek pull` 获取，之后用 `pocketseek update`",
)
CONNECTED = Message("connected to {address}", "已连接 {address}")
LOST = Message("the server does not know this device any more; connecting again", "服务器不再认识本设备；正在重新连接")
UNREACHABLE = Message("the server cannot be reached; trying again", "无法连接服务器；正在重试")
REFUSED = Message("did not take part: {reason}", "未参与：{reason}")
ANSWERED = Message("took part in a round ({seconds:.0f} s)", "参与了一轮（{seconds:.0f} 秒）")
FORGOTTEN = Message(
    "rounds 1 to {rounds} are no longer in the log; epsilon counts them",
    "第 1 至 {rounds} 轮已不在日志中；epsilon 已计入它们",
)
LOG_WHOLE = Message("{lines} lines, as they were written; head {head}", "{lines} 行，与写入时一致；末尾值 {head}")
