"""The stages of a release, in order, and what each is made from.

A stage is done again when its key changes: the config's sections that it reads, the results of
the stages it needs, the versions of the packages that make it, and what lies outside the run
(the data's files, a local weights file, the machine for measurements).
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetl.files import sha256_file
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.run_folder import RunFolder, stage_key
from edgetl.version import __version__


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage's name, the stages it needs, the config it reads, the packages that make it."""

    name: str
    needs: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    on_this_machine: bool = False


STAGES: tuple[Stage, ...] = (
    Stage(name="data", sections=("data",), packages=("numpy", "pillow", "scikit-learn")),
    Stage(
        name="finetune",
        needs=("data",),
        sections=("input", "finetune", "seed"),
        packages=("torch", "torchvision", "accelerate"),
    ),
    Stage(
        name="calibrate",
        needs=("data", "finetune"),
        sections=(),
        packages=("torch", "scipy"),
    ),
    Stage(
        name="export",
        needs=("data", "calibrate"),
        sections=("export",),
        packages=("torch", "onnx", "onnxscript", "onnxruntime"),
    ),
    Stage(
        name="quantize",
        needs=("data", "export"),
        sections=("quantize", "compile", "seed"),
        packages=("onnx", "onnxruntime", "openvino", "scipy"),
    ),
    Stage(
        name="compile",
        needs=("quantize",),
        sections=("compile",),
        packages=("onnxruntime", "openvino"),
    ),
    Stage(
        name="bench",
        needs=("data", "calibrate", "compile"),
        sections=("bench", "compile", "seed", "gate.policy.objective"),
        packages=("torch", "onnxruntime", "openvino"),
        on_this_machine=True,
    ),
    Stage(
        name="gate",
        needs=("data", "calibrate", "quantize", "compile", "bench"),
        sections=("name", "gate", "compile", "quantize", "seed"),
        packages=("torch", "onnxruntime", "openvino", "scipy"),
        on_this_machine=True,
    ),
    Stage(
        name="bundle",
        needs=("data", "calibrate", "quantize", "compile", "bench", "gate"),
        sections=("name", "version", "bundle", "input", "seed"),
        packages=("onnxruntime", "openvino"),
    ),
)
"""Every stage, each after the stages it needs."""

COMMANDS: tuple[str, ...] = tuple(stage.name for stage in STAGES if stage.name != "data")
"""The stages that are commands of their own; `data` is made for `finetune`."""


def key_inputs(stage: Stage, config: ReleaseConfig, folder: RunFolder) -> dict[str, Any]:
    """Everything that a stage's result depends on, as plain data.

    Raises:
        UsageError: When a stage that it needs has not been run.
    """
    table = config.to_json()
    inputs: dict[str, Any] = {
        "stage": stage.name,
        "edgetl": __version__,
        "python": platform.python_version(),
        "config": {name: _section(table, name) for name in stage.sections},
        "needs": {name: dict(folder.outputs(name)) for name in stage.needs},
        "packages": {name: _version(name) for name in stage.packages},
        "outside": _outside(stage, config),
        # Another number of threads rounds otherwise.
        "threads": config.used_threads if stage.name != "data" else None,
    }
    if stage.on_this_machine:
        inputs["machine"] = [platform.node(), platform.machine(), len(os.sched_getaffinity(0))]
    return inputs


def current_key(stage: Stage, config: ReleaseConfig, folder: RunFolder) -> str:
    """The key under which the stage's result would be current now."""
    return stage_key(key_inputs(stage, config, folder))


def _section(table: Mapping[str, Any], name: str) -> Any:
    """A section of the config, or a table inside one: ``gate.policy.objective``."""
    value: Any = table
    for part in name.split("."):
        value = value[part]
    return value


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _outside(stage: Stage, config: ReleaseConfig) -> Mapping[str, str]:
    """Hashes of the files outside the run that a stage reads."""
    if stage.name == "finetune" and config.finetune.weights.endswith(".safetensors"):
        weights = Path(config.finetune.weights)
        return {"weights": sha256_file(weights)} if weights.is_file() else {}
    kind, _, place = config.data.source.partition(":")
    if stage.name == "data" and kind == "idx":
        return {
            path.name: sha256_file(path)
            for path in sorted(Path(place).glob("*"))
            if path.is_file() and not path.is_symlink()
        }
    return {}
