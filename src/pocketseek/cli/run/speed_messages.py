"""Words of `--min-speed`, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

TOLD = Message("{problem} {done}", "{problem}{done}")
BELOW = Message(
    "{model} is expected to write {speed} tokens/s in {memory} of memory, less than the {floor} asked for: {reason}.",
    "{model} 在 {memory} 内存中预计每秒 {speed} 词元，低于要求的 {floor}：{reason}。",
)
NO_ROOM = Message("{model} does not fit into {memory} of memory.", "{memory} 内存放不下 {model}。")
STORAGE = Message(
    "{streamed} of its {weights} of weights come from storage for every token",
    "它的 {weights} 权重中有 {streamed} 须为每个词元从存储读取",
)
COMPUTING = Message("computing with its {weights} of weights takes that long", "用它的 {weights} 权重计算就需要这么久")
INSTEAD = Message("Taken instead: {steps}; {speed} tokens/s are expected.", "改用：{steps}；预计每秒 {speed} 词元。")
FASTEST = Message(
    "Nothing here is that fast. Taken is the fastest: {steps}; {speed} tokens/s are expected.",
    "这里没有那么快的方式。采用最快的：{steps}；预计每秒 {speed} 词元。",
)
AS_IT_IS = Message("Nothing here is faster, so it stays as it is.", "这里没有更快的方式，因此不作改变。")
STEP_MODEL = Message("the smaller model {model}", "较小的模型 {model}")
STEP_KV = Message("keys and values in int8", "int8 键值缓存")
STEP_CONTEXT = Message("a context of {tokens} tokens", "{tokens} 词元的上下文")
AND = Message(", ", "、")
MEASURED = Message("[{speed} tokens/s, less than the {floor} asked for]", "[每秒 {speed} 词元，低于要求的 {floor}]")
