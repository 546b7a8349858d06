from __future__ import annotations

import numpy as np
import pytest

from edgetl.bench.null import load_null, measure_null
from edgetl.bench.under_load import LoadOptions


def test_the_harness_costs_microseconds_and_equals_itself():
    found = measure_null(rounds=24, calls=50)
    assert [cell.variant for cell in found.cells] == ["null"]
    cell = found.cells[0]
    assert cell.p50_ms <= cell.p90_ms <= cell.p99_ms <= cell.p99_upper_ms
    assert cell.ratio_to_reference is None
    assert found.control.of == "null"
    assert found.control.estimate == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("scenario", ["single-stream", "server", "offline"])
def test_loadgen_has_a_cost_of_its_own(scenario):
    found = load_null(LoadOptions(scenario=scenario, seconds=0.1, batch=4))
    cell = found.cells[0]
    assert cell.scenario == f"loadgen-{scenario}"
    assert cell.batch == (4 if scenario == "offline" else 1)
    assert cell.target_qps == (2500 if scenario == "server" else None)
    seconds = found.samples[cell.samples]["null"]
    assert seconds.shape == (1, cell.calls)
    assert cell.p50_ms == pytest.approx(float(np.median(seconds)) * 1e3)
    assert found.control is None
