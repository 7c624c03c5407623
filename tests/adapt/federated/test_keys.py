from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from pocketseek.adapt.federated.keys import (
    client_keys,
    make_client_keys,
    make_server_keys,
    read_client_keys,
    server_keys,
)
from pocketseek.errors import FormatError, NotFoundError, UsageError


def test_a_server_knows_its_devices_by_their_files(tmp_path: Path) -> None:
    make_server_keys(tmp_path / "server", ["127.0.0.1", "phone.example"])
    public = make_client_keys(tmp_path / "device", "phone-1")
    (tmp_path / "server" / "devices" / "phone-1.pub").write_bytes(public.read_bytes())
    with pytest.raises(NotFoundError, match=r"ca\.pem"):
        client_keys(tmp_path / "device")
    (tmp_path / "device" / "ca.pem").write_bytes((tmp_path / "server" / "ca.pem").read_bytes())
    keys, known = client_keys(tmp_path / "device"), read_client_keys(server_keys(tmp_path / "server").devices)
    assert known["phone-1"].public_numbers() == keys.public.public_numbers()
    assert (tmp_path / "device" / "device.key").stat().st_mode & 0o077 == 0
    assert (tmp_path / "server" / "server.key").stat().st_mode & 0o077 == 0


def test_the_certificate_holds_for_the_hosts_that_were_named(tmp_path: Path) -> None:
    make_server_keys(tmp_path, ["127.0.0.1", "phone.example"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    for host, is_fine in (("127.0.0.1", True), ("phone.example", True), ("other.example", False)):
        client = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        assert _handshake(server, client, host) is is_fine


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> bool:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    done = [False, False]
    while not all(done):
        for place, end in enumerate(ends):
            try:
                end.do_handshake()
                done[place] = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError:
                return False
    return True


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    make_server_keys(tmp_path / "s", ["localhost"])
    make_client_keys(tmp_path / "d", "one")
    with pytest.raises(UsageError, match="not overwritten"):
        make_server_keys(tmp_path / "s", ["localhost"])
    with pytest.raises(UsageError, match="not overwritten"):
        make_client_keys(tmp_path / "d", "two")


def test_bad_names_hosts_and_files_are_refused(tmp_path: Path) -> None:
    for name in ("", "../x", "a b", "x" * 64):
        with pytest.raises(UsageError, match="name"):
            make_client_keys(tmp_path / "n", name)
    for host in ("http://x", "a:1", ""):
        with pytest.raises(UsageError, match="host"):
            make_server_keys(tmp_path / "h", [host])
    with pytest.raises(UsageError, match="no host"):
        make_server_keys(tmp_path / "h", [])
    assert not (tmp_path / "h").exists()
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "x.pub").write_text("ssh-rsa nonsense")
    with pytest.raises(FormatError, match=r"x\.pub"):
        read_client_keys(tmp_path / "devices")
    with pytest.raises(NotFoundError, match="keygen"):
        server_keys(tmp_path)
    (tmp_path / "device.key").write_text("nonsense")
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(FormatError, match=r"device\.key"):
        client_keys(tmp_path)
