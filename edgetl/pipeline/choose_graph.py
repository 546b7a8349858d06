"""The steps of a comparison for one backbone, as stages that are resumed like a release's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgetl.pipeline.graph import Stage
from edgetl.pipeline.run_folder import RunFolder

BACKBONES = "backbones"
WORKER = "edgetl.pipeline.choose_worker"

SHAPE = Stage(
    name="shape",
    runs_network=True,
    needs=("data",),
    sections=("input", "finetune", "export", "compile", "seed"),
    packages=("torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime", "openvino"),
)
"""Candidates of the backbone's shape with random weights: latency needs no others."""

SCREEN = Stage(
    name="screen",
    needs=("data", "shape"),
    sections=("bench", "compile", "seed", "gate.policy.objective"),
    packages=("onnxruntime", "openvino"),
    on_this_machine=True,
)
"""Their latency, roughly: who is over the budget goes no further."""

PROBE = Stage(
    name="probe",
    runs_network=True,
    needs=("data",),
    sections=("input", "finetune", "export", "quantize", "compile", "seed"),
    packages=("torch", "torchvision", "timm", "scipy", "scikit-learn", "onnx", "openvino"),
)
"""The features of the real weights, a solved head on them, and the candidates of that network."""

MEASURE = Stage(
    name="measure",
    needs=("data", "probe"),
    sections=("bench", "compile", "seed", "gate"),
    packages=("onnxruntime", "openvino", "scipy"),
    on_this_machine=True,
)
"""The candidates' latency, and their harm against the network with the solved head."""

STEPS = (SHAPE, SCREEN, PROBE, MEASURE)


@dataclass(frozen=True)
class BackboneFolder(RunFolder):
    """A backbone's steps; the data stage is shared by all backbones of the comparison.

    Example:
        >>> folder = BackboneFolder(Path("run/backbones/a"), Path("run/data"))
        >>> str(folder.stage("data")), str(folder.stage("probe"))
        ('run/data', 'run/backbones/a/probe')
    """

    data: Path

    @classmethod
    def of(cls, root: Path) -> BackboneFolder:
        """The folder of a backbone, from its place in the comparison's."""
        return cls(root, root.parent.parent / "data")

    def stage(self, name: str) -> Path:
        """The folder of a finished step."""
        return self.data if name == "data" else super().stage(name)
