from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgetl.bench.machine import Activity, activity, disturbances, machine_facts

CALM = Activity(
    busy_seconds=100.0, idle_seconds=100.0, steal_seconds=0.0, own_seconds=50.0, load_1m=0.5
)
FACTS = {"governor": "performance", "cores": 2, "cgroup_quota_cores": None}


def _after(**changes: float) -> Activity:
    return dataclasses.replace(
        CALM, **{name: getattr(CALM, name) + by for name, by in changes.items()}
    )


def test_facts_are_read_from_linux(tmp_path: Path):
    for name, text in {
        "proc/cpuinfo": "processor: 0\nmodel name\t: Made CPU\ncpu MHz : 2500.5\n"
        "flags : fpu avx2 avx512_vnni amx_tile\n\nprocessor: 1\nmodel name : Other\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "sys/fs/cgroup/cpu.max": "150000 100000\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    facts = machine_facts(tmp_path)
    assert facts["cpu"] == "Made CPU"
    assert facts["cpu_features"] == ["avx2", "avx512_vnni", "amx_tile"]
    assert facts["mhz"] == 2500.5
    assert facts["governor"] == "powersave"
    assert facts["cgroup_quota_cores"] == 1.5
    assert facts["packages"]["numpy"]


def test_what_cannot_be_read_is_none(tmp_path: Path):
    facts = machine_facts(tmp_path)
    assert facts["cpu"]
    assert facts["mhz"] is facts["governor"] is facts["cgroup_quota_cores"] is None


def test_no_quota_is_none(tmp_path: Path):
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("max 100000\n")
    assert machine_facts(tmp_path)["cgroup_quota_cores"] is None


def test_a_calm_machine_has_no_warnings():
    after = _after(busy_seconds=10, own_seconds=9.5, idle_seconds=10)
    assert disturbances(CALM, after, FACTS, settled={"a": True}) == []


@pytest.mark.parametrize(
    ("changes", "facts", "settled", "words"),
    [
        ({"steal_seconds": 2.0, "idle_seconds": 18.0}, {}, {}, "hypervisor took 10%"),
        ({"busy_seconds": 16.0, "own_seconds": 2.0, "idle_seconds": 4.0}, {}, {}, "used 70%"),
        ({}, {"governor": "powersave"}, {}, "governor is 'powersave'"),
        ({}, {"cgroup_quota_cores": 1.5}, {}, "1.5 of 2 cores"),
        ({}, {}, {"b": False, "a": True}, "b did not settle"),
    ],
)
def test_each_disturbance_is_said_with_a_remedy(changes, facts, settled, words):
    found = disturbances(CALM, _after(**changes), FACTS | facts, settled=settled)
    assert len(found) == 1
    assert words in found[0]
    assert "; to fix: " in found[0]


def test_the_counters_only_grow():
    before, after = activity(), activity()
    for name in ("busy_seconds", "idle_seconds", "steal_seconds", "own_seconds"):
        assert 0 <= getattr(before, name) <= getattr(after, name) + 0.05
