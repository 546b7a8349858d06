from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from scipy.stats import binom

from edgetl.bench.footprint import Footprint
from edgetl.bench.machine import machine_facts
from edgetl.bench.measure import Samples
from edgetl.bench.npz import write_npz
from edgetl.bench.result import BenchResult, Run, result_of
from edgetl.errors import GateError

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "bench-1.json"


def _run(batch: int = 1, control: str | None = "reference") -> Run:
    random = np.random.default_rng(batch)

    def side(milliseconds: float) -> np.ndarray:
        return milliseconds * 1e-3 * np.exp(random.normal(0, 0.01, (24, 40)))

    seconds = {"reference": side(2.0), "ov-int8": side(0.5)}
    if control:
        seconds["control"] = side(2.0)
    samples = Samples(
        seconds=seconds,
        settled=dict.fromkeys(seconds, True),
        asked_rounds=24,
        asked_calls=40,
        elapsed_seconds=1.0,
    )
    return Run(samples=samples, batch=batch, threads=2, control_of=control)


@pytest.fixture
def result() -> BenchResult:
    cost = Footprint(load_ms=100.0, first_call_ms=2.0, peak_rss_mb=120.0, size_mb=10.5)
    return result_of(
        [_run(1), _run(8, None)],
        machine=machine_facts() | {"warnings": []},
        footprints={"ov-int8": cost},
    )


def test_cells_say_what_the_samples_hold(result):
    cell = result.cell("ov-int8", batch=1, threads=2)
    seconds = result.samples[cell.samples]["ov-int8"]
    assert cell.p50_ms == pytest.approx(np.median(seconds) * 1e3)
    assert cell.p50_ms < cell.p90_ms < cell.p99_ms <= seconds.max() * 1e3
    assert cell.throughput == pytest.approx(960 / seconds.sum())
    assert result.cell("ov-int8", batch=8, threads=2).throughput == pytest.approx(
        8 * 960 / result.samples["samples-b8-t2.npz"]["ov-int8"].sum()
    )
    assert cell.ratio_to_reference.lower < 0.25 < cell.ratio_to_reference.upper
    assert (cell.peak_rss_mb, cell.size_mb) == (120.0, 10.5)
    assert result.cell("reference", batch=1, threads=2).ratio_to_reference is None
    assert [c.variant for c in result.cells] == ["reference", "ov-int8"] * 2


def test_a_disturbed_measurement_is_doubted(result):
    assert result.doubts == ()
    noisy = dataclasses.replace(
        result,
        machine={"warnings": ["the CPU is at 95 °C; to fix: cool it"]},
        control=dataclasses.replace(result.control, lower=0.8, equivalent=False),
    )
    control, heat = noisy.doubts
    assert control.startswith("reference measured beside itself") and "within 5%" in control
    assert "95 °C" in heat


def test_cells_have_intervals_and_a_bound_of_p99(result):
    cell = result.cell("ov-int8", batch=1)
    seconds = result.samples[cell.samples]["ov-int8"]
    low, high = cell.p50_interval_ms
    # Order statistics 7 and 18 of 24 medians: 97.7 % by the binomial; 8 and 17 have 93.6 %.
    medians = np.sort(np.median(seconds, axis=1)) * 1e3
    assert (low, high) == pytest.approx((medians[6], medians[17]))
    assert cell.p99_ms < cell.p99_upper_ms <= seconds.max() * 1e3
    # The smallest k with P(at least k of 960 calls below the quantile) <= 5 %.
    rank = int(binom.ppf(0.95, seconds.size, 0.99)) + 1
    assert cell.p99_upper_ms == pytest.approx(np.sort(seconds.ravel())[rank - 1] * 1e3)
    found = cell.p90_ratio_to_reference
    assert found == result.pair("ov-int8", batch=1).ratio(quantile=0.9)
    assert result.cell("reference", batch=1).p90_ratio_to_reference is None


def test_too_few_calls_bound_nothing():
    sides = {"reference": np.full((2, 5), 0.002), "x": np.full((2, 5), 0.001)}
    samples = Samples(
        seconds=sides,
        settled=dict.fromkeys(sides, True),
        asked_rounds=2,
        asked_calls=5,
        elapsed_seconds=1.0,
    )
    cell = result_of([Run(samples=samples, batch=1, threads=1)], machine={}).cell("x", batch=1)
    assert cell.p99_upper_ms is cell.p50_interval_ms is None


def test_documents_from_before_the_new_fields_are_read(result, tmp_path):
    result.save(tmp_path / "bench.json")

    def older(document):
        del document["reference_id"]
        for cell in document["cells"]:
            for name in (
                "p50_interval_ms",
                "p99_upper_ms",
                "p90_ratio_to_reference",
                "target_qps",
                "valid",
            ):
                del cell[name]

    path = _changed(tmp_path, older)
    jsonschema.validate(json.loads(path.read_text()), json.loads(SCHEMA.read_text()))
    back = BenchResult.load(path)
    assert back.reference_id is None
    assert back.cells[0].p99_upper_ms is None
    assert back.pair("ov-int8").ratio() == result.pair("ov-int8").ratio()


def test_a_baseline_keeps_its_samples_under_its_own_name(result, tmp_path):
    for stem in ("old", "new"):
        result.beside(stem).save(tmp_path / f"{stem}.json")
    assert len(list(tmp_path.glob("*.npz"))) == 4
    back = BenchResult.load(tmp_path / "old.json")
    assert back.cells[0].samples == "old.samples-b1-t2.npz"
    assert back.pair("ov-int8").ratio() == result.pair("ov-int8").ratio()


