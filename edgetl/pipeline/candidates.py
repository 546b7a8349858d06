"""The candidates that a release can make: a backend, a precision, and that backend's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from edgetl.spec import Precision, Setting, Variant


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What a variant will be before its files exist."""

    id: str
    backend: str
    precision: Precision
    settings: Mapping[str, Setting] = field(default_factory=lambda: MappingProxyType({}))

    def variant(self) -> Variant:
        """The variant with the file names it has in a run and in a bundle."""
        endings = (".xml", ".bin") if self.backend == "openvino" else (".onnx",)
        return Variant(
            id=self.id,
            backend=self.backend,
            precision=self.precision,
            files=tuple(f"models/{self.id}{ending}" for ending in endings),
            settings=self.settings,
        )


def _candidate(short: str, backend: str, precision: Precision) -> Candidate:
    return Candidate(id=f"{short}-{precision}", backend=backend, precision=precision)


CANDIDATES: Mapping[str, Candidate] = MappingProxyType(
    {
        candidate.id: candidate
        for candidate in (
            _candidate("ort", "onnxruntime", Precision.FP32),
            _candidate("ort", "onnxruntime", Precision.INT8),
            _candidate("ov", "openvino", Precision.FP32),
            _candidate("ov", "openvino", Precision.BF16),
            _candidate("ov", "openvino", Precision.FP16),
            _candidate("ov", "openvino", Precision.INT8),
        )
    }
)
"""Every candidate by id: `ort` is ONNX Runtime on the CPU, `ov` is OpenVINO."""

USUAL = tuple(name for name in CANDIDATES if name != "ov-fp16")
"""The candidates of a config that names none; FP16 is for devices that compute in it."""
