"""Words of `adapt train` and `adapt distill`, in English and Chinese."""

from __future__ import annotations

from pocketseek.cli.messages import Message

TRAINING = Message("training", "训练")
BEGINNING = Message(
    "learning from {tokens} tokens in {sequences} {sequences:sequence|sequences}, {steps} {steps:step|steps}",
    "从 {sequences} 个序列的 {tokens} 个词元学习，共 {steps} 步",
)
GOING_ON = Message(
    "going on with an interrupted training: {done} of {steps} steps were done before (--fresh begins anew)",
    "继续上次中断的训练：共 {steps} 步，其中 {done} 步已完成（--fresh 可从头开始）",
)
CUT = Message(
    "{count} {count:conversation is|conversations are} longer than the context and {count:loses its|lose their} end",
    "{count} 个对话超过上下文长度，其末尾被截去",
)
VALIDATED_BEFORE = Message("before: validation perplexity {perplexity:.3f}", "训练前：验证困惑度 {perplexity:.3f}")
VALIDATED = Message(
    "step {step} of {steps}: loss {loss:.3f}, validation perplexity {perplexity:.3f}",
    "第 {step} 步（共 {steps} 步）：损失 {loss:.3f}，验证困惑度 {perplexity:.3f}",
)
WAITING_CHARGING = Message("waiting for the charger", "等待充电")
WAITING_HEAT = Message("resting: heat or battery allow no more now", "暂停：温度或电池目前不允许继续")
GOES_ON = Message("going on", "继续")
TRAINED = Message(
    "{steps} {steps:step|steps}, {tokens} tokens, loss {first:.3f} to {last:.3f} ({seconds:.0f} s)",
    "{steps} 步，{tokens} 个词元，损失从 {first:.3f} 到 {last:.3f}（{seconds:.0f} 秒）",
)
VALIDATION = Message("validation perplexity {before:.3f} to {after:.3f}", "验证困惑度从 {before:.3f} 到 {after:.3f}")
WRITTEN = Message(
    "The adapter is in {path}; `pocketseek adapt add {model} {path}` installs it",
    "适配器已写入 {path}；运行 `pocketseek adapt add {model} {path}` 即可安装",
)
INSTALLED = Message(
    "The adapter is installed: `pocketseek chat {model} --adapter {name}` uses it. In PEFT's format it is in {path}",
    "适配器已安装：用 `pocketseek chat {model} --adapter {name}` 使用它。PEFT 格式的文件在 {path}",
)

# distill
DISTILLING = {
    "teacher": Message("asking the teacher", "询问教师模型"),
    "student": Message("the student learns", "学生模型学习"),
    "comparison": Message("comparing", "比较"),
}
DIVERGENCE = Message(
    "step {step} of {steps}: divergence from the teacher {nats:.4f} nats",
    "第 {step} 步（共 {steps} 步）：与教师模型的散度 {nats:.4f} nats",
)
DISTILLED = Message(
    "{layers} of {of} layers, {steps} {steps:step|steps} ({seconds:.0f} s)",
    "{of} 层中的 {layers} 层，{steps} 步（{seconds:.0f} 秒）",
)
COMPARED = Message(
    "as packages: KL {kl:.4f} nats, same likeliest token {top1:.1f} %, "
    "perplexity {perplexity:.3f} against {reference:.3f}",
    "两个模型包相比：KL {kl:.4f} nats，最可能词元一致 {top1:.1f} %，困惑度 {perplexity:.3f} 对 {reference:.3f}",
)
STUDENT_WRITTEN = Message("The student is in {path} ({size})", "学生模型已写入 {path}（{size}）")
