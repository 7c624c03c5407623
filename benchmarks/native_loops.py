"""From native/isa_*.cpp to named inner loops: compile to assembly with the build's own flags, find loops, name them.

Which files there are and how each is compiled is read from native/CMakeLists.txt, so a new instruction set needs no
change here. Names come from the functions' template arguments (format, rows). Where a function holds the loops of
several row counts, rows are what the loop's multiply-adds make of whole blocks: 16 outputs x 32 inputs per row.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from inner_loops import Loop, find_loops

NATIVE = Path(__file__).resolve().parent.parent / "native"
CMAKE = NATIVE / "CMakeLists.txt"
LANGUAGE = ["-std=c++20", "-DNDEBUG", "-fPIC", "-fvisibility=hidden"]  # what CMake adds by itself
MULTIPLY_ADDS_PER_ROW = 16 * 32  # of one block of one tile row


@dataclass(frozen=True)
class Source:
    """One isa_*.cpp and its compiler options."""

    path: Path
    options: tuple[str, ...]

    @property
    def is_arm(self) -> bool:
        return any(option.startswith("-march=armv") for option in self.options)

    @property
    def uses_i8mm(self) -> bool:
        return any("+i8mm" in option for option in self.options)

    @property
    def definition(self) -> str:
        return "-DPOCKETSEEK_ARM64" if self.is_arm else "-DPOCKETSEEK_X86"


@dataclass(frozen=True)
class Kernel:
    """An inner loop and what it computes: `num_tiles` tile rows at once, for `rows` rows (0: nothing tells them)."""

    set_name: str
    format: str
    rows: int
    num_tiles: int
    is_pair: bool
    loop: Loop

    @property
    def blocks(self) -> float:
        """Blocks of 32 inputs that one turn of the loop does; no whole number if rows are padded."""
        per_block = MULTIPLY_ADDS_PER_ROW * self.rows * self.num_tiles
        return self.loop.multiply_adds / per_block if per_block else 0.0

    @property
    def label(self) -> str:
        return self.format + (" pair" if self.is_pair else "")


def sources() -> list[Source]:
    """Every isa_*.cpp that CMakeLists.txt gives options of its own."""
    found = re.findall(
        r"set_source_files_properties\((isa_\w+\.cpp) PROPERTIES COMPILE_OPTIONS\s+\"([^\"]*)\"", CMAKE.read_text()
    )
    return [Source(NATIVE / name, tuple(expanded(options).split(";"))) for name, options in found]


def expanded(options: str) -> str:
    """CMake's ${variables}, as the same file sets them."""
    values = dict(re.findall(r"\bset\((\w+) \"([^\"]*)\"\)", CMAKE.read_text()))
    return re.sub(r"\$\{(\w+)\}", lambda use: values[use[1]], options)


def for_compiler(option: str, compiler: str) -> str:
    """CMake's $<$<CXX_COMPILER_ID:GNU>:option>, or an option as it is; empty if it is for another compiler."""
    conditional = re.fullmatch(r"\$<\$<CXX_COMPILER_ID:(\w+)>:(.*)>", option)
    if conditional is None:
        return option
    return conditional[2] if conditional[1] == ("Clang" if "clang" in compiler else "GNU") else ""


def common_options() -> list[str]:
    options = re.search(r"target_compile_options\(_native PRIVATE ([^)]*)\)", CMAKE.read_text())
    if options is None:
        raise SystemExit(f"{CMAKE} has no target_compile_options for _native; teach {__file__} where they are now")
    return options[1].split()


def compile_source(compiler: str, source: Source, *arguments: str) -> str:
    """Run the compiler on one source as the build would; returns its standard output."""
    own = [for_compiler(option, compiler) for option in source.options]
    options = [*LANGUAGE, *common_options(), source.definition, *filter(None, own)]
    return output_of([*shlex.split(compiler), *options, str(source.path), *arguments])


def output_of(command: list[str], text: str | None = None) -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise SystemExit(f"{command[0]} is not here. Debian: apt install g++ g++-aarch64-linux-gnu binutils") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{' '.join(command[:2])} ... failed:\n{error.stderr.strip()[-2000:]}") from None
    return done.stdout


def kernels_of(compiler: str, source: Source) -> list[Kernel]:
    """The named dot product loops of one source, in the order of the assembly."""
    loops = find_loops(compile_source(compiler, source, "-S", "-o", "-"))
    names = output_of(["c++filt"], "\n".join(loop.function for loop in loops)).splitlines()
    preprocessed = compile_source(compiler, source, "-E", "-o", "-")
    set_name = re.findall(r"const char ?\*\s*name = \"([\w-]+)\"", preprocessed)[-1]
    pair_tiles = int((re.findall(r"\bexpanded_tiles = (\d)", preprocessed) or ["2"])[-1])
    return [
        kernel_of(set_name, pair_tiles, name, loop, is_only_loop=names.count(name) == 1)
        for name, loop in zip(names, loops, strict=True)
    ]


def kernel_of(set_name: str, pair_tiles: int, function: str, loop: Loop, is_only_loop: bool) -> Kernel:
    """Name a loop by its demangled function, such as `quantised_step<Simd, (pocketseek::Format)0, 2, 8>(...)`.

    The last two numbers are tile rows and rows; a single one is rows, of one tile row.
    A loop over expanded tiles may do a part of a block, so only its function's name tells its rows, and only if that
    function holds no other loop.
    """
    short = function.replace("pocketseek::", "").replace("(anonymous namespace)::", "")
    head = re.split(r"\((?!Format\))", short)[0].split(" ", 1)[-1]  # name and template arguments, no return type
    name, _, arguments = head.partition("<")
    index, numbers = re.search(r"\(Format\)(\d+)", arguments), re.findall(r"(?<!\))\b\d+\b", arguments)
    is_pair = "pair" in name or "expanded" in name
    label = format_names()[int(index[1])] if index else "q4p" if is_pair or "two_level" in name else name
    num_tiles = pair_tiles if is_pair else int(numbers[-2]) if len(numbers) > 1 else 1
    whole_blocks = label in format_names() and not is_pair
    made = loop.multiply_adds // (MULTIPLY_ADDS_PER_ROW * num_tiles) if whole_blocks else 0
    num_rows = int(numbers[-1]) if numbers and is_only_loop else made
    return Kernel(set_name, label, num_rows, num_tiles, is_pair, loop)


def format_names() -> list[str]:
    names = re.search(r"kFormatNames\[\] = \{([^}]*)\}", (NATIVE / "formats.h").read_text())
    if names is None:
        raise SystemExit(f"{NATIVE / 'formats.h'} has no kFormatNames")
    return re.findall(r"\w+", names[1])
