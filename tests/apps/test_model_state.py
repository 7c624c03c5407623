"""What the page tells of a model, for every state that a package can be in."""

from collections.abc import Callable
from pathlib import Path

import pytest
from package.samples import write_sample
from package.sealed_samples import write_sealed_sample
from package.trust.test_judge import ALICE, BOB, Place

from pocketseek.apps.model_state import look_at_model


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "home")


def stripped(place: Place) -> None:
    place.sign()
    place.trust()
    place.open()
    (place.model / "manifest.sig").unlink()


def exchanged(place: Place) -> None:
    stripped(place)
    place.trust(BOB)
    place.sign(BOB)


def outdated(place: Place) -> None:
    place.sign(version=1)
    place.trust()
    old = {name: (place.model / name).read_bytes() for name in ("manifest.json", "manifest.sig")}
    place.sign(version=2)
    place.open()
    for name, data in old.items():
        (place.model / name).write_bytes(data)


STATES: dict[str, tuple[str, Callable[[Place], object]]] = {
    "unsigned": ("unsigned", lambda place: None),
    "unknown": ("unknown", lambda place: place.sign()),
    "trusted": ("trusted", lambda place: (place.sign(version=3), place.trust())),
    "elsewhere": ("elsewhere", lambda place: (place.sign(), place.trust(models=("large",)))),
    "revoked": ("revoked", lambda place: (place.sign(), place.trust(), place.revoke())),
    "wrong": ("wrong", lambda place: (place.model / "manifest.sig").write_bytes(b"{}")),
    "stripped": ("refused", stripped),
    "exchanged": ("refused", exchanged),
    "outdated": ("refused", outdated),
    "no manifest": ("unchecked", lambda place: (place.model / "manifest.json").unlink()),
    "damaged store": ("unchecked", lambda place: place.store.path.write_bytes(b"{")),
}


@pytest.mark.parametrize("case", sorted(STATES))
def test_every_state_has_its_word(place: Place, case: str) -> None:
    status, happen = STATES[case]
    happen(place)
    assert look_at_model(place.gate, place.model).status == status


def test_signer_version_and_check_are_told(place: Place) -> None:
    place.sign(version=3)
    place.trust()
    place.open()
    state = look_at_model(place.gate, place.model)
    assert (state.signed_by, state.fingerprint, state.version) == ("alice", ALICE.public.fingerprint, 3)
    assert state.verified_s is not None
    other = write_sample(place.home / "models" / "other", seed=2)
    (other / "verified.json").unlink()
    assert look_at_model(place.gate, other).verified_s is None


def test_seal_size_and_damage_are_told(place: Place) -> None:
    pytest.importorskip("cryptography", reason="cryptography is not installed (extra `secure`)")
    sealed = write_sealed_sample(place.home / "models" / "sealed")
    assert look_at_model(place.gate, sealed).seal == "sealed"
    state = look_at_model(place.gate, place.model)
    assert state.seal == "plain"
    assert state.num_bytes > 0
    next((place.model / "chunks").iterdir()).unlink()
    health = look_at_model(place.gate, place.model).health
    assert health is not None
    assert len(health.damaged) == 1
