"""Regenerates the tables in data/, which hold token ids by llama.cpp.

    python tests/text/llama_cpp_table.py [SmolLM2.gguf]        (needs: llama-cpp-python, gguf, tokenizers)

data/pre_tokenizers.json: ids for every pre-tokenizer name, over one made-up vocabulary.

The vocabulary is trained on the texts below without cutting them into words first, so it has tokens across every border
(spaces and letters, digits, signs, scripts); that makes each difference between pre-tokenizers visible. The texts are
in Unicode normal form C, because llama.cpp leaves out the normalisation that Qwen's tokenizer does.

data/smollm2.json: ids for the demo model, with the part of its vocabulary that can occur in the texts: every merge
whose result is in one of them, so what is left out could not have happened.
"""

from __future__ import annotations

import ctypes
import json
import sys
import tempfile
from pathlib import Path

DATA = Path(__file__).parent / "data"
NAMES = (
    "smollm",
    "qwen2",
    "deepseek-r1-qwen",
    "llama-bpe",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "gpt-2",
    "default",
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>")
TEXTS = (
    "Hello, world!  How are you?\n\nFine.\r\n",
    "The quick brown fox jumps over the lazy dog.",
    "I'm sure they'll say it's WE'VE DON'T you'd",
    "你好，世界！这是一个测试。中文和English混合123",
    "日本語のテキストとカタカナ ー",
    "한국어 텍스트입니다",
    "Привет, мир! Ελληνικά ώ",
    "def foo(x):\n    return x ** 2  # comment\n\n\tif a != b:\n\t\tpass",
    "for(int i=0;i<10;++i){a[i]*=0x1F;}",
    "1234567 12.5 3,141,592 2024-01-31 7 77 777 7777",
    "   leading and trailing   ",
    " \t \n \n\n  \t",
    "a\n b\r\n  c\r\rd",
    "😀👍🏽🇺🇸 ❤️ 👨‍👩‍👧‍👦",
    "Café naïve résumé façade Ångström",
    "$100 + 50% = ~`^|<>\\/",
    "http://example.com/a?b=c&d=e#f",
    "ABC123def456 x86_64 CamelCaseWord snake_case",
    "‘quoted’ “double” —–… !!!???...---",
    "全角　スペース，句号。（括号）",
    "<|im_start|>user\nhi<|im_end|>\n<think>ok",
    "मानक हिन्दी ไทย ภาษา مرحبا بالعالم",
    "x",
    " ",
)


def main() -> None:
    make_pre_tokenizers()
    for path in sys.argv[1:]:
        make_smollm2(Path(path))


def make_pre_tokenizers() -> None:
    tokens, merges = train()
    cases = [{"text": text, "ids": {}, "plain_ids": {}} for text in TEXTS]
    for name in NAMES:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "vocabulary.gguf"
            write_gguf(path, name, tokens, merges)
            fill(path, name, cases)
    save("pre_tokenizers.json", {"tokens": tokens, "num_special": len(SPECIAL), "merges": merges, "cases": cases})


def make_smollm2(path: Path) -> None:
    import gguf

    reader = gguf.GGUFReader(path)
    tokens, types, merges = (
        reader.fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "token_type", "merges")
    )
    cases = [{"text": text, "ids": {}, "plain_ids": {}} for text in TEXTS]
    fill(path, "smollm", cases)
    characters = gpt2_characters()
    occurring = " ".join("".join(characters[byte] for byte in text.encode("utf-8")) for text in TEXTS)
    kept = [merge for merge in merges if merge.replace(" ", "") in occurring]
    named = {part for merge in kept for part in (*merge.split(), merge.replace(" ", ""))} | set(characters)
    control = {str(number): token for number, token in enumerate(tokens) if types[number] == 3}
    words = {str(number): token for number, token in enumerate(tokens) if token in named and types[number] != 3}
    save(
        "smollm2.json", {"num_tokens": len(tokens), "control": control, "words": words, "merges": kept, "cases": cases}
    )


def gpt2_characters() -> list[str]:
    from tokenizers import pre_tokenizers

    printable = {chr(byte) for byte in (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))}
    others = iter(sorted(set(pre_tokenizers.ByteLevel.alphabet()) - printable))
    return [chr(byte) if chr(byte) in printable else next(others) for byte in range(256)]


def save(name: str, table: dict[str, object]) -> None:
    lines = json.dumps(table, ensure_ascii=True, separators=(",", ":"))
    (DATA / name).write_text(lines.replace('{"text"', '\n{"text"') + "\n", encoding="ascii")


def train() -> tuple[list[str], list[str]]:
    """Byte-level BPE over whole lines: special tokens first, then bytes, then merged tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False, min_frequency=1
    )
    tokenizer.train_from_iterator([text for text in TEXTS if not text.startswith("<|")] * 2, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return tokens, [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]


def write_gguf(path: Path, name: str, tokens: list[str], merges: list[str]) -> None:
    import gguf

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * (len(SPECIAL) - 1) + [4] + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def fill(path: Path, name: str, cases: list[dict[str, object]]) -> None:
    import llama_cpp

    @llama_cpp.llama_log_callback
    def quiet(*_: object) -> None:
        pass

    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    for case in cases:
        data = case["text"].encode("utf-8")
        case["ids"][name] = ids = model.tokenize(data, add_bos=False, special=True)
        plain_ids = model.tokenize(data, add_bos=False, special=False)
        if plain_ids != ids:  # only where the text has special tokens
            case["plain_ids"][name] = plain_ids


if __name__ == "__main__":
    main()
