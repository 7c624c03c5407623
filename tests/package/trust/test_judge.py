"""Who may be used: every attack on a signature, the pins, and that what was checked is what is used."""

import json
import shutil
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from package.samples import flip_bit, some_chunk, write_sample

from pocketseek.errors import BusyError, FormatError, IntegrityError, StorageError, TrustError, UsageError
from pocketseek.package.manifest import parse_manifest, render_manifest
from pocketseek.package.private_file import private_lock
from pocketseek.package.reader import Package
from pocketseek.package.trust.audit import AuditLog
from pocketseek.package.trust.gatekeeper import Gatekeeper
from pocketseek.package.trust.judge import check_update_allowed
from pocketseek.package.trust.sign import SigningKey, make_key
from pocketseek.package.trust.signing import sign_package
from pocketseek.package.trust.trust_store import (
    Pin,
    RevokedKey,
    TrustedKey,
    TrustList,
    TrustStore,
    parse_trust_list,
    render_trust_list,
    with_key,
    with_revoked,
)

NOW_S = 1_790_000_000
ALICE, BOB = make_key("alice"), make_key("bob")


@dataclass
class Place:
    """A data directory with the model "tiny" in it, and a clock."""

    home: Path
    now_s: float = NOW_S

    def __post_init__(self) -> None:
        self.store = TrustStore(self.home / "trust.json")
        self.gate = Gatekeeper(self.store, self.home / "models", lambda: self.now_s)
        self.model = write_sample(self.home / "models" / "tiny")

    def sign(self, key: SigningKey = ALICE, **how: int) -> None:
        sign_package(self.model, key, created_s=int(self.now_s), **how)  # type: ignore[arg-type]

    def trust(self, key: SigningKey = ALICE, **how: object) -> None:
        self.store.change(lambda now: with_key(now, TrustedKey(key.public, NOW_S, **how)))  # type: ignore[arg-type]

    def revoke(self, key: SigningKey = ALICE) -> None:
        self.store.change(lambda now: with_revoked(now, RevokedKey(key.public.fingerprint, key.public.name, NOW_S)))

    def open(self, path: Path | None = None) -> str:
        """The status under which it was opened."""
        with Package.open(path or self.model, admit=self.gate.admit) as package:
            assert package.trust is not None
            return package.trust.status

    def refused(self, match: str, path: Path | None = None) -> None:
        with pytest.raises(TrustError, match=match) as caught:
            self.open(path)
        assert "\n" not in str(caught.value)


@pytest.fixture
def place(memory_dir: Path) -> Place:
    return Place(memory_dir / "home")


def test_unsigned_is_fine_unless_signatures_are_required(place: Place) -> None:
    assert place.open() == "unsigned"
    place.store.change(lambda now: replace(now, require_signed=True))
    place.refused("only signed models may run here")


def test_a_model_that_is_refused_again_and_again_pushes_nothing_out_of_the_audit_log(place: Place) -> None:
    log = AuditLog(place.home / "audit.log")
    place.sign()
    place.trust()
    place.revoke()
    for _ in range(5):  # of an opening each, as the server makes one
        place.gate = Gatekeeper(place.store, place.home / "models", lambda: place.now_s, audit=log)
        place.refused("revoked")
    assert [event.name for event in log.events()] == ["model-refused"]


def test_asking_about_unsigned_models_writes_nothing(place: Place) -> None:
    place.open()
    assert not place.store.exists()


def test_signed_by_a_trusted_key_is_used_and_remembered(place: Place) -> None:
    place.sign(version=3)
    place.trust()
    place.store.change(lambda now: replace(now, require_signed=True))
    assert place.open() == "trusted"
    assert place.store.load().pins == {"tiny": Pin(ALICE.public.fingerprint, 3, NOW_S)}
    assert stat.S_IMODE(place.store.path.stat().st_mode) == 0o600


