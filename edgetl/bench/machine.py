"""The machine that a latency was measured on, and what disturbed it meanwhile."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from edgetl.extras import extra
from edgetl.version import __version__

PACKAGES = ("numpy", "onnxruntime", "openvino", "torch")
FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "i8mm",
    "bf16",
)
"""The CPU features that decide which kernels INT8 and BF16 get, as Linux names them."""

_STEAL_SHARE = 0.02
_BUSY_SHARE = 0.5
_SLOWER_CLOCK = 0.9
_HOT_CELSIUS = 90.0
_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "acpitz")


@dataclass(frozen=True, kw_only=True)
class Activity:
    """The machine's counters at one moment.

    Attributes:
        busy_seconds, idle_seconds, steal_seconds: Sums over all cores since the machine started;
            stolen time is what the hypervisor gave to others.
        own_seconds: CPU time of this process and its children: the reference's process is one.
        load_1m: The load average of the last minute.
        mhz: The clock, mean over the cores.
        celsius: Of the hottest sensor that is a CPU's.
        cgroup_stops: How often a cgroup's quota has held its processes back.
        heat_stops: How often the cores have slowed themselves down for heat.

    What cannot be read here is None.
    """

    busy_seconds: float
    idle_seconds: float
    steal_seconds: float
    own_seconds: float
    load_1m: float
    mhz: float | None = None
    celsius: float | None = None
    cgroup_stops: int | None = None
    heat_stops: int | None = None


def activity(root: Path = Path("/")) -> Activity:
    """Read the counters now; two readings give what happened in between.

    Args:
        root: Where ``proc`` and ``sys`` are found; tests give their own.
    """
    with extra("bench"):
        import psutil
    times = psutil.cpu_times()
    own = os.times()
    children = sum(_cpu_seconds(child) for child in psutil.Process().children(recursive=True))
    return Activity(
        busy_seconds=times.user + times.system + getattr(times, "nice", 0.0),
        idle_seconds=times.idle + getattr(times, "iowait", 0.0),
        steal_seconds=getattr(times, "steal", 0.0),
        own_seconds=own.user + own.system + own.children_user + own.children_system + children,
        load_1m=os.getloadavg()[0],
        mhz=_clock(root / "proc/cpuinfo"),
        celsius=_temperature(),
        cgroup_stops=_cgroup_stops(root / "sys/fs/cgroup/cpu.stat"),
        heat_stops=_heat_stops(root / "sys/devices/system/cpu"),
    )


def machine_facts(root: Path = Path("/")) -> dict[str, Any]:
    """What the machine is: CPU, cores, features, clock, limits, kernel and package versions.

    Nothing in it names the machine or its user. What cannot be read is None.

    Args:
        root: Where ``proc`` and ``sys`` are found; tests give their own.
    """
    with extra("bench"):
        import psutil
    cpuinfo = _cpuinfo(root / "proc/cpuinfo")
    flags = set((cpuinfo.get("flags") or cpuinfo.get("Features") or "").split())
    memory = psutil.virtual_memory()
    return {
        "cpu": cpuinfo.get("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": usable_cores(),
        "cpu_features": [flag for flag in FLAGS if flag in flags],
        "mhz": _number(cpuinfo.get("cpu MHz")),
        "max_mhz": _kilohertz(root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"),
        "celsius": _temperature(),
        "governor": _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "cgroup_quota_cores": _quota(root / "sys/fs/cgroup/cpu.max"),
        "memory_mb": round(memory.total / 2**20),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {"edgetl": __version__} | _versions(),
    }


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def disturbances(
    before: Activity,
    after: Activity,
    facts: Mapping[str, Any],
    *,
    settled: Mapping[str, bool] | None = None,
) -> list[str]:
    """What made the measurement noisy, each with a remedy.

    Args:
        before, after: Readings around the measurement.
        facts: Of `machine_facts`.
        settled: Per side, whether its warm-up ended in agreement.

    Returns:
        One sentence each; empty when nothing was found.

    Example:
        >>> calm = Activity(busy_seconds=0, idle_seconds=0, steal_seconds=0, own_seconds=0,
        ...     load_1m=0)
        >>> disturbances(calm, calm, {"governor": "powersave", "cores": 2})
        ["the CPU governor is 'powersave'; to fix: set it to 'performance'"]
    """
    found = [
        *_taken(before, after),
        *_slowed(before, after),
        *_limited(facts, (after.cgroup_stops or 0) - (before.cgroup_stops or 0)),
    ]
    restless = sorted(name for name, still in (settled or {}).items() if not still)
    if restless:
        found.append(
            f"{', '.join(restless)} did not settle within 2 % while warming up; "
            "to fix: end other work, or allow more time"
        )
    return found


def shares(before: Activity, after: Activity) -> dict[str, float]:
    """The shares of all cores' time that went to other processes and to the hypervisor.

    Returns:
        ``others_share`` and ``steal_share``, 0 to 1, as `edgetl.bench/1` has them in ``machine``.
    """
    busy = after.busy_seconds - before.busy_seconds
    steal = after.steal_seconds - before.steal_seconds
    total = busy + steal + after.idle_seconds - before.idle_seconds
    others = busy - (after.own_seconds - before.own_seconds)
    return {
        "others_share": min(1.0, max(0.0, others) / total) if total > 0 else 0.0,
        "steal_share": max(0.0, steal) / total if total > 0 else 0.0,
    }


def was_noisy(facts: Mapping[str, Any]) -> bool:
    """Whether the shares that a result's machine kept are over what is warned of, or not known.

    Example:
        >>> was_noisy({"others_share": 0.1, "steal_share": 0.0}), was_noisy({})
        (False, True)
    """
    limits = {"others_share": _BUSY_SHARE, "steal_share": _STEAL_SHARE}
    found = {name: facts.get(name) for name in limits}
    return not all(
        isinstance(share, int | float) and share <= limits[name] for name, share in found.items()
    )


def _taken(before: Activity, after: Activity) -> Iterator[str]:
    """CPU time that went to others."""
    found = shares(before, after)
    if found["steal_share"] > _STEAL_SHARE:
        yield (
            f"the hypervisor took {found['steal_share']:.0%} of the CPU time; "
            "to fix: use a machine whose cores are its own, or measure at a quieter hour"
        )
    if found["others_share"] > _BUSY_SHARE:
        yield (
            f"other processes used {found['others_share']:.0%} of the CPU time; "
            "to fix: end them, or measure when they are done"
        )


def _slowed(before: Activity, after: Activity) -> Iterator[str]:
    """A clock that fell, and heat."""
    if before.mhz and after.mhz and after.mhz < _SLOWER_CLOCK * before.mhz:
        yield (
            f"the clock fell from {before.mhz:.0f} to {after.mhz:.0f} MHz; "
            "to fix: switch boost and power saving off, or let the machine cool"
        )
    stops = (after.heat_stops or 0) - (before.heat_stops or 0)
    if stops > 0:
        yield (
            f"the cores slowed down for heat {stops} times; "
            "to fix: cool the machine, or measure fewer threads"
        )
    elif after.celsius is not None and after.celsius >= _HOT_CELSIUS:
        yield (
            f"the CPU is at {after.celsius:.0f} °C; "
            "to fix: let it cool before measuring, or improve the cooling"
        )


def _limited(facts: Mapping[str, Any], stops: int) -> Iterator[str]:
    """What the system's settings hold back."""
    governor = facts.get("governor")
    if governor not in (None, "performance"):
        yield f"the CPU governor is '{governor}'; to fix: set it to 'performance'"
    quota = facts.get("cgroup_quota_cores")
    if quota is not None and quota < facts["cores"]:
        yield (
            f"a cgroup allows {quota:g} of {facts['cores']} cores; "
            "to fix: raise the quota, or measure with that many threads"
        )
    elif stops > 0:
        yield (
            f"a cgroup's quota held the processes back {stops} times; "
            "to fix: raise the quota, or measure with fewer threads"
        )


