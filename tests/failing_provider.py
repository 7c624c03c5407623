"""ONNX Runtime on a phone whose QNN does not work, or works for a while."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class FailingLibrary:
    """ONNX Runtime with one more provider, which fails in some way; for the rest the real one. passes: how many it
    does before one fails; None: no end."""

    def __init__(self, *, starts: bool, computes: bool, passes: int | None = None) -> None:
        import onnxruntime

        self._real, self._starts, self._computes, self._passes = onnxruntime, starts, computes, passes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def get_available_providers(self) -> list[str]:
        return ["QNNExecutionProvider", "CPUExecutionProvider"]

    def InferenceSession(self, path: str, options: Any, providers: list[str]) -> Any:  # noqa: N802
        session = self._real.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        found = providers if self._starts else providers[-1:]
        passes = self._passes if len(providers) > 1 else None
        return FailingSession(session, found, providers[0 if self._computes else -1], passes)


class FailingSession:
    def __init__(self, real: Any, providers: list[str], computes: str, passes: int | None) -> None:
        self._real, self._providers, self._computes, self._passes = real, providers, computes, passes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def get_providers(self) -> list[str]:
        return self._providers

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        if self._passes is not None:
            if self._passes == 0:
                raise RuntimeError("QNN graph execute error.\nError code: 6031")
            self._passes -= 1
        self._real.run_with_iobinding(binding, options)

    def get_provider_graph_assignment_info(self) -> list[Any]:
        return [SimpleNamespace(ep_name=self._computes)]