def test_cells_under_load_are_no_side_of_a_pair(result, tmp_path):
    loaded = dataclasses.replace(
        result.cells[1],
        scenario="loadgen-server",
        target_qps=100.0,
        valid=True,
        ratio_to_reference=None,
        p90_ratio_to_reference=None,
    )
    both = dataclasses.replace(result, cells=(*result.cells, loaded))
    both.save(tmp_path / "bench.json")
    back = BenchResult.load(tmp_path / "bench.json")
    assert back.cells[-1] == loaded
    assert back.cell("ov-int8", batch=1).scenario == "single-stream"
    jsonschema.validate(back.to_json(), json.loads(SCHEMA.read_text()))


def test_the_control_is_judged_by_equivalence(result):
    assert result.control.equivalent
    assert result.control.of == "reference"
    narrow = result_of([_run(1)], machine={}, control_margin=0.0001)
    assert not narrow.control.equivalent
    assert result_of([_run(8, None)], machine={}).control is None


def test_a_result_comes_back_from_its_files(result, tmp_path):
    result.save(tmp_path / "bench.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bench.json",
        "samples-b1-t2.npz",
        "samples-b8-t2.npz",
    ]
    back = BenchResult.load(tmp_path / "bench.json")
    assert back.to_json() == result.to_json()
    pair = back.pair("ov-int8", batch=1, threads=2)
    assert pair.ratio() == result.cell("ov-int8", batch=1, threads=2).ratio_to_reference
    assert back.pair("reference", "ov-int8", batch=8, threads=2).ratio().estimate > 3


def test_json_keeps_to_its_schema(result, tmp_path):
    result.save(tmp_path / "bench.json")
    document = json.loads((tmp_path / "bench.json").read_bytes())
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    del document["cells"][0]["p99_ms"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json.loads(SCHEMA.read_text()))


def test_sides_that_were_not_measured_so_have_no_pair(result):
    with pytest.raises(GateError, match="no cells of 'ov-int8' at batch 4"):
        result.pair("ov-int8", batch=4, threads=2)


def test_threads_may_be_left_out_when_there_is_one_count(result):
    assert result.pair("ov-int8", batch=8).threads == 2
    twice = result_of(
        [_run(1), dataclasses.replace(_run(1), threads=4)], machine=dict(result.machine)
    )
    with pytest.raises(GateError, match="2 cells"):
        twice.pair("ov-int8")
    assert twice.pair("ov-int8", threads=4).threads == 4


def test_two_runs_of_one_setting_are_refused():
    with pytest.raises(GateError, match="same batch and threads"):
        result_of([_run(1), _run(1)], machine={})


def _changed(folder: Path, change) -> Path:
    path = folder / "bench.json"
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(schema="edgetl.bench/2"),
        lambda d: d.pop("cells"),
        lambda d: d["cells"][0].pop("batch"),
        lambda d: d["cells"][0].update(samples="../samples-b1-t2.npz"),
        lambda d: d["cells"][0].update(samples="missing.npz"),
        lambda d: d["cells"][0].update(rounds=23),
        lambda d: d["cells"][1].update(variant="other"),
        lambda d: d["cells"][0].update(scenario="multi-stream"),
        lambda d: d["cells"][0].update(scenario=["single-stream"]),
        lambda d: d["cells"][0].update(p50_ms="1"),
        lambda d: d["cells"][0].update(p99_upper_ms=-1.0),
        lambda d: d["cells"][0].update(throughput=1e999),
        lambda d: d["cells"][0].update(batch=1.5),
        lambda d: d["cells"][0].update(threads=True),
        lambda d: d["cells"][0].update(load_ms=[1]),
        lambda d: d["cells"][1]["ratio_to_reference"].update(lower=0),
        lambda d: d["cells"][0].update(samples=3),
        lambda d: d.update(machine=3),
        lambda d: d["machine"].update(packages=3),
        lambda d: d["machine"].update(warnings=3),
        lambda d: d["control"].update(margin="5 %"),
        lambda d: d["control"].update(equivalent="yes"),
        lambda d: d["cells"][0].update(p50_interval_ms=[1.0]),
        lambda d: d["cells"][1].update(p90_ratio_to_reference=3),
        lambda d: d.update(control=[1]),
        lambda d: d.update(cells=3),
    ],
)
def test_a_file_that_does_not_fit_its_samples_is_refused(result, tmp_path, change):
    result.save(tmp_path / "bench.json")
    with pytest.raises(GateError):
        BenchResult.load(_changed(tmp_path, change))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_samples_that_are_no_times_are_refused(result, tmp_path, bad):
    result.save(tmp_path / "bench.json")
    sides = {name: array.copy() for name, array in result.samples["samples-b1-t2.npz"].items()}
    sides["ov-int8"][3, 4] = bad
    write_npz(tmp_path / "samples-b1-t2.npz", sides)
    with pytest.raises(GateError, match="no samples of 'ov-int8'"):
        BenchResult.load(tmp_path / "bench.json")


def test_a_missing_or_broken_file_is_refused(tmp_path):
    with pytest.raises(GateError, match="no such file"):
        BenchResult.load(tmp_path / "bench.json")
    (tmp_path / "bench.json").write_text('{"schema": NaN}')
    with pytest.raises(GateError, match="NaN"):
        BenchResult.load(tmp_path / "bench.json")
