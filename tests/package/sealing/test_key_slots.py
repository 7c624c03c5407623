"""Who has the secret gets the data key; nobody else, and nobody is made to compute for a hostile slot."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest
from package.sealed_samples import FAST_KIB, key

from pocketseek.errors import FormatError, NotFoundError, SealError, UsageError
from pocketseek.package.sealing.key_slots import (
    KeySlot,
    Secret,
    key_secret,
    new_key_file,
    new_slot,
    open_slots,
    parse_slot,
    passphrase_secret,
    read_key_file,
)
from pocketseek.package.strict_json import JsonValue

SEALING = b"sealing-sealing!"
DATA_KEY = bytearray(range(32))


def slot_for(secret: Secret) -> KeySlot:
    return parse_slot(new_slot(secret, SEALING, DATA_KEY, memory_kib=FAST_KIB).render(), "slot")


@pytest.mark.parametrize("secret", [passphrase_secret("correct horse"), key()], ids=["passphrase", "key"])
def test_the_secret_gives_the_data_key(secret: Secret) -> None:
    assert open_slots((slot_for(secret),), secret, SEALING, "it") == DATA_KEY


@pytest.mark.parametrize(
    ("secret", "other"), [(passphrase_secret("right"), passphrase_secret("wrong")), (key("a"), key("b"))]
)
def test_another_secret_does_not(secret: Secret, other: Secret) -> None:
    with pytest.raises(SealError, match="does not open it"):
        open_slots((slot_for(secret),), other, SEALING, "it")


def test_a_slot_of_another_sealing_does_not_open() -> None:
    assert slot_for(key()).open(key(), b"another sealing!") is None


def test_a_passphrase_for_a_key_file_is_told_so() -> None:
    with pytest.raises(SealError, match="--key-file"):
        open_slots((slot_for(key()),), passphrase_secret("right"), SEALING, "it")


def test_any_of_several_slots_opens() -> None:
    slots = (slot_for(key("a")), slot_for(passphrase_secret("p")), slot_for(key("b")))
    for secret in (key("b"), passphrase_secret("p")):
        assert open_slots(slots, secret, SEALING, "it") == DATA_KEY


def test_a_key_file_may_hold_the_passphrase() -> None:
    slot = slot_for(passphrase_secret("my phrase"))
    for data in (b"my phrase", b"my phrase\n", b"my phrase\r\n"):
        assert slot.open(key_secret(data, "it"), SEALING) == DATA_KEY
    assert slot.open(key_secret(b"my phrase\n\n", "it"), SEALING) is None
    assert slot.open(key_secret(b"\xff\xfe", "it"), SEALING) is None


def test_a_passphrase_is_the_same_from_every_keyboard() -> None:
    assert slot_for(passphrase_secret("caf\u00e9")).open(passphrase_secret("cafe\u0301"), SEALING) == DATA_KEY


def test_nothing_of_two_slots_for_one_secret_is_the_same() -> None:
    first, second = slot_for(key()), slot_for(key())
    assert first.salt != second.salt
    assert first.wrapped != second.wrapped


def test_costs_are_bound_into_the_wrapping() -> None:
    secret = passphrase_secret("p")
    cheaper = dataclasses.replace(slot_for(secret), passes=1)
    assert cheaper.open(secret, SEALING) is None


@pytest.mark.parametrize(
    "change",
    [
        {"memory_kib": 100 * 1024 * 1024},
        {"memory_kib": 1024 * 1024, "passes": 16},
        {"memory_kib": 1},
        {"memory_kib": True},
        {"memory_kib": 8192.0},
        {"passes": 0},
        {"passes": 10**9},
        {"lanes": 0},
        {"lanes": 10**6},
        {"salt": ""},
        {"salt": "zz" * 32},
        {"wrapped": "00" * 47},
        {"kind": "none"},
        {"kind": ["key"]},
        {"kind": None},
        {"more": 1},
    ],
)
def test_hostile_slots_are_refused_before_anything_is_computed(change: dict[str, JsonValue]) -> None:
    good = new_slot(passphrase_secret("p"), SEALING, DATA_KEY, memory_kib=FAST_KIB).render()
    with pytest.raises(FormatError):
        parse_slot({**good, **change}, "slot")


@pytest.mark.parametrize("value", [None, [], "key", 3, {}])
def test_what_is_no_slot_is_refused(value: JsonValue) -> None:
    with pytest.raises(FormatError):
        parse_slot(value, "slot")


def test_a_new_key_file_is_random_and_for_its_owner_only(tmp_path: Path) -> None:
    first, second = new_key_file(tmp_path / "a"), new_key_file(tmp_path / "b")
    assert first.data != second.data
    assert read_key_file(tmp_path / "a").data == first.data
    assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == 0o600
    with pytest.raises(UsageError, match="exists"):
        new_key_file(tmp_path / "a")
    assert read_key_file(tmp_path / "a").data == first.data


def test_bad_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_key_file(tmp_path / "none")
    (tmp_path / "empty").touch()
    (tmp_path / "large").write_bytes(bytes(100_000))
    for name in ("empty", "large"):
        with pytest.raises(UsageError, match="no key"):
            read_key_file(tmp_path / name)
    with pytest.raises(UsageError, match="too short"):
        new_slot(key_secret(b"short", "it"), SEALING, DATA_KEY)
    with pytest.raises(UsageError, match="empty"):
        passphrase_secret("")


def test_a_closed_secret_holds_zeros_and_none_is_printed() -> None:
    secret = passphrase_secret("do not tell")
    assert "tell" not in repr(secret)
    secret.close()
    assert set(secret.data) == {0}
