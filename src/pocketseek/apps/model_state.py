"""What the page tells of a model: who signed it, whether that is trusted here, which release it is, whether it is
sealed, when its bytes were checked, what is damaged, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pocketseek.apps.repository.state import PackageState, package_state
from pocketseek.errors import FormatError, NotFoundError, StorageError, UnsupportedError
from pocketseek.package.manifest import Manifest, parse_manifest_of, read_manifest_bytes
from pocketseek.package.marker import marked_s
from pocketseek.package.sealing.in_place import SealState, seal_state
from pocketseek.package.trust.gatekeeper import Gatekeeper
from pocketseek.package.trust.judge import Status, TrustState
from pocketseek.runtime.onnx.model_files import is_onnx_model


@dataclass(frozen=True)
class ModelState:
    """status: as of `TrustState`, "refused" for what may not be used for another reason (no longer signed, another
    signer, older), "unchecked" where it cannot be told, "onnx" for what cannot be signed. Times are Unix seconds;
    verified_s: when every byte was last found as the manifest says, None if never, or changed since. seal: None where
    it cannot be told; a sealed one's bytes are checked whenever they are read. num_bytes: of the model. health: None
    likewise."""

    status: Status | Literal["refused", "unchecked", "onnx"]
    signed_by: str | None = None
    fingerprint: str | None = None
    trusted_since_s: int | None = None
    expires_s: int | None = None
    version: int = 0
    verified_s: int | None = None
    seal: SealState | None = None
    num_bytes: int = 0
    health: PackageState | None = None


def look_at_model(gate: Gatekeeper, path: Path) -> ModelState:
    """Reads the manifest and checks its signature: milliseconds."""
    if is_onnx_model(path):
        return ModelState("onnx")
    try:
        data = read_manifest_bytes(path)
        manifest = parse_manifest_of(path, data)
        state = gate.look(path, data, manifest)
    except (FormatError, NotFoundError, StorageError, UnsupportedError):
        return ModelState("unchecked")
    return ModelState(
        status=_status(state),
        signed_by=state.key.name if state.key is not None else None,
        fingerprint=state.key.fingerprint if state.key is not None else None,
        trusted_since_s=state.trusted_since_s,
        expires_s=state.expires_s,
        version=state.version,
        verified_s=marked_s(path, manifest),
        seal=_seal(path, manifest),
        num_bytes=manifest.num_bytes,
        health=package_state(path, manifest),
    )


def _seal(path: Path, manifest: Manifest) -> SealState | None:
    try:
        return seal_state(path, manifest)
    except (FormatError, StorageError):
        return None


def _status(state: TrustState) -> Status | Literal["refused"]:
    if state.status in ("trusted", "unsigned") and (state.signer_changed or state.is_older):
        return "refused"
    return state.status
