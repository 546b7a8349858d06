from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgetl.doctor.machine import precision_advice, read_machine

X86 = """\
processor\t: {n}
model name\t: Some CPU @ 2.00GHz
physical id\t: 0
core id\t\t: {core}
flags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16 amx_tile amx_int8 amx_bf16
"""
ARM = """\
processor\t: {n}
Features\t: fp asimd asimddp i8mm bf16 asimdhp
"""


def machine_files(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_an_x86_server(tmp_path: Path) -> None:
    blocks = [X86.format(n=n, core=n // 2) for n in range(4)]
    root = machine_files(
        tmp_path,
        {
            "proc/cpuinfo": "\n".join(blocks) + "\n",
            "proc/meminfo": "MemTotal:  8388608 kB\nMemAvailable: 4194304 kB\nHugePages_Total: 0\n",
            "proc/self/cgroup": "0::/pod/box\n",
            "sys/fs/cgroup/cpu.max": "max 100000\n",
            "sys/fs/cgroup/pod/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/pod/box/cpu.max": "400000 100000\n",
            "sys/fs/cgroup/pod/memory.max": "1073741824\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
            "proc/driver/nvidia/version": "NVRM version\n",
            "sys/class/drm/renderD128/device/vendor": "0x8086\n",
        },
    )
    machine = read_machine(root)
    assert machine.cpu == "Some CPU @ 2.00GHz"
    assert (machine.threads, machine.cores) == (4, 2)
    assert machine.usable == len(os.sched_getaffinity(0))
    # The tightest of the groups around this process counts.
    assert machine.quota == 1.5
    assert (machine.memory_mb, machine.available_mb, machine.memory_limit_mb) == (8192, 4096, 1024)
    assert machine.governor == "powersave"
    wanted = ("AVX2", "AVX-512", "VNNI", "BF16", "AMX tile", "AMX INT8", "AMX BF16")
    assert machine.features == wanted
    assert machine.accelerators == ("nvidia", "intel gpu")


def test_an_arm_board(tmp_path: Path) -> None:
    root = machine_files(tmp_path, {"proc/cpuinfo": ARM.format(n=0) + "\n" + ARM.format(n=1)})
    machine = read_machine(root)
    assert machine.features == ("BF16", "dot product", "i8mm", "FP16")
    assert (machine.threads, machine.cores) == (2, None)


def test_control_groups_of_version_1(tmp_path: Path) -> None:
    root = machine_files(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/box\n3:cpu,cpuacct:/box\n2:pids:/../x\n",
            "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    machine = read_machine(root)
    assert machine.quota == 0.5
    assert machine.memory_limit_mb is None


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    machine = read_machine(tmp_path)
    assert machine.features is None and machine.quota is None and machine.memory_mb is None
    assert machine.governor is None and machine.cores is None and machine.accelerators == ()
    assert machine.threads >= 1


@pytest.mark.parametrize("text", ["", "junk", "max", "0 0", "1 x", "\x00\xff"])
def test_limits_that_are_none(tmp_path: Path, text: str) -> None:
    root = machine_files(tmp_path, {"sys/fs/cgroup/cpu.max": text})
    assert read_machine(root).quota is None


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (["AVX2", "VNNI", "BF16"], "worth trying; so has BF16"),
        (["AVX2", "AMX INT8"], "worth trying; BF16 has none"),
        (["i8mm", "BF16"], "so has BF16"),
        (["AVX2"], "may saturate; BF16 has none"),
        (["BF16"], "BF16 has: try it first"),
        ([], "BF16 has none"),
        (None, "not known"),
    ],
)
def test_what_the_features_mean(features: list[str] | None, said: str) -> None:
    advice = precision_advice(features)
    assert said in advice
    assert "\n" not in advice
