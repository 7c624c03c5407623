"""Keys, signatures and signing where a package lies: what is signed is every byte and every field, and a crash at any
point leaves a package that is signed."""

import json
import os
import random
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from package.samples import write_sample

from pocketseek.errors import BusyError, FormatError, PocketseekError, StorageError, UsageError
from pocketseek.package.lock import destination_lock
from pocketseek.package.manifest import parse_manifest, read_manifest, render_manifest
from pocketseek.package.settle import settle
from pocketseek.package.trust import signing
from pocketseek.package.trust.public_key import (
    _SMALL_ORDER,
    PublicKey,
    is_weak_key,
    parse_fingerprint,
    parse_public_key,
)
from pocketseek.package.trust.sign import (
    SigningKey,
    is_genuine,
    make_key,
    parse_private_key,
    read_key,
    render_private_key,
    sign_manifest,
    write_key,
)
from pocketseek.package.trust.signature import (
    MAX_SIGNATURE_BYTES,
    Signature,
    join_signatures,
    parse_signatures,
    read_signature_bytes,
    render_signatures,
    signed_message,
)
from pocketseek.package.trust.signing import renewed_signature, sign_package

MANIFEST = b'{"any":"bytes"}\n'
NOW_S = 1_790_000_000


def no_passphrase() -> str | None:
    raise AssertionError("nobody is to be asked")


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return make_key("alice")


@pytest.fixture
def package(memory_dir: Path) -> Path:
    return write_sample(memory_dir / "tiny")


def signature_of(key: SigningKey, expires_s: int | None = NOW_S + 10) -> Signature:
    return sign_manifest(key, MANIFEST, created_s=NOW_S, expires_s=expires_s)


def test_a_signature_is_genuine_for_these_bytes_and_no_others(key: SigningKey) -> None:
    signature = signature_of(key)
    assert is_genuine(signature, MANIFEST)
    assert not is_genuine(signature, MANIFEST + b" ")
    assert not is_genuine(signature, b"")


@pytest.mark.parametrize("was_signed", [False, True])
def test_an_update_that_was_cut_short_does_not_take_the_new_signature_away(
    key: SigningKey, package: Path, was_signed: bool
) -> None:
    before = make_key("bob")
    if was_signed:
        sign_package(package, before, created_s=NOW_S)
        shutil.copy(package / "manifest.sig", package / "previous.sig")
    shutil.copy(package / "manifest.json", package / "previous.json")  # the last step before the new version
    sign_package(package, key, created_s=NOW_S)
    settle(package)
    signers = {one.key.hex for one in parse_signatures(read_signature_bytes(package) or b"")}
    assert signers == {key.public.hex} | ({before.public.hex} if was_signed else set())


def test_a_linked_package_is_signed_when_nobody_else_changes_it(
    key: SigningKey, package: Path, memory_dir: Path
) -> None:
    link = memory_dir / "link"
    link.symlink_to(package)
    with destination_lock(package), pytest.raises(BusyError):
        sign_package(link, key, created_s=NOW_S)
    sign_package(link, key, created_s=NOW_S)
    assert read_signature_bytes(package) is not None


def test_every_field_of_a_signature_is_signed(key: SigningKey) -> None:
    signature = signature_of(key)
    changed = [
        replace(signature, created_s=NOW_S + 1),
        replace(signature, expires_s=None),
        replace(signature, expires_s=NOW_S + 11),
        replace(signature, manifest_sha256="0" * 64),
        replace(signature, key=replace(signature.key, name="mallory")),
        replace(signature, key=make_key("alice").public),
    ]
    assert not any(is_genuine(one, MANIFEST) for one in changed)


def test_any_flipped_bit_of_the_file_is_refused_or_another_signature(key: SigningKey) -> None:
    data = render_signatures([signature_of(key)])
    seed = random.randrange(2**32)
    for position in random.Random(seed).sample(range(len(data) * 8), 400):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        try:
            (found,) = parse_signatures(bytes(flipped))
        except FormatError:
            continue
        assert not is_genuine(found, MANIFEST), (seed, position)


