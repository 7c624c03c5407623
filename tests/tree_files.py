"""Root directories of phones and computers, planted from the texts in tests/device/trees (format: README there)."""

import shlex
from pathlib import Path

TREES = Path(__file__).parent / "device" / "trees"
NAMES = tuple(sorted(file.stem for file in TREES.glob("*.txt")))
_CPUS = "sys/devices/system/cpu"


def plant(name: str, folder: Path) -> Path:
    """Write the tree `name` into `folder` and return it."""
    cpuinfo: list[str] = []
    for title, body in _sections((TREES / f"{name}.txt").read_text(encoding="utf-8")):
        if title.startswith("cores "):
            cpuinfo += _plant_cores(folder, title.removeprefix("cores "))
        elif title == "getprop":
            _write(folder / "getprop.txt", body + "\n")
        elif " -> " in title:
            link, _, target = title.partition(" -> ")
            (folder / link).parent.mkdir(parents=True, exist_ok=True)
            (folder / link).symlink_to(target)
        elif title.endswith("/"):
            (folder / title).mkdir(parents=True, exist_ok=True)
        else:
            _write(folder / title, body.replace("\\0", "\0") + "\n")
    if cpuinfo:
        _write(folder / "proc/cpuinfo", "\n".join(cpuinfo))
    return folder


def _sections(text: str) -> list[tuple[str, str]]:
    parts = ("\n" + text).split("\n== ")[1:]
    return [(title.strip(), body.strip("\n")) for title, _, body in (part.partition("\n") for part in parts)]


def _plant_cores(folder: Path, text: str) -> list[str]:
    """ "0-3 khz=2000000 capacity=300 design=0x41/0xd05 features='asimd asimddp'": sysfs files and cpuinfo lines.

    smt=1: a core is two processors with numbers one apart; smt=8: eight apart. Without it each is a core of its own.
    """
    numbers, *words = shlex.split(text)
    values = dict(word.split("=", 1) for word in words)
    first, _, last = numbers.partition("-")
    lines: list[str] = []
    for core in range(int(first), int(last or first) + 1):
        if "khz" in values:
            _write(folder / _CPUS / f"cpu{core}/cpufreq/cpuinfo_max_freq", values["khz"] + "\n")
        if "capacity" in values:
            _write(folder / _CPUS / f"cpu{core}/cpu_capacity", values["capacity"] + "\n")
        for name in ("core_cpus_list", "thread_siblings_list"):  # the new name and the old one, as kernels have both
            siblings = _siblings(core - int(first), int(first), int(values.get("smt", "0")))
            _write(folder / _CPUS / f"cpu{core}/topology/{name}", siblings + "\n")
        lines.append(f"processor\t: {core}")
        if "model" in values:
            lines.append(f"model name\t: {values['model']}")
        lines.append(f"{'flags' if 'model' in values else 'Features'}\t: {values.get('features', '')}")
        if "design" in values:
            implementer, part = values["design"].split("/")
            lines += [f"CPU implementer\t: {implementer}", f"CPU part\t: {part}"]
        lines.append("")
    return lines


def _siblings(index: int, first: int, apart: int) -> str:
    """As the kernel prints lists: "4-5", "0,8", "3"."""
    if not apart:
        return str(first + index)
    start = first + index // (2 * apart) * 2 * apart + index % apart
    return f"{start}{'-' if apart == 1 else ','}{start + apart}"


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