def test_a_key_that_nobody_knows_needs_the_users_word(place: Place) -> None:
    place.sign()
    place.refused("who is not trusted here")
    place.gate.accept(place.model, place.gate.look_at(place.model))
    assert place.open() == "trusted"
    assert place.store.load().keys[0].models == ("tiny",)


def test_a_key_trusted_for_one_model_is_not_for_another(place: Place) -> None:
    place.sign()
    place.trust(models=("large",))
    place.refused("trusted for other models only")


def test_a_flipped_bit_in_the_manifest_is_refused_whatever_the_policy(place: Place) -> None:
    place.sign()
    data = (place.model / "manifest.json").read_bytes()
    changed = data.replace(b'"seed":1', b'"seed":2')
    assert changed != data
    (place.model / "manifest.json").write_bytes(changed)
    for trusted in (False, True):
        place.refused("another manifest")
        if not trusted:
            place.trust()


def test_a_forged_signature_of_this_very_manifest_is_refused(place: Place) -> None:
    place.sign()
    place.trust()
    path = place.model / "manifest.sig"
    tree = json.loads(path.read_bytes())
    value = tree["signatures"][0]["signature"]
    tree["signatures"][0]["signature"] = ("0" if value[0] != "0" else "1") + value[1:]
    path.write_text(json.dumps(tree))
    place.refused("does not match the manifest")


def test_one_forged_signature_among_good_ones_is_refused(place: Place) -> None:
    place.sign()
    place.sign(BOB)
    place.trust()
    path = place.model / "manifest.sig"
    tree = json.loads(path.read_bytes())
    tree["signatures"][1]["signature"] = tree["signatures"][0]["signature"]
    path.write_text(json.dumps(tree))
    place.refused("does not match")


def test_the_signature_of_another_model_is_refused(place: Place) -> None:
    other = write_sample(place.home / "models" / "other", seed=2)
    place.sign()
    place.trust()
    sign_package(other, ALICE, created_s=NOW_S)
    shutil.copy(place.model / "manifest.sig", other / "manifest.sig")
    place.refused("another manifest", other)


@pytest.mark.parametrize("garbage", [b"", b"{}", b"\x00" * 100, b"[" * 16_000, b'{"magic":"pocketseek-signatures"}'])
def test_garbage_for_a_signature_is_refused_not_taken_for_none(place: Place, garbage: bytes) -> None:
    (place.model / "manifest.sig").write_bytes(garbage)
    place.refused("changed after it was signed")


def test_a_symbolic_link_for_a_signature_is_refused(place: Place) -> None:
    (place.model / "manifest.sig").symlink_to("/dev/zero")
    with pytest.raises(StorageError, match="symbolic link"):
        place.open()


def test_an_expired_signature_is_refused_until_somebody_else_signs(place: Place) -> None:
    place.sign(expires_s=NOW_S + 100)
    place.trust()
    assert place.open() == "trusted"
    place.now_s = NOW_S + 100
    place.refused("expired")
    place.trust(BOB)
    place.sign(BOB)
    place.gate.accept(place.model, place.gate.look_at(place.model))
    assert place.open() == "trusted"


def test_a_key_trusted_until_a_day_is_refused_from_that_day_on(place: Place) -> None:
    place.sign()
    place.trust(expires_s=NOW_S + 100)
    assert place.open() == "trusted"
    place.now_s = NOW_S + 100
    place.refused("expired")


def test_revoking_counts_at_once_also_for_what_is_installed(place: Place) -> None:
    place.sign()
    place.trust()
    assert place.open() == "trusted"
    place.revoke()
    place.refused("revoked key alice")
    with pytest.raises(UsageError, match="cannot be trusted again"):
        place.trust()
    with pytest.raises(TrustError, match="revoked"):
        place.gate.accept(place.model, place.gate.look_at(place.model))


def test_a_revoked_signature_does_not_spoil_a_good_one(place: Place) -> None:
    place.sign()
    place.sign(BOB)
    place.trust(BOB)
    place.revoke(ALICE)
    assert place.open() == "trusted"


