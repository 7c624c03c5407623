"""Caps on processor frequencies (scaling_max_freq), where the system lets us write them: root, mostly.

Before the first write the originals are in a file (`runtime/frequency_state.py`); they are put back by `restore`, or,
after a kill, by `restore_after_crash` at the next start. Of several processes the last one that lets go puts them back;
while several hold, the cap written last is in force. Somebody else's word counts: a value in the file that is not ours
becomes the new original, and we never go above it; ours is put on top of it again (`LOOK_S` after we wrote, then later
and later up to LONGEST_LOOK_S, so that two who disagree do not fight). A lower one may also be the kernel's own
cooling, which the file shows instead of ours: while a processor's cooling device is at work, ours is taken to be behind
it; otherwise it is left, and looked at again at the next start. Nothing is raised for what cannot be written: `refusal`
says why, and `is_acting` that caps are not to be counted on, until they may be tried again after TRY_AGAIN_S; so it is
where somebody raises ours again and again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from pocketseek.device.reading import numbered_folders, parse_int, read_line, read_signed
from pocketseek.device.thermal_zones import read_cooling
from pocketseek.runtime.frequency_state import HIGHEST_KHZ, POLICY, Cap, FrequencyState

_FOLDER = "sys/devices/system/cpu/cpufreq"
_BOOT_ID = "proc/sys/kernel/random/boot_id"
_STEP_KHZ = 100_000
LOOK_S, LONGEST_LOOK_S = 5.0, 300.0
TRY_AGAIN_S = 300.0  # after a refusal
GIVEN_UP_LOOK_S = 20.0  # ours were raised twice by then
_ROUNDING = 0.03  # a driver may take the next value that it has
_ROOT = Path("/")


class FrequencyCaps:
    """One thread at a time."""

    def __init__(self, home: Path, *, root: str | Path = _ROOT, clock: Callable[[], float] = monotonic) -> None:
        """home: the data directory, where the state is if there is no place for all processes of the machine."""
        self._root = Path(root)
        self._clock = clock
        self._policies = [policy for folder in _folders(self._root) if (policy := _Policy.at(folder))]
        self._folder = state_folder(self._root, home)
        self._state = FrequencyState(self._folder, _boot_id(self._root))
        self._share = 1.0
        self._wanted_khz: list[int] | None = None
        self._targets_khz: dict[_Policy, int] = {}  # what was written last
        self._look_s, self._next_look_s = LOOK_S, 0.0
        self._owes_originals = False
        self.refusal: str | None = None
        self._refused_s = 0.0

    @property
    def is_possible(self) -> bool:
        """Whether there is a frequency that we may write."""
        return bool(self._policies)

    @property
    def is_acting(self) -> bool:
        """Whether a share below 1.0 has an effect, as far as is known."""
        return self.is_possible and (self.refusal is None or self._clock() - self._refused_s >= TRY_AGAIN_S)

    @property
    def share(self) -> float:
        """What was applied last; 1.0: no cap of ours."""
        return self._share

    def apply(self, share: float) -> None:
        """Hold every policy at the available frequency nearest to `share` of its highest; 1.0 and above: no cap.

        Meant to be called before every pass: nothing is done while no frequency changes, but for a look now and then
        whether ours is still in force. What cannot be had at once (another process is at it, `refusal`) is tried again
        by the next call.
        """
        share = max(0.0, min(share, 1.0))
        if not self._policies or (share == self._share < 1.0 and self._clock() < self._next_look_s):
            return
        if share == 1.0:
            if self._share != 1.0 or self._owes_originals:
                self.restore()
            return
        wanted_khz = [policy.wanted_khz(share) for policy in self._policies]
        if wanted_khz == self._wanted_khz:
            self._share = share
            if not self._is_lost():
                return
        self._hold_at(share, wanted_khz)

    def _is_lost(self) -> bool:
        """Whether somebody has raised what we capped, or it was refused; looked at now and then."""
        now_s = self._clock()
        if now_s < self._next_look_s:
            return False
        is_lost = any((policy.read_khz() or 0) > khz * (1 + _ROUNDING) for policy, khz in self._targets_khz.items())
        self._look_s = min(2 * self._look_s, LONGEST_LOOK_S) if is_lost else self._look_s
        self._next_look_s = now_s + self._look_s
        return is_lost

    def _hold_at(self, share: float, wanted_khz: list[int]) -> None:
        if wanted_khz != self._wanted_khz:
            self._look_s = LOOK_S
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._state.exclusive(patience_s=0.0) as mine:
                if mine:
                    self._state.hold()
                    self.refusal = None
                    if self._cap(share):
                        self._share, self._wanted_khz = share, wanted_khz
                        self._next_look_s = self._clock() + self._look_s
                        if self._look_s >= GIVEN_UP_LOOK_S:
                            self._refuse("somebody raises the clocks again and again")
        except OSError as error:
            self._refuse(str(error))

    def restore(self) -> None:
        """Let go; the last one puts the originals back. While another process is at it, `apply` tries again."""
        self._share, self._wanted_khz = 1.0, None
        if not self._state.is_holding and not self._owes_originals:
            return
        self._state.let_go()  # before the lock: whoever has it then sees that we are gone, and we see it otherwise
        try:
            with self._state.exclusive() as mine:
                self._owes_originals = not mine
                if mine and not self._state.is_held():
                    _put_back(self._root, self._state)
        except OSError as error:
            self._refuse(str(error))

    def _refuse(self, reason: str) -> None:
        self.refusal, self._refused_s = reason, self._clock()

    def _cap(self, share: float) -> bool:
        """Whether all policies have it. While the kernel cools a processor, what a policy had before is not to be seen,
        so one that has no record yet is left alone."""
        caps, cooled = self._state.load(), _is_cooled(self._root)
        targets_khz: dict[_Policy, int] = {}
        for policy in self._policies:
            current_khz = policy.read_khz()
            if current_khz is None:
                continue
            before = caps.get(policy.name)
            if before is None and cooled:
                continue
            original_khz = current_khz if before is None else _original_khz(before, current_khz, cooled=cooled)
            target_khz = policy.nearest_khz(share, original_khz)
            ours = {target_khz} | ({current_khz} & set(before.ours_khz) if before is not None else set())
            caps[policy.name] = Cap(original_khz, tuple(sorted(ours)))
            targets_khz[policy] = target_khz
        self._targets_khz = targets_khz
        self._state.save(caps)  # before anything is written
        rounded = self._write_all(targets_khz)
        if rounded:
            self._state.save(caps | {name: _with(caps[name], khz) for name, khz in rounded.items()})
        return not cooled or all(policy.name in caps for policy in self._policies)

    def _write_all(self, targets_khz: dict[_Policy, int]) -> dict[str, int]:
        """What drivers made of them, by policy. One refusal keeps nothing from the others."""
        rounded = {}
        for policy, khz in targets_khz.items():
            try:
                shown_khz = policy.write_khz(khz)
            except OSError as error:
                self._refuse(str(error))
                continue
            if shown_khz is not None:
                rounded[policy.name] = shown_khz
        return rounded


def restore_after_crash(home: Path, *, root: str | Path = _ROOT) -> bool:
    """Put back what a killed process left behind, unless a living one still holds it. True if there was something and
    nothing is left; to be called at every start (without a file it costs one look)."""
    state = FrequencyState(state_folder(Path(root), home), _boot_id(Path(root)))
    if not state.is_there:
        return False
    try:
        with state.exclusive() as mine:
            if not mine or state.is_held():
                return False
            _put_back(Path(root), state)
    except OSError:
        return False
    return not state.is_there


@dataclass(frozen=True)
class _Policy:
    """One group of cores that share a clock."""

    name: str
    file: str
    lowest_khz: int
    highest_khz: int
    available_khz: tuple[int, ...]

    @classmethod
    def at(cls, folder: Path) -> _Policy | None:
        """None if it cannot be written."""
        lowest_khz, highest_khz = read_signed(f"{folder}/cpuinfo_min_freq"), read_signed(f"{folder}/cpuinfo_max_freq")
        file = f"{folder}/scaling_max_freq"
        if lowest_khz is None or highest_khz is None or not 0 < lowest_khz <= highest_khz <= HIGHEST_KHZ:
            return None
        listed = (read_line(f"{folder}/scaling_available_frequencies") or "").split()
        numbers = (parse_int(word) for word in listed)
        available_khz = tuple(sorted(khz for khz in numbers if khz and lowest_khz <= khz <= highest_khz))
        return cls(folder.name, file, lowest_khz, highest_khz, available_khz) if os.access(file, os.W_OK) else None

    def read_khz(self) -> int | None:
        khz = read_signed(self.file)
        return khz if khz is not None and 0 < khz <= HIGHEST_KHZ else None

    def wanted_khz(self, share: float) -> int:
        """The available one nearest to it, the lower one of two equally near; without a list in steps of 100 MHz."""
        wanted_khz = share * self.highest_khz
        if not self.available_khz:
            return round(wanted_khz / _STEP_KHZ) * _STEP_KHZ
        return min(self.available_khz, key=lambda khz: (abs(khz - wanted_khz), khz))

    def nearest_khz(self, share: float, most_khz: int) -> int:
        """Never above what was there, and not below the policy's lowest in force."""
        least_khz = read_signed(f"{Path(self.file).parent}/scaling_min_freq") or self.lowest_khz
        return min(max(self.wanted_khz(share), least_khz, self.lowest_khz), most_khz)

    def write_khz(self, khz: int) -> int | None:
        """What the driver made of it, if that is another value that still is ours. Raises OSError: the file then shows
        somebody else's value."""
        _write(self.file, khz)
        shown_khz = self.read_khz()
        near = shown_khz is not None and 0 < abs(shown_khz - khz) <= _ROUNDING * khz
        return shown_khz if near else None


