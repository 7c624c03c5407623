"""An example of every command, shown at the end of its --help, in the manual page and on the documentation's pages.

A test parses each of them, so that none shows an option that is not there. Names stand for what a user has: `mine` is
an installed model.
"""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ("pocketseek", "pocketseek chat demo"),
    "chat": ("pocketseek chat demo", "pocketseek chat mine --system 'You teach chemistry.' --memory 2GB"),
    "generate": (
        "pocketseek generate mine 'Why is the sky blue?' --seed 1",
        "cat letter.txt | pocketseek generate mine --system 'Translate into English.' --json",
    ),
    "pull": ("pocketseek pull r1-1.5b", "pocketseek pull https://example.org/models/mine --name mine"),
    "convert": (
        "pocketseek convert model.gguf --name mine",
        "pocketseek convert CHECKPOINT_FOLDER --quant q4 --calibrate texts.txt",
    ),
    "export": ("pocketseek export mine mine-onnx --quant int4",),
    "models": ("pocketseek models",),
    "inspect": ("pocketseek inspect mine",),
    "verify": ("pocketseek verify mine", "pocketseek verify mine --repair"),
    "remove": ("pocketseek remove mine",),
    "seal": ("pocketseek seal mine", "pocketseek seal --data --new-key-file data.key"),
    "unseal": ("pocketseek unseal mine",),
    "passwd": ("pocketseek passwd mine",),
    "diff": ("pocketseek diff mine mine-2",),
    "update": ("pocketseek update mine --check", "pocketseek update mine"),
    "rollback": ("pocketseek rollback mine",),
    "eval": ("pocketseek eval mine --text book.txt",),
    "bench": ("pocketseek bench mine", "pocketseek bench mine --minutes 30 --report report.html"),
    "serve": ("pocketseek serve mine", "pocketseek serve mine --host 0.0.0.0 --port 8080"),
    "keygen": ("pocketseek keygen --name 'Ada Lovelace'",),
    "sign": ("pocketseek sign mine --expires 90d",),
    "device": ("pocketseek device", "pocketseek device --measure", "pocketseek device --sensors --watch"),
    "doctor": ("pocketseek doctor",),
    "completion": ("pocketseek completion bash >> ~/.bashrc",),
    "token create": ("pocketseek token create tablet",),
    "token list": ("pocketseek token list",),
    "token revoke": ("pocketseek token revoke tablet",),
    "trust list": ("pocketseek trust list",),
    "trust add": ("pocketseek trust add ada.pub",),
    "trust remove": ("pocketseek trust remove 'Ada Lovelace'",),
    "trust revoke": ("pocketseek trust revoke 'Ada Lovelace'",),
    "trust require-signed": ("pocketseek trust require-signed on",),
    "trust accept": ("pocketseek trust accept mine --allow-older",),
    "audit": ("pocketseek audit --last 20",),
    "audit verify": ("pocketseek audit verify",),
    "doc summarize": ("pocketseek doc summarize report.pdf --model mine",),
    "doc jobs": ("pocketseek doc jobs",),
    "doc ask": (
        "pocketseek doc ask report.pdf 'What does it cost?' --model mine",
        "pocketseek doc ask letters 'Who wrote in May?'",
    ),
    "doc add": ("pocketseek doc add ~/letters --collection letters",),
    "doc list": ("pocketseek doc list",),
    "doc remove": ("pocketseek doc remove report.pdf",),
    "doc search": ("pocketseek doc search 'notice period'",),
    "voice listen": ("pocketseek voice listen mine --language zh",),
    "voice setup": ("pocketseek voice setup",),
    "voice bench": ("pocketseek voice bench mine --wav RECORDINGS --transcripts TEXTS",),
}