def test_removing_the_signature_of_a_model_that_was_signed_is_noticed(place: Place) -> None:
    place.sign()
    place.trust()
    place.open()
    (place.model / "manifest.sig").unlink()
    place.refused("was signed by alice .* and is not signed any more")
    place.gate.accept(place.model, place.gate.look_at(place.model))
    assert place.open() == "unsigned"


def test_an_unsigned_package_under_another_name_of_its_own_does_not_pass_for_the_signed_one(place: Place) -> None:
    """The name in the manifest is the attacker's; the place is not."""
    place.sign()
    place.trust()
    place.open()
    data = (place.model / "manifest.json").read_bytes()
    (place.model / "manifest.json").write_bytes(render_manifest(replace(parse_manifest(data), name="innocent")))
    (place.model / "manifest.sig").unlink()
    place.refused("not signed any more")


def test_another_signer_than_before_is_noticed_even_a_trusted_one(place: Place) -> None:
    place.sign()
    place.trust()
    place.open()
    (place.model / "manifest.sig").unlink()
    place.trust(BOB)
    place.sign(BOB)
    place.refused("was signed by alice .* and is signed by bob")
    place.gate.accept(place.model, place.gate.look_at(place.model))
    assert place.open() == "trusted"
    assert place.store.load().pins["tiny"].fingerprint == BOB.public.fingerprint


def test_an_older_release_with_a_good_signature_is_refused_unless_told(place: Place) -> None:
    place.sign(version=4)
    place.trust()
    old = (place.model / "manifest.json").read_bytes(), (place.model / "manifest.sig").read_bytes()
    place.open()
    place.sign(version=5)
    assert place.open() == "trusted"
    for name, data in zip(("manifest.json", "manifest.sig"), old, strict=True):
        (place.model / name).write_bytes(data)
    place.refused("version 4, older than version 5")
    state = place.gate.look_at(place.model)
    with pytest.raises(TrustError, match="--allow-older"):
        place.gate.accept(place.model, state)
    place.gate.accept(place.model, state, allow_older=True)
    assert place.open() == "trusted"
    assert place.store.load().pins["tiny"].version == 4


def test_a_signature_put_back_from_an_older_release_does_not_fit_the_new_manifest(place: Place) -> None:
    place.sign(version=1)
    place.trust()
    old = (place.model / "manifest.sig").read_bytes()
    place.sign(version=2)
    (place.model / "manifest.sig").write_bytes(old)
    place.refused("another manifest")


def test_the_manifest_that_is_judged_is_the_one_that_is_used(place: Place) -> None:
    """Exchanged between reading and judging: what is used is what was judged, never the other."""
    place.sign()
    place.trust()
    good = (place.model / "manifest.json").read_bytes()
    evil = render_manifest(replace(parse_manifest(good), recipe={"evil": True}))

    def admit(path: Path, data: bytes, manifest: object) -> object:
        (path / "manifest.json").write_bytes(evil)
        return place.gate.admit(path, data, manifest)  # type: ignore[arg-type]

    with Package.open(place.model, admit=admit) as package:  # type: ignore[arg-type]
        assert package.manifest == parse_manifest(good)


def test_a_manifest_exchanged_after_judging_is_judged_anew(place: Place) -> None:
    """Damage makes the reader look again; it asks again, too."""
    place.sign()
    place.trust()
    good = (place.model / "manifest.json").read_bytes()
    evil = render_manifest(replace(parse_manifest(good), recipe={"evil": True}))
    judged = []

    def admit(path: Path, data: bytes, manifest: object) -> object:
        judged.append(data)
        state = place.gate.admit(path, data, manifest)  # type: ignore[arg-type]
        if len(judged) == 1:
            (path / "manifest.json").write_bytes(evil)
            some_chunk(path).unlink()
        return state

    with pytest.raises(TrustError, match="another manifest"):
        Package.open(place.model, admit=admit)  # type: ignore[arg-type]
    assert judged == [good, evil]


