"""What can be checked of a release before it runs: backends, devices, the data, the run's folder.

Nothing is written, and torch is never imported here: where only torch can tell, a process of its
own is asked.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgetl.backends import registry
from edgetl.backends.openvino import import_openvino
from edgetl.backends.openvino_device import check_device
from edgetl.data.sources import SOURCES, is_source, unknown_source
from edgetl.errors import DataError, EdgetlError, MissingExtraError, UnavailableError, UsageError
from edgetl.pipeline.candidates import CANDIDATES
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.run_folder import RunFolder

_CUDA = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 1)"
# For each stage, what it imports beside the backends, and the extra that brings it.
_MODULES = {
    "finetune": {"torch": "train", "torchvision": "train"},
    "export": {"onnx": "export", "onnxscript": "export"},
    "report": {"matplotlib": "report", "jinja2": "report"},
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        what: Its name.
        detail: What was found.
        error: What would stop the release, or None.
    """

    what: str
    detail: str
    error: EdgetlError | None = None

    def to_json(self) -> dict[str, Any]:
        """The check as plain data."""
        fix = None if self.error is None else self.error.fix
        return {"what": self.what, "ok": self.error is None, "detail": self.detail, "fix": fix}


def readiness(
    config: ReleaseConfig, folder: RunFolder, stages: Collection[str]
) -> tuple[Check, ...]:
    """Look at everything that a release needs and that costs little to look at.

    Args:
        config: The release's.
        folder: The run's; it need not exist.
        stages: The names of the stages that were asked for.
    """
    variants = config.compile.variants
    return (
        Check(what="config", detail=f"it loads, with {_count(len(variants), 'candidate')}"),
        _checked("data", partial(_data, config)),
        *(_checked(name, partial(_backend, name)) for name in _backends(config)),
        _checked("packages", partial(_packages, stages)),
        *_devices(config),
        _checked("folder", partial(_folder, config, folder)),
    )


def require(config: ReleaseConfig, stages: Collection[str]) -> None:
    """Refuse before the first stage what would stop a later one, perhaps after hours.

    Raises:
        UnavailableError: For a backend, device or package that is not here.
        ConfigError: For a device's name that OpenVINO does not have.
    """
    _packages(stages)
    if "quantize" in stages:
        for name in _backends(config):
            _backend(name)
    for check in _devices(config) if "quantize" in stages else ():
        if check.error is not None:
            raise check.error


def _checked(what: str, look: Callable[[], str]) -> Check:
    try:
        return Check(what=what, detail=look())
    except EdgetlError as error:
        return Check(what=what, detail=error.got, error=error)


def _count(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"


def _data(config: ReleaseConfig) -> str:
    source = config.data.source
    kind, _, place = source.partition(":")
    if source in SOURCES:
        return f"{source} comes with edgetl{_few(config)}"
    if not is_source(source) or kind == "builtin":
        raise unknown_source(source)
    if not Path(place).exists():
        raise DataError(
            f"[data] source {config.data.source!r}",
            got=f"nothing at {place}",
            expected="a file or folder",
            fix="correct the path; it is relative to the config",
        )
    return f"{place} is there; the data stage reads it{_few(config)}"


def _few(config: ReleaseConfig) -> str:
    count = config.data.per_class
    if count is None:
        return ""
    return f"; trains on {_count(count, 'image')} of each class, and leaves the others unused"


def _backends(config: ReleaseConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys(CANDIDATES[name].backend for name in config.compile.variants))


def _backend(name: str) -> str:
    state = registry.available()[name]
    if state is not True:
        raise UnavailableError(
            f"backend {name}",
            got="not installed",
            expected="the backend of a candidate",
            fix=state.partition(": ")[2] or state,
        )
    return "installed"


def _packages(stages: Collection[str]) -> str:
    needed = {module: name for stage in stages for module, name in _MODULES.get(stage, {}).items()}
    for module, name in needed.items():
        if find_spec(module) is None:
            raise MissingExtraError(
                f"module {module}",
                got=f"{module} is not installed",
                expected=f"the extra '{name}'",
                fix=f"pip install 'edgetl[{name}]'",
            )
    return f"{', '.join(needed)} are installed"


def _devices(config: ReleaseConfig) -> Iterator[Check]:
    section = config.finetune
    if section is not None and section.device == "cuda":
        yield _checked("cuda", _cuda)
    device = config.compile.openvino_device
    # Every machine on which OpenVINO runs has the CPU device, and importing it takes time.
    if device != "CPU" and "openvino" in _backends(config):
        yield _checked(device, partial(_openvino, device))


def _openvino(device: str) -> str:
    core = import_openvino().Core()
    check_device(core, device)
    return f"OpenVINO has the device, among {', '.join(core.available_devices)}"


def _cuda() -> str:
    asked = subprocess.run([sys.executable, "-c", _CUDA], capture_output=True, check=False)
    if asked.returncode != 0:
        raise UnavailableError(
            "[finetune] device",
            got="no CUDA device that torch can use",
            expected="the device 'cuda'",
            fix='set device = "auto" or "cpu", or install the GPU\'s driver',
        )
    return "torch sees a CUDA device"


def _folder(config: ReleaseConfig, folder: RunFolder) -> str:
    folder.refuse_foreign(config.name)
    nearest = next(
        path for path in (folder.root.absolute(), *folder.root.absolute().parents) if path.exists()
    )
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise UsageError(
            str(folder.root),
            got="no permission to write there" if nearest.is_dir() else f"{nearest} is a file",
            expected="a folder that can be written",
            fix="name another one with --out DIR",
        )
    return f"{folder.root} " + ("can be written" if folder.root.exists() else "will be made")
