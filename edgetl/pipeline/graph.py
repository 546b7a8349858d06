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

from edgetl.data.sources import source_files
from edgetl.files import sha256_file
from edgetl.pipeline.config import WEIGHTS_SUFFIXES, ReleaseConfig
from edgetl.pipeline.run_folder import RunFolder, stage_key
from edgetl.pipeline.transfer_files import term_files
from edgetl.reference.user_code import source_hashes
from edgetl.version import __version__


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage's name, the stages it needs, the config it reads, the packages that make it.

    `runs_network` says that it runs the reference's network: then the user's own code is part of
    what it is made from, and so are the libraries that build networks.
    """

    name: str
    needs: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    on_this_machine: bool = False
    runs_network: bool = False


STAGES: tuple[Stage, ...] = (
    Stage(name="data", sections=("data",), packages=("scikit-learn",)),
    Stage(
        name="finetune",
        runs_network=True,
        needs=("data",),
        sections=("input", "finetune", "model", "seed"),
        packages=("torch", "torchvision", "timm", "accelerate"),
    ),
    Stage(
        name="calibrate",
        runs_network=True,
        needs=("data", "finetune"),
        sections=(),
        packages=("torch", "scipy"),
    ),
    Stage(
        name="export",
        runs_network=True,
        needs=("data", "calibrate"),
        sections=("export", "model"),
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
        runs_network=True,
        needs=("data", "calibrate", "compile"),
        sections=("bench", "compile", "seed", "gate.policy.objective"),
        packages=("torch", "onnxruntime", "openvino"),
        on_this_machine=True,
    ),
    Stage(
        name="gate",
        runs_network=True,
        needs=("data", "calibrate", "quantize", "compile", "bench"),
        sections=("name", "gate", "compile", "quantize", "seed"),
        packages=("torch", "onnxruntime", "openvino", "scipy"),
        on_this_machine=True,
    ),
    Stage(
        name="bundle",
        runs_network=True,
        needs=("data", "calibrate", "quantize", "compile", "bench", "gate"),
        sections=("name", "version", "bundle", "input", "seed"),
        packages=("onnxruntime", "openvino"),
    ),
    Stage(
        name="report",
        runs_network=True,
        needs=("data", "finetune", "calibrate", "export", "quantize", "compile", "bench", "gate"),
        sections=("name", "version", "input", "report"),
        packages=("matplotlib", "jinja2", "torch", "onnx", "onnxruntime", "openvino"),
        on_this_machine=True,
    ),
)
"""Every stage, each after the stages it needs."""

# Pictures are kept encoded: whatever asks a network decodes and resizes them again.
_PICTURES = ("pillow", "numpy")
_NETWORK_PACKAGES = ("torch", "torchvision", "timm", "onnxruntime")

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
        "packages": {name: _version(name) for name in _packages(stage)},
        "outside": _outside(stage, config),
        # Another number of threads rounds otherwise.
        "threads": config.used_threads if stage.name != "data" else None,
        # A trained network's val and calib do not come from the source's train part.
        "trained": config.model is not None if stage.name == "data" else None,
    }
    if stage.name == "report" and config.model is not None and config.model.transform is not None:
        # Two transforms of one module may have the same pixels, and another decoder.
        inputs["transform"] = config.model.transform
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


def _packages(stage: Stage) -> tuple[str, ...]:
    return (*_PICTURES, *stage.packages, *(_NETWORK_PACKAGES if stage.runs_network else ()))


def _model_files(config: ReleaseConfig) -> dict[str, str]:
    """The weights or the ONNX file."""
    section = config.finetune or config.model
    assert section is not None
    named = [section.weights, getattr(section, "onnx", None)]
    files = {
        Path(name).name: sha256_file(Path(name))
        for name in named
        if name is not None and name.endswith((*WEIGHTS_SUFFIXES, ".onnx")) and Path(name).is_file()
    }
    if config.model is not None and config.model.weights == "factory":
        # What the factory reads is its own affair: it is asked again each time, and the stages
        # after it run only when its weights are others.
        files["factory"] = os.urandom(16).hex()
    return files


def _network_code(config: ReleaseConfig) -> dict[str, str]:
    section = config.finetune or config.model
    assert section is not None
    return source_hashes(section.architecture, Path(config.code))


def _outside(stage: Stage, config: ReleaseConfig) -> Mapping[str, str]:
    """Hashes of the files outside the run that a stage reads."""
    files = source_files(config.data.source) if stage.name == "data" else {}
    if stage.name == "finetune":
        files |= _model_files(config)
        if config.finetune is not None:
            files |= term_files(config.finetune, Path(config.code))
    if stage.runs_network:
        files |= _network_code(config)
    # The export holds the transform against edgetl's preprocessing, the report's waterfall too.
    if stage.name in ("export", "report") and config.model is not None:
        files |= source_hashes(config.model.transform, Path(config.code))
    return files
