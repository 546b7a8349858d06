"""Installed packages that do not go together: found from their metadata, nothing is imported."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from edgetl.doctor.finding import Finding
from edgetl.doctor.packages import RIVALS, Installed
from edgetl.doctor.requirements import unmet_requirements

_EMPTY: Mapping[str, str] = MappingProxyType({})
_PROTOBUF = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"


def conflicts(
    installed: Sequence[Installed],
    *,
    running: str = "",
    platform: str = sys.platform,
    environment: Mapping[str, str] = _EMPTY,
) -> list[Finding]:
    """What in an environment does not go together.

    Args:
        installed: Every distribution, the one that is imported first before others of its name.
        running: The folder whose edgetl is running; empty when that is not to be looked at.
        platform: As `sys.platform`: the default builds of torch differ between systems.
        environment: The environment variables.

    Example:
        >>> both = [Installed(name=name, version="1.23.0")
        ...         for name in ("onnxruntime", "onnxruntime-gpu")]
        >>> conflicts(both)[0].fix
        'pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu'
    """
    return [
        *_rivals(installed),
        *_torch_builds(installed, platform),
        *_damaged(installed),
        *_several_edgetls(installed, running),
        *_protobuf(installed, environment),
        *unmet_requirements(installed),
    ]


def _rivals(installed: Sequence[Installed]) -> list[Finding]:
    names = {one.name for one in installed}
    found = []
    for plain, others in RIVALS.items():
        here = [name for name in (plain, *others) if name in names]
        if len(here) < 2:
            continue
        found.append(
            Finding(
                kind="problem",
                subject=" and ".join(here),
                got="both installed; each writes over the files of the other",
                expected="one of them",
                fix=f"pip uninstall -y {' '.join(here)} && pip install {_kept(here)}",
            )
        )
    return found


def _kept(here: list[str]) -> str:
    # Whoever asked for the special build wants it; openvino-dev is a wrapper that has ended.
    special = [name for name in here[1:] if name not in ("openvino-dev", "pil")]
    return special[0] if special else here[0]


def _torch_builds(installed: Sequence[Installed], platform: str) -> list[Finding]:
    found = {one.name: one for one in reversed(installed)}
    torch, vision = found.get("torch"), found.get("torchvision")
    if torch is None or vision is None:
        return []
    builds = [_build(torch, platform), _build(vision, platform)]
    if builds[0] == builds[1] or None in builds or ("cuda" in builds and "cpu" not in builds):
        return []
    return [
        Finding(
            kind="problem",
            subject="torch and torchvision",
            got=f"torch {torch.version} ({_said(builds[0])}), "
            f"torchvision {vision.version} ({_said(builds[1])})",
            expected="two packages of one build",
            fix="pip install --force-reinstall torch torchvision "
            "(with the --index-url of the build you want)",
        )
    ]


def _build(package: Installed, platform: str) -> str | None:
    """``cpu``, a version such as ``cu128``, ``cuda`` of no said version, or None if unknown."""
    _, _, local = package.version.partition("+")
    suffix = re.match(r"cpu|cu\d+|rocm[\d.]*|xpu", local)
    if suffix:
        return suffix.group()
    if local or not platform.startswith("linux"):
        return None
    # On Linux the build without a suffix is the one for CUDA, and torch's metadata says so.
    needs_cuda = any(re.match(r"nvidia-|cuda-|triton", text) for text in package.requires)
    return "cuda" if package.name == "torchvision" or needs_cuda else None


def _said(build: str | None) -> str:
    return "for the CPU only" if build == "cpu" else f"for {build}"


def _damaged(installed: Sequence[Installed]) -> list[Finding]:
    counts = Counter((one.name, one.folder) for one in installed if one.folder)
    twice = {key for key, count in counts.items() if count > 1}
    found = []
    for name, folder in sorted(twice):
        versions = [one.version for one in installed if (one.name, one.folder) == (name, folder)]
        if len(set(versions)) < 2:
            continue
        found.append(
            Finding(
                kind="problem",
                subject=name,
                got=f"the versions {' and '.join(versions)} in one folder, {folder}",
                expected="one version; an update may have been interrupted",
                fix=f"pip uninstall -y {name}; pip uninstall -y {name}; pip install {name}",
            )
        )
    return found


def _several_edgetls(installed: Sequence[Installed], running: str) -> list[Finding]:
    folders = {os.path.realpath(one.folder) for one in installed if one.name == "edgetl"}
    if not folders:
        return []
    if running:
        folders.add(os.path.realpath(running))
    if len(folders) < 2:
        return []
    return [
        Finding(
            kind="problem",
            subject="edgetl",
            got=f"it is in {' and in '.join(sorted(folders))}",
            expected="one, so that it is known which one answers",
            fix="pip uninstall -y edgetl, until none is left; then install the one you want",
        )
    ]


def _protobuf(installed: Sequence[Installed], environment: Mapping[str, str]) -> list[Finding]:
    chosen = environment.get(_PROTOBUF, "")
    if chosen != "python" or not any(one.name == "protobuf" for one in installed):
        return []
    return [
        Finding(
            kind="note",
            subject="protobuf",
            got=f"{_PROTOBUF}=python, which reads ONNX files many times slower",
            expected="protobuf's own choice",
            fix=f"unset {_PROTOBUF}",
        )
    ]
