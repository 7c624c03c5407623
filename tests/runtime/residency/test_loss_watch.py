"""It asks when something is likely to be lost, seldom, and not at once again after something was."""

from pocketseek.runtime.residency.loss_watch import PAUSE_S, RETRY_S, LossWatch, major_faults


class World:
    def __init__(self) -> None:
        self.now_s = 100.0
        self.num_faults = 7
        self.watch = LossWatch(faults=lambda: self.num_faults, clock=lambda: self.now_s)

    def run_pass(self, pass_s: float = 0.1) -> bool:
        is_due = self.watch.is_due()
        self.now_s += pass_s
        self.watch.pass_ended()
        return is_due

    def run_for(self, seconds: float) -> int:
        """How often it asked in passes one after the other."""
        return sum(self.run_pass() for _ in range(round(seconds / 0.1)))


def test_passes_without_faults_or_pauses_never_ask() -> None:
    assert World().run_for(60) == 0


def test_it_asks_after_a_pause() -> None:
    world = World()
    world.run_pass()
    world.now_s += PAUSE_S
    assert world.run_pass()
    assert not world.run_pass()


def test_it_asks_after_faults_once_a_second_at_most() -> None:
    world = World()
    world.run_for(2)
    world.num_faults += 1
    assert world.run_pass()
    assert world.run_for(5) == 0
    asked = 0
    for _ in range(100):
        world.num_faults += 1
        asked += world.run_pass()
    assert 5 <= asked <= 10


def test_after_a_loss_it_is_silent_for_a_while_whatever_happens() -> None:
    world = World()
    world.now_s += PAUSE_S
    assert world.run_pass()
    world.watch.found()
    while world.now_s < 100.0 + PAUSE_S + RETRY_S - 1:
        world.num_faults += 1000
        world.now_s += PAUSE_S
        assert not world.run_pass()
    world.now_s += 2
    assert world.run_pass()


def test_faults_of_this_process_are_counted() -> None:
    assert 0 <= major_faults() <= major_faults()
