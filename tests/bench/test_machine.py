from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgetl.bench.machine import Activity, activity, disturbances, machine_facts, shares, was_noisy

CALM = Activity(
    busy_seconds=100.0,
    idle_seconds=100.0,
    steal_seconds=0.0,
    own_seconds=50.0,
    load_1m=0.5,
    mhz=2500.0,
    celsius=50.0,
    cgroup_stops=2,
    heat_stops=1,
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
        ({"mhz": -500.0}, {}, {}, "fell from 2500 to 2000 MHz"),
        ({"celsius": 45.0}, {}, {}, "at 95 °C"),
        ({"heat_stops": 3}, {}, {}, "for heat 3 times"),
        ({"cgroup_stops": 7}, {}, {}, "held the processes back 7 times"),
    ],
)
def test_each_disturbance_is_said_with_a_remedy(changes, facts, settled, words):
    found = disturbances(CALM, _after(**changes), FACTS | facts, settled=settled)
    assert len(found) == 1
    assert words in found[0]
    assert "; to fix: " in found[0]


def test_clock_heat_and_quota_are_read_from_linux(tmp_path: Path):
    for name, text in {
        "proc/cpuinfo": "cpu MHz : 2000.0\n\ncpu MHz : 3000.0\n",
        "sys/fs/cgroup/cpu.stat": "usage_usec 5\nnr_throttled 12\n",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "2\n",
        "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "3\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = activity(tmp_path)
    assert (found.mhz, found.cgroup_stops, found.heat_stops) == (2500.0, 12, 5)


def test_what_has_no_file_is_none(tmp_path: Path):
    found = activity(tmp_path)
    assert found.mhz is found.cgroup_stops is found.heat_stops is None


def test_a_figure_that_is_missing_once_warns_of_nothing():
    unknown = dataclasses.replace(CALM, mhz=None, celsius=None, cgroup_stops=None, heat_stops=None)
    assert disturbances(unknown, unknown, FACTS) == []


def test_shares_are_of_all_cores():
    after = _after(busy_seconds=16.0, own_seconds=2.0, idle_seconds=2.0, steal_seconds=2.0)
    assert shares(CALM, after) == pytest.approx({"others_share": 0.7, "steal_share": 0.1})
    assert shares(CALM, CALM) == {"others_share": 0.0, "steal_share": 0.0}
    assert was_noisy(shares(CALM, after))
    assert not was_noisy(shares(CALM, CALM))


def test_the_counters_only_grow():
    before, after = activity(), activity()
    for name in ("busy_seconds", "idle_seconds", "steal_seconds", "own_seconds"):
        assert 0 <= getattr(before, name) <= getattr(after, name) + 0.05
