"""Words of a conversation in the terminal, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

WELCOME = Message(
    "{name}. Type a message and press Enter; /help shows the commands, Ctrl-D leaves.",
    "{name}。输入内容后按回车发送；/help 显示命令，Ctrl-D 退出。",
)
HELP = Message(
    "/help          this list\n"
    "/reset         start a new conversation\n"
    "/undo          take back the last question and its answer\n"
    "/system TEXT   set what the model is told about its role (without TEXT: nothing), and start a new conversation\n"
    "/model NAME    go on with another model (without NAME: list them)\n"
    "/list          conversations that are kept\n"
    "/load WHICH    go on with one of them: its number in the list, its id or a part of its title\n"
    "/search TEXT   find conversations in which it was said\n"
    "/rename TITLE  call this conversation something else\n"
    "/delete WHICH  delete a conversation (without WHICH: this one), after asking\n"
    "/save FILE     write this one to FILE (.json, otherwise text); without FILE: say where it is kept\n"
    '"""            begins and ends a question of several lines\n'
    "/exit, /quit   leave (also Ctrl-D)\n"
    "Ctrl-C stops an answer; pressed again it leaves. The arrow keys bring back what was typed before.",
    "/help          显示本列表\n"
    "/reset         开始新的对话\n"
    "/undo          撤回上一个问题及其回答\n"
    "/system 文本   设定模型的角色（不写文本则清除），并开始新的对话\n"
    "/model 名称    换用另一个模型（不写名称则列出）\n"
    "/list          列出已保留的对话\n"
    "/load 对话     继续其中一个：列表中的编号、标识或标题的一部分\n"
    "/search 文本   查找说过这些内容的对话\n"
    "/rename 标题   为当前对话改名\n"
    "/delete 对话   删除一个对话（不写则为当前对话），会先询问\n"
    "/save 文件     把当前对话写入文件（.json，否则为纯文本）；不写文件则说明保留在何处\n"
    '"""            多行问题的开始与结束\n'
    "/exit, /quit   退出（也可按 Ctrl-D）\n"
    "Ctrl-C 停止回答，再按一次退出。方向键可找回输入过的内容。",
)
BLOCK = Message("The question ends with {end}.", "问题以 {end} 结束。")
NOT_READ = Message(
    "[what was piped in is not read beside a TEXT; a - puts it into the prompt: `pocketseek generate MODEL TEXT -`]",
    "[提供了文本，因此未读取管道输入；用 - 将其放入提示：`pocketseek generate 模型 文本 -`]",
)
RESET = Message("The conversation starts afresh.", "对话已重新开始。")
UNDONE = Message("The last question and its answer are taken back.", "已撤回上一个问题及其回答。")
NOTHING_SAID = Message("There is nothing to take back.", "没有可撤回的内容。")
SAVED = Message("Saved to {path}", "已保存到 {path}")
STOPPED = Message("[stopped]", "[已停止]")
CUT_BY_ROOM = Message("[cut: model and memory allow no longer context]", "[已截断：模型与内存不允许更长的上下文]")
DROPPED = Message(
    "[the {count} oldest messages no longer fit the context and were forgotten]",
    "[最早的 {count} 条消息超出上下文长度，已被遗忘]",
)
LEAVE_HINT = Message("Press Ctrl-C again, or Ctrl-D, to leave.", "再按一次 Ctrl-C 或按 Ctrl-D 退出。")
UNKNOWN_COMMAND = Message("There is no command {command}; /help shows them.", "没有命令 {command};/help 显示全部命令。")
KEPT = Message(
    "Kept as {id}, '{title}'; `pocketseek chat --continue` goes on with it.",
    "已保留为 {id}“{title}”；用 `pocketseek chat --continue` 继续。",
)
NOT_KEPT = Message("[not kept any more: {problem}]", "[不再保留：{problem}]")
NO_CONVERSATIONS = Message("No conversation is kept yet.", "尚未保留任何对话。")
NOTHING_FOUND = Message("Nothing was found.", "没有找到。")
MORE_CONVERSATIONS = Message("Older ones are found with /search TEXT.", "更早的对话可用 /search 文本 查找。")
LOADED = Message("Going on with '{title}' ({count} messages).", "继续“{title}”（{count} 条消息）。")
OTHER_MODEL = Message(
    "It was with {model}; /model {model} goes back to it.", "它使用的是 {model}；用 /model {model} 换回。"
)
RENAMED = Message("Called '{title}' from now on.", "已改名为“{title}”。")
CONFIRM_DELETE = Message("Delete '{title}' ({count} messages)? y/N", "删除“{title}”（{count} 条消息）吗？y/N")
DELETED = Message("Deleted '{title}'.", "已删除“{title}”。")
NOT_DELETED = Message("Nothing was deleted.", "未删除任何内容。")
MODELS = Message("This is {current}. Installed: {models}", "当前模型：{current}。已安装：{models}")
SWITCHED = Message("{name} answers from now on.", "现在由 {name} 回答。")
