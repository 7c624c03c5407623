"""Keys of a federation: a certificate for the server, and an ECDSA key for each device, in the forms Flower wants.

A folder `server-keys` has ca.pem (given to devices), server.pem and server.key, and `devices/`, into which the public
keys of devices are put, one file NAME.pub each. A device's folder has device.key (never leaves it), NAME.pub, and the
server's ca.pem. The authority's own key is thrown away when it has signed: a new certificate is a new authority.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketseek.errors import FormatError, NotFoundError, UsageError
from pocketseek.libraries import load_library
from pocketseek.package.storage import storage_errors, sync_dir, write_all

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

CA, CERTIFICATE, SERVER_KEY, DEVICES = "ca.pem", "server.pem", "server.key", "devices"
DEVICE_KEY, PUBLIC = "device.key", ".pub"
VALID_DAYS = 825
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_MOST_KEY_BYTES = 8192


@dataclass(frozen=True)
class ServerKeys:
    certificate: Path
    private_key: Path
    devices: Path


@dataclass(frozen=True)
class ClientKeys:
    private: EllipticCurvePrivateKey
    public: EllipticCurvePublicKey
    root_certificates: Path


def make_server_keys(folder: Path, hosts: Sequence[str]) -> None:
    """hosts: names and addresses under which devices reach it. Raises UsageError (something is there), StorageError."""
    if not hosts:
        raise UsageError("no host is given; name the server as devices reach it, such as --host 192.168.1.10")
    names = [_host(load_library("cryptography.x509", _REMEDY), host) for host in hosts]
    _check_new(folder / CA, folder / SERVER_KEY)
    authority, server = _new_key(), _new_key()
    authority_name = "pocketseek federation"
    ca = _certificate(authority_name, authority, authority_name, authority, names=None)
    leaf = _certificate(hosts[0], server, authority_name, authority, names=names)
    forms = _serialization()
    _write(folder / CA, ca.public_bytes(forms.Encoding.PEM), 0o644)
    _write(folder / CERTIFICATE, leaf.public_bytes(forms.Encoding.PEM), 0o644)
    _write(folder / SERVER_KEY, _private_pem(server), 0o600)
    with storage_errors(folder):
        (folder / DEVICES).mkdir(exist_ok=True)


def make_client_keys(folder: Path, name: str) -> Path:
    """The file with the public key, for the server's folder `devices`. Raises UsageError, StorageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name[:80]!r} is no name for a device; use letters, digits, dots and dashes")
    _check_new(folder / DEVICE_KEY, folder / f"{name}{PUBLIC}")
    key, forms = _new_key(), _serialization()
    private = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.OpenSSH, forms.NoEncryption())
    public = key.public_key().public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH)
    _write(folder / DEVICE_KEY, private, 0o600)
    _write(folder / f"{name}{PUBLIC}", public + f" {name}\n".encode(), 0o644)
    return folder / f"{name}{PUBLIC}"


def server_keys(folder: Path) -> ServerKeys:
    """Raises NotFoundError."""
    for name in (CERTIFICATE, SERVER_KEY, DEVICES):
        if not (folder / name).exists():
            raise NotFoundError(f"{folder} has no {name}; make it with `pocketseek adapt federate keygen --host HOST`")
    return ServerKeys(folder / CERTIFICATE, folder / SERVER_KEY, folder / DEVICES)


def client_keys(folder: Path) -> ClientKeys:
    """Raises NotFoundError, FormatError."""
    if not (folder / DEVICE_KEY).exists():
        raise NotFoundError(
            f"{folder} has no {DEVICE_KEY}; make it with `pocketseek adapt federate keygen --device NAME`"
        )
    if not (folder / CA).exists():
        raise NotFoundError(f"{folder} has no {CA}; copy it there from the server's keys")
    forms = _serialization()
    try:
        private = forms.load_ssh_private_key(_read(folder / DEVICE_KEY), None)
    except ValueError as error:
        raise FormatError(f"{folder / DEVICE_KEY} is no private key; make a new one") from error
    if not isinstance(private, _ec().EllipticCurvePrivateKey):
        raise FormatError(f"{folder / DEVICE_KEY} is no ECDSA key; make a new one")
    return ClientKeys(private, private.public_key(), folder / CA)


def read_client_keys(folder: Path) -> Mapping[str, EllipticCurvePublicKey]:
    """By the names of the files. Raises FormatError, StorageError."""
    found: dict[str, Any] = {}
    with storage_errors(folder):
        paths = sorted(folder.glob(f"*{PUBLIC}"))
    for path in paths:
        try:
            key = _serialization().load_ssh_public_key(_read(path))
        except ValueError as error:
            raise FormatError(
                f"{path} is no public key of a device; take it away or put the right one there"
            ) from error
        if not isinstance(key, _ec().EllipticCurvePublicKey):
            raise FormatError(f"{path} is no ECDSA key; make one with `pocketseek adapt federate keygen --device NAME`")
        found[path.name.removesuffix(PUBLIC)] = key
    return found


def _certificate(
    name: str, key: EllipticCurvePrivateKey, issuer: str, signer: EllipticCurvePrivateKey, names: Sequence[Any] | None
) -> Any:
    """names: alternative ones of a server; None: of an authority."""
    x509 = load_library("cryptography.x509", _REMEDY)
    hashes = load_library("cryptography.hazmat.primitives.hashes", _REMEDY)
    now = datetime.now(UTC)

    def called(text: str) -> Any:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text[:64])])

    builder = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=names is None, path_length=0 if names is None else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(_usage(x509, signs=names is None), critical=True)
    )
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA384())


def _usage(x509: Any, *, signs: bool) -> Any:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(x509: Any, host: str) -> Any:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    if not re.fullmatch(r"[A-Za-z0-9*][A-Za-z0-9.*-]{0,252}", host):
        raise UsageError(f"{host[:80]!r} is no name or address of a host; write it without http:// and port")
    return x509.DNSName(host)


def _private_pem(key: EllipticCurvePrivateKey) -> bytes:
    forms = _serialization()
    data: bytes = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    return data


def _new_key() -> EllipticCurvePrivateKey:
    ec = _ec()
    key: EllipticCurvePrivateKey = ec.generate_private_key(ec.SECP384R1())
    return key


def _check_new(*paths: Path) -> None:
    for path in paths:
        if os.path.lexists(path):
            raise UsageError(f"{path} exists and is not overwritten; choose another folder")


def _write(path: Path, data: bytes, mode: int) -> None:
    with storage_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_dir(path.parent)


def _read(path: Path) -> bytes:
    with storage_errors(path), path.open("rb") as file:
        return file.read(_MOST_KEY_BYTES)


_REMEDY = 'pip install "pocketseek[secure]"'


def _serialization() -> Any:
    return load_library("cryptography.hazmat.primitives.serialization", _REMEDY)


def _ec() -> Any:
    return load_library("cryptography.hazmat.primitives.asymmetric.ec", _REMEDY)
