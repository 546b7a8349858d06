"""What the machine is: cores, limits, memory, and the CPU features that decide on precisions."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_FEATURES = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni", "avx_vnni_int8"),
    "BF16": ("avx512_bf16", "bf16"),
    "AMX tile": ("amx_tile",),
    "AMX INT8": ("amx_int8",),
    "AMX BF16": ("amx_bf16",),
    "dot product": ("asimddp",),
    "i8mm": ("i8mm",),
    "FP16": ("avx512_fp16", "asimdhp"),
}
"""Each feature, and the flags of /proc/cpuinfo that show it, on x86 and on Arm."""

# cgroup version 1 writes a number of this size for "no limit".
_NO_LIMIT = 1 << 60


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine, as this process sees it. What cannot be read is None.

    Attributes:
        cpu: The processor's name.
        system: Operating system, kernel and architecture.
        threads: Logical processors.
        cores: Physical cores.
        usable: Logical processors that this process may run on.
        quota: How many processors' worth of time the control group allows.
        memory_mb, available_mb: All memory, and what is free for use, in MiB.
        memory_limit_mb: What the control group allows, in MiB.
        governor: The frequency governor of the first processor.
        features: Names out of AVX2, VNNI, BF16 and the like; None when flags cannot be read.
        accelerators: Out of ``nvidia``, ``intel gpu``, ``intel npu``: a driver is loaded for it.
    """

    cpu: str
    system: str
    threads: int
    cores: int | None
    usable: int
    quota: float | None
    memory_mb: int | None
    available_mb: int | None
    memory_limit_mb: int | None
    governor: str | None
    features: tuple[str, ...] | None
    accelerators: tuple[str, ...]


def read_machine(root: Path = Path("/")) -> Machine:
    """Read what the machine is.

    Args:
        root: Where ``proc``, ``sys`` and ``dev`` are found; tests give their own.

    Example:
        >>> read_machine().usable >= 1
        True
    """
    processors = _processors(_text(root / "proc/cpuinfo") or "")
    first = processors[0] if processors else {}
    memory = _memory(_text(root / "proc/meminfo") or "")
    groups = _groups(root)
    return Machine(
        cpu=first.get("model name") or platform.processor() or platform.machine(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        threads=len(processors) or os.cpu_count() or 1,
        cores=_cores(processors),
        usable=_usable(),
        quota=_least(_quota(folder) for folder in groups),
        memory_mb=memory.get("MemTotal"),
        available_mb=memory.get("MemAvailable"),
        memory_limit_mb=_whole(_least(_memory_limit(folder) for folder in groups)),
        governor=_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        features=_features(first),
        accelerators=_accelerators(root),
    )


def precision_advice(features: Iterable[str] | None) -> str:
    """What the CPU's features mean for the choice of a precision, in one line.

    Example:
        >>> precision_advice(["AVX2", "VNNI"])
        'INT8 has its own instructions and is worth trying; BF16 has none: leave it out'
    """
    if features is None:
        return "the CPU's features are not known here: measure INT8 and BF16 before choosing"
    here = set(features)
    if here & {"AMX INT8", "VNNI", "i8mm", "dot product"}:
        int8 = "INT8 has its own instructions and is worth trying"
    else:
        int8 = "INT8 has no instructions of its own: it may be slower than FP32, and may saturate"
    if here & {"AMX BF16", "BF16"}:
        return f"{int8}; so has BF16" if "worth" in int8 else f"{int8}; BF16 has: try it first"
    return f"{int8}; BF16 has none: leave it out"


def _processors(text: str) -> list[dict[str, str]]:
    found = []
    for block in text.split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        facts = {key.strip(): value.strip() for key, _, value in pairs}
        if "processor" in facts:
            found.append(facts)
    return found


def _cores(processors: list[dict[str, str]]) -> int | None:
    places = {(one.get("physical id"), one.get("core id")) for one in processors}
    return None if not places or (None, None) in places else len(places)


def _features(first: dict[str, str]) -> tuple[str, ...] | None:
    text = first.get("flags") or first.get("Features")
    if text is None:
        return None
    flags = set(text.split())
    return tuple(name for name, any_of in _FEATURES.items() if flags & set(any_of))


def _usable() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory(text: str) -> dict[str, int]:
    found = {}
    for line in text.splitlines():
        words = line.replace(":", " ").split()
        if len(words) == 3 and words[1].isdigit():
            found[words[0]] = int(words[1]) // 1024
    return found


def _groups(root: Path) -> list[Path]:
    """The folders of this process's control group and of those around it, of either version."""
    mount = root / "sys/fs/cgroup"
    folders = [mount, mount / "cpu", mount / "memory"]
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        kind, _, path = rest.partition(":")
        inner = mount / kind.split(",")[0] if kind else mount
        for part in Path(path.lstrip("/")).parts:
            # A path out of the mount is another container's view.
            if part == "..":
                break
            inner = inner / part
            folders.append(inner)
    return folders


def _quota(folder: Path) -> float | None:
    words = (_text(folder / "cpu.max") or "").split()
    if not words:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = [_text(folder / name) or "" for name in names]
    if len(words) != 2 or not all(word.isdigit() for word in words) or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def _memory_limit(folder: Path) -> float | None:
    text = _text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes") or ""
    if not text.isdigit() or int(text) >= _NO_LIMIT:
        return None
    return int(text) / 2**20


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _accelerators(root: Path) -> tuple[str, ...]:
    found = []
    if (root / "proc/driver/nvidia/version").exists():
        found.append("nvidia")
    vendors = (root / "sys/class/drm").glob("renderD*/device/vendor")
    if any(_text(path) == "0x8086" for path in vendors):
        found.append("intel gpu")
    drivers = (root / "sys/class/accel").glob("accel*/device/driver")
    if any(path.resolve().name == "intel_vpu" for path in drivers):
        found.append("intel npu")
    return tuple(found)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
