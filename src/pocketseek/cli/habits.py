"""Words that people bring along from ollama, llama.cpp, mlx-lm and llm (docs/coming-from.md).

What means the same here is taken as our own word (`run`, `ls`, `rm`, `-m`, `-p`, `-n`, `--temp`); it is in no help.
What does not exist here, or means something else, is refused with what to write instead. Nothing is guessed: `-s` is a
seed for some and a system message for others, so it is asked back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from typer.core import TyperCommand, TyperOption

from pocketseek.errors import UsageError

SAME_COMMANDS = {
    "ls": "models",
    "list": "models",
    "rm": "remove",
    "delete": "remove",
    "show": "inspect",
    "info": "inspect",
    "run": "chat",  # with a prompt: generate
    "prompt": "generate",
    "complete": "generate",
    "server": "serve",
    "quantize": "convert",
    "import": "convert",
    "perplexity": "eval",
    "benchmark": "bench",
    "download": "pull",
    "install": "pull",
}
_NO_COMMAND = {
    "ps": "models are open only while a command runs; `pocketseek models` lists what is installed",
    "stop": "nothing runs in the background; Ctrl-C ends `chat` and `serve`",
    "create": "`pocketseek convert FILE --name NAME` installs a model, `chat --system TEXT` gives it a role",
    "cp": "a model is a folder, and `pocketseek inspect MODEL --json` says where; copy that",
    "push": "a package's folder on any web server is a source for `pocketseek pull`; see docs/update.md",
    "publish": "a package's folder on any web server is a source for `pocketseek pull`; see docs/update.md",
    "logs": "`pocketseek chat --continue` goes on with the last conversation, /list in a chat shows all",
    "keys": "nothing is asked of others, so there are no keys; tokens of the server: `pocketseek token`",
    "embed": "embeddings are a route of the server, where the model allows: `pocketseek serve`, docs/serve.md",
    "plugins": "there are no plugins; `pocketseek doctor` says which extras are here",
    "login": "no account is needed; HF_TOKEN is the token of a model hub",
    "upgrade": "`pip install --upgrade pocketseek` renews the program, `pocketseek update MODEL` a model",
}
SAME_OPTIONS = {
    "-n": "--max-tokens",
    "--n-predict": "--max-tokens",
    "--predict": "--max-tokens",
    "--num-predict": "--max-tokens",
    "--max-new-tokens": "--max-tokens",
    "--temp": "--temperature",
    "--repeat-penalty": "--repetition-penalty",
    "--system-prompt": "--system",
    "-sys": "--system",
}
_ADAPTER = "`pocketseek adapt add MODEL FOLDER --name NAME` installs one in PEFT's format, --adapter NAME uses it"
_KV = "write --kv q8 for keys and values in 8 bits"
_DRAFTS = "guesses are taken from the text itself and need no second model; see --speculation"
_MEMORY = "weights are mapped and kept as memory allows, nothing is set; --memory SIZE limits it"
_FORM = "answers of a given form are asked of the server: `pocketseek serve`, docs/tools.md"
_NO_OPTION = {
    "-s": "write --seed N or --system TEXT",
    "-c": "the context is as long as model and memory allow, nothing is set; write --continue to go on with a chat",
    "--ctx-size": "the context is as long as model and memory allow; --memory SIZE limits it",
    "--max-kv-size": "the context is as long as model and memory allow; --memory SIZE limits it",
    "-ngl": "there are no layers to place; see --engine and --provider",
    "--n-gpu-layers": "there are no layers to place; see --engine and --provider",
    "-t": "write --temperature X, or set POCKETSEEK_THREADS=N",
    "--threads": "set POCKETSEEK_THREADS=N",
    "-f": "send the file to standard input: pocketseek generate MODEL < FILE",
    "--file": "send the file to standard input: pocketseek generate MODEL < FILE",
    "-i": "`pocketseek chat MODEL` is a conversation",
    "-cnv": "`pocketseek chat MODEL` is a conversation",
    "--adapter-path": _ADAPTER,
    "--lora": _ADAPTER,
    "--keepalive": "a model is open only while a command runs; `pocketseek serve` keeps it",
    "-hf": "`pocketseek pull REPO` installs a model from its hub, under a name",
    "--hf-repo": "`pocketseek pull REPO` installs a model from its hub, under a name",
    "-st": "`pocketseek generate MODEL TEXT` answers one prompt",
    "--single-turn": "`pocketseek generate MODEL TEXT` answers one prompt",
    "--jinja": "the model's own template is always used; --raw of `generate` leaves it out",
    "--chat-template": "the model's own template is always used; --raw of `generate` leaves it out",
    "-o": "every option has a name of its own, such as --temperature X; see --help",
    "--option": "every option has a name of its own, such as --temperature X; see --help",
    "--think": "reasoning is shown dimmed on a terminal and left out of pipes; nothing is set",
    "--hidethinking": "reasoning is shown dimmed on a terminal and left out of pipes; nothing is set",
    "--no-stream": "`--json` gives the answer when it is whole",
    **dict.fromkeys(("-ctk", "--cache-type-k", "-ctv", "--cache-type-v", "--kv-bits"), _KV),
    **dict.fromkeys(("-md", "--model-draft", "--draft-model", "--num-draft-tokens"), _DRAFTS),
    **dict.fromkeys(("--mlock", "--no-mmap", "-fa", "--flash-attn"), _MEMORY),
    **dict.fromkeys(("--schema", "--json-schema", "--grammar", "--grammar-file"), _FORM),
    "--format": "`--json` gives the answer as an object; a given form: docs/tools.md",
}
_TALKING = ("chat", "generate")
_MODEL_FIRST = ("serve", "bench", "eval")
_MODEL = ("-m", "--model")
_SIZE = re.compile(r"[0-9.]{1,20}[KMGT]i?B?", re.ASCII | re.IGNORECASE)


def translate(words: Sequence[str], commands: Mapping[str, object]) -> list[str]:
    """The same in our words. commands: those of the program; a name of ours is never taken as somebody else's.

    Raises UsageError for what has no meaning here, with what to write instead.
    """
    if words and words[0].partition("=")[0] in _MODEL:  # llm -m MODEL PROMPT, llama-cli -m MODEL
        words = ["run", *words]
    if not words or words[0].startswith("-"):
        return list(words)
    command, rest = words[0], list(words[1:])
    if command == "help":
        return [*rest, "--help"]
    if command not in commands:
        if command in _NO_COMMAND:
            raise UsageError(f"there is no command {command}: {_NO_COMMAND[command]}")
        if command == "run":
            command = "generate" if _names_a_prompt(rest, commands) else "chat"
        command = SAME_COMMANDS.get(command, command)
    if words[:2] == ["adapt", "install"]:
        raise UsageError(f"there is no command adapt install; use {_ADAPTER}")
    if command == "convert":
        _refuse_size_as_quant(rest)
    if command in _TALKING and isinstance(commands.get(command), TyperCommand):
        rest = _options(rest, commands[command], has_prompt=command == "generate")
    if command in _MODEL_FIRST:
        rest = _model_first(rest)
    return [command, *rest]


def _refuse_size_as_quant(rest: Sequence[str]) -> None:
    """Raises UsageError for `--quant 3GB`."""
    for word, following in pairwise([*rest, ""]):
        name, equals, value = word.partition("=")
        size = value if equals else following
        if name == "--quant" and _SIZE.fullmatch(size):
            raise UsageError(
                f"--quant takes q4, q4-pure, q8 or keep and no size; write --target-size {size} (dense models)"
            )


def _names_a_prompt(rest: Sequence[str], commands: Mapping[str, object]) -> bool:
    """Whether what follows `run` is more than a model."""
    command = commands["generate"]
    assert isinstance(command, TyperCommand)
    taken = _options(rest, command, has_prompt=True)
    return len(_positional(taken, _with_values(command))) > 1


def _options(rest: Sequence[str], command: object, *, has_prompt: bool) -> list[str]:
    """Ours for theirs. Values of options are left alone, and so is all behind `--`."""
    assert isinstance(command, TyperCommand)
    ours = {name for option in command.params if isinstance(option, TyperOption) for name in option.opts}
    with_values = _with_values(command)
    model: list[str] = []
    prompt: list[str] = []
    taken: list[str] = []
    waiting = list(rest)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            taken += [word, *waiting]
            break
        if name in ours or not name.startswith("-") or name == "-":
            taken.append(word)
            if name in with_values and not equals and waiting:
                taken.append(waiting.pop(0))
        elif name in _MODEL and (equals or waiting):
            model = [value if equals else waiting.pop(0)]
        elif name in ("-p", "--prompt") and has_prompt and (equals or waiting):
            prompt = [value if equals else waiting.pop(0)]
        elif name in ("-p", "--prompt"):
            raise UsageError(f"chat has no {name}; `pocketseek generate MODEL TEXT` answers one prompt")
        elif name in _NO_OPTION:
            raise UsageError(f"there is no option {name}: {_NO_OPTION[name]}")
        elif SAME_OPTIONS.get(name) in ours:
            taken += [SAME_OPTIONS[name], *([value] if equals else waiting[:1])]
            waiting = waiting if equals else waiting[1:]
        else:
            taken.append(word)
    if prompt and "--" not in taken:
        taken += ["--", *prompt]
    return [*model, *taken]


def _model_first(rest: list[str]) -> list[str]:
    """Of commands that take the model as an argument."""
    name, equals, value = rest[0].partition("=") if rest else ("", "", "")
    if name not in _MODEL or not (equals or len(rest) > 1):
        return rest
    return [value, *rest[1:]] if equals else rest[1:]


def _with_values(command: TyperCommand) -> set[str]:
    options = [one for one in command.params if isinstance(one, TyperOption) and not one.is_flag]
    return {name for option in options for name in option.opts}


def _positional(words: Sequence[str], with_values: set[str]) -> list[str]:
    found: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            return [*found, *waiting]
        if word.startswith("-") and word != "-":
            if word in with_values and waiting:
                waiting.pop(0)
        else:
            found.append(word)
    return found