def _original_khz(cap: Cap, current_khz: int, *, cooled: bool) -> int:
    if current_khz in cap.ours_khz or (cooled and current_khz < min(cap.ours_khz, default=0)):
        return cap.original_khz
    return current_khz


def _put_back(root: Path, state: FrequencyState) -> None:
    """What may have to be looked at again stays in the file."""
    cooled = _is_cooled(root)
    left = {name: cap for name, cap in state.load().items() if not _is_settled(root / _FOLDER / name, cap, cooled)}
    state.save(left)


def _is_settled(folder: Path, cap: Cap, cooled: bool) -> bool:
    file = f"{folder}/scaling_max_freq"
    current_khz, lowest_ours_khz = read_signed(file), min(cap.ours_khz, default=0)
    if current_khz is None:
        return False  # its cores are switched off
    if current_khz == cap.original_khz:
        return True
    if current_khz in cap.ours_khz or (cooled and current_khz < lowest_ours_khz):
        try:
            _write(file, cap.original_khz)
        except OSError:
            return False
        return True
    return current_khz > lowest_ours_khz


def _is_cooled(root: Path) -> bool:
    """Whether the kernel slows a processor down against heat at this moment."""
    return any("cpu" in device.type.lower() and device.step > 0 for device in read_cooling(root))


def state_folder(root: Path, home: Path) -> Path:
    """Where all processes that may write frequencies see the same state, whatever their data directories; else `home`.

    /run belongs to root and is emptied at every start of the machine; Android has none, but a place for root's tools.
    """
    for place in (root / "run", root / "data/local/tmp"):
        if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
            return place / "pocketseek"
    return home


def _folders(root: Path) -> list[Path]:
    return [folder for folder in numbered_folders(root / _FOLDER, "policy") if POLICY.fullmatch(folder.name)]


def _boot_id(root: Path) -> str:
    return read_line(str(root / _BOOT_ID)) or "unknown"


def _with(cap: Cap, khz: int) -> Cap:
    return Cap(cap.original_khz, tuple(sorted({*cap.ours_khz, khz})))


def _write(file: str, khz: int) -> None:
    """One write, as the kernel wants it; the file must be there."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC | os.O_TRUNC)
    try:
        os.write(descriptor, b"%d\n" % khz)
    finally:
        os.close(descriptor)