def test_any_flipped_bit_of_the_manifest_is_noticed(key: SigningKey) -> None:
    signature = signature_of(key)
    for position in range(len(MANIFEST) * 8):
        flipped = bytearray(MANIFEST)
        flipped[position // 8] ^= 1 << position % 8
        assert not is_genuine(signature, bytes(flipped))


def test_fields_and_manifest_cannot_be_moved_into_each_other(key: SigningKey) -> None:
    """What is signed parses in one way only: the fields are one line of JSON, which has no line end in it."""
    message = signed_message(signature_of(key), MANIFEST)
    domain, fields, rest = message.split(b"\n", 2)
    assert domain == b"pocketseek manifest signature 1"
    assert set(json.loads(fields)) == {"created", "expires", "key", "manifest_sha256", "name"}
    assert rest == MANIFEST


def test_what_is_written_is_read_again(key: SigningKey) -> None:
    signatures = (signature_of(key), signature_of(key, None))
    assert parse_signatures(render_signatures(signatures)) == signatures


def test_joined_signatures_are_right_beside_either_manifest(key: SigningKey) -> None:
    old, new = (sign_manifest(key, data, created_s=NOW_S, expires_s=None) for data in (MANIFEST, b"another"))
    joined = join_signatures(render_signatures([new]), render_signatures([old]), None, b"garbage")
    assert joined is not None
    assert parse_signatures(joined) == (new, old)
    assert join_signatures(joined, joined) == joined
    assert join_signatures(None, b"garbage") is None


@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_a_format_error(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_signatures(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.update(magic="pocketseek-package"),
        lambda tree: tree.update(format_version=2),
        lambda tree: tree.update(more=1),
        lambda tree: tree.update(signatures=[]),
        lambda tree: tree.update(signatures=tree["signatures"] * 17),
        lambda tree: tree["signatures"][0].update(signature="AB" * 64),
        lambda tree: tree["signatures"][0].update(signature="ab" * 63),
        lambda tree: tree["signatures"][0].update(key="0" * 64),
        lambda tree: tree["signatures"][0].update(name="two words"),
        lambda tree: tree["signatures"][0].update(name="\x1b[2J"),
        lambda tree: tree["signatures"][0].update(created=-1),
        lambda tree: tree["signatures"][0].update(created=1.5),
        lambda tree: tree["signatures"][0].update(expires=None),
        lambda tree: tree["signatures"][0].update(manifest_sha256="../../etc/passwd"),
        lambda tree: tree["signatures"][0].pop("created"),
    ],
)
def test_hostile_signature_files_are_refused_in_one_line(key: SigningKey, change: object) -> None:
    tree = json.loads(render_signatures([signature_of(key)]))
    change(tree)  # type: ignore[operator]
    with pytest.raises(FormatError) as caught:
        parse_signatures(json.dumps(tree).encode())
    assert "\n" not in str(caught.value)


def test_an_endless_signature_file_is_not_read(package: Path) -> None:
    (package / "manifest.sig").write_bytes(b"[" * (MAX_SIGNATURE_BYTES + 1))
    with pytest.raises(FormatError, match="more than"):
        read_signature_bytes(package)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_signature_that_is_no_plain_file_is_refused_and_hangs_nobody(package: Path, kind: str) -> None:
    path = package / "manifest.sig"
    if kind == "link":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(StorageError, match=r"symbolic link|plain file"):
        read_signature_bytes(package)


def test_keys_under_which_anybody_can_sign_are_known() -> None:
    """Points of small order, computed here: eight times each is the neutral point."""
    prime = 2**255 - 19
    d = -121665 * pow(121666, -1, prime) % prime

    def double(point: tuple[int, int]) -> tuple[int, int]:
        x, y = point
        squares = d * x * x * y * y % prime
        return 2 * x * y * pow(1 + squares, -1, prime) % prime, (y * y + x * x) * pow(1 - squares, -1, prime) % prime

    def x_of(y: int) -> int:
        square = (y * y - 1) * pow(d * y * y + 1, -1, prime) % prime
        x = pow(square, (prime + 3) // 8, prime)
        x = x if x * x % prime == square else x * pow(2, (prime - 1) // 4, prime) % prime
        assert x * x % prime == square
        return x

    for text in _SMALL_ORDER:
        y = int.from_bytes(bytes.fromhex(text), "little") % prime
        assert double(double(double((x_of(y), y)))) == (0, 1), text
        sign = bytearray.fromhex(text)
        sign[-1] |= 0x80
        assert is_weak_key(text)
        assert is_weak_key(sign.hex())
    assert not is_weak_key(make_key("x").public.hex)


def test_a_weak_key_is_not_taken() -> None:
    with pytest.raises(FormatError, match="anybody can sign"):
        parse_public_key(f"pocketseek-ed25519 01{'0' * 62} friend")


def test_public_keys_travel_as_a_line_and_fingerprints_in_any_writing(key: SigningKey) -> None:
    assert parse_public_key(f"  {key.public.line}\n") == key.public
    fingerprint = key.public.fingerprint
    assert parse_fingerprint(fingerprint.upper().replace("-", "")) == fingerprint
    assert len(fingerprint) == 39
    assert fingerprint == PublicKey(key.public.hex, "another name").fingerprint


@pytest.mark.parametrize("text", ["", "ssh-ed25519 AAAA", "pocketseek-ed25519 12", "pocketseek-ed25519 " + "g" * 64])
def test_what_is_no_public_key_is_told(text: str) -> None:
    with pytest.raises(FormatError, match="copy the whole line"):
        parse_public_key(text)


def test_a_private_key_is_private_and_never_overwritten(key: SigningKey, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "alice.key"
    write_key(path, key, None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    before = path.read_bytes()
    with pytest.raises(UsageError, match="not overwritten"):
        write_key(path, make_key("other"), None)
    assert path.read_bytes() == before
    assert read_key(path, no_passphrase).public == key.public
    assert [entry.name for entry in path.parent.iterdir()] == ["alice.key"]


def test_a_key_with_a_passphrase_needs_it(key: SigningKey) -> None:
    data = render_private_key(key, "open sesame")
    assert parse_private_key(data, "f", lambda: "open sesame").public == key.public
    for wrong in ("Open sesame", "", None):
        with pytest.raises(UsageError, match="passphrase"):
            parse_private_key(data, "f", lambda wrong=wrong: wrong)  # type: ignore[misc]


def test_the_same_passphrase_is_salted(key: SigningKey) -> None:
    assert render_private_key(key, "a").splitlines()[1] != render_private_key(key, "a").splitlines()[1]


def test_a_private_key_is_not_shown_by_accident(key: SigningKey) -> None:
    raw = render_private_key(key, None).decode().splitlines()[3]
    assert raw not in repr(key)
    assert key.public.fingerprint in repr(key)


@pytest.mark.parametrize("cut", [0, 1, 40, 120, 200])
def test_a_damaged_private_key_is_told_in_a_line(key: SigningKey, cut: int) -> None:
    data = render_private_key(key, None)
    with pytest.raises((FormatError, UsageError)) as caught:
        parse_private_key(data[:cut], "f", no_passphrase)
    assert "\n" not in str(caught.value)


def test_signing_a_package_leaves_its_manifest_alone(package: Path, key: SigningKey) -> None:
    before = (package / "manifest.json").read_bytes()
    signed = sign_package(package, key, created_s=NOW_S)
    assert (package / "manifest.json").read_bytes() == before
    assert is_genuine(signed.signature, before)
    assert parse_signatures((package / "manifest.sig").read_bytes()) == (signed.signature,)


def test_a_version_is_signed_with_the_manifest_that_has_it(package: Path, key: SigningKey) -> None:
    signed = sign_package(package, key, created_s=NOW_S, version=7)
    data = (package / "manifest.json").read_bytes()
    assert parse_manifest(data).version == 7
    assert is_genuine(signed.signature, data)
    assert signed.manifest == read_manifest(package)


def test_a_sealed_package_keeps_its_manifest_and_can_be_signed(package: Path, key: SigningKey) -> None:
    (package / "sealed.json").write_bytes(b"{}")
    before = (package / "manifest.json").read_bytes()
    with pytest.raises(UsageError, match="unseal it to give it a version"):
        sign_package(package, key, created_s=NOW_S, version=7)
    assert not (package / "manifest.sig").exists()
    sign_package(package, key, created_s=NOW_S)
    assert (package / "manifest.json").read_bytes() == before


def test_a_manifest_without_version_has_the_bytes_it_always_had(package: Path) -> None:
    data = (package / "manifest.json").read_bytes()
    assert b'"version"' not in data
    assert parse_manifest(data).version == 0
    assert render_manifest(replace(parse_manifest(data), version=0)) == data


@pytest.mark.parametrize("version", ["-1", "1.5", "true", '"1"', str(2**53 + 1), "null"])
def test_an_impossible_version_is_refused(package: Path, version: str) -> None:
    data = (package / "manifest.json").read_bytes().rstrip(b"}\n") + b"}" * 2
    text = (package / "manifest.json").read_text().rstrip("\n")
    assert text.endswith("}")
    data = f'{text[:-1]},"version":{version}}}'.encode()
    with pytest.raises(FormatError, match="version"):
        parse_manifest(data)


def test_signatures_of_others_stay_while_the_manifest_does(package: Path, key: SigningKey) -> None:
    other = make_key("bob")
    sign_package(package, other, created_s=NOW_S)
    sign_package(package, key, created_s=NOW_S)
    sign_package(package, key, created_s=NOW_S + 1)
    found = parse_signatures((package / "manifest.sig").read_bytes())
    assert [(one.key.name, one.created_s) for one in found] == [("bob", NOW_S), ("alice", NOW_S + 1)]
    sign_package(package, key, created_s=NOW_S, version=1)
    (left,) = parse_signatures((package / "manifest.sig").read_bytes())
    assert left.key == key.public


def test_there_is_an_end_to_signatures(package: Path) -> None:
    for number in range(8):
        sign_package(package, make_key(f"k{number}"), created_s=NOW_S)
    with pytest.raises(UsageError, match="at most 8"):
        sign_package(package, make_key("k9"), created_s=NOW_S)


def test_a_signature_cannot_expire_before_it_begins(package: Path, key: SigningKey) -> None:
    with pytest.raises(UsageError, match="cannot expire"):
        sign_package(package, key, created_s=NOW_S, expires_s=NOW_S)
    assert not (package / "manifest.sig").exists()


@pytest.mark.parametrize("crash_at", range(9))
def test_a_crash_at_any_step_leaves_a_package_signed_as_before_or_after(
    package: Path, key: SigningKey, crash_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_package(package, key, created_s=NOW_S, version=1)
    steps = iter(range(100))

    def crashing(function: object) -> object:
        def step(*arguments: object) -> object:
            if next(steps) == crash_at:
                raise KeyboardInterrupt
            return function(*arguments)  # type: ignore[operator]

        return step

    for name in ("replace", "fsync"):
        monkeypatch.setattr(signing.os, name, crashing(getattr(os, name)))
    monkeypatch.setattr(signing, "sync_dir", crashing(signing.sync_dir))
    try:
        sign_package(package, key, created_s=NOW_S, version=2)
    except KeyboardInterrupt:
        pass
    else:
        assert crash_at >= 9
    monkeypatch.undo()
    data = (package / "manifest.json").read_bytes()
    assert parse_manifest(data).version in (1, 2)
    matching = [one for one in parse_signatures((package / "manifest.sig").read_bytes()) if one.is_for(data)]
    assert matching
    assert all(is_genuine(one, data) for one in matching)
    sign_package(package, key, created_s=NOW_S, version=3)
    assert read_manifest(package).version == 3
    assert not [entry.name for entry in package.iterdir() if entry.name.startswith(".")]


def test_what_has_no_manifest_cannot_be_signed(tmp_path: Path, key: SigningKey) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PocketseekError):
        sign_package(tmp_path / "empty", key, created_s=NOW_S)
    assert list((tmp_path / "empty").iterdir()) == []


def test_of_two_signatures_of_one_second_the_one_that_ends_first_stays(key: SigningKey) -> None:
    endless = sign_manifest(key, MANIFEST, created_s=NOW_S, expires_s=None)
    ending = sign_manifest(key, MANIFEST, created_s=NOW_S, expires_s=NOW_S + 99)
    here, offered = render_signatures([endless]), render_signatures([ending])
    assert renewed_signature(here, offered, MANIFEST) == offered
    assert renewed_signature(offered, here, MANIFEST) is None


def test_of_each_signer_the_latest_signature_is_taken_and_others_stay(key: SigningKey) -> None:
    bob, mallory = make_key("bob"), make_key("mallory")
    old, own = signature_of(key), sign_manifest(bob, MANIFEST, created_s=NOW_S, expires_s=None)
    new = sign_manifest(key, MANIFEST, created_s=NOW_S + 5, expires_s=NOW_S + 99)
    here = render_signatures([old, own])
    renewed = renewed_signature(here, render_signatures([new]), MANIFEST)
    assert renewed is not None
    assert set(parse_signatures(renewed)) == {new, own}
    assert renewed_signature(renewed, render_signatures([new]), MANIFEST) is None
    assert renewed_signature(renewed, render_signatures([old]), MANIFEST) is None  # replayed
    forged = replace(sign_manifest(mallory, MANIFEST, created_s=NOW_S + 9, expires_s=None), key=bob.public)
    for nothing in (None, b"garbage", render_signatures([forged])):
        assert renewed_signature(here, nothing, MANIFEST) is None
    other = sign_manifest(key, MANIFEST + b" ", created_s=NOW_S + 50, expires_s=None)
    assert renewed_signature(here, render_signatures([other]), MANIFEST) is None