def _cpu_seconds(process: Any) -> float:
    import psutil

    try:
        times = process.cpu_times()
    except psutil.Error:  # it ended meanwhile, and counts among the children that ended
        return 0.0
    return float(times.user + times.system)


def _cpuinfo(path: Path) -> dict[str, str]:
    """The fields of the first core."""
    text = _text(path) or ""
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _quota(path: Path) -> float | None:
    words = (_text(path) or "").split()
    if len(words) != 2 or words[0] == "max":
        return None
    return float(words[0]) / float(words[1])


def _clock(path: Path) -> float | None:
    lines = (_text(path) or "").splitlines()
    found = [_number(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    read = [mhz for mhz in found if mhz is not None]
    return sum(read) / len(read) if read else None


def _kilohertz(path: Path) -> float | None:
    found = _number(_text(path))
    return None if found is None else found / 1e3


def _temperature() -> float | None:
    import psutil

    if not hasattr(psutil, "sensors_temperatures"):
        return None
    sensors = psutil.sensors_temperatures()
    read = [one.current for name in _CPU_SENSORS for one in sensors.get(name, ())]
    return max(read, default=None)


def _cgroup_stops(path: Path) -> int | None:
    lines = (line.split() for line in (_text(path) or "").splitlines())
    found = [int(words[1]) for words in lines if len(words) == 2 and words[0] == "nr_throttled"]
    return found[0] if found else None


def _heat_stops(cpus: Path) -> int | None:
    texts = [_text(path) for path in cpus.glob("cpu*/thermal_throttle/core_throttle_count")]
    return sum(int(text) for text in texts if text) if texts else None


def _versions() -> dict[str, str]:
    # From the metadata, not from the modules: importing a runtime only to ask would load it.
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
