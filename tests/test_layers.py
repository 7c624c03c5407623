"""The rooms and the directions between them (docs/design.md, "Rooms"), read from every import statement there is.

Imports inside functions and under TYPE_CHECKING count too: a type that crosses a border in the wrong direction is the
same knot, only later.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import pocketseek

SOURCE = Path(pocketseek.__file__).parent
BASE = {"errors", "shapes", "types", "settings", "formats", "libraries"}

# Each room and the rooms it may import besides itself and the base.
MAY_IMPORT = {
    "device": set[str](),
    "govern": {"device"},
    "package": set[str](),
    "kernels": set[str](),
    "text": set[str](),
    "convert": {"package", "kernels", "text"},
    "runtime": {"package", "kernels", "text", "govern", "device"},
    "adapt": {"convert", "runtime", "package", "kernels", "text", "govern", "device"},
    "apps": {"adapt", "convert", "runtime", "package", "kernels", "text", "govern", "device"},
    "cli": {"apps", "adapt", "convert", "runtime", "package", "kernels", "text", "govern", "device"},
}
BASE_MAY_IMPORT = {
    "errors": set[str](),
    "shapes": set[str](),
    "types": {"shapes"},
    "formats": set[str](),
    "libraries": {"errors"},
    "settings": {"errors", "types"},
}

# Libraries with a single owner: nobody else imports them.
OWNERS = {
    "tokenizers": {"text/tokenizer.py", "text/gguf_tokenizer.py"},
    "onnxruntime": {"runtime/onnx_executor.py", "convert/onnx_export.py", "apps/voice/engines/vad.py"},
    "onnx": {"convert/onnx/*", "convert/static_export.py"},
    "cryptography": {"package/sealing/ciphers.py", "package/trust/sign.py", "adapt/federated/keys.py"},
    "zstandard": {"package/zstd.py"},
    "llguidance": {"runtime/constrain.py"},
    "urllib3": {"apps/repository/http_client.py", "apps/repository/http_transport.py"},
    "certifi": {"apps/repository/http_transport.py"},
    "torch": {"adapt/torch_*.py", "adapt/train_run.py", "adapt/train_team.py"},
    "accelerate": {"adapt/train_team.py"},
    "safetensors": {"adapt/distill_cache.py", "adapt/train_checkpoint.py", "adapt/train_output.py"},
    "sqlite3": {"apps/database.py"},
    "sqlcipher3": {"apps/sealed_database.py"},
    "pypdfium2": {"apps/doc/pdf/pdf_page.py", "apps/doc/pdf/rules.py", "apps/doc/pdf/runs.py"},
    "faster_whisper": {"apps/voice/engines/asr_whisper.py"},
    "sherpa_onnx": {"apps/voice/engines/asr_sherpa.py", "apps/voice/engines/tts_sherpa.py"},
    "piper": {"apps/voice/engines/tts_piper.py"},
    "sounddevice": {"apps/voice/sound/device_library.py"},
    "soundfile": {"apps/voice/sound/sound_file.py"},
    "lxml": {"apps/doc/formats/safe_xml.py"},
    "typer": {"cli/*", "cli/*/*"},
    "rich": {"cli/*", "cli/*/*"},
    "prompt_toolkit": {"cli/*", "cli/*/*"},
    "flwr": {"adapt/federated/flower_*.py"},
    "fastapi": {"adapt/federated/flower_server.py"},
    "starlette": {"apps/serve/*", "apps/serve/voice/*", "adapt/federated/flower_server.py"},
    "uvicorn": {"apps/serve/*", "adapt/federated/flower_server.py"},
    "h11": {"apps/serve/connection.py"},
    "msgspec": {"apps/serve/*", "apps/serve/voice/*"},
    "python_multipart": {"apps/serve/upload.py"},
    "segno": {"cli/serve/announcement.py"},
    "markdown_it": {"apps/serve/markdown.py", "apps/serve/math_rules.py"},
    "latex2mathml": {"apps/serve/mathml.py"},
    "pygments": {"apps/serve/highlight.py"},
}


@cache
def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    """ "device" for device/cpu.py, "errors" for errors.py, "__init__" for the front page."""
    parts = path.relative_to(SOURCE).parts
    return parts[0].removesuffix(".py")


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Of the whole file; each is parsed once for all tests."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@cache
def imported_names(path: Path) -> tuple[str, ...]:
    """Dotted names of all modules imported anywhere in the file, `from a import b` as "a.b"."""
    return tuple(_imported_names(path))


def _imported_names(path: Path) -> Iterator[str]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_rooms(path: Path) -> set[str]:
    names = (name.split(".") for name in imported_names(path))
    return {parts[1] for parts in names if parts[0] == "pocketseek" and len(parts) > 1}


def test_every_room_is_known() -> None:
    rooms = {room_of(path) for path in modules()} - {"__init__", "__main__"}
    assert rooms <= set(MAY_IMPORT) | BASE


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_room_imports_only_what_lies_below_it(room: str) -> None:
    allowed = MAY_IMPORT[room] | BASE | {room, "__version__"}
    wrong = {str(path): imported_rooms(path) - allowed for path in modules() if room_of(path) == room}
    assert not {path: rooms for path, rooms in wrong.items() if rooms}


@pytest.mark.parametrize("module", sorted(BASE_MAY_IMPORT))
def test_base_imports_no_room(module: str) -> None:
    assert imported_rooms(SOURCE / f"{module}.py") <= BASE_MAY_IMPORT[module]


def test_convert_and_runtime_never_import_each_other() -> None:
    assert "runtime" not in MAY_IMPORT["convert"]
    assert "convert" not in MAY_IMPORT["runtime"]


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_library_has_a_single_owner(library: str) -> None:
    users = {
        path.relative_to(SOURCE) for path in modules() if library in {n.split(".")[0] for n in imported_names(path)}
    }
    strangers = {str(user) for user in users if not any(user.match(owner) for owner in OWNERS[library])}
    assert not strangers


def test_only_settings_reads_the_environment() -> None:
    readers = {
        str(path.relative_to(SOURCE))
        for path in modules()
        for node in nodes(path)
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "getenvb", "putenv"})
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and any("env" in a.name for a in node.names))
    }
    assert readers <= {"settings.py"}


def test_room_front_pages_hold_a_docstring_and_nothing_else() -> None:
    for path in modules():
        if path.name == "__init__.py" and path.parent != SOURCE:
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert [type(node) for node in body] == [ast.Expr], path


def test_no_module_is_longer_than_400_lines() -> None:
    long = {str(path) for path in modules() if len(path.read_text(encoding="utf-8").splitlines()) > 400}
    assert not long


def test_only_the_edges_catch_the_whole_error_tree() -> None:
    catchers = {
        str(path.relative_to(SOURCE))
        for path in modules()
        for node in nodes(path)
        if isinstance(node, ast.ExceptHandler)
        and node.type is not None
        and any(isinstance(name, ast.Name) and name.id == "PocketseekError" for name in ast.walk(node.type))
    }
    assert catchers <= {"cli/main.py", "apps/serve/app.py", "adapt/federated/process.py"}
