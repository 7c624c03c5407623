"""Caps on frequencies in made-up trees: what is written, and that it is put back, whoever dies or writes in between."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.runtime import frequency_caps
from pocketseek.runtime.frequency_caps import LONGEST_LOOK_S, LOOK_S, TRY_AGAIN_S, FrequencyCaps, restore_after_crash
from pocketseek.runtime.frequency_state import FrequencyState

BIG_KHZ = (480_000, 998_400, 1_497_600, 1_996_800, 2_496_000, 3_187_200)
CHILD = """
import sys, time
from pathlib import Path
from pocketseek.runtime.frequency_caps import FrequencyCaps
caps = FrequencyCaps(Path(sys.argv[1]), root=sys.argv[2])
caps.apply(float(sys.argv[3]))
print("applied", flush=True)
time.sleep(600)
"""


def policy(
    root: Path, number: int, highest_khz: int, *, available: tuple[int, ...] = (), lowest_khz: int = 480_000
) -> Path:
    folder = root / f"sys/devices/system/cpu/cpufreq/policy{number}"
    folder.mkdir(parents=True)
    (folder / "cpuinfo_min_freq").write_text(f"{lowest_khz}\n")
    (folder / "cpuinfo_max_freq").write_text(f"{highest_khz}\n")
    (folder / "scaling_min_freq").write_text(f"{lowest_khz}\n")
    (folder / "scaling_max_freq").write_text(f"{highest_khz}\n")
    if available:
        (folder / "scaling_available_frequencies").write_text(" ".join(map(str, available)) + " \n")
    return folder / "scaling_max_freq"


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    policy(root, 0, 2_265_600)
    policy(root, 4, BIG_KHZ[-1], available=BIG_KHZ)
    boot = root / "proc/sys/kernel/random/boot_id"
    boot.parent.mkdir(parents=True)
    boot.write_text("0b7c0f6e-1\n")
    return root


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def now_khz(root: Path, number: int = 4) -> int:
    return int((root / f"sys/devices/system/cpu/cpufreq/policy{number}/scaling_max_freq").read_text())


def set_khz(root: Path, khz: int, number: int = 4) -> None:
    (root / f"sys/devices/system/cpu/cpufreq/policy{number}/scaling_max_freq").write_text(f"{khz}\n")


def cool(root: Path, step: int) -> None:
    folder = root / "sys/class/thermal/cooling_device0"
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in {"type": "thermal-cpufreq-0", "cur_state": step, "max_state": 10}.items():
        (folder / name).write_text(f"{value}\n")


def crash(home: Path, root: Path, share: float) -> None:
    """What a killed process leaves behind: caps in force, the file, and locks that nobody holds any more."""
    caps = FrequencyCaps(home, root=root)
    caps.apply(share)
    caps._state.let_go()


def start_child(home: Path, root: Path, share: float) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(home), str(root), str(share)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "applied\n"
    return child


def kill(child: subprocess.Popen[str]) -> None:
    with child:
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL


def test_every_policy_gets_the_available_frequency_nearest_to_its_share(home: Path, phone: Path) -> None:
    FrequencyCaps(home, root=phone).apply(0.6)
    assert (now_khz(phone, 0), now_khz(phone, 4)) == (1_400_000, 1_996_800)


@pytest.mark.parametrize(("share", "khz"), [(0.99, 3_187_200), (0.5, 1_497_600), (0.01, 480_000), (-3.0, 480_000)])
def test_a_cap_is_one_of_the_list(home: Path, phone: Path, share: float, khz: int) -> None:
    FrequencyCaps(home, root=phone).apply(share)
    assert now_khz(phone) == khz


def test_a_cap_stays_above_the_lowest_frequency_that_somebody_asked_for(home: Path, phone: Path) -> None:
    (phone / "sys/devices/system/cpu/cpufreq/policy4/scaling_min_freq").write_text("998400\n")
    FrequencyCaps(home, root=phone).apply(0.1)
    assert now_khz(phone) == 998_400


def test_a_share_that_changes_no_frequency_touches_no_file(home: Path, phone: Path) -> None:
    caps = FrequencyCaps(home, root=phone)
    caps.apply(0.5)
    (home / "frequency-caps.json").unlink()
    set_khz(phone, 2_496_000)
    caps.apply(0.501)
    assert (now_khz(phone), caps.share) == (2_496_000, 0.501)
    assert not (home / "frequency-caps.json").exists()


def test_while_another_process_is_at_it_nothing_waits_and_the_next_call_tries_again(home: Path, phone: Path) -> None:
    caps = FrequencyCaps(home, root=phone)
    home.mkdir()
    with FrequencyState(home, "0b7c0f6e-1").exclusive() as mine:
        assert mine
        caps.apply(0.5)
        assert (now_khz(phone), caps.share) == (3_187_200, 1.0)
    caps.apply(0.5)
    assert (now_khz(phone), caps.share) == (1_497_600, 0.5)


def test_originals_come_back(home: Path, phone: Path) -> None:
    set_khz(phone, 2_496_000)
    caps = FrequencyCaps(home, root=phone)
    for share in (0.7, 0.3, 0.5):
        caps.apply(share)
    assert now_khz(phone) == 1_497_600
    caps.restore()
    assert (now_khz(phone, 0), now_khz(phone, 4)) == (2_265_600, 2_496_000)
    assert not (home / "frequency-caps.json").exists()


def test_a_share_of_one_takes_the_caps_away(home: Path, phone: Path) -> None:
    caps = FrequencyCaps(home, root=phone)
    caps.apply(0.5)
    caps.apply(1.0)
    assert (now_khz(phone), caps.share) == (BIG_KHZ[-1], 1.0)


def test_without_a_cap_nothing_is_written_anywhere(home: Path, phone: Path) -> None:
    caps = FrequencyCaps(home, root=phone)
    caps.apply(1.0)
    caps.restore()
    assert not home.exists()


def test_the_original_is_on_disk_before_the_frequency_is_written(
    home: Path, phone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def write(file: str, khz: int) -> None:
        state = json.loads((home / "frequency-caps.json").read_text())["policies"]
        seen.append(state[Path(file).parent.name])

    monkeypatch.setattr("pocketseek.runtime.frequency_caps._write", write)
    FrequencyCaps(home, root=phone).apply(0.5)
    assert seen == [
        {"original_khz": 2_265_600, "ours_khz": [1_100_000]},
        {"original_khz": 3_187_200, "ours_khz": [1_497_600]},
    ]


def test_a_killed_process_is_repaired_at_the_next_start(home: Path, phone: Path) -> None:
    kill(start_child(home, phone, 0.5))
    assert now_khz(phone) == 1_497_600
    assert restore_after_crash(home, root=phone)
    assert (now_khz(phone, 0), now_khz(phone, 4)) == (2_265_600, 3_187_200)
    assert not restore_after_crash(home, root=phone)  # nothing left to do


def test_a_living_process_keeps_its_caps_when_another_starts(home: Path, phone: Path) -> None:
    child = start_child(home, phone, 0.5)
    try:
        assert not restore_after_crash(home, root=phone)
        assert now_khz(phone) == 1_497_600
    finally:
        kill(child)


def test_the_last_one_out_restores(home: Path, phone: Path) -> None:
    child = start_child(home, phone, 0.5)
    try:
        caps = FrequencyCaps(home, root=phone)
        caps.apply(0.3)
        caps.restore()
        assert now_khz(phone) == 998_400  # the other one still wants a cap
        caps.apply(0.3)
    finally:
        kill(child)
    caps.restore()
    assert now_khz(phone) == 3_187_200


def test_a_process_that_caps_after_a_crash_restores_the_first_original(home: Path, phone: Path) -> None:
    crash(home, phone, 0.5)
    caps = FrequencyCaps(home, root=phone)
    caps.apply(0.3)
    caps.restore()
    assert now_khz(phone) == 3_187_200


@pytest.mark.parametrize("theirs_khz", [2_496_000, 1_996_800])
def test_what_somebody_else_set_higher_stays(home: Path, phone: Path, theirs_khz: int) -> None:
    caps = FrequencyCaps(home, root=phone)
    caps.apply(0.5)
    set_khz(phone, theirs_khz)
    caps.restore()
    assert now_khz(phone) == theirs_khz
    assert not (home / "frequency-caps.json").exists()


def test_what_somebody_else_set_lower_stays_and_is_looked_at_again(home: Path, phone: Path) -> None:
    caps = FrequencyCaps(home, root=phone)
    caps.apply(0.5)
    set_khz(phone, 998_400)
    caps.restore()
    assert now_khz(phone) == 998_400
    set_khz(phone, 1_497_600)  # it was another limit in front of ours, which shows again
    assert restore_after_crash(home, root=phone)
    assert now_khz(phone) == 3_187_200


def test_what_the_kernels_cooling_shows_is_not_taken_for_the_original(home: Path, phone: Path) -> None:
    cool(phone, 5)
    set_khz(phone, BIG_KHZ[3])
    caps = FrequencyCaps(home, root=phone)
    caps.apply(0.3)
    assert now_khz(phone) == BIG_KHZ[3]
    cool(phone, 0)
    set_khz(phone, BIG_KHZ[-1])
    caps.apply(0.3)
    assert now_khz(phone) == BIG_KHZ[1]
    caps.restore()
    assert now_khz(phone) == BIG_KHZ[-1]


def test_behind_the_kernels_own_cooling_ours_is_put_back(home: Path, phone: Path) -> None:
    caps = FrequencyCaps(home, root=phone)
    caps.apply(0.5)
    set_khz(phone, 998_400)
    cool(phone, 5)
    caps.restore()
    assert now_khz(phone) == 3_187_200


def test_a_cap_never_goes_above_what_somebody_else_set(home: Path, phone: Path) -> None:
    caps = FrequencyCaps(home, root=phone)
    caps.apply(0.5)
    set_khz(phone, 998_400)
    caps.apply(0.8)
    assert now_khz(phone) == 998_400
    caps.restore()
    assert now_khz(phone) == 998_400


def test_after_a_restart_of_the_machine_the_file_means_nothing(home: Path, phone: Path) -> None:
    crash(home, phone, 0.5)
    (phone / "proc/sys/kernel/random/boot_id").write_text("another\n")
    assert restore_after_crash(home, root=phone)
    assert now_khz(phone) == 1_497_600


def test_where_nothing_may_be_written_nothing_happens(home: Path, tmp_path: Path) -> None:
    root = tmp_path / "app"
    file = policy(root, 0, 3_000_000)
    (file.parent / "cpuinfo_max_freq").unlink()  # as good as forbidden: root, who runs tests, may write everything
    caps = FrequencyCaps(home, root=root)
    caps.apply(0.5)
    assert not caps.is_possible
    assert (now_khz(root, 0), caps.share) == (3_000_000, 1.0)
    assert not home.exists()


def test_a_data_directory_that_cannot_be_written_means_no_caps(phone: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    caps = FrequencyCaps(tmp_path / "file" / "home", root=phone)
    caps.apply(0.5)
    assert caps.refusal is not None
    assert (now_khz(phone), caps.share) == (3_187_200, 1.0)


def test_caps_that_are_refused_are_not_counted_on_until_they_may_be_tried_again(
    home: Path, phone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [0.0]
    caps = FrequencyCaps(home, root=phone, clock=lambda: now_s[0])
    write = frequency_caps._write

    def refuse_policy_4(file: str, khz: int) -> None:
        if "policy4" in file:
            raise OSError(1, "Operation not permitted")
        write(file, khz)

    monkeypatch.setattr(frequency_caps, "_write", refuse_policy_4)
    assert caps.is_acting
    caps.apply(0.5)
    assert not caps.is_acting
    assert "not permitted" in str(caps.refusal)
    caps.apply(1.0)  # as the governor says then
    assert (now_khz(phone, 0), now_khz(phone, 4)) == (2_265_600, 3_187_200)
    now_s[0] += TRY_AGAIN_S
    assert caps.is_acting
    monkeypatch.setattr(frequency_caps, "_write", write)
    caps.apply(0.5)
    assert caps.is_acting
    assert caps.refusal is None
    assert now_khz(phone, 4) == 1_497_600


def test_cores_that_are_switched_off_are_restored_when_they_are_back(home: Path, phone: Path) -> None:
    crash(home, phone, 0.5)
    folder = phone / "sys/devices/system/cpu/cpufreq/policy4"
    os.rename(folder, phone / "away")
    assert not restore_after_crash(home, root=phone)
    assert now_khz(phone, 0) == 2_265_600
    os.rename(phone / "away", folder)
    assert restore_after_crash(home, root=phone)
    assert now_khz(phone) == 3_187_200


@given(damage=st.binary(max_size=200))
def test_a_damaged_file_is_removed_and_changes_nothing(tmp_path_factory: pytest.TempPathFactory, damage: bytes) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    policy(folder, 4, 3_187_200)
    (folder / "frequency-caps.json").write_bytes(damage)
    assert restore_after_crash(folder, root=folder)
    assert now_khz(folder) == 3_187_200


@pytest.mark.parametrize("name", ["../policy4", "policy4/../../x", "policy", ""])
def test_a_hostile_name_in_the_file_is_not_followed(home: Path, phone: Path, name: str) -> None:
    crash(home, phone, 0.5)
    file = home / "frequency-caps.json"
    file.write_text(file.read_text().replace("policy4", name))
    assert restore_after_crash(home, root=phone)
    assert (now_khz(phone, 0), now_khz(phone, 4)) == (1_100_000, 1_497_600)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_cap_that_somebody_raised_is_put_on_top_of_it_again_later_and_later(home: Path, phone: Path) -> None:
    clock = Clock()
    caps = FrequencyCaps(home, root=phone, clock=clock)
    caps.apply(0.3)
    waits_s = []
    for _ in range(9):
        set_khz(phone, 2_496_000)
        begun_s = clock.now_s
        while now_khz(phone) != 998_400:
            clock.now_s += 1.0
            caps.apply(0.3)
        waits_s.append(clock.now_s - begun_s)
    assert waits_s[0] == LOOK_S
    assert waits_s == sorted(waits_s)
    assert waits_s[-1] == LONGEST_LOOK_S
    caps.restore()
    assert now_khz(phone) == 2_496_000  # theirs


def test_caps_that_somebody_raises_again_and_again_are_not_counted_on(home: Path, phone: Path) -> None:
    clock = Clock()
    caps = FrequencyCaps(home, root=phone, clock=clock)
    num_raised = 0
    while caps.is_acting:
        caps.apply(0.3)
        if now_khz(phone) == 998_400:
            set_khz(phone, 2_496_000)
            num_raised += 1
        clock.now_s += 1.0
    assert (num_raised, "again and again" in str(caps.refusal)) == (3, True)
    caps.apply(1.0)
    clock.now_s += TRY_AGAIN_S
    caps.apply(0.3)
    assert caps.is_acting


def test_a_refused_write_is_tried_again(home: Path, phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    caps = FrequencyCaps(home, root=phone, clock=clock)

    def refuse(file: str, khz: int) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr("pocketseek.runtime.frequency_caps._write", refuse)
        caps.apply(0.5)
    assert now_khz(phone) == 3_187_200
    clock.now_s = LOOK_S
    caps.apply(0.5)
    assert now_khz(phone) == 1_497_600


def test_what_somebody_set_lower_is_not_fought(home: Path, phone: Path) -> None:
    clock = Clock()
    caps = FrequencyCaps(home, root=phone, clock=clock)
    caps.apply(0.5)
    set_khz(phone, 998_400)
    clock.now_s = 1000.0
    caps.apply(0.5)
    assert now_khz(phone) == 998_400


def test_originals_that_could_not_be_put_back_come_back_with_a_later_call(home: Path, phone: Path) -> None:
    caps = FrequencyCaps(home, root=phone)
    caps.apply(0.5)
    with FrequencyState(home, "0b7c0f6e-1").exclusive(patience_s=0.0):
        caps.apply(1.0)  # waits for two seconds
        assert now_khz(phone) == 1_497_600
    caps.apply(1.0)
    assert now_khz(phone) == 3_187_200


@pytest.mark.parametrize("place", ["run", "data/local/tmp"])
def test_two_data_directories_know_of_each_other(tmp_path: Path, phone: Path, place: str) -> None:
    (phone / place).mkdir(parents=True)
    first, second = (FrequencyCaps(tmp_path / name, root=phone) for name in ("one", "two"))
    first.apply(0.5)
    second.apply(0.3)
    first.restore()
    assert now_khz(phone) == 998_400
    second.restore()
    assert now_khz(phone) == 3_187_200
    assert not (tmp_path / "one").exists()
    crash(tmp_path / "one", phone, 0.5)
    assert restore_after_crash(tmp_path / "two", root=phone)
    assert now_khz(phone) == 3_187_200