def test_a_package_that_is_signed_anew_while_others_open_it_is_never_refused(place: Place) -> None:
    place.trust()
    place.sign(version=1)
    stop = threading.Event()
    problems: list[Exception] = []

    def read() -> None:
        while not stop.is_set():
            try:
                place.open()
            except (TrustError, FormatError, IntegrityError) as error:
                problems.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for version in range(2, 40):
        place.sign(version=version)
    stop.set()
    reader.join()
    assert problems == []
    assert place.open() == "trusted"


def test_a_marker_that_came_with_a_signed_package_is_not_believed(place: Place, memory_dir: Path) -> None:
    outside = write_sample(memory_dir / "stick" / "tiny")
    sign_package(outside, ALICE, created_s=NOW_S)
    place.trust()
    chunk = some_chunk(outside)
    flip_bit(chunk, keep_times=True)
    with Package.open(outside):  # its marker vouches for the chunk: inode, size and time are as they were
        pass
    with pytest.raises(IntegrityError, match="damaged"):
        place.open(outside)


def test_the_trust_store_has_one_form(place: Place) -> None:
    place.trust(models=("tiny", "large"), expires_s=NOW_S + 5)
    place.trust(BOB)
    place.revoke(BOB)
    place.sign()
    place.open()
    trust = place.store.load()
    assert parse_trust_list(render_trust_list(trust), place.store.path) == trust
    assert [one.name for one in trust.revoked] == ["bob"]


@given(st.binary(max_size=200))
def test_a_damaged_trust_store_trusts_nobody(data: bytes) -> None:
    with pytest.raises(FormatError, match="nobody is trusted"):
        parse_trust_list(data, Path("trust.json"))


def test_with_a_damaged_trust_store_nothing_is_used(place: Place) -> None:
    place.trust()
    place.store.path.write_bytes(place.store.path.read_bytes()[:-10])
    with pytest.raises(FormatError, match="nobody is trusted"):
        place.open()


@pytest.mark.parametrize("target", ["elsewhere.json", "/dev/zero", "nowhere"])
def test_a_symbolic_link_for_the_trust_store_is_refused(place: Place, target: str) -> None:
    (place.home / "elsewhere.json").write_bytes(render_trust_list(TrustList()))
    place.store.path.symlink_to(target)
    with pytest.raises(StorageError, match="symbolic link"):
        place.open()


