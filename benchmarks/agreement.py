"""Do pocketseek and llama.cpp say the same? The same GGUF file and the same text through both; prints one JSON line.

    python benchmarks/agreement.py --peer-python PATH [--model demo] [--text FILE] [--windows 8] [--window-tokens 512]

The text is cut into windows by llama.cpp's tokenizer; each window starts a new sequence, and every position of it is
compared: `top1_agreement` is the share of positions with the same most likely next token, `mean_kl` the mean of
KL(llama.cpp || pocketseek) in nats. Both engines round activations to 8 bits in their own way, so neither is the truth,
and where llama.cpp's two best tokens are nearly equally likely, either may win: `decided_agreement` is the top-1
agreement over the `decided_positions`, where they are at least 0.1 nats apart.
`perplexity` (of the text, by each engine) says how hard the text is: a text known by heart would make agreement easy.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import models_on_disk
import numpy as np
import numpy.typing as npt
from pocketseek_model import PocketseekModel

DECIDED_MARGIN = 0.1  # nats between the two best tokens

HERE = Path(__file__).resolve().parent
DEFAULT_TEXT = Path("/usr/share/doc/debian/FAQ/debian-faq.en.txt.gz")  # Debian package debian-faq

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """What is printed. KL in nats; perplexities are of the text, every token after the first of a window."""

    positions: int
    top1_agreement: float
    decided_positions: int
    decided_agreement: float
    mean_kl: float
    median_kl: float
    max_kl: float
    peer_perplexity: float
    own_perplexity: float
    same_token_ids: bool
    kernels: str


def read_text(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")


def peer_logits(
    python: str, gguf: Path, text: str, num_windows: int, window_tokens: int, threads: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Token ids [windows, tokens] and logits [windows, tokens, vocab] from llama.cpp in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        out, text_file = Path(scratch) / "logits.npz", Path(scratch) / "text.txt"
        text_file.write_text(text, encoding="utf-8")
        numbers = [str(window_tokens), str(num_windows), str(threads)]
        command = [python, str(HERE / "peer_logits.py"), str(gguf), str(text_file), str(out), *numbers]
        if subprocess.run(command, check=False).returncode != 0:
            raise SystemExit("the peer failed; its message stands above")
        with np.load(out) as answer:
            return answer["token_ids"], answer["logits"]


def log_softmax(logits: npt.NDArray[np.float32]) -> Floats:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def kl_divergence(left: Floats, right: Floats) -> Floats:
    """KL(left || right) of each row of log-probabilities."""
    return np.asarray((np.exp(left) * (left - right)).sum(axis=-1))


def margins(log_probabilities: Floats) -> Floats:
    """How far the best token is ahead of the second best, for each row."""
    best = np.partition(log_probabilities, -2, axis=-1)
    return np.asarray(best[:, -1] - best[:, -2])


def next_token_log_probabilities(log_probabilities: Floats, token_ids: npt.NDArray[np.int32]) -> Floats:
    return np.asarray(log_probabilities[np.arange(len(token_ids) - 1), token_ids[1:]])


def compare(
    model: PocketseekModel, token_ids: npt.NDArray[np.int32], logits: npt.NDArray[np.float32], same_token_ids: bool
) -> Agreement:
    same, decided, divergences, peer_scores, own_scores = [], [], [], [], []
    for window_ids, window_logits in zip(token_ids, logits, strict=True):
        peer = log_softmax(window_logits)
        own = log_softmax(model.run(window_ids.tolist(), 0, all_logits=True))
        same.append(peer.argmax(axis=-1) == own.argmax(axis=-1))
        decided.append(margins(peer) >= DECIDED_MARGIN)
        divergences.append(kl_divergence(peer, own))
        peer_scores.append(next_token_log_probabilities(peer, window_ids))
        own_scores.append(next_token_log_probabilities(own, window_ids))
    kl, agree, is_decided = map(np.concatenate, (divergences, same, decided))
    return Agreement(
        positions=len(kl),
        top1_agreement=float(agree.mean()),
        decided_positions=int(is_decided.sum()),
        decided_agreement=float(agree[is_decided].mean()),
        mean_kl=float(kl.mean()),
        median_kl=float(np.median(kl)),
        max_kl=float(kl.max()),
        peer_perplexity=float(np.exp(-np.concatenate(peer_scores).mean())),
        own_perplexity=float(np.exp(-np.concatenate(own_scores).mean())),
        same_token_ids=same_token_ids,
        kernels=model.kernels_name,
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peer-python", required=True, help="interpreter that has llama-cpp-python")
    parser.add_argument("--model", default="demo", help="demo or a GGUF file (default: %(default)s)")
    parser.add_argument("--text", type=Path, default=DEFAULT_TEXT, help="UTF-8 text, may be .gz (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--window-tokens", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kernels", help="force one of our implementations: reference, scalar, avx2, avx-vnni, avx512")
    parser.add_argument("--cache", type=Path, default=models_on_disk.DEFAULT_CACHE, help="where model files are kept")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    gguf = models_on_disk.gguf_for(arguments.model, arguments.cache)
    package = models_on_disk.package_for(gguf, arguments.cache)
    text = read_text(arguments.text)
    token_ids, logits = peer_logits(
        arguments.peer_python, gguf, text, arguments.windows, arguments.window_tokens, arguments.threads
    )
    model = PocketseekModel(package, arguments.threads, arguments.window_tokens, arguments.kernels)
    own_ids = model.tokenize(text)[: token_ids.size]
    agreement = compare(model, token_ids, logits, same_token_ids=own_ids == token_ids.ravel().tolist())
    print(json.dumps({"model": gguf.name, "text": str(arguments.text)} | asdict(agreement)))


if __name__ == "__main__":
    main()
