"""What `pocketseek voice` says to a person, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

LISTENING = Message(
    "Listening with {recogniser} ({why}), speaking with {voice} ({voice_why}). "
    "Ctrl-C ends an answer; pressed twice it leaves.",
    "用 {recogniser} 聆听（{why}），用 {voice} 说话（{voice_why}）。按 Ctrl-C 打断回答，连按两次退出。",
)
MICROPHONE = Message(
    "Microphone: {microphone}. Loudspeaker: {loudspeaker}.", "麦克风：{microphone}。扬声器：{loudspeaker}。"
)
PUSH_TO_TALK = Message("Press Enter, speak, and press Enter again.", "按回车键，说话，再按回车键。")
YOU = Message("You: {text}", "您：{text}")
ANSWER = Message("Answer: {text}", "回答：{text}")
NOT_UNDERSTOOD = Message("(no words)", "（没有听到话）")
INTERRUPTED = Message("(interrupted)", "（已打断）")
FAILED = Message("This turn failed: {problem}", "这一轮失败：{problem}")
TIMINGS = Message(
    "  end of speech noticed after {endpoint}, text {transcript}, first word {token}, first sound {audio}",
    "  {endpoint}后察觉说完，文字 {transcript}，首词 {token}，首声 {audio}",
)
SECONDS = Message("{seconds:.2f} s", "{seconds:.2f} 秒")
NEVER = Message("never", "无")
DEVICE_AWAY = Message("{problem}. Trying it again ...", "{problem}。正在重试……")
DEVICE_BACK = Message("It is back.", "已恢复。")
WRITTEN = Message("{seconds:.1f} s of speech written to {path}.", "已将 {seconds:.1f} 秒语音写入 {path}。")
NOTHING_SAID = Message("No answer was spoken, so {path} was not written.", "没有说出回答，因此未写入 {path}。")
NOISY = Message(
    "It is noisy here: only what is louder than the noise is listened to. Speak up, or use --push-to-talk.",
    "这里很吵：只听比噪声更响的声音。请大声一些，或使用 --push-to-talk。",
)
QUIET_AGAIN = Message("It is quiet again.", "已恢复安静。")

SETUP_TITLES = (
    Message("part", "部件"),
    Message("is for", "用途"),
    Message("languages", "语言"),
    Message("size", "大小"),
    Message("licence", "许可"),
    Message("state", "状态"),
)
KINDS = {
    "detector": Message("noticing speech", "察觉说话"),
    "recogniser": Message("understanding speech", "识别语音"),
    "voice": Message("speaking", "说话"),
}
ALL_LANGUAGES = Message("all", "全部")
INSTALLED = Message("installed, {state}", "已安装，{state}")
ABSENT = Message("not installed", "未安装")
NEEDS_LIBRARY = Message("needs: pip install {library}", "需要：pip install {library}")
PART_NEEDS_LIBRARY = Message(
    "{part} is not used before its library is here: pip install {library}",
    "还缺少运行 {part} 的库，安装后才会使用：pip install {library}",
)
ASK_FETCH = Message("Fetch {parts} ({size})?", "要下载 {parts}（{size}）吗？")
HOW_TO_FETCH = Message("To fetch: pocketseek voice setup {parts}", "下载命令：pocketseek voice setup {parts}")
FETCHING = Message("fetching {part}", "正在下载 {part}")
UNPACKING = Message("unpacking {part}", "正在解包 {part}")
FETCHED = Message("{part} is here.", "{part} 已就绪。")
USED = Message(
    "For {language}: {recogniser} ({why}) listens, {voice} ({voice_why}) speaks.",
    "{language}：由 {recogniser}（{why}）聆听，{voice}（{voice_why}）说话。",
)
LANGUAGE_NAMES = {"en": Message("English", "英语"), "zh": Message("Chinese", "中文")}
"""By code; others are shown as their code."""
NOT_READY = Message("For {language} something is missing: {problem}", "{language} 还缺少：{problem}")

ENGINE = Message("engine", "引擎")
WHOSE = Message("model by", "模型来源")
SIGNED_BY = Message("signed by {name}", "{name} 签名")
BY_HAND = Message("put there by hand, not signed", "手动放入，未签名")
NO_PARTS = Message(
    "No speech parts are installed. `pocketseek voice setup` shows which there are.",
    "尚未安装语音部件。`pocketseek voice setup` 会列出可用的部件。",
)
PARTS_LISTED = Message(
    "Speech parts, too: {num}. They are listed by `pocketseek models --parts`.",
    "另有语音部件 {num} 个，可用 `pocketseek models --parts` 列出。",
)

REASONS = {
    "named": Message("asked for", "指定"),
    "language": Message("made for this language", "专为此语言"),
    "any_language": Message("knows many languages", "支持多种语言"),
    "device": Message("fast on this device", "适合本机"),
    "only": Message("the only one here", "这里唯一可用"),
    "carried": Message("carried by a library", "由库自带"),
}