def test_changes_of_many_at_once_are_all_kept(place: Place) -> None:
    keys = [make_key(f"k{number}") for number in range(12)]
    threads = [threading.Thread(target=place.trust, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.key.hex for one in place.store.load().keys} == {key.public.hex for key in keys}


def test_what_a_killed_writer_left_goes_with_the_next_change(place: Place) -> None:
    place.trust()
    (place.home / ".trust.json.partial").write_bytes(b"half")
    place.trust(BOB)
    assert sorted(path.name for path in place.home.iterdir()) == ["models", "trust.json"]


def test_a_lock_that_is_never_given_back_is_told(place: Place) -> None:
    with private_lock(place.store.path), pytest.raises(BusyError), private_lock(place.store.path, patience_s=0.02):
        pass


def test_where_nothing_can_be_remembered_a_trusted_model_is_used_all_the_same(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.sign()
    place.trust()

    def full(path: Path, data: bytes) -> None:
        raise StorageError("the disk is full; free some space")

    monkeypatch.setattr("pocketseek.package.trust.trust_store.write_private", full)
    assert place.open() == "trusted"
    assert place.store.load().pins == {}


def read_all(path: Path) -> tuple[bytes, bytes | None]:
    signature = path / "manifest.sig"
    return (path / "manifest.json").read_bytes(), signature.read_bytes() if signature.exists() else None


Update = Callable[..., str]


@pytest.fixture
def update(place: Place) -> Update:
    """The status of an update of "tiny" to a package with the given seed, version and key."""
    place.sign(version=5)
    place.trust()
    place.open()
    old = parse_manifest(read_all(place.model)[0])

    def judged(*, key: SigningKey | None = ALICE, version: int = 6, name: str = "tiny", **how: object) -> str:
        new = place.home.parent / "new"
        shutil.rmtree(new, ignore_errors=True)
        write_sample(new, seed=2)
        if name != "tiny":
            data = (new / "manifest.json").read_bytes()
            (new / "manifest.json").write_bytes(render_manifest(replace(parse_manifest(data), name=name)))
        if key is not None:
            sign_package(new, key, created_s=NOW_S, version=version)
        trust = place.store.load()
        return check_update_allowed(old, *read_all(new), trust, place="tiny", now_s=NOW_S, **how)[1].status  # type: ignore[arg-type]

    return judged


def test_an_update_by_the_same_signer_is_admitted(update: Update) -> None:
    assert update() == "trusted"
    assert update(version=5) == "trusted"


def test_updates_that_would_go_back_are_refused(update: Update) -> None:
    with pytest.raises(TrustError, match="older"):
        update(version=4)
    assert update(version=4, allow_older=True) == "trusted"


def test_updates_without_signature_or_by_strangers_are_refused(update: Update, place: Place) -> None:
    with pytest.raises(TrustError, match=r"older|not signed any more"):
        update(key=None)
    with pytest.raises(TrustError, match="not signed any more"):
        update(key=None, allow_older=True)
    with pytest.raises(TrustError, match="not trusted here"):
        update(key=BOB)
    assert update(key=BOB, accept=BOB.public.fingerprint) == "trusted"
    with pytest.raises(TrustError, match="not trusted here"):
        update(key=BOB, accept=ALICE.public.fingerprint)
    place.revoke(BOB)
    with pytest.raises(TrustError, match="revoked"):
        update(key=BOB, accept=BOB.public.fingerprint)


def test_an_update_to_another_model_of_the_same_signer_is_refused(update: Update) -> None:
    with pytest.raises(TrustError, match="another model"):
        update(name="other")


def test_a_package_elsewhere_is_remembered_by_its_path(place: Place, memory_dir: Path) -> None:
    place.sign(version=2)
    place.trust()
    place.open()
    outside = write_sample(memory_dir / "stick" / "tiny")
    assert place.open(outside) == "unsigned"  # somebody else's model of that name, which the user asked for by path
    sign_package(outside, ALICE, created_s=NOW_S, version=2)
    assert place.open(outside) == "trusted"
    (outside / "manifest.sig").unlink()
    place.refused("not signed any more", outside)
    place.gate.accept(outside, place.gate.look_at(outside))
    assert place.open(outside) == "unsigned"
    assert place.open() == "trusted"
    (place.model / "manifest.sig").unlink()
    place.refused("not signed any more")


def test_an_older_release_on_a_stick_is_refused(place: Place, memory_dir: Path) -> None:
    outside = memory_dir / "stick" / "tiny"
    place.sign(version=1)
    place.trust()
    shutil.copytree(place.model, outside)
    place.sign(version=2)
    place.open()
    place.refused("version 1, older than version 2", outside)
    place.gate.accept(outside, place.gate.look_at(outside), allow_older=True)
    assert place.open(outside) == "trusted"
    assert place.store.load().pins["tiny"].version == 2


def test_a_link_in_the_place_of_a_signed_model_does_not_stand_in_for_it(place: Place, memory_dir: Path) -> None:
    place.sign()
    place.trust()
    place.open()
    outside = write_sample(memory_dir / "stick" / "innocent")
    shutil.rmtree(place.model)
    place.model.symlink_to(outside)
    place.refused("not signed any more")
    sign_package(outside, ALICE, created_s=NOW_S)
    flip_bit(some_chunk(outside), keep_times=True)
    with pytest.raises(IntegrityError, match="damaged"):
        place.open()
